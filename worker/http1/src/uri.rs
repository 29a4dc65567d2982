//! Path and arguments of a request: decoding and normalisation as nginx does it before it picks a location.
//!
//! The path is decoded once (`%XX`), then `.` and `..` segments are resolved and, with `merge_slashes`, runs of slashes become
//! one. An encoded slash or dot counts like a plain one, so a rule on the path cannot be stepped around by spelling it another
//! way. `?` ends the path only when it is not encoded.

use crate::syntax::hex_digit;

/// A target that cannot be normalised: broken `%XX`, NUL, control character, `..` above the root. nginx answers 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid uri")]
pub struct InvalidUri;

/// A normalised path with its arguments; keeps its memory from one request to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    path: Vec<u8>,
    args: Vec<u8>,
    /// Where the extension begins in `path`, if there is one.
    exten: Option<u32>,
    /// Whether the path as sent differs from the normalised one.
    changed: bool,
}

impl Default for Uri {
    fn default() -> Self {
        Self { path: b"/".to_vec(), args: Vec::new(), exten: None, changed: false }
    }
}

impl Uri {
    /// The path `/` without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// The decoded and normalised path, nginx's `$uri`. Always begins with `/`, never holds NUL.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What follows the first `?`, as sent; empty if nothing does. nginx's `$args`.
    pub fn args(&self) -> &[u8] {
        &self.args
    }

    /// What follows the last dot of the last segment, nginx's `r->exten`; empty if there is no such dot.
    pub fn exten(&self) -> &[u8] {
        self.exten.map_or(b"", |at| &self.path[at as usize..])
    }

    /// Whether the path as sent was not the normalised path.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Takes `path` as it is, already decoded (`rewrite`, `error_page`, `try_files`), and leaves the arguments.
    pub fn set_path(&mut self, path: &[u8]) {
        self.path.clear();
        self.path.extend_from_slice(path);
        self.changed = true;
        self.find_exten();
    }

    /// Replaces the arguments.
    pub fn set_args(&mut self, args: &[u8]) {
        self.args.clear();
        self.args.extend_from_slice(args);
    }

    /// Exchanges path and arguments for the memory of others, to be used by the next request. What is here afterwards is
    /// of no meaning until it is cleared or parsed.
    pub fn swap_parts(&mut self, path: &mut Vec<u8>, args: &mut Vec<u8>) {
        std::mem::swap(&mut self.path, path);
        std::mem::swap(&mut self.args, args);
    }

    /// Back to `/` without arguments.
    pub fn clear(&mut self) {
        self.path.clear();
        self.path.push(b'/');
        self.args.clear();
        self.exten = None;
        self.changed = false;
    }

    /// Reads an origin-form target: path, optionally `?` and arguments, optionally `#` and a fragment, which is dropped.
    ///
    /// After an error the path is `/` and there are no arguments.
    pub fn parse(&mut self, target: &[u8], merge_slashes: bool) -> Result<(), InvalidUri> {
        self.clear();
        let result = self.parse_parts(target, merge_slashes);
        if result.is_err() {
            self.clear();
        }
        result
    }

    /// Reads a target that normalising would not change, in one pass; `false` leaves everything to [`Uri::parse`].
    pub(crate) fn parse_plain(&mut self, target: &[u8]) -> bool {
        let Some((path_len, exten)) = plain_path(target) else { return false };
        if let Some(args) = target.get(path_len + 1..)
            && args.iter().fold(false, |bad, &byte| bad | (byte <= b' ') | (byte == 0x7f) | (byte == b'#'))
        {
            return false;
        }
        self.path.clear();
        self.path.extend_from_slice(&target[..path_len]);
        self.args.clear();
        self.args.extend_from_slice(target.get(path_len + 1..).unwrap_or_default());
        self.exten = exten;
        self.changed = false;
        true
    }

    fn parse_parts(&mut self, target: &[u8], merge_slashes: bool) -> Result<(), InvalidUri> {
        if target.first() != Some(&b'/') || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return Err(InvalidUri);
        }
        let target = without_fragment(target);
        let (path, args) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        self.args.extend_from_slice(args);
        if is_plain(path) {
            self.path.clear();
            self.path.extend_from_slice(path);
        } else {
            self.normalise(path, merge_slashes)?;
            self.changed = self.path != path;
        }
        self.find_exten();
        Ok(())
    }

    fn normalise(&mut self, path: &[u8], merge_slashes: bool) -> Result<(), InvalidUri> {
        // the path holds the leading slash already
        let mut at = 1;
        while at < path.len() {
            let byte = match path[at] {
                b'%' => {
                    let decoded = decode(path, at).filter(|&byte| byte != 0).ok_or(InvalidUri)?;
                    at += 3;
                    decoded
                }
                byte => {
                    at += 1;
                    byte
                }
            };
            if byte != b'/' {
                self.path.push(byte);
                continue;
            }
            let resolved = self.resolve_dots()?;
            let merged = merge_slashes && self.path.last() == Some(&b'/');
            if !resolved && !merged {
                self.path.push(b'/');
            }
        }
        self.resolve_dots()?;
        Ok(())
    }

    /// Takes back a last segment `.`, or `..` with the segment before it; tells whether there was one. The path then ends with
    /// the slash in front of what was taken, so the slash that follows in the target adds nothing.
    fn resolve_dots(&mut self) -> Result<bool, InvalidUri> {
        if self.path.ends_with(b"/.") {
            self.path.truncate(self.path.len() - 1);
            return Ok(true);
        }
        if self.path.ends_with(b"/..") {
            let parent = &self.path[..self.path.len() - 3];
            let slash = memchr::memrchr(b'/', parent).ok_or(InvalidUri)?;
            self.path.truncate(slash + 1);
            return Ok(true);
        }
        Ok(false)
    }

    fn find_exten(&mut self) {
        self.exten = None;
        let segment_at = memchr::memrchr(b'/', &self.path).map_or(0, |slash| slash + 1);
        let segment = &self.path[segment_at..];
        // the dots a segment begins with (up to three) are part of its name
        let skip = segment.iter().take(3).take_while(|&&byte| byte == b'.').count();
        self.exten = memchr::memrchr(b'.', &segment[skip..]).map(|dot| (segment_at + skip + dot + 1) as u32);
    }
}

/// Length of the path of `target` and where its extension begins, if the path is in normal form and holds nothing unusual.
fn plain_path(target: &[u8]) -> Option<(usize, Option<u32>)> {
    let (&slash, rest) = target.split_first()?;
    if slash != b'/' {
        return None;
    }
    let (mut previous, mut exten) = (slash, None);
    for (at, &byte) in rest.iter().enumerate() {
        match PATH_CLASS[byte as usize] {
            PathByte::Plain => {}
            PathByte::Slash if previous != b'/' => exten = None,
            // a segment that begins with a dot may be `.` or `..`
            PathByte::Dot if previous != b'/' => exten = Some(at as u32 + 2),
            PathByte::Query => return Some((at + 1, exten)),
            PathByte::Slash | PathByte::Dot | PathByte::Other => return None,
        }
        previous = byte;
    }
    Some((target.len(), exten))
}

/// What a byte means to [`plain_path`].
#[derive(Clone, Copy)]
enum PathByte {
    Plain,
    Slash,
    Dot,
    Query,
    /// `%`, `#`, blanks and control characters.
    Other,
}

static PATH_CLASS: [PathByte; 256] = path_classes();

const fn path_classes() -> [PathByte; 256] {
    let mut classes = [PathByte::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => PathByte::Slash,
            b'.' => PathByte::Dot,
            b'?' => PathByte::Query,
            0..=b' ' | b'#' | b'%' | 0x7f => PathByte::Other,
            _ => PathByte::Plain,
        };
        byte += 1;
    }
    classes
}

/// `target` up to its fragment, if it has one.
pub(crate) fn without_fragment(target: &[u8]) -> &[u8] {
    &target[..memchr::memchr(b'#', target).unwrap_or(target.len())]
}

/// Whether normalising would change nothing: no `%`, no `//`, no segment that begins with a dot.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        if byte == b'%' || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

/// The byte that `%XX` at `at` stands for.
fn decode(bytes: &[u8], at: usize) -> Option<u8> {
    let high = hex_digit(*bytes.get(at + 1)?)?;
    let low = hex_digit(*bytes.get(at + 2)?)?;
    Some(high << 4 | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str, merge: bool) -> Option<String> {
        let mut uri = Uri::new();
        uri.parse(target.as_bytes(), merge).ok()?;
        Some(String::from_utf8_lossy(uri.path()).into_owned())
    }

    #[test]
    fn paths() {
        let cases: &[(&str, &str)] = &[
            ("/", "/"),
            ("/foo/bar", "/foo/bar"),
            ("/foo/bar/.", "/foo/bar/"),
            ("/foo/bar/..", "/foo/"),
            ("/foo/bar/./", "/foo/bar/"),
            ("/foo/bar/../", "/foo/"),
            ("/foo/bar/.?args", "/foo/bar/"),
            ("/foo/bar/.#frag", "/foo/bar/"),
            ("/foo/bar/..?args", "/foo/"),
            ("/foo/bar/..#frag", "/foo/"),
            ("/a/b/../../c", "/c"),
            ("/a/b/../..", "/"),
            ("/a//b///c", "/a/b/c"),
            ("//", "/"),
            ("//a", "/a"),
            ("/./a", "/a"),
            ("/a/./././b", "/a/b"),
            ("/.a", "/.a"),
            ("/..a", "/..a"),
            ("/...", "/..."),
            ("/.../..", "/"),
            ("/a%2fb", "/a/b"),
            ("/a%2F%2Fb", "/a/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E./b", "/b"),
            ("/a%2f..%2fb", "/b"),
            ("/a/.%2e%2fb", "/b"),
            ("/%61", "/a"),
            ("/%2561", "/%61"),
            ("/%252e%252e/", "/%2e%2e/"),
            ("/a%3fb?c", "/a?b"),
            ("/a%23b", "/a#b"),
            ("/a+b%2Bc", "/a+b+c"),
            ("/%20", "/ "),
            ("/%0d%0a", "/\r\n"),
            ("/%02", "/\x02"),
            ("/a;b/..;/c", "/a;b/..;/c"),
            ("/a\\..\\b", "/a\\..\\b"),
            ("/\u{e9}", "/\u{e9}"),
            ("/%c3%a9", "/\u{e9}"),
            ("/a/b/..?x=/../y", "/a/"),
        ];
        for (target, path) in cases {
            assert_eq!(parse(target, true).as_deref(), Some(*path), "{target}");
        }
    }

    #[test]
    fn slashes_kept() {
        let cases: &[(&str, &str)] = &[
            ("/a//b", "/a//b"),
            ("//", "//"),
            ("/foo//../bar", "/foo/bar"),
            ("/foo///../bar", "/foo//bar"),
            ("/foo/./bar", "/foo/bar"),
            ("/foo//./bar", "/foo//bar"),
            ("/foo%2f%2fbar", "/foo//bar"),
            ("//..", "/"),
        ];
        for (target, path) in cases {
            assert_eq!(parse(target, false).as_deref(), Some(*path), "{target}");
        }
    }

    #[test]
    fn refused() {
        let cases = [
            "",
            "a",
            "?a",
            "#a",
            "/..",
            "/../",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/./..",
            "/%2e%2e",
            "/%2e%2e%2fa",
            "//..",
            "/%",
            "/%1",
            "/%zz",
            "/%1g",
            "/%%31",
            "/a%?b",
            "/a%2?b",
            "/a%2#b",
            "/%00",
            "/a%00b",
            "/a b",
            "/\0",
            "/\x7f",
            "/\t",
            "/a?b c",
            "/a?b\0",
            "/a\r",
            "/a\n",
        ];
        for target in cases {
            assert_eq!(parse(target, true), None, "{target:?}");
        }
        let mut uri = Uri::new();
        assert!(uri.parse(b"/a/../..?x", true).is_err());
        assert_eq!((uri.path(), uri.args()), (&b"/"[..], &b""[..]));
    }

    #[test]
    fn arguments() {
        let cases: &[(&str, &str)] = &[
            ("/a", ""),
            ("/a?", ""),
            ("/a?b", "b"),
            ("/a?b?c", "b?c"),
            ("/a?b#c", "b"),
            ("/a#b?c", ""),
            ("/a?%00%zz//..", "%00%zz//.."),
        ];
        for (target, args) in cases {
            let mut uri = Uri::new();
            uri.parse(target.as_bytes(), true).unwrap();
            assert_eq!(uri.args(), args.as_bytes(), "{target}");
        }
    }

    #[test]
    fn extensions() {
        let cases: &[(&str, &str)] = &[
            ("/a.html", "html"),
            ("/a.tar.gz", "gz"),
            ("/a.b/c", ""),
            ("/a.", ""),
            ("/.htaccess", ""),
            ("/.a.b", "b"),
            ("/..a", ""),
            ("/...", ""),
            ("/x/a.%68tml?y.z", "html"),
            ("/a.b/../c.d", "d"),
            ("/a.b/", ""),
        ];
        for (target, exten) in cases {
            let mut uri = Uri::new();
            uri.parse(target.as_bytes(), true).unwrap();
            assert_eq!(String::from_utf8_lossy(uri.exten()), *exten, "{target}");
        }
    }

    #[test]
    fn one_pass_agrees_with_the_general_way() {
        let pieces = ["/", "a", ".", "..", "?", "%41", "#", "//", "b.c", "/.", " ", "\u{e9}", "\x7f", ".x/"];
        let mut number = 0usize;
        while number < pieces.len().pow(4) {
            let digits = (0..4).map(|place| pieces[number / pieces.len().pow(place) % pieces.len()]);
            let target = format!("/{}", digits.collect::<String>());
            let (mut fast, mut general) = (Uri::new(), Uri::new());
            if fast.parse_plain(target.as_bytes()) {
                general.parse(target.as_bytes(), number.is_multiple_of(2)).expect("what is plain is valid");
                assert_eq!(fast, general, "{target}");
            }
            number += 1;
        }
        assert!(Uri::new().parse_plain(b"/a/b.html?x=1"));
        assert!(!Uri::new().parse_plain(b"*") && !Uri::new().parse_plain(b""));
    }

    #[test]
    fn whether_changed() {
        for (target, changed) in
            [("/a", false), ("/a%41", true), ("//a", true), ("/.a", false), ("/a?%41", false)]
        {
            let mut uri = Uri::new();
            uri.parse(target.as_bytes(), true).unwrap();
            assert_eq!(uri.is_changed(), changed, "{target}");
        }
    }
}
