//! What fuzz targets call.

use net::Buf;

use crate::hello::HelloReader;

/// Reads `bytes` as the start of a connection, whole and cut at `cut`: both must come to the same verdict.
pub fn hello(bytes: &[u8], cut: usize) {
    let verdict = |pieces: &[&[u8]]| {
        let mut reader = HelloReader::default();
        for piece in pieces {
            let mut buf = Buf::copy_of(piece);
            match reader.read(&mut buf) {
                Ok(None) => {}
                Ok(Some(hello)) => {
                    return Some(Ok((hello.server_name(), hello.protocols(), hello.offer())));
                }
                Err(_) => return Some(Err(())),
            }
        }
        None
    };
    let cut = cut.min(bytes.len());
    assert_eq!(verdict(&[bytes]), verdict(&[&bytes[..cut], &bytes[cut..]]));
}
