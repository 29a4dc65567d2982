//! `log_format`: text and variables of a line.

use std::io::Write as _;

use conf::{Error, Result, Span};

use super::escape::Escape;
use crate::build::Builder;
use crate::log::time;
use crate::request::Request;
use crate::variables::VarId;

/// A compiled format.
pub struct Format {
    parts: Box<[Part]>,
    escape: Escape,
}

enum Part {
    Text(Box<[u8]>),
    Variable(VarId),
    /// A value that needs neither a lookup nor escaping.
    Native(fn(&Request, &mut Vec<u8>)),
}

/// What the default format consists of.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

impl Format {
    /// The format everybody's tools read.
    pub fn combined(cx: &mut Builder) -> Result<Self> {
        Self::parse(cx, &Span::new("combined", 0), [COMBINED.as_bytes()].into_iter(), Escape::Default)
    }

    /// Reads a format from its pieces, which are simply joined.
    pub fn parse<'a>(
        cx: &mut Builder,
        span: &Span,
        texts: impl Iterator<Item = &'a [u8]>,
        escape: Escape,
    ) -> Result<Self> {
        let mut parts = Vec::new();
        for text in texts {
            let mut rest = text;
            while !rest.is_empty() {
                let dollar = memchr::memchr(b'$', rest).unwrap_or(rest.len());
                if dollar > 0 {
                    parts.push(Part::Text(rest[..dollar].into()));
                    rest = &rest[dollar..];
                    continue;
                }
                let (name, after) = variable(rest, span)?;
                parts.push(match NATIVE.iter().find(|(native, _)| *native == name) {
                    Some((_, append)) => Part::Native(*append),
                    None => Part::Variable(cx.variables.use_name(name, span)),
                });
                rest = after;
            }
        }
        Ok(Self { parts: parts.into(), escape })
    }

    /// Appends the line of `req`, without its newline.
    pub fn append(&self, req: &mut Request, line: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => line.extend_from_slice(text),
                Part::Native(append) => append(req, line),
                Part::Variable(id) => {
                    let start = line.len();
                    if req.append_variable(*id, line) {
                        self.escape.apply(line, start);
                    } else if self.escape == Escape::Default {
                        line.push(b'-');
                    }
                }
            }
        }
    }
}

/// Takes `$name` or `${name}` off the front of `text`.
fn variable<'a>(text: &'a [u8], span: &Span) -> Result<(&'a str, &'a [u8])> {
    let invalid = || Error::at(span, format!("invalid parameter \"{}\"", String::from_utf8_lossy(text)));
    let braced = text.get(1) == Some(&b'{');
    let begin = 1 + usize::from(braced);
    let inner = text.get(begin..).filter(|inner| !inner.is_empty()).ok_or_else(invalid)?;
    let name_byte = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let (name, after) = inner.split_at(inner.iter().take_while(|b| name_byte(b)).count());
    let name = std::str::from_utf8(name).map_err(|_| invalid())?;
    let after = match (braced, after) {
        (true, [b'}', after @ ..]) => after,
        (true, _) => {
            let text = format!("the closing bracket in \"{name}\" variable is missing");
            return Err(Error::at(span, text));
        }
        (false, after) => after,
    };
    if name.is_empty() { Err(invalid()) } else { Ok((name, after)) }
}

type Append = fn(&Request, &mut Vec<u8>);

const NATIVE: &[(&str, Append)] = &[
    ("pipe", |req, out| out.push(if req.pipelined { b'p' } else { b'.' })),
    ("time_local", |_, out| time::common_log(out)),
    ("time_iso8601", |_, out| time::iso8601(out)),
    ("msec", |_, out| seconds(out, net::unix_ms())),
    ("request_time", |req, out| {
        seconds(out, net::now().since(req.start).as_millis().try_into().unwrap_or(u64::MAX));
    }),
    ("status", |req, out| {
        let _ = write!(out, "{:03}", req.status());
    }),
    ("bytes_sent", |req, out| decimal(out, req.out.bytes)),
    ("body_bytes_sent", |req, out| decimal(out, req.out.body_bytes_sent())),
    ("request_length", |req, out| decimal(out, req.length)),
];

fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(http1::encode::decimal(number, &mut [0; 20]));
}

/// Milliseconds as seconds with three decimals.
fn seconds(out: &mut Vec<u8>, ms: u64) {
    decimal(out, ms / 1000);
    // writing to a vector does not fail
    let _ = write!(out, ".{:03}", ms % 1000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_cut_where_nginx_cuts_them() {
        let span = Span::new("f", 1);
        for (text, expected) in [
            ("$uri:x", Ok(("uri", ":x"))),
            ("${uri}x", Ok(("uri", "x"))),
            ("$a_1$b", Ok(("a_1", "$b"))),
            ("$", Err("invalid parameter \"$\" in f:1")),
            ("${", Err("invalid parameter \"${\" in f:1")),
            ("$-x", Err("invalid parameter \"$-x\" in f:1")),
            ("${uri x", Err("the closing bracket in \"uri\" variable is missing in f:1")),
        ] {
            let found = variable(text.as_bytes(), &span);
            match expected {
                Ok((name, after)) => assert_eq!(found.unwrap(), (name, after.as_bytes()), "{text}"),
                Err(message) => assert_eq!(found.unwrap_err().to_string(), message, "{text}"),
            }
        }
    }

    #[test]
    fn milliseconds_have_three_digits() {
        let mut out = Vec::new();
        for ms in [0, 7, 1234, 1_700_000_000_042] {
            seconds(&mut out, ms);
            out.push(b' ');
        }
        assert_eq!(out, b"0.000 0.007 1.234 1700000000.042 ");
    }
}
