//! Whatever a client sends: no panic, and the bounds hold.

use proptest::prelude::*;

/// Frames that are well-formed enough to get somewhere.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![9 => 0u8..10, 1 => any::<u8>()];
    let block = prop_oneof![
        Just(vec![0x82, 0x86, 0x84, 0x01, 0x01, b'a']),
        Just(vec![0x83, 0x86, 0x84, 0x01, 0x01, b'a']),
        proptest::collection::vec(any::<u8>(), 0..20),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0; 8]),
    ];
    let frame = (kind, any::<u8>(), 0u32..12, block).prop_map(|(kind, flags, id, payload)| {
        let mut out = vec![0, 0, payload.len() as u8, kind, flags];
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&payload);
        out
    });
    proptest::collection::vec(frame, 0..40).prop_map(|frames| {
        let mut out = http2::PREFACE.to_vec();
        out.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        frames.iter().for_each(|frame| out.extend_from_slice(frame));
        out
    })
}

proptest! {
    #[test]
    fn servers_survive_frames(bytes in frames()) {
        http2::fuzz::server(&bytes);
    }

    #[test]
    fn servers_survive_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        http2::fuzz::server(&bytes);
        http2::fuzz::server(&[http2::PREFACE, &bytes[..]].concat());
    }

    #[test]
    fn decoders_survive_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        http2::fuzz::hpack(&bytes);
    }
}
