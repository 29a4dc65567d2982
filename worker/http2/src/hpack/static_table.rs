//! The static table of RFC 7541 Appendix A.

/// Entries 1 to 61; index 0 is not used.
pub(super) static ENTRIES: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// Number of entries; the dynamic table begins behind them.
pub(super) const LEN: usize = ENTRIES.len();

/// The static index whose name is `name`, which must be in lower case; for response fields the encoder meets.
pub(super) fn name_index(name: &[u8]) -> Option<usize> {
    // from 15 (`accept-charset`) on every name occurs once; from 20 on they are in alphabetical order
    if name.starts_with(b"accept") {
        let at = ENTRIES[FIRST_PLAIN - 1..FIRST_ORDERED - 1].iter().position(|(entry, _)| *entry == name)?;
        return Some(FIRST_PLAIN + at);
    }
    let at = ENTRIES[FIRST_ORDERED - 1..].binary_search_by(|(entry, _)| (*entry).cmp(name)).ok()?;
    Some(FIRST_ORDERED + at)
}

const FIRST_PLAIN: usize = 15;
const FIRST_ORDERED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plain_name_is_found() {
        for (at, (name, _)) in ENTRIES.iter().enumerate().skip(FIRST_PLAIN - 1) {
            assert_eq!(name_index(name), Some(at + 1), "{}", name.escape_ascii());
        }
        assert_eq!(name_index(b":path"), None);
        assert_eq!(name_index(b"x"), None);
    }
}
