//! The command line: nginx's flags, read the way nginx reads them.
//!
//! Flags may be joined (`-tq`), an argument may follow its flag directly (`-pDIR`) or as the next word (`-p DIR`), and
//! a word that does not begin with `-` is an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::signal::Order;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-?`, `-h`.
    pub help: bool,
    /// `-v`, and every flag that implies it.
    pub version: bool,
    /// `-V`.
    pub configure: bool,
    /// `-t`, `-T`.
    pub test: bool,
    /// `-T`.
    pub dump: bool,
    /// `-q`.
    pub quiet: bool,
    /// `-p`.
    pub prefix: Option<PathBuf>,
    /// `-e`.
    pub error_log: Option<PathBuf>,
    /// `-c`.
    pub conf: Option<PathBuf>,
    /// `-g`.
    pub globals: Option<String>,
    /// `-s`.
    pub signal: Option<Order>,
}

impl Options {
    /// Reads the words after the program's name. The error is what nginx prints after `nginx: `.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(flags) = word.as_bytes().strip_prefix(b"-") else {
                return Err(format!("invalid option: \"{}\"", word.display()));
            };
            options.word(flags, &mut words)?;
        }
        Ok(options)
    }

    /// Reads one word of flags.
    fn word(&mut self, flags: &[u8], words: &mut impl Iterator<Item = OsString>) -> Result<(), String> {
        for (i, flag) in flags.iter().enumerate() {
            match flag {
                b'?' | b'h' => {
                    self.version = true;
                    self.help = true;
                }
                b'v' => self.version = true,
                b'V' => {
                    self.version = true;
                    self.configure = true;
                }
                b't' => self.test = true,
                b'T' => {
                    self.test = true;
                    self.dump = true;
                }
                b'q' => self.quiet = true,
                b'p' | b'e' | b'c' | b'g' | b's' => {
                    let rest = OsStr::from_bytes(&flags[i + 1..]);
                    let value = if rest.is_empty() { words.next() } else { Some(rest.to_owned()) };
                    return self.value(*flag, value);
                }
                other => return Err(format!("invalid option: \"{}\"", char::from(*other))),
            }
        }
        Ok(())
    }

    /// Takes the argument of a flag that has one.
    fn value(&mut self, flag: u8, value: Option<OsString>) -> Result<(), String> {
        let wants = match flag {
            b'p' => "directory name",
            b'e' | b'c' => "file name",
            _ => "parameter",
        };
        let value = value.ok_or_else(|| format!("option \"-{}\" requires {wants}", char::from(flag)))?;
        match flag {
            b'p' => self.prefix = Some(value.into()),
            b'e' => self.error_log = Some(value.into()),
            b'c' => self.conf = Some(value.into()),
            b'g' => self.globals = Some(String::from_utf8_lossy(&value.into_vec()).into_owned()),
            _ => {
                let name = value.to_string_lossy();
                let order = Order::parse(&name).ok_or_else(|| format!("invalid option: \"-s {name}\""))?;
                self.signal = Some(order);
            }
        }
        Ok(())
    }
}

/// The text of `-h`.
pub fn usage(prefix: &str, error_log: &str, conf: &str) -> String {
    format!(
        "Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]\n\
         \x20            [-e filename] [-c filename] [-g directives]\n\
         \n\
         Options:\n\
         \x20 -?,-h         : this help\n\
         \x20 -v            : show version and exit\n\
         \x20 -V            : show version and configure options then exit\n\
         \x20 -t            : test configuration and exit\n\
         \x20 -T            : test configuration, dump it and exit\n\
         \x20 -q            : suppress non-error messages during configuration testing\n\
         \x20 -s signal     : send signal to a master process: stop, quit, reopen, reload\n\
         \x20 -p prefix     : set prefix path (default: {prefix})\n\
         \x20 -e filename   : set error log file (default: {error_log})\n\
         \x20 -c filename   : set configuration file (default: {conf})\n\
         \x20 -g directives : set global directives out of configuration file\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_join_and_take_arguments_either_way() {
        let none = Options::default();
        let cases: &[(&str, Options)] = &[
            ("", Options::default()),
            ("-", Options::default()),
            ("-t", Options { test: true, ..Options::default() }),
            ("-tq", Options { test: true, quiet: true, ..Options::default() }),
            ("-T", Options { test: true, dump: true, ..Options::default() }),
            ("-h", Options { version: true, help: true, ..Options::default() }),
            ("-?", Options { version: true, help: true, ..Options::default() }),
            ("-V", Options { version: true, configure: true, ..Options::default() }),
            (
                "-p /x -c y",
                Options { prefix: Some("/x".into()), conf: Some("y".into()), ..Options::default() },
            ),
            ("-p/x -cy", Options { prefix: Some("/x".into()), conf: Some("y".into()), ..Options::default() }),
            ("-tp /x", Options { test: true, prefix: Some("/x".into()), ..Options::default() }),
            ("-e stderr", Options { error_log: Some("stderr".into()), ..Options::default() }),
            ("-g daemon", Options { globals: Some("daemon".into()), ..Options::default() }),
            ("-s reload", Options { signal: Some(Order::Reload), ..Options::default() }),
            ("-squit", Options { signal: Some(Order::Quit), ..Options::default() }),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line).as_ref(), Ok(expected), "{line}");
        }
        assert_eq!(parse("").unwrap(), none);
    }

    #[test]
    fn errors_are_nginx_s() {
        let cases = [
            ("start", "invalid option: \"start\""),
            ("-x", "invalid option: \"x\""),
            ("-tz", "invalid option: \"z\""),
            ("-p", "option \"-p\" requires directory name"),
            ("-c", "option \"-c\" requires file name"),
            ("-e", "option \"-e\" requires file name"),
            ("-g", "option \"-g\" requires parameter"),
            ("-s", "option \"-s\" requires parameter"),
            ("-s hup", "invalid option: \"-s hup\""),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
    }
}
