//! Chunked transfer coding (RFC 9112 section 7.1), taken apart byte by byte and strictly.
//!
//! ```text
//!            digit          ";"            CR            LF  (size > 0)
//!   Size ──────────► Size ──────► Ext… ────────► SizeLf ──────────────► Data ──► DataCr ──► DataLf ──► Size
//!                                                  │ LF (size = 0)
//!                                                  ▼        CRLF
//!                                               Trailer ──────────► End
//! ```
//!
//! Line ends are CRLF and nothing else, blanks are allowed only where the grammar has `BWS`, sizes have bounded digits, and
//! bytes spent on framing are bounded against the bytes of data they frame.

use std::ops::Range;

use crate::{
    body::{BodyState, Decoded},
    headers::Headers,
    known::Known,
    syntax::{self, hex_digit, is_tchar},
};

/// Most digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;
/// Most bytes of the extensions of one chunk.
pub const EXTENSION_BYTES_MAX: u32 = 1024;
/// How far the framing of a body may exceed what is usual for its chunks, bytes. Every chunk adds its line and takes off
/// 16 bytes and twice its data, so that only long extensions on little data ever get there.
pub const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;
/// Framing that is free for every chunk, bytes.
const OVERHEAD_BYTES_PER_CHUNK: u64 = 16;
/// Most bytes of all trailer lines of a body, line ends included.
pub const TRAILER_BYTES_MAX: u32 = 8 * 1024;
/// Most trailer fields of a body.
pub const TRAILER_FIELDS_MAX: u32 = 100;

/// A chunked body that is none. The connection cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// No hexadecimal digit where a size begins, or something else than `;` or CR behind it.
    #[error("invalid chunk size")]
    Size,
    /// The size has too many digits or exceeds 2^63 - 1.
    #[error("too large chunk size")]
    SizeTooLarge,
    /// A chunk extension is malformed.
    #[error("invalid chunk extension")]
    Extension,
    /// The extensions of one chunk, or of all of them together, are out of proportion.
    #[error("too long chunk extensions")]
    ExtensionTooLong,
    /// A line does not end with CRLF.
    #[error("invalid chunk line end")]
    LineEnd,
    /// The data of a chunk is not followed by CRLF: more or less came than its size says.
    #[error("invalid end of chunk data")]
    DataEnd,
    /// A trailer field is malformed.
    #[error("invalid trailer")]
    Trailer,
    /// The trailer section is larger than its limits.
    #[error("too big trailers")]
    TrailerTooBig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    /// Behind a digit.
    Size,
    /// Behind the size or an extension, in blanks that only `;` may follow.
    ExtSemicolon,
    /// Behind `;`, before the name.
    ExtNameStart,
    ExtName,
    /// In blanks behind the name.
    ExtNameEnd,
    /// Behind `=`, before the value.
    ExtValueStart,
    ExtToken,
    ExtQuoted,
    /// Behind a backslash in a quoted value.
    ExtEscaped,
    /// Behind the closing quote.
    ExtQuotedEnd,
    /// Behind the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// In the trailer section; the lines are collected.
    Trailer,
    End,
}

/// Decodes one chunked body.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder {
    state: State,
    digits: u8,
    /// Size of the chunk, then what is left of it.
    left: u64,
    /// Bytes of the size line so far.
    line_bytes: u32,
    overhead: u64,
    /// The trailer line that is not complete yet.
    trailer_line: Vec<u8>,
    trailer_bytes: u32,
    trailer_fields: u32,
    /// Boxed: few bodies have any, and every connection has room for a decoder.
    trailers: Option<Box<Headers>>,
}

/// The trailers of most bodies.
static NO_TRAILERS: Headers = Headers::new();

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// A decoder at the start of a body; allocates nothing until a trailer comes.
    pub const fn new() -> Self {
        Self {
            state: State::SizeStart,
            digits: 0,
            left: 0,
            line_bytes: 0,
            overhead: 0,
            trailer_line: Vec::new(),
            trailer_bytes: 0,
            trailer_fields: 0,
            trailers: None,
        }
    }

    /// Back to the start, for the next body.
    pub fn reset(&mut self) {
        self.state = State::SizeStart;
        self.overhead = 0;
        self.trailer_line.clear();
        self.trailer_bytes = 0;
        self.trailer_fields = 0;
        self.trailers = None;
    }

    /// Whether the last chunk and the trailer section have been read.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Data of the current chunk that has not come yet, bytes.
    pub fn left_in_chunk(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// The trailer fields, complete at the end of the body. Fields that frame, route or authenticate a message are left out
    /// (RFC 9110 section 6.5.1).
    pub fn trailers(&self) -> &Headers {
        self.trailers.as_deref().unwrap_or(&NO_TRAILERS)
    }

    /// Decodes the start of `input`: up to the end of the first piece of data in it, or of the body, or all of it.
    ///
    /// The caller goes on with `input[consumed..]` until everything is consumed or the state is [`BodyState::End`].
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkedError> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Data => {
                    let data = self.take_data(at, input.len());
                    return Ok(Decoded { consumed: data.end, data, state: BodyState::More });
                }
                State::Trailer => at += self.take_trailer(&input[at..])?,
                State::End => break,
                _ => {
                    self.state = self.step(input[at])?;
                    at += 1;
                }
            }
        }
        let state = if self.is_end() { BodyState::End } else { BodyState::More };
        Ok(Decoded { consumed: at, data: at..at, state })
    }

    fn take_data(&mut self, at: usize, end: usize) -> Range<usize> {
        let available = (end - at) as u64;
        let taken = available.min(self.left);
        self.left -= taken;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        // `taken` is at most the length of the input
        at..at + taken as usize
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkedError> {
        match self.state {
            State::SizeStart => {
                self.left = 0;
                self.digits = 0;
                self.line_bytes = 0;
                self.digit(hex_digit(byte).ok_or(ChunkedError::Size)?)
            }
            State::Size => match hex_digit(byte) {
                Some(digit) => self.digit(digit),
                None => self.behind_item(byte, ChunkedError::Size),
            },
            State::SizeLf if byte == b'\n' => self.size_line_end(),
            State::SizeLf => Err(ChunkedError::LineEnd),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::SizeStart),
            State::DataCr | State::DataLf => Err(ChunkedError::DataEnd),
            _ => self.extension(byte),
        }
    }

    fn digit(&mut self, digit: u8) -> Result<State, ChunkedError> {
        self.digits += 1;
        let size = self.left.checked_mul(16).map(|size| size | u64::from(digit));
        match size {
            Some(size) if size <= i64::MAX as u64 && self.digits <= SIZE_DIGITS_MAX => {
                self.left = size;
                Ok(State::Size)
            }
            _ => Err(ChunkedError::SizeTooLarge),
        }
    }

    /// Behind a size, a name or a value: CR ends the line, `;` begins an extension, blanks may come before `;` alone.
    fn behind_item(&mut self, byte: u8, error: ChunkedError) -> Result<State, ChunkedError> {
        match byte {
            b'\r' => Ok(State::SizeLf),
            b';' => self.extension_byte(State::ExtNameStart),
            b' ' | b'\t' => self.extension_byte(State::ExtSemicolon),
            b'\n' => Err(ChunkedError::LineEnd),
            _ => Err(error),
        }
    }

    fn extension_byte(&mut self, next: State) -> Result<State, ChunkedError> {
        self.line_bytes += 1;
        if self.line_bytes > EXTENSION_BYTES_MAX {
            return Err(ChunkedError::ExtensionTooLong);
        }
        Ok(next)
    }

    /// `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
    fn extension(&mut self, byte: u8) -> Result<State, ChunkedError> {
        let is_blank = byte == b' ' || byte == b'\t';
        let next = match self.state {
            State::ExtSemicolon if is_blank => State::ExtSemicolon,
            State::ExtSemicolon if byte == b';' => State::ExtNameStart,
            State::ExtNameStart if is_blank => State::ExtNameStart,
            State::ExtNameStart | State::ExtName if is_tchar(byte) => State::ExtName,
            State::ExtName | State::ExtNameEnd if is_blank => State::ExtNameEnd,
            State::ExtName | State::ExtNameEnd if byte == b'=' => State::ExtValueStart,
            State::ExtNameEnd if byte == b';' => State::ExtNameStart,
            State::ExtName => return self.behind_item(byte, ChunkedError::Extension),
            State::ExtValueStart if is_blank => State::ExtValueStart,
            State::ExtValueStart if byte == b'"' => State::ExtQuoted,
            State::ExtValueStart | State::ExtToken if is_tchar(byte) => State::ExtToken,
            State::ExtToken | State::ExtQuotedEnd => return self.behind_item(byte, ChunkedError::Extension),
            State::ExtQuoted if byte == b'"' => State::ExtQuotedEnd,
            State::ExtQuoted if byte == b'\\' => State::ExtEscaped,
            State::ExtQuoted | State::ExtEscaped if syntax::is_field_text(&[byte]) => State::ExtQuoted,
            _ => return Err(ChunkedError::Extension),
        };
        self.extension_byte(next)
    }

    fn size_line_end(&mut self) -> Result<State, ChunkedError> {
        let spent = u64::from(self.line_bytes) + u64::from(self.digits) + 2;
        let usual = OVERHEAD_BYTES_PER_CHUNK.saturating_add(self.left.saturating_mul(2));
        self.overhead = (self.overhead + spent).saturating_sub(usual);
        if self.overhead > OVERHEAD_BYTES_MAX {
            return Err(ChunkedError::ExtensionTooLong);
        }
        Ok(if self.left == 0 { State::Trailer } else { State::Data })
    }

    /// Takes bytes of the trailer section up to the end of a line; returns how many.
    fn take_trailer(&mut self, input: &[u8]) -> Result<usize, ChunkedError> {
        let lf = memchr::memchr(b'\n', input);
        let taken = lf.map_or(input.len(), |lf| lf + 1);
        // more than the limit is as good as any amount
        self.trailer_bytes = self.trailer_bytes.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkedError::TrailerTooBig);
        }
        if lf.is_some() && self.trailer_line.is_empty() {
            // the usual case, an end without trailers, copies nothing
            return self.end_trailer_line(&input[..taken]).map(|()| taken);
        }
        self.trailer_line.extend_from_slice(&input[..taken]);
        if lf.is_some() {
            let line = std::mem::take(&mut self.trailer_line);
            let ended = self.end_trailer_line(&line);
            self.trailer_line = line;
            self.trailer_line.clear();
            ended?;
        }
        Ok(taken)
    }

    fn end_trailer_line(&mut self, line: &[u8]) -> Result<(), ChunkedError> {
        let line = line.strip_suffix(b"\r\n").ok_or(ChunkedError::LineEnd)?;
        if line.is_empty() {
            self.state = State::End;
            return Ok(());
        }
        let field = syntax::field_line(line).map_err(|_| ChunkedError::Trailer)?;
        self.trailer_fields += 1;
        if self.trailer_fields > TRAILER_FIELDS_MAX {
            return Err(ChunkedError::TrailerTooBig);
        }
        let name = &line[..field.name_len];
        let known = Known::from_name(name);
        if !known.is_some_and(is_forbidden_in_trailers) {
            self.trailers.get_or_insert_default().push_parsed(line, &field, known);
        }
        Ok(())
    }
}

/// Fields that frame, route, authenticate, or say how to read the content.
fn is_forbidden_in_trailers(known: Known) -> bool {
    matches!(
        known,
        Known::Host
            | Known::Connection
            | Known::ProxyConnection
            | Known::KeepAlive
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Te
            | Known::Trailer
            | Known::Upgrade
            | Known::Http2Settings
            | Known::Expect
            | Known::Range
            | Known::IfMatch
            | Known::IfNoneMatch
            | Known::IfModifiedSince
            | Known::IfUnmodifiedSince
            | Known::IfRange
            | Known::ContentType
            | Known::ContentEncoding
            | Known::ContentRange
            | Known::Authorization
            | Known::ProxyAuthorization
            | Known::ProxyAuthenticate
            | Known::WwwAuthenticate
            | Known::Cookie
            | Known::SetCookie
            | Known::Location
            | Known::CacheControl
            | Known::XForwardedFor
            | Known::XRealIp
            | Known::XAccelRedirect
            | Known::XAccelExpires
            | Known::XAccelLimitRate
            | Known::XAccelBuffering
            | Known::XAccelCharset
    )
}

/// What follows the data of every chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk with an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line in front of a chunk of `size` bytes, written into `room`: hexadecimal size and CRLF. `size` must not be 0, which
/// would end the body.
pub fn chunk_head(size: u64, room: &mut [u8; 18]) -> &[u8] {
    debug_assert!(size > 0, "a chunk of no bytes is the last one");
    const HEX: &[u8; 16] = b"0123456789abcdef";
    room[16..].copy_from_slice(b"\r\n");
    let mut at = 16;
    let mut rest = size;
    loop {
        at -= 1;
        room[at] = HEX[(rest % 16) as usize];
        rest /= 16;
        if rest == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, what is left behind the body (`None` if the body does not end), the trailers.
    type Whole = (Vec<u8>, Option<Vec<u8>>, Headers);

    fn decode_in(input: &[u8], step: usize) -> Result<Whole, ChunkedError> {
        let mut decoder = ChunkedDecoder::new();
        let mut data = Vec::new();
        let mut at = 0;
        while at < input.len() {
            let piece = &input[at..input.len().min(at + step)];
            let decoded = decoder.decode(piece)?;
            assert!(decoded.consumed > 0 || decoder.is_end());
            data.extend_from_slice(&piece[decoded.data]);
            at += decoded.consumed;
            if decoded.state == BodyState::End {
                return Ok((data, Some(input[at..].to_vec()), decoder.trailers().clone()));
            }
        }
        Ok((data, None, decoder.trailers().clone()))
    }

    fn decode(input: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), ChunkedError> {
        let whole = decode_in(input, usize::MAX - input.len());
        for step in 1..input.len().min(40) {
            assert_eq!(decode_in(input, step), whole, "{:?} by {step}", String::from_utf8_lossy(input));
        }
        whole.map(|(data, rest, _)| (data, rest))
    }

    #[test]
    fn good_bodies() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("0\r\n\r\n", "", Some("")),
            ("0\r\n\r\nGET /", "", Some("GET /")),
            ("000\r\n\r\n", "", Some("")),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("00000005\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", Some("")),
            ("a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", "0123456789x", Some("")),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", Some("")),
            ("5;a\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("5 ; a\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello", Some("")),
            ("5;\ta = \"x;\\\"y\\\\ \"\t;c\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("5;a=\"\";b\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            ("0\r\nX: y\r\nZ:\r\n\r\nrest", "", Some("rest")),
            ("5\r\nhel", "hel", None),
            ("5\r\nhello\r\n", "hello", None),
            ("0\r\n", "", None),
            ("0\r\nX: y\r\n", "", None),
            ("", "", None),
        ];
        for (input, data, rest) in cases {
            let expected = (data.as_bytes().to_vec(), rest.map(|rest| rest.as_bytes().to_vec()));
            assert_eq!(decode(input.as_bytes()), Ok(expected), "{input:?}");
        }
    }

    #[test]
    fn smuggling_classes_are_refused() {
        use ChunkedError::*;
        let cases: &[(&str, &[u8], ChunkedError)] = &[
            ("no size", b"\r\n", Size),
            ("blank before the size", b" 5\r\nhello\r\n", Size),
            ("plus", b"+5\r\nhello\r\n", Size),
            ("minus", b"-5\r\nhello\r\n", Size),
            ("0x", b"0x5\r\nhello\r\n", Size),
            ("0X", b"0X5\r\nhello\r\n", Size),
            ("underscore", b"5_0\r\nhello\r\n", Size),
            ("quote", b"\"5\"\r\nhello\r\n", Size),
            ("no digit", b"g\r\n", Size),
            ("NUL", b"5\0\r\nhello\r\n", Size),
            ("comma", b"5,5\r\nhello\r\n", Size),
            ("fraction", b"5.0\r\nhello\r\n", Size),
            ("only an extension", b";a\r\n", Size),
            ("empty line before the size", b"\r\n5\r\nhello\r\n", Size),
            ("17 digits", b"00000000000000005\r\nhello\r\n", SizeTooLarge),
            ("above 2^63", b"8000000000000000\r\n", SizeTooLarge),
            ("overflow to small", b"10000000000000005\r\nhello\r\n", SizeTooLarge),
            ("all f", b"ffffffffffffffff\r\n", SizeTooLarge),
            ("LF after the size", b"5\nhello\r\n", LineEnd),
            ("CR alone after the size", b"5\rhello\r\n", LineEnd),
            ("CR CR LF after the size", b"5\r\r\nhello\r\n", LineEnd),
            ("LF after the last size", b"0\n\r\n", LineEnd),
            ("blank before CRLF", b"5 \r\nhello\r\n", Extension),
            ("tab before CRLF", b"5\t\r\nhello\r\n", Extension),
            ("empty extension", b"5;\r\nhello\r\n", Extension),
            ("empty extension name", b"5;=a\r\nhello\r\n", Extension),
            ("empty extension value", b"5;a=\r\nhello\r\n", Extension),
            ("blank after an extension", b"5;a \r\nhello\r\n", Extension),
            ("LF in an extension (TERM.EXT)", b"5;a\nhello\r\n", LineEnd),
            ("LF after ;", b"5;\nhello\r\n", Extension),
            ("CR in an extension", b"5;a\rb\r\nhello\r\n", LineEnd),
            ("NUL in an extension", b"5;a\0\r\nhello\r\n", Extension),
            ("LF in a quoted value", b"5;a=\"\n\"\r\nhello\r\n", Extension),
            ("CRLF in a quoted value", b"5;a=\"\r\n\"\r\nhello\r\n", Extension),
            ("escaped LF in a quoted value", b"5;a=\"\\\n\"\r\nhello\r\n", Extension),
            ("text behind a quoted value", b"5;a=\"b\"c\r\nhello\r\n", Extension),
            ("two blanks and text", b"5;a b\r\nhello\r\n", Extension),
            ("data longer than the size (SPILL)", b"4\r\nhello\r\n0\r\n\r\n", DataEnd),
            ("runaway chunk", b"4\r\nSEE-THIS\r\n0\r\n\r\n", DataEnd),
            ("data shorter than the size", b"6\r\nhello\r\n0\r\n\r\n", DataEnd),
            ("LF after the data", b"5\r\nhello\n0\r\n\r\n", DataEnd),
            ("CR alone after the data", b"5\r\nhello\r0\r\n\r\n", DataEnd),
            ("nothing after the data", b"5\r\nhello0\r\n\r\n", DataEnd),
            ("any two bytes after the data", b"5\r\nhelloXX0\r\n\r\n", DataEnd),
            ("LF ends the body", b"0\r\n\n", LineEnd),
            ("CR alone ends the body", b"0\r\n\rX\r\n", Trailer),
            ("LF after a trailer", b"0\r\nX: y\n\r\n", LineEnd),
            ("request in place of a trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n", Trailer),
            ("folded trailer", b"0\r\nX: y\r\n z\r\n\r\n", Trailer),
            ("blank before the colon of a trailer", b"0\r\nX : y\r\n\r\n", Trailer),
            ("trailer without a name", b"0\r\n: y\r\n\r\n", Trailer),
            ("NUL in a trailer", b"0\r\nX: \0\r\n\r\n", Trailer),
        ];
        for (name, input, error) in cases {
            assert_eq!(decode(input), Err(*error), "{name}");
        }
    }

    #[test]
    fn trailers_are_kept_but_not_those_that_steer() {
        let input = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: evil\r\nTransfer-Encoding: x\r\nEtag: \"a\"\r\n\r\n";
        for step in [1, 2, 7, 1000] {
            let (_, _, trailers) = decode_in(input, step).unwrap();
            let names: Vec<_> = trailers.iter().map(|(name, _)| name).collect();
            assert_eq!(names, [&b"X-Sum"[..], b"Etag"]);
        }
    }

    #[test]
    fn limits() {
        let long = format!("1;{}\r\n", "a".repeat(EXTENSION_BYTES_MAX as usize));
        assert_eq!(decode_in(long.as_bytes(), 100), Err(ChunkedError::ExtensionTooLong));

        let flood = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(100);
        assert_eq!(decode_in(flood.as_bytes(), 100), Err(ChunkedError::ExtensionTooLong));

        let small = "1\r\nx\r\n".repeat(100_000);
        assert_eq!(decode_in(small.as_bytes(), 1000).unwrap().0.len(), 100_000);

        let endless = format!("0\r\nX: {}", "a".repeat(TRAILER_BYTES_MAX as usize));
        assert_eq!(decode_in(endless.as_bytes(), 100), Err(ChunkedError::TrailerTooBig));

        let many = format!("0\r\n{}", "X: y\r\n".repeat(TRAILER_FIELDS_MAX as usize + 1));
        assert_eq!(decode_in(many.as_bytes(), 100), Err(ChunkedError::TrailerTooBig));
    }

    #[test]
    fn reset_starts_anew() {
        let mut decoder = ChunkedDecoder::new();
        decoder.decode(b"0\r\nX: y\r\n\r\n").unwrap();
        assert!(decoder.is_end());
        decoder.reset();
        assert!(decoder.trailers().is_empty() && !decoder.is_end());
        let decoded = decoder.decode(b"3\r\nab").unwrap();
        assert_eq!((decoded.data, decoder.left_in_chunk()), (3..5, 1));
    }

    #[test]
    fn heads() {
        let cases = [
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (0xabcdef, "abcdef\r\n"),
            (u64::MAX, "ffffffffffffffff\r\n"),
        ];
        for (size, head) in cases {
            assert_eq!(chunk_head(size, &mut [0; 18]), head.as_bytes());
        }
    }
}
