//! What takes over when a task waits.

use std::future::poll_fn;

use worker::request::Request;

use super::task::{End, Progress, Task};

/// Runs a task that waits to its end on behalf of `request`.
pub async fn drive(task: Task, request: &mut Request) -> (End, Task) {
    loop {
        // what Lua code wrote goes out before anything is waited for
        if let Err(fault) = request.send_outgoing(false).await {
            request.log(worker::log::Level::Info, format_args!("{fault}"));
        }
        match task.next_borrow() {
            Some((index, borrow)) => {
                let answer = borrow(request).await;
                task.answer(index, answer, Some(request));
            }
            None => poll_fn(|cx| task.poll(cx, Some(request))).await,
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
