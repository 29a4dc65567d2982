//! Variants of a response: `Vary` names request fields whose values choose among them.

use http1::Headers;
use md5::{Digest as _, Md5};
use shm::cache::Key;

/// Longer `Vary` fields are not cached (nginx's limit).
pub(super) const VARY_LEN_MAX: usize = 128;

/// The key of the variant that a request with `headers` gets, as `vary` says.
pub(super) fn variant(main: &Key, vary: &[u8], headers: &Headers) -> Key {
    let mut digest = Md5::new();
    digest.update(main);
    let names = vary.split(|byte| matches!(byte, b' ' | b',')).filter(|name| !name.is_empty());
    for name in names {
        let name = name.to_ascii_lowercase();
        digest.update(&name);
        digest.update(b":");
        field(&mut digest, &name, headers);
        digest.update(b"\r\n");
    }
    digest.finalize().into()
}

/// Lists whose blanks do not matter.
const LISTS: [&[u8]; 3] = [b"accept-charset", b"accept-encoding", b"accept-language"];

fn field(digest: &mut Md5, name: &[u8], headers: &Headers) {
    let list = LISTS.contains(&name);
    let mut first = true;
    for value in headers.get_all(name) {
        let parts = value.split(|byte| list && matches!(byte, b' ' | b','));
        for part in parts.filter(|part| !list || !part.is_empty()) {
            if !std::mem::replace(&mut first, false) {
                digest.update(b",");
            }
            digest.update(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_matters_and_blanks_in_lists_do_not() {
        let headers = |fields: &[(&str, &str)]| {
            let mut headers = Headers::new();
            fields.iter().for_each(|(name, value)| headers.push(name.as_bytes(), value.as_bytes()));
            headers
        };
        let of = |vary: &str, fields: &[(&str, &str)]| variant(&[0; 16], vary.as_bytes(), &headers(fields));
        let gzip = of("Accept-Encoding", &[("Accept-Encoding", "gzip,  br")]);
        assert_eq!(gzip, of("accept-encoding", &[("accept-encoding", "gzip,br"), ("X", "y")]));
        assert_eq!(gzip, of("Accept-Encoding", &[("Accept-Encoding", "gzip"), ("Accept-Encoding", "br")]));
        assert_ne!(gzip, of("Accept-Encoding", &[("Accept-Encoding", "gzip")]));
        assert_ne!(of("X", &[("X", "a b")]), of("X", &[("X", "a  b")]));
        assert_ne!(of("X", &[]), of("Y", &[]));
    }
}
