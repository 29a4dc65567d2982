//! Random bytes for the `uri` reader; what must always hold is asserted inside.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http1::fuzz::uri(data));
