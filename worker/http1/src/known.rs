//! Field names the server itself looks at, so that finding one costs an array access instead of a search.

use crate::syntax::eq_ignore_case;

macro_rules! known {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A field name the server knows. [`Known::name`] gives the spelling that is sent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $name, "`")] $variant),+
        }

        impl Known {
            /// Every known name, in the order of the variants.
            pub const ALL: &'static [Known] = &[$(Known::$variant),+];
        }

        const NAMES: &[&str] = &[$($name),+];
    };
}

known! {
    Host = "Host",
    Connection = "Connection",
    ContentLength = "Content-Length",
    TransferEncoding = "Transfer-Encoding",
    ContentType = "Content-Type",
    Expect = "Expect",
    Upgrade = "Upgrade",
    UserAgent = "User-Agent",
    Referer = "Referer",
    Range = "Range",
    IfModifiedSince = "If-Modified-Since",
    IfUnmodifiedSince = "If-Unmodified-Since",
    IfNoneMatch = "If-None-Match",
    IfMatch = "If-Match",
    IfRange = "If-Range",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    Via = "Via",
    Authorization = "Authorization",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyConnection = "Proxy-Connection",
    KeepAlive = "Keep-Alive",
    XForwardedFor = "X-Forwarded-For",
    XRealIp = "X-Real-IP",
    Cookie = "Cookie",
    Te = "TE",
    Trailer = "Trailer",
    Http2Settings = "HTTP2-Settings",
    Depth = "Depth",
    Destination = "Destination",
    Overwrite = "Overwrite",
    ContentRange = "Content-Range",
    ContentEncoding = "Content-Encoding",
    ContentDisposition = "Content-Disposition",
    AcceptRanges = "Accept-Ranges",
    Date = "Date",
    Server = "Server",
    SetCookie = "Set-Cookie",
    Location = "Location",
    Refresh = "Refresh",
    LastModified = "Last-Modified",
    Etag = "ETag",
    Expires = "Expires",
    CacheControl = "Cache-Control",
    Pragma = "Pragma",
    Vary = "Vary",
    Age = "Age",
    Link = "Link",
    WwwAuthenticate = "WWW-Authenticate",
    Status = "Status",
    XAccelRedirect = "X-Accel-Redirect",
    XAccelExpires = "X-Accel-Expires",
    XAccelLimitRate = "X-Accel-Limit-Rate",
    XAccelBuffering = "X-Accel-Buffering",
    XAccelCharset = "X-Accel-Charset",
}

/// How many names are known.
pub(crate) const COUNT: usize = NAMES.len();

impl Known {
    /// The name as it is sent, e.g. `Content-Length`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The known name equal to `name` without regard to case (RFC 9110 section 5.1).
    #[inline]
    pub fn from_name(name: &[u8]) -> Option<Known> {
        if name.len() < 2 {
            return None;
        }
        let mut slot = hash(name);
        while SLOTS[slot] != EMPTY {
            let index = SLOTS[slot] as usize;
            if eq_ignore_case(NAMES[index].as_bytes(), name) {
                return Some(Known::ALL[index]);
            }
            slot = (slot + 1) % SLOTS.len();
        }
        None
    }
}

/// Slot without a name.
const EMPTY: u8 = u8::MAX;

/// Open addressing table from [`hash`] to the index of the name; a quarter full, so a miss mostly ends at once.
static SLOTS: [u8; 256] = slots();

const fn hash(name: &[u8]) -> usize {
    let first = name[0] | 0x20;
    let last = name[name.len() - 1] | 0x20;
    let middle = name[name.len() / 2] | 0x20;
    let mixed = first as usize * 7 + last as usize * 31 + middle as usize * 13 + name.len() * 57;
    mixed % 256
}

const fn slots() -> [u8; 256] {
    const { assert!(COUNT < 128, "the table stays at most half full") };
    let mut slots = [EMPTY; 256];
    let mut index = 0;
    while index < COUNT {
        let mut slot = hash(NAMES[index].as_bytes());
        while slots[slot] != EMPTY {
            slot = (slot + 1) % 256;
        }
        slots[slot] = index as u8;
        index += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for &known in Known::ALL {
            let name = known.name();
            assert_eq!(Known::from_name(name.as_bytes()), Some(known));
            assert_eq!(Known::from_name(name.to_ascii_lowercase().as_bytes()), Some(known));
            assert_eq!(Known::from_name(name.to_ascii_uppercase().as_bytes()), Some(known));
        }
    }

    #[test]
    fn others_are_not_found() {
        for name in ["", "h", "Hos", "Hostt", "X-Foo", "content_length", "Content-Lengt\x48x"] {
            assert_eq!(Known::from_name(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn only_letters_are_folded() {
        // '\r' differs from '-' by the case bit alone
        assert_eq!(Known::from_name(b"Keep\rAlive"), None);
        assert_eq!(Known::from_name(b"Keep\x4dAlive"), None);
    }
}
