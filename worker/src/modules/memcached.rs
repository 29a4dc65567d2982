//! `ngx_http_memcached_module`: answers from memcached.
//!
//! A request becomes a `get` of the key in `$memcached_key`; a value is a response of status 200, and a missing one 404, for which the
//! location's error page is asked.

use ::conf::{Arity, Contexts, Directive, Result, Shape};
use bytes::Bytes;
use http1::{BodyState, Decoded, Escape, Framing, Method, Progress, ResponseHead, Truncated};
use net::Buf;

use super::pass::{Codec, Encoded, PassConf, arguments, pass_directive, target};
use crate::build::{Builder, Conf, LevelKind, MergeCx, Slot};
use crate::fault::Fault;
use crate::module::{Attach, Module};
use crate::phase::Flow;
use crate::request::Request;
use crate::settings;
use crate::upstream::{Conditions, Framed, Protocol};
use crate::variables::VarId;

/// The module.
pub const MODULE: Memcached = Memcached;

static CONF: Slot<MemcachedConf> = Slot::new();

/// See the module's documentation.
pub struct Memcached;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "memcached_pass",
        contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF),
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Address of the memcached server that is asked for $memcached_key.",
        apply: |cx, node| {
            target::apply(cx, node, |cx| &mut cx.conf(&CONF).pass.set, |text| Ok(text))?;
            let key = cx.variables.use_name("memcached_key", &node.span);
            cx.conf(&CONF).own.set.key.set(Some(key))
        },
    },
    Directive {
        name: "memcached_next_upstream",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "error timeout",
        doc: "When a request goes on to another server.",
        apply: |cx, node| arguments::next_upstream_of(cx, node, |cx| &mut cx.conf(&CONF).pass.set, REASONS),
    },
    Directive {
        name: "memcached_gzip_flag",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Bits of a value's flags that say it is compressed with gzip.",
        apply: |cx, node| cx.conf(&CONF).own.set.gzip_flag.set(node.number()?),
    },
    pass_directive!(bind, "memcached_bind", CONF),
    pass_directive!(socket_keepalive, "memcached_socket_keepalive", CONF),
    pass_directive!(socket_rcvbuf, "memcached_socket_rcvbuf", CONF),
    pass_directive!(socket_sndbuf, "memcached_socket_sndbuf", CONF),
    pass_directive!(connect_timeout, "memcached_connect_timeout", CONF),
    pass_directive!(send_timeout, "memcached_send_timeout", CONF),
    pass_directive!(buffer_size, "memcached_buffer_size", CONF),
    pass_directive!(read_timeout, "memcached_read_timeout", CONF),
    pass_directive!(next_upstream_tries, "memcached_next_upstream_tries", CONF),
    pass_directive!(next_upstream_timeout, "memcached_next_upstream_timeout", CONF),
];

/// Parameters of `memcached_next_upstream`.
const REASONS: &[(&str, Conditions)] = &[
    ("error", Conditions::ERROR),
    ("timeout", Conditions::TIMEOUT),
    ("invalid_response", Conditions::INVALID_HEADER),
    ("not_found", Conditions::HTTP_404),
    ("off", Conditions::OFF),
];

settings! {
    /// Settings of memcached alone.
    pub struct Own, OwnSettings {
        /// `$memcached_key`, where it is used.
        key: Option<VarId> = None,
        /// `memcached_gzip_flag`.
        gzip_flag: u64 = 0,
    }
}

/// Settings of a location.
#[derive(Default)]
pub struct MemcachedConf {
    /// What it shares with its siblings.
    pub pass: PassConf,
    /// Its own.
    pub own: Own,
}

impl Conf for MemcachedConf {
    fn merge(&mut self, outer: &Self, cx: &mut MergeCx<'_>) -> Result<()> {
        self.own.merge_settings(&outer.own);
        // values are passed on as they come: there are neither buffers nor files to set
        if !self.pass.set.temp_path.is_set() {
            self.pass.set.temp_path.set(std::rc::Rc::clone(&outer.pass.temp_path))?;
        }
        let (size, _) = (self.pass.set.buffer_size.as_ref().copied().unwrap_or(4096), ());
        self.pass.set.buffers.replace((8, size.max(4096)));
        self.pass.inherit(&outer.pass, cx, "memcached")
    }

    fn is_inherited_whole(&self, inner: &LevelKind) -> bool {
        self.pass.target.is_none() || matches!(inner, LevelKind::If | LevelKind::LimitExcept)
    }
}

impl Module for Memcached {
    fn name(&self) -> &'static str {
        "ngx_http_memcached_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        let mut settings = conf.pass.compile();
        settings.buffering = false;
        settings.intercept_404 = true;
        settings.ignore = crate::upstream::IgnoredHeaders(u32::MAX);
        let codec = MemcachedCodec { key: conf.own.key, gzip_flag: conf.own.gzip_flag };
        conf.pass.attach(cx, cx.is_own(&CONF), settings, codec)
    }
}

struct MemcachedCodec {
    key: Option<VarId>,
    gzip_flag: u64,
}

impl Codec for MemcachedCodec {
    fn scheme(&self) -> &'static str {
        "memcached://"
    }

    fn check(&self, req: &mut Request) -> Option<Flow> {
        if !matches!(req.method, Method::Get | Method::Head) {
            return Some(Flow::Status(405));
        }
        req.set_content_type_by_extension();
        None
    }

    fn encode(
        &self,
        req: &mut Request,
        _body: Encoded,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Box<dyn Protocol>, Fault> {
        let value = self.key.and_then(|key| req.variable(key)).filter(|key| !key.is_empty());
        let Some(value) = value else {
            return Err(Fault::internal("the \"$memcached_key\" variable is not set"));
        };
        let mut key = Vec::with_capacity(value.len());
        // blanks and control characters are escaped: nothing in a key ends the command
        http1::escape_uri(&mut key, &value, Escape::Memcached);
        out.extend_from_slice(b"get ");
        out.extend_from_slice(&key);
        out.extend_from_slice(b"\r\n");
        Ok(Box::new(Get { key: key.into(), gzip_flag: self.gzip_flag }))
    }
}

struct Get {
    key: Bytes,
    gzip_flag: u64,
}

impl Protocol for Get {
    fn response(&self, head_max: usize) -> Box<dyn Framed> {
        let (key, gzip_flag) = (self.key.clone(), self.gzip_flag);
        Box::new(Response { key, gzip_flag, head_max, left: 0, trailer: END, messages: Vec::new() })
    }
}

/// What stands behind a value.
const END: &[u8] = b"\r\nEND\r\n";

/// One response.
struct Response {
    key: Bytes,
    gzip_flag: u64,
    head_max: usize,
    /// Bytes of the value to come.
    left: u64,
    /// What is to come of [`END`].
    trailer: &'static [u8],
    messages: Vec<String>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Value { flags: Option<u64>, length: u64 },
    Missing,
}

/// Reads the first line of a response.
fn read_line(line: &[u8], key: &[u8]) -> std::result::Result<Line, String> {
    let say = |what: &str| format!("memcached sent invalid {what} in response \"{}\"", line.escape_ascii());
    if line == b"END" {
        return Ok(Line::Missing);
    }
    let Some(rest) = line.strip_prefix(b"VALUE ") else {
        return Err(format!("memcached sent invalid response: \"{}\"", line.escape_ascii()));
    };
    let Some(rest) = rest.strip_prefix(key).and_then(|rest| rest.strip_prefix(b" ")) else {
        let key = key.escape_ascii();
        return Err(format!("{} for key \"{key}\"", say("key")));
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(::conf::value::number::parse);
    let mut words = rest.split(|byte| *byte == b' ');
    let flags = words.next().ok_or_else(|| say("flags"))?;
    let length = words.next().and_then(number).ok_or_else(|| say("length"))?;
    if words.next().is_some() {
        return Err(say("length"));
    }
    Ok(Line::Value { flags: number(flags), length })
}

impl Framed for Response {
    fn head(&mut self, buf: &mut Buf, head: &mut ResponseHead) -> std::result::Result<Progress, Box<str>> {
        let Some(end) = memchr::memchr(b'\n', buf) else {
            if buf.len() > self.head_max {
                return Err("upstream sent too big header".into());
            }
            return Ok(Progress::NeedMore);
        };
        let Some(line) = buf[..end].strip_suffix(b"\r") else {
            let text = format!("memcached sent invalid response: \"{}\"", buf[..end].escape_ascii());
            return Err(text.into());
        };
        match read_line(line, &self.key)? {
            Line::Missing => {
                let key = self.key.escape_ascii();
                self.messages.push(format!("key: \"{key}\" was not found by memcached"));
                head.set_status(b"404 Not Found");
                (head.content_length, head.framing, self.trailer) = (Some(0), Framing::None, b"");
            }
            Line::Value { flags, length } => {
                head.set_status(b"200 OK");
                if self.gzip_flag > 0 {
                    let flags = flags.ok_or("memcached sent invalid flags in response")?;
                    if flags & self.gzip_flag != 0 {
                        head.headers.push(b"Content-Encoding", b"gzip");
                    }
                }
                (head.content_length, head.framing) = (Some(length), Framing::Length(length));
                self.left = length;
            }
        }
        buf.consume(end + 1);
        Ok(Progress::Done { consumed: 0 })
    }

    fn decode(&mut self, input: &[u8]) -> std::result::Result<Decoded, Box<str>> {
        let taken = (input.len() as u64).min(self.left);
        self.left -= taken;
        // at most the length of the input
        let taken = taken as usize;
        let rest = &input[taken..];
        let common = rest.iter().zip(self.trailer).take_while(|(byte, expected)| byte == expected).count();
        let data = 0..taken;
        if self.left == 0 && common < rest.len() && common < self.trailer.len() {
            self.messages.push("memcached sent invalid trailer".to_owned());
            // the value is complete; the connection is not in a known state
            self.trailer = b"";
            return Ok(Decoded { consumed: taken, data, state: BodyState::End });
        }
        self.trailer = &self.trailer[common..];
        let state = if self.is_end() { BodyState::End } else { BodyState::More };
        Ok(Decoded { consumed: taken + common, data, state })
    }

    fn is_end(&self) -> bool {
        self.left == 0 && self.trailer.is_empty()
    }

    fn close(&self) -> std::result::Result<(), Truncated> {
        if self.is_end() { Ok(()) } else { Err(Truncated) }
    }

    fn left(&self) -> Option<u64> {
        Some(self.left + self.trailer.len() as u64)
    }

    fn is_reusable(&self) -> bool {
        self.is_end()
    }

    fn messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines() {
        let value = |flags, length| Ok(Line::Value { flags, length });
        assert_eq!(read_line(b"VALUE /a 2 10", b"/a"), value(Some(2), 10));
        assert_eq!(read_line(b"VALUE /a x 10", b"/a"), value(None, 10));
        assert_eq!(read_line(b"END", b"/a"), Ok(Line::Missing));
        for bad in
            ["VALUE /b 0 1", "VALUE /ab 0 1", "VALUE /a 0", "VALUE /a 0 -1", "VALUE /a 0 1 2", "ERROR", ""]
        {
            assert!(read_line(bad.as_bytes(), b"/a").is_err(), "{bad}");
        }
    }

    fn read(pieces: &[&[u8]]) -> std::result::Result<(u16, Vec<u8>, bool), String> {
        let get = Get { key: Bytes::from_static(b"k"), gzip_flag: 0 };
        let mut response = get.response(100);
        let (mut head, mut body, mut buf, mut in_head) = (ResponseHead::new(), Vec::new(), Buf::new(), true);
        for piece in pieces {
            buf.extend_from_slice(piece);
            if in_head {
                match response.head(&mut buf, &mut head)? {
                    Progress::NeedMore | Progress::Host => continue,
                    Progress::Done { .. } => in_head = false,
                }
            }
            while !buf.is_empty() && !response.is_end() {
                let decoded = response.decode(&buf)?;
                body.extend_from_slice(&buf[decoded.data.clone()]);
                buf.consume(decoded.consumed);
                if decoded.state == BodyState::End {
                    break;
                }
            }
        }
        response.close().map_err(|_| "cut")?;
        Ok((head.status, body, response.is_reusable() && buf.is_empty()))
    }

    #[test]
    fn values_end_with_their_trailer() {
        assert_eq!(read(&[b"VALUE k 0 3\r\nabc\r\nEND\r\n"]), Ok((200, b"abc".to_vec(), true)));
        assert_eq!(read(&[b"END\r\n"]), Ok((404, Vec::new(), true)));
        assert_eq!(read(&[b"VALUE k 0 3\r\nabcdef"]), Ok((200, b"abc".to_vec(), false)));
        assert_eq!(read(&[b"VALUE k 0 3\r\nabc\r\nEND\r\nmore"]), Ok((200, b"abc".to_vec(), false)));
        assert_eq!(read(&[b"VALUE k 0 3\r\nabc\r\nEN"]), Err("cut".to_owned()));
        assert_eq!(read(&[b"VALUE k 0 0\r\n\r\nEND\r\n"]), Ok((200, Vec::new(), true)));
        assert!(read(&[b"VALUE k 0 3\nabc\r\nEND\r\n"]).is_err());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cut in 0usize..30) {
            let all = b"VALUE k 0 5\r\nab\r\nE\r\nEND\r\n";
            let (first, second) = all.split_at(cut.min(all.len()));
            prop_assert_eq!(read(&[first, second]), Ok((200, b"ab\r\nE".to_vec(), true)));
        }
    }
}
