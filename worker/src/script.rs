//! Templates: texts with variables and captures, as `"$scheme://$host$1"`.

use bytes::Bytes;
use conf::{Node, Result};

use crate::build::Builder;
use crate::request::Request;
use crate::variables::VarId;

/// A compiled template.
#[derive(Debug, Clone, Default)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Bytes),
    Variable(VarId),
    Capture(u8),
}

/// The largest number of a capture: `$1` … `$9`.
const CAPTURE_DIGITS: std::ops::RangeInclusive<u8> = b'1'..=b'9';

impl Template {
    /// Compiles `text`. Unknown variables are reported when the whole configuration is read.
    pub fn parse(cx: &mut Builder, node: &Node, text: impl AsRef<[u8]>) -> Result<Self> {
        let mut parts: Vec<Part> = Vec::new();
        let bytes = text.as_ref();
        let mut at = 0;
        while at < bytes.len() {
            let next = memchr::memchr(b'$', &bytes[at..]).map_or(bytes.len(), |n| at + n);
            if next > at {
                parts.push(Part::Text(Bytes::copy_from_slice(&bytes[at..next])));
            }
            if next == bytes.len() {
                break;
            }
            let (part, end) = Self::reference(cx, node, bytes, next + 1)?;
            parts.push(part);
            at = end;
        }
        Ok(Self { parts: parts.into() })
    }

    /// Reads `name`, `{name}` or a capture's digit at `start`; returns where it ends.
    fn reference(cx: &mut Builder, node: &Node, bytes: &[u8], start: usize) -> Result<(Part, usize)> {
        let invalid = || node.error("invalid variable name");
        let unclosed = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            node.error(format!("the closing bracket in \"{name}\" variable is missing"))
        };
        let braced = bytes.get(start) == Some(&b'{');
        let begin = start + usize::from(braced);
        if bytes.get(begin).is_some_and(|b| CAPTURE_DIGITS.contains(b)) {
            let end = begin + 1;
            if braced && bytes.get(end) != Some(&b'}') {
                return Err(unclosed(&bytes[begin..end]));
            }
            return Ok((Part::Capture(bytes[begin] - b'0'), end + usize::from(braced)));
        }
        let name_byte = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let length = bytes[begin.min(bytes.len())..].iter().take_while(|b| name_byte(b)).count();
        let end = begin + length;
        let name = &bytes[begin.min(bytes.len())..end.min(bytes.len())];
        if braced && bytes.get(end) != Some(&b'}') {
            return Err(unclosed(name));
        }
        if length == 0 {
            return Err(invalid());
        }
        let name = std::str::from_utf8(name).map_err(|_| invalid())?;
        let id = cx.variables.use_name(name, &node.span);
        Ok((Part::Variable(id), end + usize::from(braced)))
    }

    /// A template that is this text, without looking for variables.
    pub fn literal(text: impl Into<Box<[u8]>>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Box::default() } else { Box::new([Part::Text(text.into())]) } }
    }

    /// The text, when there is nothing to evaluate.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The same, shared: for a body that is sent again and again.
    pub fn shared_literal(&self) -> Option<Bytes> {
        match &*self.parts {
            [] => Some(Bytes::new()),
            [Part::Text(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// The variable, when the template is just one (`$limit_key`).
    pub fn as_variable(&self) -> Option<VarId> {
        match &*self.parts {
            [Part::Variable(id)] => Some(*id),
            _ => None,
        }
    }

    /// The highest capture used.
    pub fn captures(&self) -> usize {
        let capture = |part: &Part| if let Part::Capture(n) = part { *n as usize } else { 0 };
        self.parts.iter().map(capture).max().unwrap_or(0)
    }

    /// Whether the template is the empty text.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the value to `out`.
    pub fn append(&self, req: &mut Request, out: &mut Vec<u8>) {
        self.append_with(req, out, false);
    }

    /// Like [`append`](Self::append); with `escape`, captures are percent-escaped as for an argument: what rewrite
    /// instructions do with pieces of a URI that the client sent escaped.
    pub fn append_with(&self, req: &mut Request, out: &mut Vec<u8>, escape: bool) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(id) => {
                    req.append_variable(*id, out);
                }
                Part::Capture(n) => {
                    let Some(group) = req.captures.get(usize::from(*n)) else { continue };
                    if escape {
                        http1::escape_uri(out, group, http1::Escape::Args);
                    } else {
                        out.extend_from_slice(group);
                    }
                }
            }
        }
    }

    /// The value as a string of its own.
    pub fn eval(&self, req: &mut Request) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(req, &mut out);
        out
    }
}
