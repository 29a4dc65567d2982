//! Whether a client takes gzip: `Accept-Encoding`, HTTP version, proxies on the way, patterns of `User-Agent`.

use std::rc::Rc;

use conf::{Node, Result};
use http1::{Known, Version};

use crate::build::{Builder, Conf, MergeCx};
use crate::regex::Regex;
use crate::request::Request;
use crate::settings;

use super::ACCEPT;

settings! {
    /// For whom responses of a location may be compressed.
    pub struct AcceptConf, AcceptSettings {
        /// `gzip_vary`.
        vary: bool = false,
        /// `gzip_http_version`.
        version: Version = Version::HTTP_11,
        /// `gzip_proxied`.
        proxied: Proxied = Proxied::OFF,
        /// `gzip_disable msie6`.
        disable_msie6: bool = false,
        /// `gzip_disable`, all other patterns.
        disable: Rc<[Regex]> = Rc::from([]),
    }
}

impl Conf for AcceptConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// Values of `gzip_proxied`, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proxied(u16);

impl Proxied {
    const OFF: Self = Self(1);
    const EXPIRED: Self = Self(1 << 1);
    const NO_CACHE: Self = Self(1 << 2);
    const NO_STORE: Self = Self(1 << 3);
    const PRIVATE: Self = Self(1 << 4);
    const NO_LAST_MODIFIED: Self = Self(1 << 5);
    const NO_ETAG: Self = Self(1 << 6);
    const AUTH: Self = Self(1 << 7);
    const ANY: Self = Self(1 << 8);

    fn has(self, bit: Self) -> bool {
        self.0 & bit.0 != 0
    }
}

const PROXIED: &[(&str, Proxied)] = &[
    ("off", Proxied::OFF),
    ("expired", Proxied::EXPIRED),
    ("no-cache", Proxied::NO_CACHE),
    ("no-store", Proxied::NO_STORE),
    ("private", Proxied::PRIVATE),
    ("no_last_modified", Proxied::NO_LAST_MODIFIED),
    ("no_etag", Proxied::NO_ETAG),
    ("auth", Proxied::AUTH),
    ("any", Proxied::ANY),
];

/// `gzip_proxied value …`.
pub(super) fn apply_proxied(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut mask = cx.conf(&ACCEPT).set.proxied.as_ref().copied().unwrap_or_default();
    for i in 0..node.len() {
        let bit = node.choice_at(i, PROXIED)?;
        if mask.has(bit) {
            cx.warn(node.warning(format!("duplicate value \"{}\"", node.arg(i).unwrap_or_default())));
        }
        mask = Proxied(mask.0 | bit.0);
    }
    cx.conf(&ACCEPT).set.proxied.replace(mask);
    Ok(())
}

/// `gzip_disable pattern …`.
pub(super) fn apply_disable(cx: &mut Builder, node: &Node) -> Result<()> {
    let set = &mut cx.conf(&ACCEPT).set;
    for pattern in node.str_args() {
        if pattern == "msie6" {
            set.disable_msie6.replace(true);
            continue;
        }
        let regex = Regex::new(pattern, true).map_err(|error| node.error(error))?;
        let list = set.disable.or_insert_with(|| Rc::from([]));
        *list = list.iter().cloned().chain([regex]).collect();
    }
    Ok(())
}

/// What was found out about the client, kept for the other modules that ask.
struct Answer(bool);

/// Whether the response may be sent compressed. The answer is kept for the request; a subrequest's response is part of
/// another one and never compressed on its own.
pub fn accepts(req: &mut Request) -> bool {
    if let Some(Answer(answer)) = req.context.get() {
        return *answer;
    }
    let answer = req.is_main() && decide(req);
    req.context.set(Answer(answer));
    answer
}

fn decide(req: &Request) -> bool {
    let Some(encodings) = req.header(Known::AcceptEncoding) else { return false };
    if !encodings.starts_with(b"gzip,") && !names_gzip(encodings) {
        return false;
    }
    let conf = req.location.confs.get(&ACCEPT);
    let agent = req.header(Known::UserAgent);
    if conf.disable_msie6 && agent.is_some_and(is_msie6) {
        return false;
    }
    if req.version < conf.version {
        return false;
    }
    if req.headers.contains_known(Known::Via) && !proxied(req, conf.proxied) {
        return false;
    }
    agent.is_none_or(|agent| !conf.disable.iter().any(|regex| regex.is_match(agent)))
}

/// Whether the response to a request that came through a proxy may be compressed.
fn proxied(req: &Request, mask: Proxied) -> bool {
    if mask.has(Proxied::OFF) {
        return false;
    }
    if mask.has(Proxied::ANY) || (mask.has(Proxied::AUTH) && req.headers.contains_known(Known::Authorization))
    {
        return true;
    }
    let fields = &req.out.headers;
    if let Some(expires) = fields.known(Known::Expires) {
        let date = match &req.out.date {
            Some(date) => http1::parse_http_time(date),
            None => Some(crate::clock::unix_seconds()),
        };
        let expired = http1::parse_http_time(expires).zip(date).is_some_and(|(expires, date)| expires < date);
        return mask.has(Proxied::EXPIRED) && expired;
    }
    if fields.contains_known(Known::CacheControl) {
        let says = |token: &[u8]| fields.known_all(Known::CacheControl).any(|line| has_token(line, token));
        return (mask.has(Proxied::NO_CACHE) && says(b"no-cache"))
            || (mask.has(Proxied::NO_STORE) && says(b"no-store"))
            || (mask.has(Proxied::PRIVATE) && says(b"private"));
    }
    let has_date = req.out.last_modified.is_some() || fields.contains_known(Known::LastModified);
    let dated = mask.has(Proxied::NO_LAST_MODIFIED) && has_date;
    let tagged = mask.has(Proxied::NO_ETAG) && fields.contains_known(Known::Etag);
    !dated && !tagged
}

/// Whether one of the list's items, between commas and semicolons, is `token`.
fn has_token(line: &[u8], token: &[u8]) -> bool {
    let mut items = line.split_inclusive(|byte| matches!(byte, b',' | b';'));
    items.any(|item| {
        // an item that a parameter follows is not the bare token
        let bare = item.strip_suffix(b",").unwrap_or(item);
        bare.trim_ascii().eq_ignore_ascii_case(token)
    })
}

/// Whether `Accept-Encoding` names gzip with a quality above zero. Qualities that cannot be read are zero.
fn names_gzip(encodings: &[u8]) -> bool {
    let mut from = 0;
    let found = loop {
        let rest = encodings.get(from..).unwrap_or_default();
        let Some(at) = rest.windows(4).position(|word| word.eq_ignore_ascii_case(b"gzip")) else {
            return false;
        };
        let at = from + at;
        if at == 0 || matches!(encodings[at - 1], b',' | b' ') {
            break at + 4;
        }
        from = at + 4;
    };
    let rest = encodings[found..].trim_ascii_start_spaces();
    match rest.split_first() {
        None | Some((b',', _)) => true,
        Some((b';', parameters)) => match parameters.trim_ascii_start_spaces().split_first() {
            None => true,
            Some((b'q' | b'Q', value)) => value.strip_prefix(b"=").is_some_and(|value| quality(value) > 0),
            Some(_) => false,
        },
        Some(_) => false,
    }
}

trait TrimSpaces {
    fn trim_ascii_start_spaces(&self) -> &[u8];
}

impl TrimSpaces for [u8] {
    /// Without leading spaces: tabs are not skipped by nginx here.
    fn trim_ascii_start_spaces(&self) -> &[u8] {
        let spaces = self.iter().take_while(|byte| **byte == b' ').count();
        &self[spaces..]
    }
}

/// A quality, only meaningful as zero or not: `0.001` is above zero, `0.0001` and `1.001` are invalid and so zero.
fn quality(text: &[u8]) -> u32 {
    let (first, rest) = match text.split_first() {
        Some((first @ (b'0' | b'1'), rest)) => (u32::from(first - b'0') * 100, rest),
        _ => return 0,
    };
    let decimals = match rest.split_first() {
        None | Some((b',' | b' ', _)) => return first,
        Some((b'.', decimals)) => decimals,
        Some(_) => return 0,
    };
    let end = decimals.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(decimals.len());
    let digits = &decimals[..end];
    if digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let quality = first + digits.iter().map(|digit| u32::from(digit - b'0')).sum::<u32>();
    if quality > 100 { 0 } else { quality }
}

/// Internet Explorer 4 to 6 (6 only without its second service pack), which mishandle compressed responses.
fn is_msie6(agent: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(agent, b"MSIE ") else { return false };
    let rest = &agent[at..];
    if rest.len() <= 7 || rest[6] != b'.' || memchr::memmem::find(agent, b"Opera").is_some() {
        return false;
    }
    match rest[5] {
        b'4' | b'5' => true,
        b'6' => memchr::memmem::find(&rest[8.min(rest.len())..], b"SV1").is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding() {
        for (text, expected) in [
            ("gzip", true),
            ("GZip", true),
            ("gzip, deflate", true),
            ("deflate, gzip", true),
            ("deflate,gzip", true),
            ("xgzip", false),
            ("xgzip, gzip", true),
            ("gzipx", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip; q=0.001", true),
            ("gzip; Q=1", true),
            ("gzip; q=1.000", true),
            ("gzip; q=1.001", false),
            ("gzip; q=0.0001", false),
            ("gzip;q=2", false),
            ("gzip; x=1", false),
            ("gzip; q", false),
            ("gzip; q=", false),
            ("gzip;", true),
            ("gzip ;q=1, x", true),
            ("deflate", false),
            ("", false),
            ("*", false),
            ("gzip\t", false),
        ] {
            assert_eq!(names_gzip(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn cache_control() {
        for (line, expected) in [
            ("no-cache", true),
            ("max-age=1, no-cache", true),
            ("No-Cache , x", true),
            ("no-cache=\"x\"", false),
            ("xno-cache", false),
            ("no-cache; x", false),
            ("x; no-cache", true),
        ] {
            assert_eq!(has_token(line.as_bytes(), b"no-cache"), expected, "{line}");
        }
    }

    #[test]
    fn old_browsers() {
        for (agent, expected) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", false),
            ("Mozilla/4.0 (compatible; MSIE 5.5; Windows 98)", true),
            ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)", false),
            ("Mozilla/4.0 (compatible; MSIE 6.0; X) Opera 8", false),
            ("MSIE 6.", false),
            ("curl/8", false),
        ] {
            assert_eq!(is_msie6(agent.as_bytes()), expected, "{agent}");
        }
    }
}
