//! Bodies of every framing behind one interface: how much of the input is data, and whether that was all.

use std::ops::Range;

use crate::{
    chunked::{ChunkedDecoder, ChunkedError},
    framing::Framing,
    headers::Headers,
};

/// Whether more of the body is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyState {
    /// The body goes on.
    More,
    /// The body is complete; what follows in the input belongs to the next message.
    End,
}

/// What one call of a decoder found at the start of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input are done with; 0 only for empty input or at the end.
    pub consumed: usize,
    /// Which of them are data; may be empty.
    pub data: Range<usize>,
    /// Whether that was all.
    pub state: BodyState,
}

/// Counts the bytes of a body of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthDecoder {
    left: u64,
}

impl LengthDecoder {
    /// A body of `length` bytes.
    pub const fn new(length: u64) -> Self {
        Self { left: length }
    }

    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes what of `input` belongs to the body.
    pub fn decode(&mut self, input: &[u8]) -> Decoded {
        let taken = (input.len() as u64).min(self.left);
        self.left -= taken;
        // `taken` is at most the length of the input
        let taken = taken as usize;
        let state = if self.left == 0 { BodyState::End } else { BodyState::More };
        Decoded { consumed: taken, data: 0..taken, state }
    }
}

/// The peer closed before the body was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("prematurely closed connection")]
pub struct Truncated;

/// Decodes a body of any framing.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one per message in flight, used again; a box would cost an allocation
pub enum BodyDecoder {
    /// Known length; [`Framing::None`] is a length of 0.
    Length(LengthDecoder),
    /// Chunked transfer coding.
    Chunked(ChunkedDecoder),
    /// Everything until the peer closes.
    UntilClose,
}

impl BodyDecoder {
    /// A decoder at the start of a body.
    pub const fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(LengthDecoder::new(0)),
            Framing::Length(length) => Self::Length(LengthDecoder::new(length)),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Decodes the start of `input`; the caller goes on with `input[consumed..]`.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkedError> {
        match self {
            Self::Length(length) => Ok(length.decode(input)),
            Self::Chunked(chunked) => chunked.decode(input),
            Self::UntilClose => {
                Ok(Decoded { consumed: input.len(), data: 0..input.len(), state: BodyState::More })
            }
        }
    }

    /// Whether the body is complete.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Length(length) => length.left() == 0,
            Self::Chunked(chunked) => chunked.is_end(),
            Self::UntilClose => false,
        }
    }

    /// The peer closed: an error unless the body was complete or ends just so.
    pub fn close(&self) -> Result<(), Truncated> {
        if self.is_end() || matches!(self, Self::UntilClose) { Ok(()) } else { Err(Truncated) }
    }

    /// Bytes known to be still to come; `None` if the framing does not tell.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length.left()),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Trailer fields of a chunked body, complete at its end.
    pub fn trailers(&self) -> Option<&Headers> {
        match self {
            Self::Chunked(chunked) => Some(chunked.trailers()),
            Self::Length(_) | Self::UntilClose => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let mut body = BodyDecoder::new(Framing::Length(5));
        assert_eq!(body.decode(b"abc").unwrap(), Decoded { consumed: 3, data: 0..3, state: BodyState::More });
        assert_eq!(body.left(), Some(2));
        assert_eq!(body.close(), Err(Truncated));
        assert_eq!(body.decode(b"").unwrap(), Decoded { consumed: 0, data: 0..0, state: BodyState::More });
        assert_eq!(
            body.decode(b"defgh").unwrap(),
            Decoded { consumed: 2, data: 0..2, state: BodyState::End }
        );
        assert_eq!(body.close(), Ok(()));
        assert_eq!(body.decode(b"x").unwrap().consumed, 0);
    }

    #[test]
    fn none_is_at_its_end() {
        let mut body = BodyDecoder::new(Framing::None);
        assert!(body.is_end());
        assert_eq!(body.decode(b"x").unwrap(), Decoded { consumed: 0, data: 0..0, state: BodyState::End });
    }

    #[test]
    fn until_close() {
        let mut body = BodyDecoder::new(Framing::UntilClose);
        assert_eq!(body.decode(b"abc").unwrap().data, 0..3);
        assert!(!body.is_end());
        assert_eq!(body.close(), Ok(()));
    }

    #[test]
    fn cut_chunked_body() {
        let mut body = BodyDecoder::new(Framing::Chunked);
        body.decode(b"3\r\nabc").unwrap();
        body.decode(b"\r\n0\r\n").unwrap();
        assert_eq!(body.close(), Err(Truncated));
        body.decode(b"\r\n").unwrap();
        assert_eq!(body.close(), Ok(()));
        assert!(body.trailers().is_some());
    }
}
