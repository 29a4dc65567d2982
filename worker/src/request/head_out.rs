//! The head of a response while handlers and filters work on it.

use http1::Headers;

/// Status and header fields. What nginx's header filter writes itself has a field of its own; everything else
/// stands in [`headers`](Self::headers) in order.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The status code; 0 while undecided.
    pub status: u16,
    /// Status line text behind `HTTP/1.1 `, when an upstream sent its own.
    pub status_text: Option<Box<[u8]>>,
    /// Media type without charset; empty: none is sent.
    pub content_type: Vec<u8>,
    /// The part of `content_type` that `types` of filters are compared with ends here (before `; charset`).
    pub content_type_len: usize,
    /// Appended as `; charset=`.
    pub charset: Vec<u8>,
    /// Length of the body; `None`: not known, chunked or until close.
    pub content_length: Option<u64>,
    /// Time of the last change, seconds since the epoch.
    pub last_modified: Option<i64>,
    /// Target of a redirect; made absolute when it is written.
    pub location: Option<Vec<u8>>,
    /// `Server` and `Date` fields taken from the upstream (`proxy_pass_header`).
    pub server: Option<Vec<u8>>,
    /// See [`server`](Self::server).
    pub date: Option<Vec<u8>>,
    /// All other fields.
    pub headers: Headers,
    /// Trailer fields, sent after a chunked body.
    pub trailers: Headers,
    /// Whether a range of the body may be served.
    pub allow_ranges: bool,
    /// Where the body begins within the whole that `content_length` measures: `slice` starts in the middle.
    pub content_offset: u64,
    /// Only one range at a time may be served: the body comes once and in order.
    pub single_range: bool,
    /// The head is an upstream's: whether the client has the content already was the upstream's to decide.
    pub from_upstream: bool,
    /// `X-Accel-Charset`: takes precedence over `charset`; `off`: none.
    pub override_charset: Option<Box<[u8]>>,
    /// `Vary: Accept-Encoding` is due.
    pub vary_encoding: bool,
    /// Trailer fields will follow the body: it is sent in chunks.
    pub expects_trailers: bool,
    /// Fills in the trailer fields when the body ends.
    pub make_trailers: Option<fn(&mut super::Request)>,
    /// A handler wrote to the body already: status and fields are decided, though the head waits to be sent with it.
    pub begun: bool,
    /// The head was handed to the connection.
    pub sent: bool,
    /// Whether the body is sent in chunks.
    pub chunked: bool,
    /// Bytes of the body handed to the connection, without framing.
    pub body_bytes: u64,
    /// Bytes of the head.
    pub head_bytes: u64,
    /// Bytes of head and body, framing included (`$bytes_sent`).
    pub bytes: u64,
}

impl ResponseHead {
    /// `$body_bytes_sent`: framing included, as nginx counts.
    pub fn body_bytes_sent(&self) -> u64 {
        self.bytes.saturating_sub(self.head_bytes)
    }

    /// Forgets everything; keeps the memory.
    pub fn reset(&mut self) {
        // taken apart, so that a new field cannot be forgotten here, and set in place: the struct is large
        let Self {
            status,
            status_text,
            content_type,
            content_type_len,
            charset,
            content_length,
            last_modified,
            location,
            server,
            date,
            headers,
            trailers,
            allow_ranges,
            single_range,
            from_upstream,
            override_charset,
            vary_encoding,
            expects_trailers,
            make_trailers,
            sent,
            chunked,
            body_bytes,
            head_bytes,
            bytes,
            begun,
            content_offset,
        } = self;
        content_type.clear();
        charset.clear();
        headers.clear();
        trailers.clear();
        (*status_text, *override_charset) = (None, None);
        (*location, *server, *date) = (None, None, None);
        (*status, *content_type_len) = (0, 0);
        (*content_length, *last_modified, *make_trailers) = (None, None, None);
        (*allow_ranges, *single_range, *from_upstream, *vary_encoding) = (false, false, false, false);
        (*expects_trailers, *sent, *chunked) = (false, false, false);
        (*begun, *content_offset) = Default::default();
        (*body_bytes, *head_bytes, *bytes) = (0, 0, 0);
    }

    /// Sets the media type; a `; charset=` inside is split off.
    pub fn set_content_type(&mut self, value: &[u8]) {
        self.charset.clear();
        self.content_type.clear();
        self.content_type.extend_from_slice(value);
        self.content_type_len = value.len();
    }

    /// Forgets the length, as filters that change it do. With it goes what only holds for the exact bytes.
    pub fn clear_length(&mut self) {
        self.content_length = None;
        self.headers.remove(b"Content-Length");
    }

    /// Makes an entity tag weak, as filters that change the bytes do.
    pub fn weaken_etag(&mut self) {
        let Some(etag) = self.headers.get(b"ETag") else { return };
        if etag.starts_with(b"W/") {
            return;
        }
        if !etag.starts_with(b"\"") {
            self.headers.remove(b"ETag");
            return;
        }
        let weak = [b"W/", etag].concat();
        self.headers.set(b"ETag", &weak);
    }

    /// Forgets that ranges are possible.
    pub fn clear_ranges(&mut self) {
        self.allow_ranges = false;
        self.headers.remove(b"Accept-Ranges");
    }

    /// Forgets the time of the last change.
    pub fn clear_last_modified(&mut self) {
        self.last_modified = None;
        self.headers.remove(b"Last-Modified");
    }
}
