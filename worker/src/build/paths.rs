//! Where relative names in a configuration lead.

use std::path::{Path, PathBuf};

/// The prefix and the directory of the configuration file.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `-p`: logs, document roots, temporary files.
    pub prefix: PathBuf,
    /// The directory of the main configuration file: includes, password files, certificates.
    pub conf_prefix: PathBuf,
    /// `-e`: the error log where the configuration names none.
    pub error_log: Option<PathBuf>,
}

impl Paths {
    /// A name relative to the prefix, as nginx reads `root`, `error_log`, `*_temp_path`.
    pub fn full(&self, name: &str) -> PathBuf {
        self.prefix.join(Path::new(name))
    }

    /// A name relative to the configuration file, as nginx reads `auth_basic_user_file` or `ssl_certificate`.
    pub fn conf(&self, name: &str) -> PathBuf {
        self.conf_prefix.join(Path::new(name))
    }
}
