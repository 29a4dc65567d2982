//! The filter: which responses are compressed, and their bodies.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http1::{Known, Method};
use net::Buf;

use super::compressor::{Compressor, Shape, Then};
use super::{ACCEPT, GzipConf, PIECE_BYTES, accepts, append};
use crate::fault::Fault;
use crate::filter::{Chain, Filter, Interest};
use crate::log::Level;
use crate::phase::Step;
use crate::request::Request;
use crate::variables::Variable;

/// Compresses responses of one location.
pub(super) struct GzipFilter {
    pub(super) conf: Rc<GzipConf>,
}

/// A response being compressed. Stays until the request ends, for `$gzip_ratio`.
struct State {
    conf: Rc<GzipConf>,
    stage: Stage,
    /// Compressed, and not yet enough to be passed on.
    out: Buf,
    /// Bytes in and out, once all are through.
    totals: (u64, u64),
}

enum Stage {
    /// `postpone_gzipping`: collecting.
    Postponing(BytesMut),
    Compressing(Compressor),
    Done,
}

impl GzipFilter {
    fn is_wanted(&self, req: &mut Request) -> bool {
        let out = &req.out;
        let conf = &self.conf;
        let no_body = req.header_only && req.method != Method::Head;
        let encoded = out.headers.known(Known::ContentEncoding).is_some_and(|coding| !coding.is_empty());
        if !matches!(out.status, 200 | 403 | 404)
            || encoded
            || out.content_length.is_some_and(|length| length < conf.min_length)
            || no_body
            || !conf.types.contains(out)
        {
            return false;
        }
        // the response depends on the field from here on, whatever the client says
        if req.location.confs.get(&ACCEPT).vary {
            req.out.vary_encoding = true;
        }
        accepts(req)
    }
}

impl Filter for GzipFilter {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        if !self.is_wanted(req) {
            return Step::Ready(Ok(Interest::None));
        }
        req.out.headers.push_known(Known::ContentEncoding, b"gzip");
        req.out.clear_length();
        req.out.clear_ranges();
        req.out.weaken_etag();
        if req.header_only {
            return Step::Ready(Ok(Interest::None));
        }
        let stage = match self.conf.postpone {
            0 => Stage::compressing(&self.conf),
            _ => Stage::Postponing(BytesMut::new()),
        };
        let conf = Rc::clone(&self.conf);
        req.context.set(State { conf, stage, out: Buf::new(), totals: (0, 0) });
        Step::Ready(Ok(Interest::Memory))
    }

    fn body<'r>(&'r self, req: &'r mut Request, chain: &'r mut Chain) -> Step<'r, Result<(), Fault>> {
        let Some(state) = req.context.get_mut::<State>() else { return Step::Ready(Ok(())) };
        if !state.collect(chain) {
            return Step::Ready(Ok(()));
        }
        if chain.len() > PIECE_BYTES as u64 {
            return Step::wait(compress_large(req, chain));
        }
        let then = Then::of(chain);
        let input = std::mem::take(&mut chain.chunks);
        let squeezed = state.squeeze(memory(input), then, chain);
        Step::Ready(squeezed.map_err(|error| failed(req, error)))
    }
}

impl Then {
    fn of(chain: &Chain) -> Self {
        if chain.last {
            Self::End
        } else if chain.flush {
            Self::Flush
        } else {
            Self::More
        }
    }
}

fn memory(chunks: impl IntoIterator<Item = crate::filter::Chunk>) -> impl Iterator<Item = Bytes> {
    let mut chain = Chain::default();
    chain.chunks.extend(chunks);
    chain.take_memory()
}

fn failed(req: &Request, error: &str) -> Fault {
    req.log(Level::Alert, format_args!("deflate() failed: {error}"));
    Fault::internal(format!("deflate() failed: {error}"))
}

/// Compresses more than one piece's worth: a turn of the loop between pieces, and what comes out is passed on before it
/// grows beyond `gzip_buffers`.
async fn compress_large(req: &mut Request, chain: &mut Chain) -> Result<(), Fault> {
    let end = Then::of(chain);
    let mut input = memory(std::mem::take(&mut chain.chunks)).peekable();
    while let Some(mut bytes) = input.next() {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            let is_last = bytes.is_empty() && input.peek().is_none();
            let then = if is_last { end } else { Then::More };
            let Some(state) = req.context.get_mut::<State>() else { return Ok(()) };
            let (count, size) = state.conf.buffers;
            if let Err(error) = state.squeeze([piece].into_iter(), then, chain) {
                return Err(failed(req, error));
            }
            if !is_last && chain.len() >= (count * size) as u64 {
                let chunks = std::mem::take(&mut chain.chunks);
                req.pass_on(Chain { chunks, ..Chain::default() }).await?;
            } else if !is_last {
                net::yield_turn().await;
            }
        }
    }
    Ok(())
}

impl Stage {
    fn compressing(conf: &GzipConf) -> Self {
        let GzipConf { level, window_bits, mem_level, .. } = *conf;
        Self::Compressing(Compressor::take(Shape { level, window_bits, mem_level }))
    }
}

impl State {
    /// Collects the chain while compression is postponed. `true`: there is something to compress, in `chain`.
    fn collect(&mut self, chain: &mut Chain) -> bool {
        let Stage::Postponing(held) = &mut self.stage else { return true };
        let total = held.len() as u64 + chain.len();
        if !chain.last && !chain.flush && total <= self.conf.postpone as u64 {
            chain.take_memory().for_each(|bytes| held.extend_from_slice(&bytes));
            return false;
        }
        if !held.is_empty() {
            let rest = std::mem::take(&mut chain.chunks);
            chain.push(held.split().freeze());
            chain.chunks.extend(rest);
        }
        self.stage = Stage::compressing(&self.conf);
        true
    }

    /// Compresses `input` onto the end of `chain`.
    fn squeeze(
        &mut self,
        input: impl Iterator<Item = Bytes>,
        then: Then,
        chain: &mut Chain,
    ) -> Result<(), &'static str> {
        let Stage::Compressing(compressor) = &mut self.stage else { return Ok(()) };
        let (out, size) = (&mut self.out, self.conf.buffers.1);
        let mut take = |bytes: &[u8]| append(out, size, bytes, chain);
        let mut input = input.peekable();
        if input.peek().is_none() && then != Then::More {
            compressor.feed(b"", then, &mut take)?;
        }
        while let Some(bytes) = input.next() {
            let then = if input.peek().is_none() { then } else { Then::More };
            compressor.feed(&bytes, then, &mut take)?;
        }
        if then == Then::End {
            self.totals = compressor.totals();
            self.stage = Stage::Done;
        }
        if then != Then::More || self.conf.no_buffer {
            chain.push(std::mem::take(&mut self.out).freeze());
        }
        Ok(())
    }
}

/// The module's variables.
pub(super) static VARIABLES: &[Variable] =
    &[Variable::new("gzip_ratio", "How many times smaller compression made the response.", |req, _, out| {
        let Some((before, after)) = req.context.get::<State>().map(|state| state.totals) else {
            return false;
        };
        ratio(before, after, out)
    })];

/// Writes `before / after` with two digits, the second one rounded.
fn ratio(before: u64, after: u64, out: &mut Vec<u8>) -> bool {
    if after == 0 {
        return false;
    }
    let thousandths = before.saturating_mul(1000) / after;
    let hundredths = thousandths / 10 + u64::from(thousandths % 10 > 4);
    out.extend_from_slice(format!("{}.{:02}", hundredths / 100, hundredths % 100).as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded() {
        for (before, after, expected) in [
            (1000, 100, "10.00"),
            (2125, 1000, "2.13"),
            (2124, 1000, "2.12"),
            (2996, 1000, "3.00"),
            (1, 3, "0.33"),
        ] {
            let mut out = Vec::new();
            assert!(ratio(before, after, &mut out));
            assert_eq!(out, expected.as_bytes());
        }
        assert!(!ratio(5, 0, &mut Vec::new()));
    }
}
