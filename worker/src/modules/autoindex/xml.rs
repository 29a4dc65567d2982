//! A directory as an XML document.

use std::io::Write as _;

use chrono::DateTime;
use http1::escape_html;

use crate::files::{Entry, FileKind};

pub(super) fn document(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + entries.len() * 96);
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for entry in entries {
        let kind = super::kind_name(entry.info.kind);
        let time = DateTime::from_timestamp(entry.info.mtime, 0).unwrap_or_default();
        // writing to memory does not fail
        let _ = write!(out, "<{kind} mtime=\"{}\"", time.format("%Y-%m-%dT%H:%M:%SZ"));
        if entry.info.kind == FileKind::Regular {
            let _ = write!(out, " size=\"{}\"", entry.info.size);
        }
        out.push(b'>');
        escape_html(&mut out, &entry.name);
        let _ = write!(out, "</{kind}>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileInfo;

    #[test]
    fn documents() {
        let entry = |name: &[u8], kind| Entry {
            name: name.to_vec(),
            info: FileInfo { kind, size: 5, mtime: 1, executable: false, inode: 0 },
        };
        let entries =
            [entry(b"a<", FileKind::Directory), entry(b"b", FileKind::Regular), entry(b"c", FileKind::Other)];
        let expected = "<?xml version=\"1.0\"?>\r\n<list>\r\n\
            <directory mtime=\"1970-01-01T00:00:01Z\">a&lt;</directory>\r\n\
            <file mtime=\"1970-01-01T00:00:01Z\" size=\"5\">b</file>\r\n\
            <other mtime=\"1970-01-01T00:00:01Z\">c</other>\r\n\
            </list>\r\n";
        assert_eq!(String::from_utf8(document(&entries)).unwrap(), expected);
    }
}
