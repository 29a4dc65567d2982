//! Changing the program while it serves (USR2): the new binary is started with the listening sockets, whose numbers it
//! finds in the variable `NGINX`, as nginx passes them. So this program can take over from nginx and hand back to it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use crate::spawn::{self, Child, c_string};
use crate::{environment, journal};

/// The variable with the numbers.
const VARIABLE: &str = "NGINX";

/// A variable that says that the process itself was what it inherits from: see [`crate::single`].
const AGAIN: &str = "URESTY_AGAIN";

/// What a process was started with by an older one.
pub struct Inherited {
    /// Its listening sockets.
    pub sockets: Vec<OwnedFd>,
    /// The older process, which may still serve; `None`: there is none.
    pub predecessor: Option<Pid>,
}

/// Takes over sockets when this process was started for that.
pub fn inherit() -> Option<Inherited> {
    let again = spawn::take_variable(AGAIN).is_some();
    let value = spawn::take_variable(VARIABLE)?;
    let value = value.to_string_lossy();
    journal::notice(format_args!("using inherited sockets from \"{value}\""));
    let (numbers, wrong) = parse(&value);
    if let Some(wrong) = wrong {
        journal::emerg(format_args!(
            "invalid socket number \"{wrong}\" in {VARIABLE} environment variable, ignoring the rest of the variable"
        ));
    }
    let mut sockets = Vec::new();
    for number in numbers {
        match spawn::adopt(number) {
            Ok(socket) => sockets.push(socket),
            Err(errno) => {
                journal::emerg(format_args!(
                    "the inherited socket #{number} cannot be used ({})",
                    errno.desc()
                ));
            }
        }
    }
    Some(Inherited { sockets, predecessor: (!again).then(Pid::parent) })
}

/// Reads `5;6;7;`. Numbers that occur again are left out; the second part is the text from the first thing on that is
/// no number.
fn parse(value: &str) -> (Vec<RawFd>, Option<&str>) {
    let mut numbers = Vec::new();
    let mut rest = value;
    while let Some(end) = rest.find([';', ':']) {
        let number = rest[..end].parse().ok().filter(|_| rest.as_bytes()[0].is_ascii_digit());
        let Some(number) = number else { return (numbers, Some(rest)) };
        if !numbers.contains(&number) {
            numbers.push(number);
        }
        rest = &rest[end + 1..];
    }
    (numbers, (!rest.is_empty()).then_some(rest))
}

/// The variables for `sockets` that this process leaves to itself.
pub fn variables_for_self(sockets: &[RawFd]) -> [CString; 2] {
    [variable(sockets), c_string(format!("{AGAIN}=1"))]
}

/// The variable for `sockets`.
fn variable(sockets: &[RawFd]) -> CString {
    let numbers: String = sockets.iter().map(|fd| format!("{fd};")).collect();
    c_string(format!("{VARIABLE}={numbers}"))
}

/// Room for the new master's title, which takes the place of its arguments and environment: there may be no other
/// variables.
const SPARE_BYTES: usize = 300;

/// Starts the program `argv` was called as with `sockets`.
pub fn start(
    argv: &[OsString],
    environment: &[environment::Variable],
    own: impl IntoIterator<Item = (OsString, OsString)>,
    path_list: Option<&OsStr>,
    sockets: Vec<RawFd>,
) -> nix::Result<Pid> {
    let path = c_string(program(&argv[0], path_list));
    let mut env = environment::of_child(environment, own);
    env.push(variable(&sockets));
    env.push(c_string(format!("SPARE={}", "X".repeat(SPARE_BYTES))));
    Child {
        path: &path,
        argv: argv.iter().map(c_string).collect(),
        env,
        keep: sockets,
        stderr: None,
        blocked: SigSet::empty(),
    }
    .start()
}

/// The file a shell would run for `argv0`.
pub fn program(argv0: &OsStr, path_list: Option<&OsStr>) -> PathBuf {
    let plain = Path::new(argv0);
    if argv0.as_bytes().contains(&b'/') {
        return plain.to_owned();
    }
    let directories = path_list.map(std::env::split_paths).into_iter().flatten();
    directories
        .map(|directory| directory.join(plain))
        .find(|path| path.is_file())
        .unwrap_or_else(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_nginx_writes_them() {
        let cases: &[(&str, &[RawFd], Option<&str>)] = &[
            ("6;7;8;", &[6, 7, 8], None),
            ("6:7:", &[6, 7], None),
            ("", &[], None),
            ("6;6;7;", &[6, 7], None),
            ("6;7", &[6], Some("7")),
            ("6;x;7;", &[6], Some("x;7;")),
            (";", &[], Some(";")),
            ("-1;", &[], Some("-1;")),
            ("+1;", &[], Some("+1;")),
            ("99999999999;", &[], Some("99999999999;")),
        ];
        for (value, numbers, wrong) in cases {
            assert_eq!(parse(value), (numbers.to_vec(), *wrong), "{value:?}");
        }
        assert_eq!(variable(&[6, 7]).to_bytes(), b"NGINX=6;7;");
    }

    #[test]
    fn the_program_is_found_as_a_shell_finds_it() {
        let list = OsStr::new("/no/such/directory:/bin");
        assert_eq!(program(OsStr::new("./x"), Some(list)), Path::new("./x"));
        assert_eq!(program(OsStr::new("sh"), Some(list)), Path::new("/bin/sh"));
        assert_eq!(program(OsStr::new("no such program"), Some(list)), Path::new("no such program"));
    }
}
