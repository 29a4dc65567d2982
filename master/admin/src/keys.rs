//! Who may: keys with roles, in a file that nobody else can read.
//!
//! The file is made on the first start, with a key for each role from the system's random numbers. No key is ever shipped,
//! and without the file nobody may anything. A line is `role key`, `#` begins a comment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use subtle::ConstantTimeEq as _;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Reading.
    Viewer,
}

/// All keys.
pub(crate) struct Keys(Vec<(Role, Vec<u8>)>);

/// Random bytes of a key.
const KEY_BYTES: usize = 24;
/// Shorter keys are refused: they can be guessed.
const KEY_LEN_MIN: usize = 16;
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

impl Keys {
    /// Reads the file, made first if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => Self::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let text = format!(
            "# Keys of the Admin API, sent as X-API-KEY. A viewer can only read.\nadmin {}\nviewer {}\n",
            random_key()?,
            random_key()?
        );
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Self::parse(&text)
    }

    fn read(file: File) -> io::Result<Self> {
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            let text =
                format!("the file of keys can be read by others (mode {:o}), chmod 600 it", mode & 0o777);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> io::Result<Self> {
        let wrong = |line: &str| {
            let text = format!("a line of the file of keys is not \"role key\": \"{line}\"");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let role = match words.next() {
                Some("admin") => Role::Admin,
                Some("viewer") => Role::Viewer,
                // the key itself must not get into a log
                other => return Err(wrong(other.unwrap_or_default())),
            };
            match (words.next(), words.next()) {
                (Some(key), None) if key.len() >= KEY_LEN_MIN => keys.push((role, key.as_bytes().to_vec())),
                _ => return Err(wrong("role …")),
            }
        }
        Ok(Self(keys))
    }

    /// The role of a key. Every key is compared, and to its end: the time tells nothing.
    pub(crate) fn role(&self, given: &[u8]) -> Option<Role> {
        let mut found = None;
        for (role, key) in &self.0 {
            if bool::from(key.as_slice().ct_eq(given)) {
                found = Some(*role);
            }
        }
        found
    }
}

fn random_key() -> io::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/admin.key");
        let keys = Keys::open(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let key = |role: &str| {
            let line = text.lines().find(|line| line.starts_with(role)).unwrap();
            line.split_whitespace().nth(1).unwrap().as_bytes().to_vec()
        };
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(key("admin").len(), 2 * KEY_BYTES);
        assert_ne!(key("admin"), key("viewer"));
        let again = Keys::open(&path).unwrap();
        for keys in [&keys, &again] {
            assert_eq!(keys.role(&key("admin")), Some(Role::Admin));
            assert_eq!(keys.role(&key("viewer")), Some(Role::Viewer));
            for wrong in [&b""[..], b"edd1c9f034335f136f87ad84b625c8f1", &key("admin")[1..]] {
                assert_eq!(keys.role(wrong), None);
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Keys::open(&path).is_err());
    }

    #[test]
    fn bad_files_are_refused_without_showing_keys() {
        for text in ["admin", "admin short", "root 0123456789abcdef0123", "admin 0123456789abcdef0123 x"] {
            let error = Keys::parse(text).err().unwrap().to_string();
            assert!(!error.contains("0123456789"), "{error}");
        }
        assert!(Keys::parse("# none\n").unwrap().role(b"").is_none());
    }
}
