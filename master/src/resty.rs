//! `resty`: runs a Lua script with the `ngx` API from the command line.
//!
//! `uresty resty [-e CODE]... [-I DIR]... [--shdict 'NAME SIZE']... [FILE [ARGUMENT]...]`, also when the program is called
//! `resty`. The script runs in a timer of a server that listens nowhere, so everything a timer may do it may do; the
//! process ends with it.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::Options;

/// What goes before the script: what it may expect of `resty`, and how it ends.
const BEFORE: &str = include_str!("resty.lua");

/// The words behind `resty`, if the program was asked for it.
pub fn asked(argv: &[OsString]) -> Option<&[OsString]> {
    let called = argv.first().and_then(|name| Path::new(name).file_name().map(OsStr::to_owned));
    if called.as_deref() == Some(OsStr::new("resty")) {
        return argv.get(1..);
    }
    (argv.get(1).map(OsString::as_os_str) == Some(OsStr::new("resty"))).then(|| &argv[2..])
}

/// A script to run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    inline: Vec<String>,
    include: Vec<String>,
    shdicts: Vec<String>,
    file: Option<String>,
    arguments: Vec<String>,
}

impl Script {
    fn parse(words: &[OsString]) -> Result<Self, String> {
        let mut script = Self::default();
        let mut words = words.iter().map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("option {word} takes an argument but found none."));
            match &*word {
                "-e" => script.inline.push(value()?),
                "-I" => script.include.push(value()?),
                "--shdict" => script.shdicts.push(value()?),
                option if option.starts_with('-') => return Err(format!("unknown argument: \"{option}\".")),
                _ => {
                    script.file = Some(word);
                    script.arguments = words.collect();
                    break;
                }
            }
        }
        if script.inline.is_empty() && script.file.is_none() {
            return Err("neither Lua input file nor -e \"\" option specified.".into());
        }
        Ok(script)
    }

    /// The Lua text of the whole run.
    fn text(&self) -> Result<String, String> {
        let mut text = String::from(BEFORE);
        let name = self.file.clone().unwrap_or_else(|| "resty".into());
        text.push_str(&format!("arg = {{ [0] = {}", quoted(&name)));
        for argument in &self.arguments {
            text.push_str(&format!(", {}", quoted(argument)));
        }
        text.push_str(" }\n");
        for code in &self.inline {
            text.push_str(&format!("run({}, \"=(command line -e)\")\n", quoted(code)));
        }
        if let Some(file) = &self.file {
            let code = std::fs::read(file).map_err(|error| format!("cannot open {file}: {error}"))?;
            let code = String::from_utf8_lossy(&code);
            let code = if code.starts_with('#') { format!("--{code}") } else { code.into_owned() };
            text.push_str(&format!("run({}, {})\n", quoted(&code), quoted(&format!("@{file}"))));
        }
        text.push_str("start(arg)\n");
        Ok(text)
    }

    fn conf(&self) -> String {
        let path: String = self.include.iter().map(|dir| format!("{dir}/?.lua;{dir}/?/init.lua;")).collect();
        let dicts: String = self.shdicts.iter().map(|dict| format!("lua_shared_dict {dict};\n")).collect();
        let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let server = |line: &str| line.strip_prefix("nameserver").map(|rest| rest.trim().to_owned());
        let servers: Vec<String> =
            servers.lines().filter_map(server).filter(|ip| !ip.contains(':')).collect();
        let resolver =
            if servers.is_empty() { String::new() } else { format!("resolver {};\n", servers.join(" ")) };
        format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid resty.pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 128; }}\n\
             http {{\naccess_log off;\nlua_time_limit 0;\n{dicts}{resolver}\
             lua_package_path \"{path}./?.lua;./?/init.lua;;\";\ninit_worker_by_lua_file resty.lua;\n}}\n"
        )
    }
}

/// A Lua string.
fn quoted(text: &str) -> String {
    let mut level = String::new();
    while text.contains(&format!("]{level}]")) || text.ends_with(&format!("]{level}")) {
        level.push('=');
    }
    format!("[{level}[\n{text}]{level}]")
}

/// Writes script and configuration to a directory of their own, which the script removes when it starts; returns it.
///
/// # Errors
/// What to print.
fn prepare(words: &[OsString]) -> Result<PathBuf, String> {
    let script = Script::parse(words)?;
    let failed = |error: std::io::Error| format!("cannot write the script: {error}");
    let dir = std::env::temp_dir().join(format!("uresty-resty-{}", std::process::id()));
    std::fs::create_dir(&dir).map_err(failed)?;
    let text = script.text()?;
    let write = |name: &str, text: &str| std::fs::File::create(dir.join(name))?.write_all(text.as_bytes());
    write("resty.lua", &text).map_err(failed)?;
    write("nginx.conf", &script.conf()).map_err(failed)?;
    Ok(dir)
}

/// The command line of the server that runs the script.
///
/// # Errors
/// What to print.
pub fn options(words: &[OsString]) -> Result<Options, String> {
    let dir = prepare(words)?;
    Ok(Options {
        prefix: Some(dir),
        conf: Some("nginx.conf".into()),
        error_log: Some("stderr".into()),
        ..Options::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn command_lines() {
        assert_eq!(asked(&words("/bin/resty -e x")), Some(&words("-e x")[..]));
        assert_eq!(asked(&words("uresty resty a.lua")), Some(&words("a.lua")[..]));
        assert_eq!(asked(&words("uresty -t")), None);
        let script = Script::parse(&words("-I lib a.lua -e b")).unwrap();
        assert_eq!((script.file.as_deref(), script.arguments.len()), (Some("a.lua"), 2));
        assert!(Script::parse(&words("-e")).is_err() && Script::parse(&words("--no")).is_err());
        assert_eq!(quoted("a]]b]=]c]"), "[==[\na]]b]=]c]]==]");
    }
}
