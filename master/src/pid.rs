//! The pid file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use conf::error::errno;

/// The most bytes of a pid file that are read: nginx's NGX_INT64_LEN + 2.
const BYTES_MAX: u64 = 22;

/// Everybody may read it.
const MODE: u32 = 0o644;

/// The file's name while a new binary runs beside the old one.
pub fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".oldbin");
    name.into()
}

/// Writes this process's id.
pub fn write(path: &Path) -> Result<(), String> {
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path);
    let written = written.and_then(|mut file| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed("open()", path, &error))
}

/// Checks that the file could be written, and leaves everything as it was.
pub fn test(path: &Path) -> Result<(), String> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    }
    .map_err(|error| failed("open()", path, &error))
}

/// Removes the file.
pub fn remove(path: &Path) -> Result<(), String> {
    fs::remove_file(path).map_err(|error| failed("unlink()", path, &error))
}

/// The process the file names. Errors as nginx words them.
pub fn read(path: &Path) -> Result<Pid, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| failed("open()", path, &error))?;
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(|error| failed("read()", path, &error))?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_end_matches(['\r', '\n']);
    match text.parse() {
        Ok(pid @ 1..) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Pid::from_raw(pid)),
        _ => Err(format!("invalid PID number \"{text}\" in \"{}\"", path.display())),
    }
}

fn failed(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} \"{}\" failed ({})", path.display(), errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        assert_eq!(
            read(&path),
            Err(format!("open() \"{}\" failed (2: No such file or directory)", path.display()))
        );
        test(&path).unwrap();
        assert!(!path.exists());
        write(&path).unwrap();
        test(&path).unwrap();
        assert_eq!(read(&path), Ok(Pid::this()));
        assert_eq!(old(&path).file_name().unwrap(), "x.pid.oldbin");
        remove(&path).unwrap();
        assert!(remove(&path).is_err());
        assert!(write(&dir.path().join("none/x.pid")).is_err());
        assert!(test(&dir.path().join("none/x.pid")).is_err());
    }

    #[test]
    fn only_a_number_is_a_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        for (text, expected) in [
            ("12\n", Some(12)),
            ("12", Some(12)),
            ("", None),
            ("-1\n", None),
            ("0", None),
            ("+3", None),
            ("x", None),
            ("99999999999", None),
        ] {
            fs::write(&path, text).unwrap();
            match expected {
                Some(pid) => assert_eq!(read(&path), Ok(Pid::from_raw(pid))),
                None => assert!(read(&path).unwrap_err().starts_with("invalid PID number"), "{text}"),
            }
        }
    }
}
