//! Shell patterns in `include`, with the rules of glob(3) that nginx calls without flags.
//!
//! `*` and `?` match within one path component, never a leading dot; `[a-z]`, `[!a]`, `[^a]` are sets; a
//! backslash takes the next byte literally. The matches are sorted by the bytes of the whole path, because
//! nginx runs in the C locale. Directories that cannot be read match nothing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many paths one pattern may match.
pub const MATCHES_MAX: usize = 65_536;

/// The existing paths that match `pattern`, sorted.
///
/// # Errors
/// When there are more than [`MATCHES_MAX`].
pub fn expand(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = pattern.as_bytes();
    while !rest.is_empty() && !found.is_empty() {
        let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
        let (lead, tail) = rest.split_at(slashes);
        let end = tail.iter().position(|&byte| byte == b'/').unwrap_or(tail.len());
        let (component, after) = tail.split_at(end);
        rest = after;
        found = step(&found, lead, component)?;
    }
    found.sort_unstable();
    Ok(found.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
}

/// Appends one component of the pattern, preceded by its slashes, to every path found so far.
fn step(bases: &[Vec<u8>], lead: &[u8], component: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for base in bases {
        let mut base = base.clone();
        base.extend_from_slice(lead);
        if component.is_empty() || !has_magic(component) {
            base.extend_from_slice(&literal(component));
            if fs::symlink_metadata(Path::new(OsStr::from_bytes(&base))).is_ok() {
                out.push(base);
            }
            continue;
        }
        for name in names(&base) {
            if matches(component, &name) {
                let mut path = base.clone();
                path.extend_from_slice(&name);
                out.push(path);
            }
        }
        if out.len() > MATCHES_MAX {
            return Err(io::Error::other("too many matches"));
        }
    }
    Ok(out)
}

/// The names in a directory, without `.` and `..`, which no pattern here can match before they are literal.
fn names(directory: &[u8]) -> Vec<Vec<u8>> {
    let path = if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().as_bytes().to_vec()).collect()
}

fn has_magic(component: &[u8]) -> bool {
    component.iter().any(|byte| b"*?[".contains(byte))
}

/// A component without magic bytes, its backslashes resolved.
fn literal(component: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(component.len());
    let mut i = 0;
    while i < component.len() {
        if component[i] == b'\\' && i + 1 < component.len() {
            i += 1;
        }
        out.push(component[i]);
        i += 1;
    }
    out
}

/// Whether one path component matches, as fnmatch(3) with `FNM_PERIOD`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && !(pattern.starts_with(b".") || pattern.starts_with(b"\\.")) {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` fails: the pattern after it, and one byte further on.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        if p < pattern.len() {
            if pattern[p] == b'*' {
                retry = Some((p, n + 1));
                p += 1;
                continue;
            }
            if let Some(&byte) = name.get(n)
                && let Some(used) = one(&pattern[p..], byte)
            {
                p += used;
                n += 1;
                continue;
            }
        }
        match retry {
            Some((star, next)) if next <= name.len() => {
                p = star;
                n = next;
            }
            _ => return false,
        }
    }
    true
}

/// Matches one byte against the head of a pattern that is not `*`; returns how much of the pattern it used.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' => (*pattern.get(1)? == byte).then_some(2),
        b'[' => match set(pattern, byte) {
            Some((true, used)) => Some(used),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        other => (other == byte).then_some(1),
    }
}

/// Whether `byte` is in the set at the head of `pattern`, and the set's length; `None` when it has no end.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut i = 1;
    let negated = matches!(pattern.get(i), Some(b'!' | b'^'));
    if negated {
        i += 1;
    }
    let first = i;
    let mut hit = false;
    loop {
        let mut low = *pattern.get(i)?;
        if low == b']' && i > first {
            return Some((hit != negated, i + 1));
        }
        if let Some((inside, used)) = class(&pattern[i..], byte) {
            hit |= inside;
            i += used;
            continue;
        }
        if low == b'\\' {
            i += 1;
            low = *pattern.get(i)?;
        }
        i += 1;
        let mut high = low;
        if pattern.get(i) == Some(&b'-') && pattern.get(i + 1).is_some_and(|&end| end != b']') {
            i += if pattern[i + 1] == b'\\' { 2 } else { 1 };
            high = *pattern.get(i)?;
            i += 1;
        }
        hit |= (low..=high).contains(&byte);
    }
}

/// Whether `byte` is in a class such as `[:alpha:]`, and the class's length; `None` when there is no such class.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    type Test = fn(&u8) -> bool;
    const CLASSES: [(&[u8], Test); 11] = [
        (b"[:alnum:]", u8::is_ascii_alphanumeric),
        (b"[:alpha:]", u8::is_ascii_alphabetic),
        (b"[:blank:]", |byte| matches!(byte, b' ' | b'\t')),
        (b"[:cntrl:]", u8::is_ascii_control),
        (b"[:digit:]", u8::is_ascii_digit),
        (b"[:graph:]", u8::is_ascii_graphic),
        (b"[:lower:]", u8::is_ascii_lowercase),
        (b"[:punct:]", u8::is_ascii_punctuation),
        (b"[:space:]", |byte| matches!(byte, b' ' | b'\t'..=b'\r')),
        (b"[:upper:]", u8::is_ascii_uppercase),
        (b"[:xdigit:]", u8::is_ascii_hexdigit),
    ];
    let (name, test) = CLASSES.iter().find(|(name, _)| pattern.starts_with(name))?;
    Some((test(&byte), name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components() {
        let cases = [
            ("*", "a", true),
            ("*", "", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("\\.*", ".a", true),
            ("?a", ".a", false),
            ("[.]a", ".a", false),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*.conf", ".conf", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyy", false),
            ("**", "a", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[abc]", "b", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]", "d", true),
            ("[^a-c]", "b", false),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("[a-]", "-", true),
            ("[[:digit:]]*", "7up", true),
            ("[[:digit:]]*", "up", false),
            ("[[:nothing:]]", ":]", true),
            ("[\\]]", "]", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", false),
            ("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn paths() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        for name in ["b", "a/x", "a.d/x", "B", "a/.hidden", "10", "9", "a[1]/y"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("z")).unwrap();
        let cases: [(&str, &[&str]); 10] = [
            ("*", &["10", "9", "B", "a", "a.d", "a[1]", "b", "z"]),
            ("*/x", &["a.d/x", "a/x"]),
            ("?/x", &["a/x"]),
            ("*/*", &["a.d/x", "a/x", "a[1]/y"]),
            ("a/*", &["a/x"]),
            ("a/.*", &["a/.hidden"]),
            ("a\\[1\\]/*", &["a[1]/y"]),
            ("[0-9]*", &["10", "9"]),
            ("none/*", &[]),
            ("b/*", &[]),
        ];
        for (pattern, expected) in cases {
            let found = expand(&format!("{root}/{pattern}")).unwrap();
            let expected: Vec<_> = expected.iter().map(|name| dir.path().join(name)).collect();
            assert_eq!(found, expected, "{pattern:?}");
        }
    }
}
