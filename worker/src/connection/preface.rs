//! Which protocol a client speaks on a port that serves both without TLS: HTTP/2 begins with a preface no HTTP/1 request can
//! begin with (RFC 9113 section 3.4, "prior knowledge").

use net::{Buf, Timeout};

use super::Connection;
use crate::log::Level;

/// What the client speaks.
pub(super) enum Protocol {
    /// HTTP/1; what was received is in the connection's `early`.
    Http1,
    /// HTTP/2; what was received, the preface included.
    Http2(Buf),
}

/// Reads until it is clear; `None`: the client is gone, or too slow.
pub(super) async fn choose(conn: &Connection, timeout_ms: u64) -> Option<Protocol> {
    let until = net::now().0 + timeout_ms;
    let mut buf = conn.early.take();
    loop {
        let len = buf.len().min(http2::PREFACE.len());
        if buf[..len] != http2::PREFACE[..len] {
            conn.early.set(buf);
            return Some(Protocol::Http1);
        }
        if len == http2::PREFACE.len() {
            return Some(Protocol::Http2(buf));
        }
        let timeout = Timeout::ms(until.saturating_sub(net::now().0).max(1));
        let result = if buf.is_empty() {
            // no buffer for a connection that may stay silent
            conn.stream.readable(timeout).await
        } else {
            Ok(())
        };
        let result = match result {
            Ok(()) => {
                if buf.spare_len() == 0 {
                    buf.reserve(ROOM_BYTES);
                }
                let (result, back) = conn.stream.recv(buf, timeout).await;
                buf = back;
                result
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(0) => {
                let text = "client closed connection while waiting for request";
                conn.log(Level::Info, format_args!("{text}"));
                return None;
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let text = "client timed out (110: Connection timed out) while waiting for request";
                conn.log(Level::Info, format_args!("{text}"));
                return None;
            }
            Err(_) => return None,
        }
    }
}

const ROOM_BYTES: usize = 4096;
