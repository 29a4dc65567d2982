//! Random bytes for an HTTP/2 server; what must always hold is asserted inside.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::fuzz::server(data));
