//! Following the control plane: a snapshot first, then changes, each acknowledged when it is served.
//!
//! ```text
//!   waiting ──(snapshot)──► serving ──(update that fits)──► serving
//!                              └──(update that does not)──► refused: a snapshot comes
//! ```
//!
//! A large update is applied in slices between which requests are served, so no request waits for it; a worker that starts
//! accepts connections only when it has everything.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Duration;

use net::handoff::Channel;
use schemas::{Ack, Message, Update};

use super::live::{Live, Refused};
use crate::log::{self, Level};
use crate::worker::Worker;

/// How long a worker that starts waits for its snapshot.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(30);
/// How long an update may be worked on before requests get their turn, µs.
const SLICE_US: u64 = 2_000;
/// The largest update in bytes.
const UPDATE_BYTES_MAX: u64 = 1 << 30;

/// Waits for the snapshot on `fd`, then follows in the background. An error ends the worker.
pub(crate) async fn follow(worker: &Rc<Worker>, fd: OwnedFd) -> Result<(), String> {
    let channel = Channel::from_fd(fd).map_err(|error| format!("gateway socket: {error}"))?;
    let first = net::timeout(SNAPSHOT_WAIT, next(&channel)).await;
    let update = match first {
        Ok(Ok(update)) => update,
        Ok(Err(error)) => return Err(format!("gateway configuration: {error}")),
        Err(_) => return Err("the control plane sent no gateway configuration".into()),
    };
    take(&worker.gateway, &channel, &update, false)
        .await
        .map_err(|error| format!("gateway socket: {error}"))?;
    let worker = Rc::clone(worker);
    net::spawn(async move {
        loop {
            let update = match next(&channel).await {
                Ok(update) => update,
                Err(error) => {
                    log::process(
                        Level::Notice,
                        format_args!("the control plane is gone ({error}), serving on"),
                    );
                    return;
                }
            };
            if let Err(error) = take(&worker.gateway, &channel, &update, true).await {
                log::process(Level::Notice, format_args!("the control plane is gone ({error}), serving on"));
                return;
            }
        }
    });
    Ok(())
}

/// The next update.
async fn next(channel: &Channel) -> Result<Update, String> {
    let (bytes, fds) = channel.recv().await.map_err(|error| error.to_string())?;
    let message = Message::from_bytes(&bytes).map_err(|error| error.to_string())?;
    let [fd] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| "a message without its memory".to_owned())?;
    if message.len > UPDATE_BYTES_MAX {
        return Err(format!("an update of {} bytes", message.len));
    }
    let mut bytes = vec![0; usize::try_from(message.len).map_err(|error| error.to_string())?];
    std::fs::File::from(fd).read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    Update::from_bytes(&bytes).map_err(|error| error.to_string())
}

/// Applies `update` and says so.
async fn take(live: &Live, channel: &Channel, update: &Update, serving: bool) -> Result<(), String> {
    let ack = match live.accepts(update) {
        Err(reason) => Ack::Refused { revision: live.revision().unwrap_or(0), reason },
        Ok(()) => {
            let start = net::timer::now_us();
            let refused = apply(live, update, serving).await;
            live.reached(update.to);
            for (key, reason) in &refused {
                log::process(Level::Error, format_args!("gateway: {key} cannot be used: {reason}"));
            }
            Ack::Applied { revision: update.to, took_us: net::timer::now_us() - start, refused }
        }
    };
    let bytes = ack.to_bytes().map_err(|error| error.to_string())?;
    channel.send(&bytes, &[]).await.map_err(|error| error.to_string())
}

/// The most refused objects that are reported; all are logged.
const REFUSED_MAX: usize = 100;

async fn apply(live: &Live, update: &Update, serving: bool) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut slice = net::timer::now_us();
    for change in &update.changes {
        if let Err(reason) = live.apply(change)
            && refused.len() < REFUSED_MAX
        {
            refused.push((change.key.clone(), reason));
        }
        if serving && net::timer::now_us() - slice > SLICE_US {
            net::yield_turn().await;
            slice = net::timer::now_us();
        }
    }
    for key in live.gone(update) {
        live.remove(&key);
    }
    refused
}
