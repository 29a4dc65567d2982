//! Error codes (RFC 9113 section 7) and the two kinds of errors.

use std::borrow::Cow;
use std::fmt;

/// An error code as RST_STREAM and GOAWAY carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

#[allow(missing_docs)] // each is the code of its name in RFC 9113 section 7
impl Code {
    pub const NO_ERROR: Code = Code(0x0);
    pub const PROTOCOL_ERROR: Code = Code(0x1);
    pub const INTERNAL_ERROR: Code = Code(0x2);
    pub const FLOW_CONTROL_ERROR: Code = Code(0x3);
    pub const SETTINGS_TIMEOUT: Code = Code(0x4);
    pub const STREAM_CLOSED: Code = Code(0x5);
    pub const FRAME_SIZE_ERROR: Code = Code(0x6);
    pub const REFUSED_STREAM: Code = Code(0x7);
    pub const CANCEL: Code = Code(0x8);
    pub const COMPRESSION_ERROR: Code = Code(0x9);
    pub const CONNECT_ERROR: Code = Code(0xa);
    pub const ENHANCE_YOUR_CALM: Code = Code(0xb);
    pub const INADEQUATE_SECURITY: Code = Code(0xc);
    pub const HTTP_1_1_REQUIRED: Code = Code(0xd);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {:#x}", self.0),
        }
    }
}

/// The connection is over: GOAWAY was written, nothing more is read (RFC 9113 section 5.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// What the peer is told.
    pub code: Code,
    /// What happened, for the log: `client sent …`.
    pub text: Cow<'static, str>,
    /// Which abuse it was, if it was one.
    pub abuse: Option<Abuse>,
}

impl Fatal {
    pub(crate) fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), abuse: None }
    }

    pub(crate) fn protocol(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::PROTOCOL_ERROR, text)
    }

    pub(crate) fn frame_size(kind: &str, len: usize) -> Self {
        Self::new(Code::FRAME_SIZE_ERROR, format!("sent {kind} frame with incorrect length {len}"))
    }

    pub(crate) fn abuse(abuse: Abuse) -> Self {
        let text = format!("http2 flood detected: {}", abuse.name());
        Self { code: Code::ENHANCE_YOUR_CALM, text: text.into(), abuse: Some(abuse) }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fatal {}

/// Kinds of abuse that end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abuse {
    /// Streams opened and reset by the peer (CVE-2023-44487).
    RapidReset,
    /// Streams the peer makes us reset (CVE-2025-8671).
    MadeYouReset,
    /// Header blocks in too many or too large pieces (CVE-2024-27316).
    Continuation,
    /// Frames that cost us more than the peer: PING, SETTINGS, PRIORITY, empty DATA, tiny WINDOW_UPDATE (CVE-2019-9511 to
    /// -9518).
    Control,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Abuse; 4] = [Self::RapidReset, Self::MadeYouReset, Self::Continuation, Self::Control];

    /// A word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Abuse::RapidReset => "rapid_reset",
            Abuse::MadeYouReset => "made_you_reset",
            Abuse::Continuation => "continuation",
            Abuse::Control => "control_frames",
        }
    }
}
