//! `ngx_http_range_filter_module`: parts of a response (RFC 9110 section 14).
//!
//! Two filters: [`RangeHeader`] is the last one a head passes and decides; [`RangeBody`] cuts the body before other filters
//! see it. A filter that changes the bytes forbids ranges ([`clear_ranges`](crate::request::ResponseHead::clear_ranges)), so
//! the two never disagree.

mod parse;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use conf::Result;
use http1::{Known, Version, parse_http_time};

use crate::fault::Fault;
use crate::filter::{Chain, Chunk, Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::modules::http::LOCATION;
use crate::phase::Step;
use crate::request::Request;
use parse::{Parsed, Span, parse};

/// The module.
pub const MODULE: Range = Range;

/// See the module's documentation.
pub struct Range;

impl Module for Range {
    fn name(&self) -> &'static str {
        "ngx_http_range_filter_module"
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let max = cx.confs.get(&LOCATION).max_ranges;
        if max > 0 {
            cx.filter(Position::Range, Rc::new(RangeHeader { max }));
            cx.filter(Position::RangeBody, Rc::new(RangeBody));
        }
        Ok(())
    }
}

/// What is to be cut out of the body.
struct Cut {
    spans: Vec<Span>,
    /// For more than one span: what stands before each, up to the numbers.
    boundary: Vec<u8>,
    number: u64,
    /// Length of the whole body in bytes.
    total: u64,
    /// Bytes of the body seen so far.
    offset: u64,
    /// The last byte of a single span went by.
    done: bool,
}

struct RangeHeader {
    /// `max_ranges`.
    max: usize,
}

impl Filter for RangeHeader {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        Step::Ready(self.decide(req).map(|()| Interest::None))
    }
}

/// The bytes of the whole that are sent, from the first to behind the last, if the client asked for one range of them.
pub(super) fn wanted(req: &Request) -> Option<(u64, u64)> {
    let cut = req.context.get::<Cut>().filter(|cut| cut.spans.len() == 1)?;
    Some((cut.spans[0].start, cut.spans[0].end))
}

/// The next bytes of the body are those from `offset` of the whole on.
pub(super) fn skip_to(req: &mut Request, offset: u64) {
    if let Some(cut) = req.context.get_mut::<Cut>() {
        cut.offset = offset;
    }
}

impl RangeHeader {
    fn decide(&self, req: &mut Request) -> std::result::Result<(), Fault> {
        let Some(total) = req.out.content_length else { return Ok(()) };
        if !may_have_ranges(req) {
            return Ok(());
        }
        let Some(range) = requested(req) else {
            req.out.headers.push_known(Known::AcceptRanges, b"bytes");
            return Ok(());
        };
        let max = if req.out.single_range { self.max.min(1) } else { self.max };
        match parse(range, total, max) {
            Parsed::Whole => req.out.headers.push_known(Known::AcceptRanges, b"bytes"),
            Parsed::Unsatisfiable => {
                req.out.headers.set_known(Known::ContentRange, format!("bytes */{total}").as_bytes());
                req.out.clear_length();
                return Err(Fault::answer(416));
            }
            Parsed::Spans(spans) => {
                req.out.status = 206;
                req.out.status_text = None;
                let cut =
                    if spans.len() == 1 { single(req, spans, total) } else { multiple(req, spans, total) };
                req.context.set(cut);
            }
        }
        Ok(())
    }
}

fn may_have_ranges(req: &Request) -> bool {
    req.out.allow_ranges && req.out.status == 200 && req.is_main() && req.version >= Version::HTTP_10
}

/// The value of `Range` behind `bytes=`, unless `If-Range` does not hold.
fn requested(req: &Request) -> Option<&[u8]> {
    let range = req.header(Known::Range)?;
    let (unit, spans) = range.split_at_checked("bytes=".len())?;
    if spans.is_empty() || !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let holds = match req.header(Known::IfRange) {
        None => true,
        Some(tag) if tag.len() >= 2 && tag.ends_with(b"\"") => {
            req.out.headers.known(Known::Etag) == Some(tag)
        }
        Some(date) => req.out.last_modified.is_some_and(|modified| parse_http_time(date) == Some(modified)),
    };
    holds.then_some(spans)
}

fn single(req: &mut Request, spans: Vec<Span>, total: u64) -> Cut {
    let Span { start, end } = spans[0];
    let range = format!("bytes {start}-{}/{total}", end - 1);
    req.out.headers.remove_known(Known::ContentRange);
    req.out.headers.push_known(Known::ContentRange, range.as_bytes());
    req.out.clear_length();
    req.out.content_length = Some(end - start);
    Cut { spans, boundary: Vec::new(), number: 0, total, offset: req.out.content_offset, done: false }
}

thread_local! {
    /// Boundaries differ from response to response, and begin anywhere.
    static NUMBER: Cell<u64> = Cell::new(rand::random::<u32>().into());
}

fn multiple(req: &mut Request, spans: Vec<Span>, total: u64) -> Cut {
    let number = NUMBER.replace(NUMBER.get().wrapping_add(1));
    let mut boundary = format!("\r\n--{number:020}\r\n").into_bytes();
    let head = &req.out;
    if !head.content_type.is_empty() {
        boundary.extend_from_slice(b"Content-Type: ");
        boundary.extend_from_slice(&head.content_type);
        // a type that came with a charset is sent as it came
        if !head.charset.is_empty() && head.content_type_len == head.content_type.len() {
            boundary.extend_from_slice(b"; charset=");
            boundary.extend_from_slice(&head.charset);
        }
        boundary.extend_from_slice(b"\r\n");
    }
    boundary.extend_from_slice(b"Content-Range: bytes ");
    let cut = Cut { spans, boundary, number, total, offset: 0, done: false };
    let parts: u64 =
        cut.spans.iter().map(|span| cut.part_head(span).len() as u64 + span.end - span.start).sum();
    req.out.set_content_type(format!("multipart/byteranges; boundary={number:020}").as_bytes());
    req.out.headers.remove_known(Known::ContentRange);
    req.out.clear_length();
    req.out.content_length = Some(parts + cut.end_line().len() as u64);
    cut
}

impl Cut {
    /// What stands before the bytes of `span`.
    fn part_head(&self, span: &Span) -> Vec<u8> {
        let numbers = format!("{}-{}/{}\r\n\r\n", span.start, span.end - 1, self.total);
        [&self.boundary[..], numbers.as_bytes()].concat()
    }

    /// What stands behind the last part.
    fn end_line(&self) -> Vec<u8> {
        format!("\r\n--{:020}--\r\n", self.number).into_bytes()
    }

    /// Cuts one span out of a body that comes in pieces. The response ends with the span, whatever may follow.
    fn cut_single(&mut self, chain: &mut Chain) {
        let span = self.spans[0];
        let (start, end) = (self.offset, self.offset + chain.len());
        self.offset = end;
        if self.done {
            chain.chunks.clear();
            chain.last = false;
            return;
        }
        let chunks = std::mem::take(&mut chain.chunks);
        push_part(chain, &chunks, start, span);
        self.done = chain.last || end >= span.end;
        chain.last = self.done;
    }

    /// Cuts several spans out of a body that is there as a whole; they may stand in any order.
    fn cut_multiple(&mut self, chain: &mut Chain) -> std::result::Result<(), Fault> {
        if self.done || chain.chunks.is_empty() {
            return Ok(());
        }
        if chain.len() != self.total {
            return Err(Fault::internal("range in overlapped buffers"));
        }
        self.done = true;
        let chunks = std::mem::take(&mut chain.chunks);
        for span in &self.spans {
            chain.push(self.part_head(span).into());
            push_part(chain, &chunks, 0, *span);
        }
        chain.push(self.end_line().into());
        Ok(())
    }
}

/// Appends what `chunks`, which begin at `start` of the body, have of `span`.
fn push_part(chain: &mut Chain, chunks: &[Chunk], start: u64, span: Span) {
    let mut at = start;
    for chunk in chunks {
        let len = chunk.len();
        let from = span.start.clamp(at, at + len) - at;
        let to = span.end.clamp(at, at + len) - at;
        at += len;
        if from < to {
            chain.chunks.push(slice(chunk, from, to));
        }
    }
}

fn slice(chunk: &Chunk, from: u64, to: u64) -> Chunk {
    match chunk {
        // both ends lie inside bytes that are in memory
        Chunk::Memory(bytes) => Chunk::Memory(Bytes::slice(bytes, from as usize..to as usize)),
        Chunk::File(part) => {
            let mut part = part.clone();
            part.offset += from;
            part.len = to - from;
            Chunk::File(part)
        }
    }
}

struct RangeBody;

impl Filter for RangeBody {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, std::result::Result<Interest, Fault>> {
        let wanted = may_have_ranges(req) && req.headers.contains_known(Known::Range);
        Step::Ready(Ok(if wanted { Interest::Body } else { Interest::None }))
    }

    fn body<'r>(
        &'r self,
        req: &'r mut Request,
        chain: &'r mut Chain,
    ) -> Step<'r, std::result::Result<(), Fault>> {
        let Some(cut) = req.context.get_mut::<Cut>() else { return Step::Ready(Ok(())) };
        Step::Ready(match cut.spans.len() {
            1 => {
                cut.cut_single(chain);
                Ok(())
            }
            _ => cut.cut_multiple(chain),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(spans: &[(u64, u64)], total: u64) -> Cut {
        let spans = spans.iter().map(|&(start, end)| Span { start, end }).collect();
        Cut { spans, boundary: b"<".to_vec(), number: 7, total, offset: 0, done: false }
    }

    fn text(chain: &mut Chain) -> String {
        chain.take_memory().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn one_span_out_of_pieces() {
        let mut cut = cut(&[(3, 8)], 10);
        let mut seen = Vec::new();
        for piece in ["01", "2345", "", "67", "89"] {
            let mut chain = Chain::more(piece);
            chain.last = piece == "89";
            cut.cut_single(&mut chain);
            let last = chain.last;
            seen.push((text(&mut chain), last));
        }
        let expected = [("", false), ("345", false), ("", false), ("67", true), ("", false)];
        assert_eq!(seen, expected.map(|(text, last)| (text.to_owned(), last)));
    }

    #[test]
    fn several_spans_in_any_order() {
        let mut cut = cut(&[(5, 7), (0, 2)], 10);
        let mut chain = Chain::more("0123");
        chain.push(Bytes::from_static(b"456789"));
        cut.cut_multiple(&mut chain).unwrap();
        let end = "\r\n--00000000000000000007--\r\n";
        assert_eq!(text(&mut chain), format!("<5-6/10\r\n\r\n56<0-1/10\r\n\r\n01{end}"));
        let mut part = Chain::more("0123");
        cut.done = false;
        assert!(cut.cut_multiple(&mut part).is_err());
    }
}
