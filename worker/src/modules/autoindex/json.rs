//! A directory as JSON, alone or as the argument of a function.

use http1::{http_time, push_decimal};

use crate::files::{Entry, FileKind};

pub(super) fn list(entries: &[Entry], callback: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + entries.len() * 128);
    if let Some(callback) = callback {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"\r\n{ \"name\":\"");
        escape(&mut out, &entry.name);
        out.extend_from_slice(b"\", \"type\":\"");
        out.extend_from_slice(super::kind_name(entry.info.kind).as_bytes());
        out.extend_from_slice(b"\", \"mtime\":\"");
        out.extend_from_slice(&http_time(entry.info.mtime));
        out.push(b'"');
        if entry.info.kind == FileKind::Regular {
            out.extend_from_slice(b", \"size\":");
            push_decimal(&mut out, entry.info.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if callback.is_some() {
        out.extend_from_slice(b");");
    }
    out
}

/// Appends `text` as the inside of a JSON string; bytes above ASCII stay as they are.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileInfo;

    fn entry(name: &[u8], kind: FileKind) -> Entry {
        Entry { name: name.to_vec(), info: FileInfo { kind, size: 5, mtime: 1, executable: false, inode: 0 } }
    }

    #[test]
    fn lists() {
        assert_eq!(list(&[], None), b"[\r\n]");
        assert_eq!(list(&[], Some(b"f")), b"/* callback */\r\nf([\r\n]);");
        let entries = [entry(b"a\"\x01\n", FileKind::Directory), entry(b"b", FileKind::Regular)];
        let time = "\"mtime\":\"Thu, 01 Jan 1970 00:00:01 GMT\"";
        let expected = format!(
            "[\r\n{{ \"name\":\"a\\\"\\u0001\\n\", \"type\":\"directory\", {time} }},\r\n{{ \"name\":\"b\", \"type\":\"file\", {time}, \"size\":5 }}\r\n]"
        );
        assert_eq!(String::from_utf8(list(&entries, None)).unwrap(), expected);
    }
}
