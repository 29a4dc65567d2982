//! What takes over when a task waits.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use worker::log::Level;
use worker::request::Request;

use super::task::{End, Exit, Progress, Task};
use crate::api::output::RawSocket;

/// Waits for the client to go away.
type Watch = Pin<Box<dyn Future<Output = ()>>>;

/// Watches the client, if the location asks for it and nobody reads from the connection.
fn watch(request: &Request) -> Option<Watch> {
    let settings = crate::response::settings(request);
    let mine = request.is_main() && !request.body.discarded && request.context.get::<RawSocket>().is_none();
    (settings.check_client_abort && mine).then(|| -> Watch { Box::pin(request.hung_up()) })
}

/// Runs a task that waits to its end on behalf of `request`.
pub async fn drive(task: Task, request: &mut Request) -> (End, Task) {
    let mut watching = watch(request);
    loop {
        // what Lua code wrote goes out before anything is waited for
        if let Err(fault) = request.send_outgoing(false).await {
            request.log(Level::Info, format_args!("{fault}"));
        }
        match task.next_borrow() {
            Some((index, borrow)) => {
                // nobody may watch while the body is read
                drop(watching.take());
                let answer = borrow(request).await;
                task.answer(index, answer, Some(request));
                watching = watch(request);
            }
            None => {
                let gone = poll_fn(|cx| {
                    if task.poll(cx, Some(request)).is_ready() {
                        return Poll::Ready(false);
                    }
                    match &mut watching {
                        Some(watch) => watch.as_mut().poll(cx).map(|()| true),
                        None => Poll::Pending,
                    }
                });
                if gone.await {
                    watching = None;
                    if !task.start_abort() {
                        request.log(Level::Info, format_args!("client prematurely closed connection"));
                        return (End::Exit(Exit::Status(499)), task);
                    }
                }
            }
        }
        if let Progress::Ended(end) = task.run(Some(request)) {
            return (end, task);
        }
    }
}

/// Runs a task that waits to its end; it has no request.
pub async fn drive_alone(task: Task) -> (End, Task) {
    loop {
        poll_fn(|cx| task.poll(cx, None)).await;
        if let Progress::Ended(end) = task.run(None) {
            return (end, task);
        }
    }
}
