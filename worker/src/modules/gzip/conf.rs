//! Settings of the compression.

use conf::Result;

use crate::build::{Conf, MergeCx};
use crate::modules::http::TypeSet;
use crate::settings;

settings! {
    /// How responses of a location are compressed.
    pub struct GzipConf, GzipSettings {
        /// `gzip`.
        enable: bool = false,
        /// `gzip_no_buffer`.
        no_buffer: bool = false,
        /// `gzip_buffers`: number and size in bytes.
        buffers: (usize, usize) = (8, 16 * 1024),
        /// `gzip_types`.
        types: TypeSet = TypeSet::html(),
        /// `gzip_comp_level`.
        level: i32 = 1,
        /// `gzip_window` as an exponent of two.
        window_bits: i32 = 15,
        /// `gzip_hash` as zlib counts: exponent of two less 8.
        mem_level: i32 = 8,
        /// `gzip_min_length` in bytes.
        min_length: u64 = 20,
        /// `postpone_gzipping` in bytes.
        postpone: usize = 0,
    }
}

impl Conf for GzipConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}
