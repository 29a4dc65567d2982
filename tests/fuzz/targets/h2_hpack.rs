//! Random header blocks for the HPACK decoder; what must always hold is asserted inside.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::fuzz::hpack(data));
