//! A worker as the control plane sees it: what it has, and the socket to tell it more.
//!
//! ```text
//!   idle ──(there is news)──► sent ──(ack)──► idle
//! ```
//!
//! At most one update is under way to a worker; what changes meanwhile goes into the next one. A worker that cannot keep
//! up costs the others nothing.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use schemas::{Ack, Message};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::plane::Plane;

/// Pause before a worker that refused an update gets a snapshot.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A worker's socket as the thread keeps it across restarts of the plane.
#[derive(Clone)]
pub(crate) struct Socket {
    pub(crate) pid: i32,
    pub(crate) fd: Arc<OwnedFd>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// One worker.
pub struct Member {
    /// Its process.
    pub pid: i32,
    /// The revision it serves; `None`: not heard of yet.
    pub acked: Cell<Option<u64>>,
    /// Microseconds its last update took.
    pub took_us: Cell<u64>,
    socket: AsyncFd<Socket>,
}

impl Member {
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let pid = socket.pid;
        // deprecated for types whose descriptor may change: ours is owned and never does
        #[allow(deprecated)]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { pid, acked: Cell::new(None), took_us: Cell::new(0), socket })
    }

    /// Tells the worker everything there is to tell until it is gone.
    pub(crate) async fn serve(self: Rc<Self>, plane: Rc<Plane>) -> io::Error {
        let mut news = plane.news();
        let mut has = None;
        loop {
            let wanted = |revision: &Option<u64>| revision.is_some() && *revision != has;
            tokio::select! {
                heard = news.wait_for(wanted) => if heard.is_err() {
                    return io::ErrorKind::BrokenPipe.into();
                },
                // nothing is expected but the end
                end = self.receive() => match end {
                    Ok(_) => continue,
                    Err(error) => return error,
                },
            }
            match self.exchange(&plane, has).await {
                Ok(now) => has = now,
                Err(error) => return error,
            }
            if has.is_none() {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }

    /// Sends one update and waits for its ack; what the worker has then.
    async fn exchange(&self, plane: &Plane, has: Option<u64>) -> io::Result<Option<u64>> {
        let packed = plane.pack(has)?;
        let message = Message { to: packed.to, len: packed.len }.to_bytes().map_err(io::Error::other)?;
        self.socket
            .async_io(Interest::WRITABLE, |socket| net::handoff::send(socket, &message, &[packed.fd.as_fd()]))
            .await?;
        match self.receive().await? {
            Ack::Applied { revision, took_us, refused } => {
                for (key, reason) in refused {
                    plane.log().error(format_args!("worker process {} cannot use {key}: {reason}", self.pid));
                }
                self.took_us.set(took_us);
                self.acked.set(Some(revision));
                plane.acked();
                Ok(Some(revision))
            }
            Ack::Refused { revision, reason } => {
                let pid = self.pid;
                plane.log().warn(format_args!(
                    "worker process {pid} at revision {revision} needs a snapshot: {reason}"
                ));
                Ok(None)
            }
        }
    }

    async fn receive(&self) -> io::Result<Ack> {
        let (bytes, _) =
            self.socket.async_io(Interest::READABLE, |socket| net::handoff::recv(socket)).await?;
        Ack::from_bytes(&bytes).map_err(io::Error::other)
    }
}
