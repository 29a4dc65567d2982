//! The request head as it is sent, compiled when the configuration is read.
//!
//! Framing is ours alone: `Content-Length` and `Transfer-Encoding` follow from the body that is really sent, `Host` occurs
//! once, and fields that concern one connection only go no further. No value that comes out of a variable can begin a
//! line of its own.

use std::rc::Rc;

use conf::{Node, Result};
use http1::{Known, Version, connection_options};

use super::conf::ProxyConf;
use crate::build::Builder;
use crate::fault::Fault;
use crate::request::Request;
use crate::script::Template;
use crate::upstream::{NameSet, Upload};

/// One `proxy_set_header`.
#[derive(Debug, Clone)]
pub struct SetHeader {
    name: Box<[u8]>,
    value: Template,
}

/// `proxy_set_header name value`.
pub(super) fn set_header(cx: &mut Builder, node: &Node) -> Result<()> {
    let value = Template::parse(cx, node, node.second())?;
    let header = SetHeader { name: node.bytes(0).into(), value };
    let set = cx.conf(&super::CONF).set.set_headers.or_insert_with(|| Rc::from([]));
    *set = set.iter().cloned().chain([header]).collect();
    Ok(())
}

/// Fields of a client that are not passed on.
const NOT_PASSED: [Known; 9] = [
    Known::Host,
    Known::Connection,
    Known::ProxyConnection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Te,
    Known::KeepAlive,
    Known::Expect,
    Known::Upgrade,
];

/// What a location sends in front of a request.
pub(super) struct HeadPlan {
    version: Version,
    method: Option<Rc<Template>>,
    /// `proxy_set_header Host`.
    host: Option<Template>,
    fields: Box<[Field]>,
    /// Client fields that are left out.
    replaced: NameSet,
    /// The same where the response goes to a cache.
    replaced_cached: NameSet,
    pass_fields: bool,
}

enum Field {
    /// Complete lines.
    Text(Box<[u8]>),
    /// A line that is left out when its value is empty.
    Template(Box<[u8]>, Template),
}

/// What a head is made of besides the plan.
pub(super) struct HeadParts<'a> {
    /// `$proxy_host`.
    pub(super) host: &'a [u8],
    /// What follows the method.
    pub(super) target: &'a [u8],
    pub(super) upload: Upload,
    /// Length of the body that is sent, if it is known.
    pub(super) length: Option<u64>,
    /// The response goes to a cache: it is asked for as a whole, and on conditions of the cache's own.
    pub(super) cached: bool,
    /// HEAD is passed on as GET.
    pub(super) as_get: bool,
}

/// What was built.
pub(super) struct Built {
    /// Where the target stands.
    pub(super) target: std::ops::Range<usize>,
    pub(super) head_only: bool,
    pub(super) idempotent: bool,
    /// An `Upgrade` field was sent.
    pub(super) upgrade: bool,
}

impl HeadPlan {
    pub(super) fn new(conf: &ProxyConf) -> Self {
        let mut replaced = NameSet::new(NOT_PASSED.iter().map(|known| known.name().as_bytes()));
        let (mut host, mut fields) = (None, Vec::new());
        for header in conf.set_headers.iter() {
            replaced.insert(&header.name);
            match Known::from_name(&header.name) {
                Some(Known::Host) => host = Some(header.value.clone()),
                // ours, whatever is said
                Some(Known::ContentLength | Known::TransferEncoding) => {}
                _ => push_field(&mut fields, header),
            }
        }
        let mut replaced_cached = replaced.clone();
        OF_CACHE.iter().for_each(|known| replaced_cached.insert(known.name().as_bytes()));
        Self {
            version: conf.http_version,
            method: conf.method.clone(),
            host,
            fields: fields.into(),
            replaced,
            replaced_cached,
            pass_fields: conf.pass_request_headers,
        }
    }

    /// Whether chunked bodies may be sent.
    pub(super) fn is_http11(&self) -> bool {
        self.version >= Version::HTTP_11
    }

    /// Builds the head in `out`.
    pub(super) fn build(
        &self,
        req: &mut Request,
        parts: &HeadParts<'_>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Built, Fault> {
        out.clear();
        self.method(req, parts.as_get, out)?;
        let head_only = out.eq_ignore_ascii_case(b"HEAD");
        let idempotent = http1::Method::from_bytes(out).is_idempotent() && req.method.is_idempotent();
        out.push(b' ');
        let start = out.len();
        push_target(out, parts.target);
        let target = start..out.len();
        if target.is_empty() {
            return Err(Fault::internal("zero length URI to proxy"));
        }
        out.extend_from_slice(if self.is_http11() { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
        self.host(req, parts.host, out);
        push_framing(out, parts);
        let upgrade = self.fields(req, out);
        if parts.cached {
            self.conditions(req, out);
        }
        if self.pass_fields {
            let replaced = if parts.cached { &self.replaced_cached } else { &self.replaced };
            client_fields(req, replaced, out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(Built { target, head_only, idempotent, upgrade })
    }

    fn method(&self, req: &mut Request, as_get: bool, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
        let Some(method) = &self.method else {
            if as_get && req.method == http1::Method::Head {
                out.extend_from_slice(b"GET");
                return Ok(());
            }
            out.extend_from_slice(req.method_name());
            return Ok(());
        };
        method.append(req, out);
        let token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
        if out.is_empty() || !out.iter().all(token) {
            let text = format!("invalid method \"{}\" in \"proxy_method\"", out.escape_ascii());
            return Err(Fault::internal(text));
        }
        Ok(())
    }

    fn host(&self, req: &mut Request, default: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"Host: ");
        let start = out.len();
        match &self.host {
            None => out.extend_from_slice(default),
            Some(template) => {
                template.append(req, out);
                clean(out, start);
                if out.len() == start && self.is_http11() {
                    out.extend_from_slice(default);
                }
            }
        }
        if out.len() == start {
            out.truncate(start - b"Host: ".len());
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Fields of the configuration; whether one of them was `Upgrade`.
    fn fields(&self, req: &mut Request, out: &mut Vec<u8>) -> bool {
        let mut upgrade = false;
        for field in &self.fields {
            match field {
                Field::Text(lines) => out.extend_from_slice(lines),
                Field::Template(name, value) => {
                    let line = out.len();
                    out.extend_from_slice(name);
                    out.extend_from_slice(b": ");
                    let start = out.len();
                    value.append(req, out);
                    if out.len() == start {
                        out.truncate(line);
                        continue;
                    }
                    clean(out, start);
                    out.extend_from_slice(b"\r\n");
                    upgrade |= name.eq_ignore_ascii_case(b"Upgrade");
                }
            }
        }
        upgrade
    }

    /// Asks whether what has grown old in the cache is still good.
    fn conditions(&self, req: &Request, out: &mut Vec<u8>) {
        let Some(using) = req.upstream.revalidated() else { return };
        let is_free = |known: Known| !self.replaced.contains(Some(known), known.name().as_bytes());
        if let Some(time) = using.last_modified()
            && is_free(Known::IfModifiedSince)
        {
            out.extend_from_slice(b"If-Modified-Since: ");
            out.extend_from_slice(&http1::http_time(time));
            out.extend_from_slice(b"\r\n");
        }
        if let Some(etag) = using.etag()
            && is_free(Known::IfNoneMatch)
        {
            out.extend_from_slice(b"If-None-Match: ");
            out.extend_from_slice(etag);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Conditions and ranges of a client, which are not for a server whose response goes to a cache.
const OF_CACHE: [Known; 6] = [
    Known::IfModifiedSince,
    Known::IfUnmodifiedSince,
    Known::IfNoneMatch,
    Known::IfMatch,
    Known::Range,
    Known::IfRange,
];

/// The client's fields but those that are replaced, and those `Connection` declares to be for us only.
fn client_fields(req: &Request, replaced: &NameSet, out: &mut Vec<u8>) {
    let headers = &req.headers;
    let named =
        |option: &[u8]| !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive");
    if headers.contains_known(Known::Connection) && connection_options(headers).any(named) {
        headers.write_where(out, |known, name, _| {
            !replaced.contains(known, name)
                && !connection_options(headers).any(|option| option.eq_ignore_ascii_case(name))
        });
    } else {
        headers.write_where(out, |known, name, _| !replaced.contains(known, name));
    }
}

fn push_field(fields: &mut Vec<Field>, header: &SetHeader) {
    let Some(literal) = header.value.as_literal() else {
        fields.push(Field::Template(header.name.clone(), header.value.clone()));
        return;
    };
    if literal.is_empty() {
        return;
    }
    // `Upgrade` must be noticed when it is sent
    if Known::from_name(&header.name) == Some(Known::Upgrade) {
        fields.push(Field::Template(header.name.clone(), header.value.clone()));
        return;
    }
    let mut line = Vec::new();
    line.extend_from_slice(&header.name);
    line.extend_from_slice(b": ");
    line.extend_from_slice(literal);
    clean(&mut line, 0);
    line.extend_from_slice(b"\r\n");
    match fields.last_mut() {
        Some(Field::Text(lines)) => *lines = [&**lines, &line].concat().into(),
        _ => fields.push(Field::Text(line.into())),
    }
}

fn push_framing(out: &mut Vec<u8>, parts: &HeadParts<'_>) {
    if let Upload::Streamed { chunked: true } = parts.upload {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if let Some(length) = parts.length {
        out.extend_from_slice(b"Content-Length: ");
        http1::push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
}

/// The target. What would end it or its line is escaped: it may come out of a variable.
fn push_target(out: &mut Vec<u8>, target: &[u8]) {
    let plain = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    if target.iter().all(plain) {
        out.extend_from_slice(target);
        return;
    }
    for byte in target {
        if plain(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// Turns line breaks and NUL from `start` on into blanks.
fn clean(out: &mut [u8], start: usize) {
    let value = &mut out[start..];
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        value.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).for_each(|byte| *byte = b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        let mut out = b"GET ".to_vec();
        push_target(&mut out, b"/a b\r\nX: y\x7f?\xc3\xa4");
        assert_eq!(out, b"GET /a%20b%0D%0AX:%20y%7F?\xc3\xa4");
        let mut line = b"X: a\r\nb\0c".to_vec();
        clean(&mut line, 3);
        assert_eq!(line, b"X: a  b c");
    }

    #[test]
    fn literal_fields_are_one_text() {
        let literal =
            |name: &[u8], value: &[u8]| SetHeader { name: name.into(), value: Template::literal(value) };
        let mut fields = Vec::new();
        for header in [literal(b"A", b"1"), literal(b"B", b""), literal(b"C", b"3")] {
            push_field(&mut fields, &header);
        }
        assert!(matches!(&fields[..], [Field::Text(lines)] if **lines == *b"A: 1\r\nC: 3\r\n"));
    }
}
