//! Random bytes as the start of a TLS connection: read whole and in two pieces, they must come to the same verdict.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let cut = data.first().copied().map_or(0, usize::from);
    tls::fuzz::hello(data.get(1..).unwrap_or_default(), cut);
});
