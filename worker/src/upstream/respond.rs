//! From the head of an upstream's response to the head of ours.

use http1::{Known, Method, ResponseHead, connection_options};

use super::{IgnoredHeaders, Order};
use crate::modules::http;
use crate::phase::{Flow, Jump};
use crate::request::Request;

/// Looks for reasons not to pass the response on: an error page, or a redirect to another URI of ours.
pub(super) fn divert(req: &mut Request, order: &Order<'_>, head: &ResponseHead) -> Option<Flow> {
    if order.settings.intercept_404 && head.status == 404 {
        return Some(Flow::Status(404));
    }
    if order.settings.intercept_errors && head.status >= 300 && has_error_page(req, head.status) {
        if head.status == 401 {
            for value in head.headers.known_all(Known::WwwAuthenticate) {
                req.out.headers.push_known(Known::WwwAuthenticate, value);
            }
        }
        return Some(Flow::Status(head.status));
    }
    redirected(req, order, head)
}

/// The same for a response that is served whatever its status is.
pub(crate) fn redirected(req: &mut Request, order: &Order<'_>, head: &ResponseHead) -> Option<Flow> {
    take_limit_rate(req, order, head);
    if order.settings.ignore.contains(IgnoredHeaders::X_ACCEL_REDIRECT) {
        return None;
    }
    let target = head.headers.known(Known::XAccelRedirect)?;
    Some(redirect(req, order, head, target))
}

fn has_error_page(req: &Request, status: u16) -> bool {
    let conf = req.location.confs.get(&http::LOCATION);
    conf.error_pages.iter().any(|page| page.statuses.contains(&status))
}

/// `X-Accel-Limit-Rate`.
fn take_limit_rate(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    if order.settings.ignore.contains(IgnoredHeaders::X_ACCEL_LIMIT_RATE) {
        return;
    }
    let value = head.headers.known(Known::XAccelLimitRate);
    let rate = value.and_then(|value| std::str::from_utf8(value).ok()).and_then(conf::value::number::parse);
    if rate.is_some() {
        req.limit_rate = rate;
    }
}

/// `X-Accel-Redirect`: fields about the content go along.
fn redirect(req: &mut Request, order: &Order<'_>, head: &ResponseHead, target: &[u8]) -> Flow {
    const GO_ALONG: [Known; 4] =
        [Known::ContentDisposition, Known::CacheControl, Known::Expires, Known::AcceptRanges];
    if let Some(value) = head.headers.known(Known::ContentType) {
        set_content_type(req, value);
    }
    let along =
        |known: Option<Known>, _: &[u8], _: &[u8]| known.is_some_and(|known| GO_ALONG.contains(&known));
    req.out.headers.append_where(&head.headers, along);
    copy_cookies(req, order, head);
    if target.first() == Some(&b'@') {
        return Flow::Jump(Jump::Named(target.into()));
    }
    let Some((uri, args)) = parse_unsafe_uri(target) else {
        req.log_error(format_args!("unsafe URI \"{}\" was detected", target.escape_ascii()));
        return Flow::Status(404);
    };
    if req.method != Method::Head {
        req.method = Method::Get;
    }
    Flow::Jump(Jump::Uri { uri, args: Some(args) })
}

/// A URI somebody else made: unescaped path and arguments; `None` when it leads upwards or holds a NUL.
pub(crate) fn parse_unsafe_uri(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.is_empty() || text[0] == b'?' {
        return None;
    }
    let (path, args) = match memchr::memchr(b'?', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let mut decoded = Vec::with_capacity(path.len());
    http1::unescape_uri(&mut decoded, path, http1::Unescape::All);
    let path = decoded;
    let upwards = path.split(|byte| *byte == b'/').any(|part| part == b"..");
    if upwards || memchr::memchr(0, &path).is_some() {
        return None;
    }
    Some((path, args.to_vec()))
}

/// Fills our response head from the upstream's.
pub(crate) fn fill(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    let settings = order.settings;
    req.out.status = head.status;
    // what we would write ourselves is not kept
    req.out.status_text = (http1::status_line(head.status).get(9..)
        != Some(&with_crlf(head.status_line())[..]))
    .then(|| head.status_line().into());
    req.out.content_length = head.content_length;
    req.out.from_upstream = true;
    let hidden = |known: Known| settings.hidden.contains(Some(known), known.name().as_bytes());
    if let Some(value) = head.headers.known(Known::ContentType)
        && !hidden(Known::ContentType)
    {
        set_content_type(req, value);
    }
    // only an HTTP server's silence is passed on as such
    let silent = order.protocol.is_none();
    if !hidden(Known::Server) && (silent || head.headers.contains_known(Known::Server)) {
        req.out.server = Some(head.headers.known(Known::Server).unwrap_or_default().to_vec());
    }
    if !hidden(Known::Date) && (silent || head.headers.contains_known(Known::Date)) {
        req.out.date = Some(head.headers.known(Known::Date).unwrap_or_default().to_vec());
    }
    if let Some(value) = head.headers.known(Known::LastModified)
        && !hidden(Known::LastModified)
    {
        req.out.last_modified = http1::parse_http_time(value);
    }
    if settings.force_ranges {
        req.out.allow_ranges = true;
        req.out.single_range = true;
    }
    take_charset(req, order, head);
    copy_fields(req, order, head);
    fill_for_cache(req, order, head);
}

/// What comes from a cache, or goes into one as a whole, is ours to serve in part, or not at all to who has it.
fn fill_for_cache(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    let Some(using) = &req.upstream.cache else { return };
    if !using.cacheable && !using.serving {
        return;
    }
    req.out.from_upstream = false;
    if crate::cache::offers_ranges(head) && !order.settings.force_ranges {
        req.out.allow_ranges = true;
        req.out.single_range = !using.serving;
        req.out.headers.remove_known(Known::AcceptRanges);
    }
    // a file is there as a whole
    req.out.single_range &= !using.serving;
}

fn with_crlf(line: &[u8]) -> smallvec::SmallVec<[u8; 64]> {
    let mut out = smallvec::SmallVec::from_slice(line);
    out.extend_from_slice(b"\r\n");
    out
}

/// `X-Accel-Charset`, for the charset filter.
fn take_charset(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    if !order.settings.ignore.contains(IgnoredHeaders::X_ACCEL_CHARSET)
        && let Some(value) = head.headers.known(Known::XAccelCharset)
    {
        req.out.override_charset = Some(value.into());
    }
}

/// All fields but those with a place of their own, those between the server and us, and hidden ones.
fn copy_fields(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    let settings = order.settings;
    let listed = listed_in_connection(head);
    let location = order.rewrite.rewrites_location();
    let cookies = order.rewrite.rewrites_cookies();
    req.out.headers.append_where(&head.headers, |known, name, value| {
        if settings.hidden.contains(known, name) {
            return false;
        }
        match known {
            Some(
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ContentLength
                | Known::TransferEncoding
                | Known::ContentType
                | Known::Date
                | Known::Server,
            ) => false,
            Some(Known::AcceptRanges) => !settings.force_ranges,
            // the place of a redirect that is not ours is completed in the header filter unless it is a path
            Some(Known::Location) => !location && value.first() == Some(&b'/'),
            Some(Known::Refresh) => !location,
            Some(Known::SetCookie) => !cookies,
            Some(Known::Upgrade) => true,
            _ => {
                !listed || !connection_options(&head.headers).any(|option| option.eq_ignore_ascii_case(name))
            }
        }
    });
    copy_location(req, order, head);
    if cookies {
        copy_cookies(req, order, head);
    }
}

/// Whether `Connection` names other fields.
fn listed_in_connection(head: &ResponseHead) -> bool {
    head.headers.contains_known(Known::Connection)
        && connection_options(&head.headers).any(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
}

fn copy_location(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    let hidden = |known: Known| order.settings.hidden.contains(Some(known), known.name().as_bytes());
    let rewrites = order.rewrite.rewrites_location();
    if let Some(value) = head.headers.known(Known::Location)
        && !hidden(Known::Location)
    {
        let rewritten = if rewrites { order.rewrite.location(req, value, 0) } else { None };
        match rewritten {
            Some(target) => req.out.location = Some(target),
            None if value.first() != Some(&b'/') => req.out.location = Some(value.to_vec()),
            None if rewrites => req.out.headers.push_known(Known::Location, value),
            None => {}
        }
    }
    if rewrites
        && let Some(value) = head.headers.known(Known::Refresh)
        && !hidden(Known::Refresh)
    {
        let at = value.windows(4).position(|window| window.eq_ignore_ascii_case(b"url="));
        let rewritten = at.and_then(|at| order.rewrite.location(req, value, at + 4));
        req.out.headers.push_known(Known::Refresh, rewritten.as_deref().unwrap_or(value));
    }
}

fn copy_cookies(req: &mut Request, order: &Order<'_>, head: &ResponseHead) {
    if order.settings.hidden.contains(Some(Known::SetCookie), b"Set-Cookie") {
        return;
    }
    for value in head.headers.known_all(Known::SetCookie) {
        let rewritten =
            if order.rewrite.rewrites_cookies() { order.rewrite.cookie(req, value) } else { None };
        req.out.headers.push_known(Known::SetCookie, rewritten.as_deref().unwrap_or(value));
    }
}

/// The media type with its parameters as sent; what filters compare ends before `charset=`.
fn set_content_type(req: &mut Request, value: &[u8]) {
    req.out.set_content_type(value);
    let mut from = 0;
    while let Some(semicolon) = memchr::memchr(b';', &value[from..]).map(|at| from + at) {
        let rest = value[semicolon + 1..].trim_ascii_start();
        if let Some((name, charset)) = rest.split_at_checked(8)
            && name.eq_ignore_ascii_case(b"charset=")
        {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
            req.out.content_type_len = semicolon;
            req.out.charset.extend_from_slice(charset);
            return;
        }
        from = semicolon + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_internal_redirects() {
        let ok = |text: &str, uri: &str, args: &str| {
            let expected = Some((uri.as_bytes().to_vec(), args.as_bytes().to_vec()));
            assert_eq!(parse_unsafe_uri(text.as_bytes()), expected, "{text}");
        };
        ok("/a", "/a", "");
        ok("/a%20b?x=%20", "/a b", "x=%20");
        ok("/a?b?c", "/a", "b?c");
        ok("/a..b/..c", "/a..b/..c", "");
        for bad in ["", "?a", "..", "../a", "/a/../b", "/a/..", "/%2e%2e/b", "/a%00"] {
            assert_eq!(parse_unsafe_uri(bad.as_bytes()), None, "{bad}");
        }
    }
}
