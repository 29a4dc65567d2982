//! Names of cached files: MD5 of the key in hexadecimal digits, as nginx names them.

use md5::{Digest as _, Md5};
use shm::cache::Key;

/// MD5 of a key's text.
pub(super) fn of_text(text: &[u8]) -> Key {
    Md5::digest(text).into()
}

/// The key as it stands in file names.
pub(super) fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key in a file's name, if it is one.
pub(super) fn of_name(name: &str) -> Option<Key> {
    let bytes = name.as_bytes();
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if bytes.len() != 32 || !bytes.iter().all(|byte| digit(*byte)) {
        return None;
    }
    let mut key = Key::default();
    for (room, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
        *room = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys() {
        let key = of_text(b"http://example.com/index.php");
        assert_eq!(of_name(&hex(&key)), Some(key));
        assert_eq!(hex(&of_text(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        for bad in ["", "0000000001", "D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427"] {
            assert_eq!(of_name(bad), None, "{bad}");
        }
    }
}
