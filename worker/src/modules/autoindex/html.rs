//! A directory as a page, byte for byte as nginx writes it.

use std::io::Write as _;

use chrono::{DateTime, Local, Offset as _};
use http1::{Escape, escape_html, escape_uri};

use super::AutoindexConf;
use crate::clock::unix_seconds;
use crate::files::Entry;
use crate::request::Request;

/// Width of the column of names, in characters.
const NAME_WIDTH: usize = 50;
/// About what an entry needs besides its name, for the first allocation.
const ENTRY_BYTES: usize = 160;

pub(super) fn page(req: &Request, entries: &[Entry], conf: &AutoindexConf) -> Vec<u8> {
    let is_utf8 = req.out.charset.eq_ignore_ascii_case(b"utf-8");
    let shift = if conf.localtime { local_offset() } else { 0 };
    let mut page = Vec::with_capacity(256 + entries.len() * ENTRY_BYTES);
    page.extend_from_slice(b"<html>\r\n<head><title>Index of ");
    escape_html(&mut page, &req.uri);
    page.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    escape_html(&mut page, &req.uri);
    page.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    for entry in entries {
        row(&mut page, entry, is_utf8, shift, conf.exact_size);
    }
    page.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    page
}

/// Seconds the local clock is ahead of UTC now.
fn local_offset() -> i64 {
    let now = DateTime::from_timestamp(unix_seconds(), 0).unwrap_or_default();
    now.with_timezone(&Local).offset().fix().local_minus_utc().into()
}

fn row(page: &mut Vec<u8>, entry: &Entry, is_utf8: bool, shift: i64, exact_size: bool) {
    let is_dir = entry.info.is_dir();
    page.extend_from_slice(b"<a href=\"");
    escape_uri(page, &entry.name, Escape::UriComponent);
    if is_dir {
        page.push(b'/');
    }
    page.extend_from_slice(b"\">");
    name(page, &entry.name, is_dir, is_utf8);
    let time = DateTime::from_timestamp(entry.info.mtime.saturating_add(shift), 0).unwrap_or_default();
    // writing to memory does not fail
    let _ = write!(page, " {} ", time.format("%d-%b-%Y %H:%M"));
    size(page, entry, exact_size);
    page.extend_from_slice(b"\r\n");
}

/// The name, cut or padded to its column.
fn name(page: &mut Vec<u8>, name: &[u8], is_dir: bool, is_utf8: bool) {
    // where characters begin, when they are not bytes
    let text = std::str::from_utf8(name).ok().filter(|_| is_utf8);
    let mut width = text.map_or(name.len(), |text| text.chars().count());
    if width > NAME_WIDTH {
        let shown = NAME_WIDTH - 3;
        let end = text.map_or(shown, |text| text.char_indices().nth(shown).map_or(name.len(), |(at, _)| at));
        escape_html(page, &name[..end]);
        page.extend_from_slice(b"..&gt;</a>");
        return;
    }
    escape_html(page, name);
    if is_dir && width < NAME_WIDTH {
        page.push(b'/');
        width += 1;
    }
    page.extend_from_slice(b"</a>");
    page.resize(page.len() + NAME_WIDTH - width, b' ');
}

fn size(page: &mut Vec<u8>, entry: &Entry, exact: bool) {
    let size = entry.info.size;
    // writing to memory does not fail
    let _ = match (exact, entry.info.is_dir()) {
        (true, true) => write!(page, "{:>19}", "-"),
        (true, false) => write!(page, "{size:>19}"),
        (false, true) => write!(page, "{:>7}", "-"),
        (false, false) => match rounded(size) {
            (number, Some(unit)) => write!(page, "{number:>6}{unit}"),
            (number, None) => write!(page, " {number:>6}"),
        },
    };
}

/// The size in the largest unit it fills, to the nearest whole number.
fn rounded(size: u64) -> (u64, Option<char>) {
    const K: u64 = 1024;
    const M: u64 = 1024 * K;
    const G: u64 = 1024 * M;
    /// Up to here bytes are shown as they are.
    const EXACT_MAX: u64 = 9999;
    let of = |unit: u64| size / unit + u64::from(size % unit >= unit / 2);
    if size >= G {
        (of(G), Some('G'))
    } else if size >= M {
        (of(M), Some('M'))
    } else if size > EXACT_MAX {
        (of(K), Some('K'))
    } else {
        (size, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FileInfo, FileKind};

    fn shown(name: &str, kind: FileKind, size: u64, is_utf8: bool, exact: bool) -> String {
        let info = FileInfo { kind, size, mtime: 0, executable: false, inode: 0 };
        let mut page = Vec::new();
        row(&mut page, &Entry { name: name.into(), info }, is_utf8, 3600, exact);
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn rows() {
        let cell = |link: &str, text: &str, width: usize, tail: &str| {
            format!("<a href=\"{link}\">{text}</a>{:width$} 01-Jan-1970 01:00 {tail}\r\n", "")
        };
        use FileKind::{Directory, Regular};
        assert_eq!(shown("a", Regular, 12, false, true), cell("a", "a", 49, &format!("{:>19}", 12)));
        assert_eq!(shown("d", Directory, 12, false, true), cell("d/", "d/", 48, &format!("{:>19}", "-")));
        assert_eq!(shown("<", Regular, 9999, false, false), cell("%3C", "&lt;", 49, "   9999"));
        assert_eq!(shown("d", Directory, 0, false, false), cell("d/", "d/", 48, "      -"));
        let long = "x".repeat(51);
        assert_eq!(
            shown(&long, Regular, 10_240, false, false),
            cell(&long, &format!("{}..&gt;", &long[..47]), 0, "    10K")
        );
        let full = "x".repeat(50);
        assert_eq!(shown(&full, Directory, 0, false, false), cell(&format!("{full}/"), &full, 0, "      -"));
        assert_eq!(shown("ф", Regular, 0, true, false), cell("%D1%84", "ф", 49, "      0"));
        assert_eq!(shown("ф", Regular, 0, false, false), cell("%D1%84", "ф", 48, "      0"));
    }

    #[test]
    fn rounding() {
        for (size, expected) in [
            (0, (0, None)),
            (9_999, (9_999, None)),
            (10_000, (10, Some('K'))),
            (10_751, (10, Some('K'))),
            (10_752, (11, Some('K'))),
            ((1 << 20) - 1, (1024, Some('K'))),
            (1 << 20, (1, Some('M'))),
            (3 << 29, (2, Some('G'))),
        ] {
            assert_eq!(rounded(size), expected, "{size}");
        }
    }
}
