//! Taking the framing off what was received, in place.

use http1::BodyState;
use net::Buf;

use super::protocol::Decoder;

/// What a buffer held besides data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The body is complete.
    pub(super) end: bool,
    /// Bytes behind its end.
    pub(super) extra: usize,
    /// What follows the data breaks the framing, and how.
    pub(super) broken: Option<Box<str>>,
}

/// Leaves the data of `buf` alone in it: what frames it is cut out. An error says that there is none, and that the framing is
/// broken.
pub(super) fn strip(buf: &mut Buf, decoder: &mut Decoder) -> Result<Rest, Box<str>> {
    let (mut kept, mut at) = (0, 0);
    let mut end = decoder.is_end();
    while !end && at < buf.len() {
        let decoded = match decoder.decode(&buf[at..]) {
            Ok(decoded) => decoded,
            Err(error) if kept == 0 => return Err(error),
            Err(error) => {
                buf.truncate(kept);
                return Ok(Rest { end: false, extra: 0, broken: Some(error) });
            }
        };
        let data = at + decoded.data.start..at + decoded.data.end;
        let len = data.len();
        if data.start != kept {
            buf.copy_within(data, kept);
        }
        kept += len;
        at += decoded.consumed;
        end = decoded.state == BodyState::End;
        debug_assert!(decoded.consumed > 0 || end, "a decoder takes something of what it is given");
    }
    let extra = buf.len() - at;
    buf.truncate(kept);
    Ok(Rest { end, extra, broken: None })
}

#[cfg(test)]
mod tests {
    use http1::{BodyDecoder, Framing};

    use super::*;

    #[test]
    fn data_remains() {
        let cases: &[(Framing, &str, &str, bool, usize)] = &[
            (Framing::Length(5), "hel", "hel", false, 0),
            (Framing::Length(5), "hello", "hello", true, 0),
            (Framing::Length(5), "hello!!", "hello", true, 2),
            (Framing::Length(0), "x", "", true, 1),
            (Framing::UntilClose, "abc", "abc", false, 0),
            (Framing::Chunked, "3\r\nabc\r\n2\r\nde\r\n", "abcde", false, 0),
            (Framing::Chunked, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", "abcde", true, 3),
            (Framing::Chunked, "1", "", false, 0),
        ];
        for (framing, input, data, end, extra) in cases {
            let mut buf = Buf::copy_of(input.as_bytes());
            let rest = strip(&mut buf, &mut Decoder::Http(BodyDecoder::new(*framing))).unwrap();
            assert_eq!(
                (&buf[..], rest),
                (data.as_bytes(), Rest { end: *end, extra: *extra, broken: None }),
                "{input}"
            );
        }
        let mut buf = Buf::copy_of(b"2\r\nab\r\nzz\r\n");
        let rest = strip(&mut buf, &mut Decoder::Http(BodyDecoder::new(Framing::Chunked))).unwrap();
        assert!(&buf[..] == b"ab" && rest.broken.is_some(), "what came before is not lost");
        let mut buf = Buf::copy_of(b"zz\r\n");
        assert!(strip(&mut buf, &mut Decoder::Http(BodyDecoder::new(Framing::Chunked))).is_err());
    }
}
