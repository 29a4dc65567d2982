//! After `101 Switching Protocols`: bytes pass both ways until one side ends or is silent for too long.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use net::{Buf, Received, Timeout};

use super::Order;
use super::link::Link;
use crate::fault::{Fault, Kind, Side};
use crate::request::Request;
use crate::transport::Transport;

const DOING: &str = "proxying upgraded connection";
/// Room for one receive.
const ROOM_BYTES: usize = 16 * 1024;
/// How long a silent direction keeps its buffer.
const IDLE_GRACE: Duration = Duration::from_millis(200);

/// Passes bytes both ways. `early` came behind the head of the 101.
pub(super) async fn tunnel(
    req: &mut Request,
    order: &Order<'_>,
    link: &Link,
    early: Buf,
) -> Result<(), Fault> {
    order.doing.set(DOING);
    // somebody receives from the client now
    order.watching.set(false);
    let send_timeout = req.http().send_timeout;
    req.set_nodelay();
    let h1 = req.io.h1();
    h1.flush(Timeout::ms(send_timeout)).await?;
    h1.upgraded = true;
    h1.finished = true;
    let client = h1.stream.clone();
    let from_client = std::mem::take(&mut h1.inbuf);
    let sent_before = client.bytes_sent();
    let settings = order.settings;
    let down = Way {
        from: &link.stream,
        to: &client,
        silence_ms: Some(settings.read_timeout),
        send_ms: send_timeout,
        to_client: true,
    };
    let up = Way {
        from: &client,
        to: &link.stream,
        silence_ms: None,
        send_ms: settings.send_timeout,
        to_client: false,
    };
    let result = first(down.pass(early), up.pass(from_client)).await;
    req.out.bytes += client.bytes_sent() - sent_before;
    req.upstream.end();
    result
}

/// The result of the way that ends first.
async fn first<A, B>(a: A, b: B) -> Result<(), Fault>
where
    A: Future<Output = Result<(), Fault>>,
    B: Future<Output = Result<(), Fault>>,
{
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(result) = a.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        b.as_mut().poll(cx)
    })
    .await
}

/// One direction.
struct Way<'a> {
    from: &'a Transport,
    to: &'a Transport,
    /// Longest silence of `from`, ms.
    silence_ms: Option<u64>,
    /// Longest time `to` may take nothing, ms.
    send_ms: u64,
    to_client: bool,
}

impl Way<'_> {
    /// Passes bytes, beginning with those in `buf`, until the sender ends.
    async fn pass(&self, mut buf: Buf) -> Result<(), Fault> {
        let silence = self.silence_ms.map_or(Timeout::NEVER, Timeout::ms);
        loop {
            if !buf.is_empty() {
                let (result, empty) = self.to.send_buf(buf, Timeout::ms(self.send_ms)).await;
                result.map_err(|error| self.fault(&error, true))?;
                buf = empty;
            }
            if buf.capacity() == 0 {
                buf = Buf::with_capacity(ROOM_BYTES);
            }
            let (result, received) = self.from.recv_idle(buf, IDLE_GRACE, silence).await;
            buf = received;
            match result {
                Ok(Received::Bytes(0)) => return Ok(()),
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Idle) => {
                    buf = Buf::new();
                    self.from.readable(silence).await.map_err(|error| self.fault(&error, false))?;
                }
                Err(error) => return Err(self.fault(&error, false)),
            }
        }
    }

    fn fault(&self, error: &std::io::Error, sending: bool) -> Fault {
        let timed_out = error.kind() == std::io::ErrorKind::TimedOut && error.raw_os_error().is_none();
        // what we send to one side fails because of that side
        if self.to_client == sending {
            let mut fault = Fault::client(error);
            fault.text = format!("{} while {DOING}", fault.text).into();
            return fault;
        }
        if timed_out {
            let text = format!("upstream timed out (110: Connection timed out) while {DOING}");
            return Fault::new(Side::Upstream, Kind::Timeout, 504, text);
        }
        let call = if sending { "send" } else { "recv" };
        let text = format!("{call}() failed ({}) while {DOING}", conf::error::errno(error));
        Fault::new(Side::Upstream, Kind::Closed, 502, text)
    }
}
