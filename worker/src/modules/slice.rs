//! `ngx_http_slice_filter_module`: a response is fetched in parts of equal size, each of which can be cached on its own.
//!
//! `$slice_range` is the part the current request is to ask for. When the first part has arrived, the others follow as subrequests, and
//! the client sees one response. All parts must be of one version: entity tag, time of the last change and complete
//! length must stay what they were in the first part, and every part must be exactly the range that was asked for; otherwise
//! the response is cut.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};
use http1::{Headers, Known};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::fault::{Fault, Kind, Side};
use crate::filter::{Chain, Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::modules::range;
use crate::pages;
use crate::phase::Step;
use crate::request::Request;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: Slice = Slice;

static CONF: Slot<SliceConf> = Slot::new();

/// See the module's documentation.
pub struct Slice;

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "slice",
    contexts: Contexts::HTTP_SERVER_LOCATION,
    arity: Arity::Exactly(1),
    shape: Shape::Simple,
    default: "0",
    doc: "Size of the parts in which responses are fetched; 0: as a whole.",
    apply: |cx, node| cx.conf(&CONF).set.size.set(node.offset()?),
}];

static VARIABLES: &[Variable] =
    &[Variable::new("slice_range", "The part to ask for, as the value of a Range field.", slice_range)];

settings! {
    /// Parts of responses in a location.
    pub struct SliceConf, SliceSettings {
        /// `slice` in bytes; 0: off.
        size: u64 = 0,
    }
}

impl Conf for SliceConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

impl Module for Slice {
    fn name(&self) -> &'static str {
        "ngx_http_slice_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let size = cx.confs.get(&CONF).size;
        if size > 0 {
            cx.filter(Position::Slice, Rc::new(SliceFilter { size }));
        }
        Ok(())
    }
}

/// The part a request asks for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    start: u64,
    size: u64,
}

fn slice_range(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    if req.context.get::<Asked>().is_none() {
        let size = req.location.confs.get(&CONF).size;
        // with a response under way it is too late
        if !req.is_main() || req.out.status != 0 || size == 0 {
            return false;
        }
        let start = first_byte(&req.headers);
        req.context.set(Asked { start: start - start % size, size });
    }
    let Some(Asked { start, size }) = req.context.get::<Asked>().copied() else { return false };
    let end = start.saturating_add(size - 1);
    out.extend_from_slice(format!("bytes={start}-{end}").as_bytes());
    true
}

/// Where the client wants the response to begin, as far as that is plain: otherwise at its start.
fn first_byte(headers: &Headers) -> u64 {
    if headers.contains_known(Known::IfRange) {
        return 0;
    }
    let Some(value) = headers.known(Known::Range) else { return 0 };
    let Some((unit, ranges)) = value.split_at_checked("bytes=".len()) else { return 0 };
    if !unit.eq_ignore_ascii_case(b"bytes=") || memchr::memchr(b',', ranges).is_some() {
        return 0;
    }
    let ranges = ranges.trim_ascii_start();
    let digits = ranges.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&ranges[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A `Content-Range` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    /// Behind the last byte.
    end: u64,
    total: u64,
}

impl ContentRange {
    /// Reads `bytes 0-9/100`.
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.strip_prefix("bytes ")?;
        let (range, total) = text.split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let number = |text: &str| {
            let text = text.trim_matches(' ');
            // no signs
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
        };
        let (start, last, total) = (number(start)?, number(last)?, number(total)?);
        let end = last.checked_add(1)?;
        (start < end && end <= total).then_some(Self { start, end, total })
    }
}

/// What tells one version of a response from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    etag: Option<Vec<u8>>,
    modified: Option<i64>,
    total: u64,
}

/// A response whose parts are being fetched.
struct Fetching {
    version: Version,
    /// Where the next part begins.
    next: u64,
}

/// Checks a part: its head must be that of the range from `start` on. Gives its version and where it ends.
fn check(req: &Request, start: u64, size: u64) -> std::result::Result<(Version, ContentRange), String> {
    let value = req.out.headers.known(Known::ContentRange);
    let range = value.and_then(ContentRange::parse).ok_or("invalid range in slice response")?;
    let end = start.saturating_add(size).min(range.total);
    if (range.start, range.end) != (start, end) {
        return Err(format!(
            "unexpected range in slice response: {}-{}, expected: {start}-{end}",
            range.start, range.end
        ));
    }
    let etag = req.out.headers.known(Known::Etag).map(<[u8]>::to_vec);
    Ok((Version { etag, modified: req.out.last_modified, total: range.total }, range))
}

struct SliceFilter {
    size: u64,
}

impl SliceFilter {
    fn first(&self, req: &mut Request) -> std::result::Result<Interest, Fault> {
        let Some(asked) = req.context.get::<Asked>().copied() else { return Ok(Interest::None) };
        if !req.is_main() || req.out.status != 206 {
            return Ok(Interest::None);
        }
        // the client gets no answer: a response that is not what was asked for is not explained to it
        let refuse = |text: String| Fault::new(Side::Upstream, Kind::Protocol, pages::CLOSE, text);
        let (version, range) = check(req, asked.start, self.size).map_err(refuse)?;
        let out = &mut req.out;
        out.status = 200;
        out.status_text = None;
        out.headers.remove_known(Known::ContentRange);
        out.headers.remove_known(Known::AcceptRanges);
        out.content_length = Some(range.total);
        out.content_offset = range.start;
        out.allow_ranges = true;
        out.single_range = true;
        req.context.set(Fetching { version, next: range.end });
        Ok(if req.header_only { Interest::None } else { Interest::Body })
    }

    /// Sends what is here, then one part after the other.
    async fn rest(&self, req: &mut Request, chain: &mut Chain) -> std::result::Result<(), Fault> {
        let Some(Fetching { version, mut next }) = req.context.take::<Fetching>() else { return Ok(()) };
        let mut own = std::mem::take(chain);
        own.last = false;
        req.pass_on(own).await?;
        let mut end = version.total;
        if let Some((from, to)) = range::wanted(req) {
            end = to;
            if from >= next.saturating_add(self.size) {
                // the end of the response was asked for, and where that is is known only now
                next = from - from % self.size;
                range::skip_to(req, next);
            }
        }
        while next < end {
            next = match self.part(req, &version, next).await {
                Ok(next) => next,
                Err(fault) => {
                    req.withdraw();
                    return Err(fault);
                }
            };
        }
        chain.last = true;
        Ok(())
    }

    /// Fetches the part that begins at `start`; returns where it ends.
    async fn part(
        &self,
        req: &mut Request,
        version: &Version,
        start: u64,
    ) -> std::result::Result<u64, Fault> {
        let size = self.size;
        let running = req.start_clone(|sub| sub.context.set(Asked { start, size }))?;
        let Some(head) = running.head().await else {
            return Err(Fault::internal("missing slice response"));
        };
        if head.status != 206 {
            let text = format!("unexpected status code {} in slice response", head.status);
            return Err(Fault::internal(text));
        }
        let value = head.headers.known(Known::ContentRange);
        let range = value.and_then(ContentRange::parse);
        let range = range.ok_or_else(|| Fault::internal("invalid range in slice response"))?;
        let expected = (start, start.saturating_add(size).min(version.total));
        if (range.start, range.end) != expected {
            return Err(Fault::internal(format!(
                "unexpected range in slice response: {}-{}, expected: {}-{}",
                range.start, range.end, expected.0, expected.1
            )));
        }
        let etag = head.headers.known(Known::Etag).map(<[u8]>::to_vec);
        if etag != version.etag {
            return Err(Fault::internal("etag mismatch in slice response"));
        }
        if head.last_modified != version.modified || range.total != version.total {
            return Err(Fault::internal("version mismatch in slice response"));
        }
        let mut left = range.end - range.start;
        while let Some(piece) = req.next_piece(&running).await? {
            left = left
                .checked_sub(piece.len())
                .ok_or_else(|| Fault::internal("slice response is longer than its range"))?;
            req.pass_on(piece).await?;
        }
        running.end().await?;
        if left > 0 {
            return Err(Fault::internal("slice response is shorter than its range"));
        }
        Ok(range.end)
    }
}

impl Filter for SliceFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        Step::Ready(self.first(req))
    }

    fn body<'r>(
        &'r self,
        req: &'r mut Request,
        chain: &'r mut Chain,
    ) -> Step<'r, std::result::Result<(), Fault>> {
        if !chain.last || req.context.get::<Fetching>().is_none() {
            return Step::Ready(Ok(()));
        }
        Step::wait(self.rest(req, chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let parse = |text: &str| ContentRange::parse(text.as_bytes());
        assert_eq!(parse("bytes 0-1/4"), Some(ContentRange { start: 0, end: 2, total: 4 }));
        assert_eq!(parse("bytes  2 - 3 / 4 "), Some(ContentRange { start: 2, end: 4, total: 4 }));
        for bad in [
            "",
            "bytes",
            "bytes 0-1/*",
            "bytes 1-0/4",
            "bytes 0-4/4",
            "bytes -1-2/4",
            "bytes 0-+1/4",
            "bytes 0-18446744073709551615/18446744073709551615",
            "bytes 0-1",
            "items 0-1/4",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn beginnings() {
        for (range, expected) in [
            ("bytes=5-", 5),
            ("Bytes= 7-9", 7),
            ("bytes=-3", 0),
            ("bytes=5-6,8-9", 0),
            ("items=5-", 0),
            ("bytes=99999999999999999999-", 0),
        ] {
            let mut headers = Headers::new();
            headers.push(b"Range", range.as_bytes());
            assert_eq!(first_byte(&headers), expected, "{range}");
            headers.push(b"If-Range", b"\"x\"");
            assert_eq!(first_byte(&headers), 0);
        }
    }
}
