//! `ngx_http_gunzip_filter_module`: decompresses responses for clients that do not take gzip.
//!
//! A small body may decompress to a thousand times its size, so output is passed on whenever `gunzip_buffers` are full,
//! and the loop gets a turn in between.

use std::cell::RefCell;
use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};
use bytes::Bytes;
use http1::Known;
use net::Buf;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::gzip;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest, Position};
use crate::module::{Attach, Module};
use crate::phase::Step;
use crate::request::Request;
use crate::settings;

/// The module.
pub const MODULE: Gunzip = Gunzip;

/// Its settings.
pub static CONF: Slot<GunzipConf> = Slot::new();

/// See the module's documentation.
pub struct Gunzip;

impl Module for Gunzip {
    fn name(&self) -> &'static str {
        "ngx_http_gunzip_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.enable {
            cx.filter(Position::Gunzip, Rc::new(GunzipFilter { conf }));
        }
        Ok(())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "gunzip",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Decompresses gzipped responses for clients that do not accept gzip.",
        apply: |cx, node| cx.conf(&CONF).set.enable.set(node.flag()?),
    },
    Directive {
        name: "gunzip_buffers",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "8 16k",
        doc: "Number and size of the pieces of decompressed data that are collected before they are passed on.",
        apply: |cx, node| cx.conf(&CONF).set.buffers.set(node.buffers()?),
    },
];

settings! {
    /// Settings of a location.
    pub struct GunzipConf, GunzipSettings {
        /// `gunzip`.
        enable: bool = false,
        /// `gunzip_buffers`: number and size in bytes.
        buffers: (usize, usize) = (8, 16 * 1024),
    }
}

impl Conf for GunzipConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// Decompresses responses of one location.
struct GunzipFilter {
    conf: Rc<GunzipConf>,
}

impl Filter for GunzipFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        let coding = req.out.headers.known(Known::ContentEncoding);
        if !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) {
            return Step::Ready(Ok(Interest::None));
        }
        if req.location.confs.get(&gzip::ACCEPT).vary {
            req.out.vary_encoding = true;
        }
        if gzip::accepts(req) {
            return Step::Ready(Ok(Interest::None));
        }
        req.out.headers.remove_known(Known::ContentEncoding);
        req.out.clear_length();
        req.out.clear_ranges();
        req.out.weaken_etag();
        if req.header_only {
            return Step::Ready(Ok(Interest::None));
        }
        req.context.set(Some(Decompressor::new()));
        Step::Ready(Ok(Interest::Memory))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        // taken out while it works: its output passes other filters, which have the request
        let Some(decompressor) = req.context.get_mut::<Option<Decompressor>>().and_then(Option::take) else {
            return Step::Ready(Ok(()));
        };
        let (count, size) = self.conf.buffers;
        let input = chain.take_memory().collect();
        let mut work = Work { decompressor, input, size, budget: count * size };
        match work.run(chain) {
            Ok(Progress::InputUsed) => Step::Ready(work.finish(req, chain)),
            Ok(Progress::BudgetUsed) => Step::wait(work.run_on(req, chain)),
            Err(error) => Step::Ready(Err(Fault::internal(error))),
        }
    }
}

/// One call's work.
struct Work {
    decompressor: Decompressor,
    input: std::collections::VecDeque<Bytes>,
    size: usize,
    budget: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    InputUsed,
    BudgetUsed,
}

impl Work {
    /// Decompresses until the input is used up or `gunzip_buffers` are full.
    fn run(&mut self, chain: &mut Chain) -> Result<Progress, String> {
        while let Some(bytes) = self.input.front_mut() {
            let used = self.decompressor.feed(bytes, chain, self.size, self.budget as u64)?;
            let _ = bytes.split_to(used);
            if bytes.is_empty() && !self.decompressor.has_more {
                self.input.pop_front();
            } else if chain.len() >= self.budget as u64 {
                return Ok(Progress::BudgetUsed);
            }
        }
        Ok(Progress::InputUsed)
    }

    async fn run_on(mut self, req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
        loop {
            let chunks = std::mem::take(&mut chain.chunks);
            req.pass_on(Chain { chunks, ..Chain::default() }).await?;
            net::yield_turn().await;
            match self.run(chain) {
                Ok(Progress::BudgetUsed) => {}
                Ok(Progress::InputUsed) => return self.finish(req, chain),
                Err(error) => return Err(Fault::internal(error)),
            }
        }
    }

    /// What follows when the input of a call is used up.
    fn finish(self, req: &mut Request, chain: &Chain) -> Result<(), Fault> {
        if chain.last {
            return self.decompressor.end().map_err(Fault::internal);
        }
        if let Some(place) = req.context.get_mut::<Option<Decompressor>>() {
            *place = Some(self.decompressor);
        }
        Ok(())
    }
}

/// Exponent of the largest window, plus 16: gzip headers and trailers are expected around the data.
const GZIP_WINDOW: u8 = 15 + 16;
/// Bytes taken out of the decompressor at a time.
const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

struct Decompressor {
    inflate: Inflate,
    ended: bool,
    /// The last call filled its room: more may come out without further input.
    has_more: bool,
}

impl Decompressor {
    fn new() -> Self {
        Self { inflate: Inflate::new(true, GZIP_WINDOW), ended: false, has_more: false }
    }

    /// Decompresses from `input` until it is used up or `chain` holds `budget` bytes; returns what was used of it.
    fn feed(&mut self, input: &[u8], chain: &mut Chain, size: usize, budget: u64) -> Result<usize, String> {
        let mut used = 0;
        let mut out = Buf::new();
        let mut held = chain.len();
        SCRATCH.with_borrow_mut(|scratch| {
            while (used < input.len() || self.has_more) && held < budget {
                let rest = &input[used..];
                if self.ended && !rest.is_empty() {
                    // another gzip member follows
                    self.inflate = Inflate::new(true, GZIP_WINDOW);
                    self.ended = false;
                }
                let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
                let status = self
                    .inflate
                    .decompress(rest, scratch, InflateFlush::NoFlush)
                    .map_err(|error| format!("inflate() failed: {}", error.as_str()))?;
                used += (self.inflate.total_in() - in_before) as usize;
                let made = (self.inflate.total_out() - out_before) as usize;
                held += made as u64;
                self.ended = status == Status::StreamEnd;
                self.has_more = made == scratch.len() && !self.ended;
                gzip::append(&mut out, size, &scratch[..made], chain);
            }
            chain.push(std::mem::take(&mut out).freeze());
            Ok(used)
        })
    }

    /// The response is over: so must be the stream.
    fn end(self) -> Result<(), String> {
        if self.ended { Ok(()) } else { Err("inflate() returned -5 on response end".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Decompresses `pieces` with a budget; `None` on an error.
    fn gunzip(pieces: impl Iterator<Item = Vec<u8>>, budget: usize) -> Option<Vec<u8>> {
        let mut work =
            Work { decompressor: Decompressor::new(), input: Default::default(), size: 4096, budget };
        let mut out = Vec::new();
        for piece in pieces {
            work.input.push_back(piece.into());
            loop {
                let mut chain = Chain::default();
                let progress = work.run(&mut chain).ok()?;
                assert!(chain.len() <= (budget + SCRATCH_BYTES) as u64);
                chain.take_memory().for_each(|bytes| out.extend_from_slice(&bytes));
                if progress == Progress::InputUsed {
                    break;
                }
            }
        }
        work.decompressor.end().ok()?;
        Some(out)
    }

    #[test]
    fn output_never_exceeds_its_budget() {
        let text = vec![b'x'; 3_000_000];
        assert_eq!(gunzip([gzip(&text)].into_iter(), 8192).unwrap(), text);
    }

    #[test]
    fn several_members_and_a_missing_end() {
        let both = [gzip(b"first "), gzip(b"second")].concat();
        assert_eq!(gunzip([both.clone()].into_iter(), 1 << 20).unwrap(), b"first second");
        assert_eq!(gunzip(both.iter().map(|byte| vec![*byte]), 1 << 20).unwrap(), b"first second");
        assert_eq!(gunzip([both[..both.len() - 3].to_vec()].into_iter(), 1 << 20), None);
        assert_eq!(gunzip([].into_iter(), 1 << 20), None);
        assert_eq!(gunzip([[gzip(b"x"), b"garbage".to_vec()].concat()].into_iter(), 1 << 20), None);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_text(text in proptest::collection::vec(0u8..4, 0..50_000), step in 1usize..5000) {
            let gzipped = gzip(&text);
            let pieces = gzipped.chunks(step).map(<[u8]>::to_vec);
            prop_assert_eq!(gunzip(pieces, 4096).unwrap(), text);
        }

        #[test]
        fn garbage_does_no_harm(garbage in proptest::collection::vec(any::<u8>(), 0..5000), at in 0usize..100, step in 1usize..999) {
            gunzip(garbage.chunks(step).map(<[u8]>::to_vec), 4096);
            let mut gzipped = gzip(&garbage);
            let at = at % gzipped.len();
            gzipped[at] ^= 0x55;
            gunzip(gzipped.chunks(step).map(<[u8]>::to_vec), 4096);
        }
    }
}
