//! Where things are: prefix, configuration file, error log.

use std::path::{Path, PathBuf};

use crate::cli::Options;
use crate::title::{ERROR_LOG, Program};

/// The prefix of a program that was built without one and is not started beside its configuration.
const PREFIX: &str = "/usr/local/uresty";

/// The prefix given when the program was built.
const BUILT_PREFIX: Option<&str> = option_env!("URESTY_PREFIX");

/// The name of standard error among log files.
pub const STDERR: &str = "stderr";

/// Files and directories as the command line and the defaults say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `-p`: what relative names in the configuration are relative to.
    pub prefix: PathBuf,
    /// The configuration file.
    pub conf_file: PathBuf,
    /// Its directory.
    pub conf_prefix: PathBuf,
    /// `-e` as given; `stderr` is not a file.
    pub error_log: Option<PathBuf>,
    /// Where messages go until the configuration says otherwise; `None`: standard error only.
    pub early_log: Option<PathBuf>,
}

impl Place {
    /// Reads the command line; names that begin with a directory other than `/` are relative to the prefix, the
    /// prefix to the current directory.
    pub fn of(program: Program, options: &Options) -> Self {
        let prefix = match &options.prefix {
            Some(given) => given.clone(),
            None => default_prefix(program, BUILT_PREFIX, Path::new(".")),
        };
        let conf_file = prefix.join(options.conf.clone().unwrap_or_else(|| program.conf().into()));
        let conf_prefix = conf_file.parent().unwrap_or(Path::new("")).to_owned();
        let early = options.error_log.as_deref().unwrap_or(Path::new(ERROR_LOG));
        let early_log = (early != Path::new(STDERR)).then(|| prefix.join(early));
        Self { conf_file, conf_prefix, error_log: options.error_log.clone(), early_log, prefix }
    }
}

/// The prefix when `-p` is not given: the one built in, else the current directory `here` when it holds the
/// configuration file, else [`PREFIX`].
pub fn default_prefix(program: Program, built: Option<&str>, here: &Path) -> PathBuf {
    match built {
        Some(built) => built.into(),
        None if here.join(program.conf()).is_file() => {
            std::path::absolute(here).unwrap_or_else(|_| here.to_owned())
        }
        None => PREFIX.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names_follow_the_prefix() {
        let options = |prefix: &str, conf: Option<&str>, log: Option<&str>| Options {
            prefix: Some(prefix.into()),
            conf: conf.map(PathBuf::from),
            error_log: log.map(PathBuf::from),
            ..Options::default()
        };
        let place = Place::of(Program::Nginx, &options("/x/", Some("nginx.conf"), Some("error.log")));
        assert_eq!(place.conf_file, Path::new("/x/nginx.conf"));
        assert_eq!(place.conf_prefix, Path::new("/x"));
        assert_eq!(place.early_log.as_deref(), Some(Path::new("/x/error.log")));
        let place = Place::of(Program::Uresty, &options("/x", None, Some("stderr")));
        assert_eq!(place.conf_file.to_str(), Some("/x/conf/uresty.conf"));
        assert_eq!(place.early_log, None);
        let place = Place::of(Program::Nginx, &options("/x", Some("/etc/n.conf"), None));
        assert_eq!(
            (place.conf_file.to_str(), place.conf_prefix.to_str()),
            (Some("/etc/n.conf"), Some("/etc"))
        );
        assert_eq!(place.early_log.as_deref(), Some(Path::new("/x/logs/error.log")));
    }

    #[test]
    fn the_prefix_is_built_in_or_here_or_the_usual_one() {
        let here = tempfile::tempdir().unwrap();
        assert_eq!(default_prefix(Program::Nginx, Some("/opt/n"), here.path()), Path::new("/opt/n"));
        assert_eq!(default_prefix(Program::Nginx, None, here.path()), Path::new(PREFIX));
        std::fs::create_dir(here.path().join("conf")).unwrap();
        std::fs::write(here.path().join("conf/nginx.conf"), "").unwrap();
        assert_eq!(default_prefix(Program::Nginx, None, here.path()), here.path());
        assert_eq!(default_prefix(Program::Uresty, None, here.path()), Path::new(PREFIX));
    }
}
