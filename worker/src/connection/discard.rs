//! Request bodies nobody wants, and connections that end while the client still sends.

use std::time::Duration;

use net::{Buf, Timeout};

use super::h1::answer_expectation;
use crate::fault::{Fault, Kind, Side};
use crate::request::Request;
use crate::transport::Transport;

/// Consumes what of the body is here already. What is not is left to [`drain`] behind the response: waiting for bytes that
/// nobody wants would hold it back.
pub(crate) async fn discard_body(req: &mut Request) -> Result<(), Fault> {
    if let crate::io::Io::H2(h2) = &req.io {
        h2.discard_body();
        return Ok(());
    }
    // as in nginx a client that waits is told to send even what is thrown away, unless an error is the answer
    answer_expectation(req).await?;
    let h1 = req.io.h1();
    while !h1.inbuf.is_empty() && !h1.decoder.is_end() {
        let decoded = h1.decoder.decode(&h1.inbuf).map_err(|error| {
            let text = format!("client sent invalid chunked body: {error}");
            Fault::new(Side::Client, Kind::Protocol, 400, text)
        })?;
        h1.inbuf.consume(decoded.consumed);
    }
    Ok(())
}

/// Sends the response and reads on behind it until the body has ended, within the lingering limits. `true`: the connection
/// is at the start of a new request; responses to pipelined requests may still wait to be sent together.
pub(crate) async fn drain(req: &mut Request) -> bool {
    if req.io.h1().decoder.is_end() {
        return true;
    }
    let conf = req.http();
    let (total, idle) = (conf.lingering_time, conf.lingering_timeout);
    let send_timeout = Timeout::ms(conf.send_timeout);
    let until = net::now().0.saturating_add(total);
    loop {
        let now = net::now().0;
        let h1 = req.io.h1();
        if h1.decoder.is_end() {
            return true;
        }
        if now >= until {
            return false;
        }
        if h1.inbuf.is_empty() {
            // the client may send the rest only when it has seen the response
            if h1.flush(send_timeout).await.is_err() {
                return false;
            }
            let buf = Buf::with_capacity(DISCARD_BYTES);
            let stream = h1.stream.clone();
            let (result, buf) = stream.recv(buf, Timeout::ms(idle.min(until - now))).await;
            req.io.h1().inbuf = buf;
            if !matches!(result, Ok(1..)) {
                return false;
            }
            continue;
        }
        match h1.decoder.decode(&h1.inbuf) {
            Ok(decoded) => h1.inbuf.consume(decoded.consumed),
            Err(_) => return false,
        }
    }
}

/// Closes in a way that lets the client read the response although it may still be sending: our side ends, and what
/// comes is read and dropped for a while. A close with unread bytes would reset the connection and could destroy the
/// response on its way.
pub(crate) async fn linger(stream: Transport, total_ms: u64, idle_ms: u64) {
    if stream.end_sending().await.is_err() {
        return;
    }
    let until = net::now().0.saturating_add(total_ms);
    let mut buf = Buf::with_capacity(DISCARD_BYTES);
    loop {
        let now = net::now().0;
        if now >= until {
            return;
        }
        let wait = Duration::from_millis(idle_ms.min(until - now));
        buf.clear();
        let (result, back) = stream.recv(buf, Timeout::after(wait)).await;
        buf = back;
        if !matches!(result, Ok(1..)) {
            return;
        }
    }
}

const DISCARD_BYTES: usize = 4096;
