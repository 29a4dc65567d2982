//! The compressor, and the worker's pool of its memory.
//!
//! A compressor takes some 300 KB. Allocating and touching that for every response costs more than compressing a small
//! one, so the last few are kept and reset. nginx gives a response of known length a smaller window to save memory; with
//! kept compressors there is nothing to save.

use std::cell::RefCell;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

/// Compressors of one worker kept for the next responses.
const KEPT_MAX: usize = 8;
/// Compressed bytes taken out of the compressor at a time.
const SCRATCH_BYTES: usize = 16 * 1024;
/// The library's level 1 gives results a quarter larger than zlib's, its level 2 about the same: nobody's traffic should
/// grow with the default level.
const LEVEL_MIN: i32 = 2;
/// Added to the window's exponent: a gzip header and trailer around the data.
const GZIP: i32 = 16;

thread_local! {
    static KEPT: RefCell<Vec<(Shape, Deflate)>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// The settings a compressor was made with; one with other settings cannot stand in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// 1 to 9.
    pub(super) level: i32,
    /// 9 to 15.
    pub(super) window_bits: i32,
    /// 1 to 9.
    pub(super) mem_level: i32,
}

/// A compressor in use by one response.
pub(super) struct Compressor {
    shape: Shape,
    /// `None` only while being dropped.
    deflate: Option<Deflate>,
}

/// What is to be done behind the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// More input comes.
    More,
    /// Everything so far must reach the reader.
    Flush,
    /// The stream ends.
    End,
}

impl Compressor {
    /// A kept compressor of this shape, or a new one.
    pub(super) fn take(shape: Shape) -> Self {
        let kept = KEPT.with_borrow_mut(|kept| {
            let at = kept.iter().rposition(|(other, _)| *other == shape)?;
            Some(kept.swap_remove(at).1)
        });
        let deflate = kept.unwrap_or_else(|| {
            Deflate::new_with_config(DeflateConfig {
                level: shape.level.max(LEVEL_MIN),
                window_bits: shape.window_bits + GZIP,
                mem_level: shape.mem_level,
                ..DeflateConfig::default()
            })
        });
        Self { shape, deflate: Some(deflate) }
    }

    /// Compresses all of `input` and hands what comes out to `out`.
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        then: Then,
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), &'static str> {
        let flush = match then {
            Then::More => DeflateFlush::NoFlush,
            Then::Flush => DeflateFlush::SyncFlush,
            Then::End => DeflateFlush::Finish,
        };
        let deflate = self.deflate.as_mut().expect("in use until dropped");
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let (in_before, out_before) = (deflate.total_in(), deflate.total_out());
                let status = deflate.compress(input, scratch, flush).map_err(|error| error.as_str())?;
                input = &input[(deflate.total_in() - in_before) as usize..];
                let made = (deflate.total_out() - out_before) as usize;
                out(&scratch[..made]);
                if status == Status::StreamEnd {
                    return Ok(());
                }
                // a full scratch may hide more output
                if made < scratch.len() && input.is_empty() {
                    return if then == Then::End { Err("stream did not end") } else { Ok(()) };
                }
            }
        })
    }

    /// Bytes in and out so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.deflate.as_ref().map_or((0, 0), |deflate| (deflate.total_in(), deflate.total_out()))
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        let Some(mut deflate) = self.deflate.take() else { return };
        // a worker that ends may drop requests after its thread's storage
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                deflate.reset();
                kept.push((self.shape, deflate));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { level: 6, window_bits: 15, mem_level: 8 };

    fn compress(shape: Shape, pieces: &[(&[u8], Then)]) -> Vec<u8> {
        let mut compressor = Compressor::take(shape);
        let mut out = Vec::new();
        for (piece, then) in pieces {
            compressor.feed(piece, *then, |bytes| out.extend_from_slice(bytes)).unwrap();
        }
        out
    }

    fn decompress(gzipped: &[u8]) -> Vec<u8> {
        use std::io::Read as _;
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(gzipped).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_shape_round_trips() {
        let text: Vec<u8> = (0..200_000u64).flat_map(|n| (n * n % 251).to_string().into_bytes()).collect();
        for level in 1..=9 {
            for (window_bits, mem_level) in [(9, 1), (12, 5), (15, 8), (15, 9)] {
                let shape = Shape { level, window_bits, mem_level };
                let (front, back) = text.split_at(text.len() / 3);
                let gzipped = compress(shape, &[(front, Then::More), (back, Then::End)]);
                assert!(gzipped.len() < text.len(), "{shape:?}");
                assert_eq!(decompress(&gzipped), text, "{shape:?}");
            }
        }
    }

    #[test]
    fn a_kept_compressor_is_as_good_as_new() {
        let first = compress(SHAPE, &[(b"first response, abandoned", Then::More)]);
        drop(first);
        let again =
            compress(SHAPE, &[(b"hello hello hello", Then::Flush), (b"", Then::Flush), (b"", Then::End)]);
        assert_eq!(decompress(&again), b"hello hello hello");
        assert!(KEPT.with_borrow(Vec::len) >= 1);
    }

    #[test]
    fn nothing_compresses_to_an_empty_stream() {
        assert_eq!(decompress(&compress(SHAPE, &[(b"", Then::End)])), b"");
    }
}
