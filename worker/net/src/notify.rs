//! An event between tasks of one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Wakes tasks of the same thread that wait in [`Notify::notified`].
///
/// A `notify_one` that finds nobody waiting is remembered once, so that "check, then wait" loses no event.
#[derive(Default)]
pub struct Notify {
    permit: Cell<bool>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    notified: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Waiter {
    fn notify(&self) {
        self.notified.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Notify {
    /// An event that has not happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the task that waits longest, or the next one to wait.
    pub fn notify_one(&self) {
        let first = self.waiting.borrow_mut().pop_front();
        match first {
            Some(waiter) => waiter.notify(),
            None => self.permit.set(true),
        }
    }

    /// Wakes all that wait now.
    pub fn notify_all(&self) {
        let all = self.waiting.take();
        all.iter().for_each(|waiter| waiter.notify());
    }

    /// Waits for the event. Drop-safe: an event given to a dropped waiter goes to the next one.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, waiter: None }
    }

    /// Number of tasks that wait.
    pub fn waiters(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// See [`Notify::notified`].
pub struct Notified<'a> {
    notify: &'a Notify,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiter) = &self.waiter {
            if waiter.notified.get() {
                self.waiter = None;
                return Poll::Ready(());
            }
            waiter.waker.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if self.notify.permit.take() {
            return Poll::Ready(());
        }
        let waiter = Rc::new(Waiter::default());
        waiter.waker.set(Some(cx.waker().clone()));
        self.notify.waiting.borrow_mut().push_back(waiter.clone());
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.notified.get() {
            // Possibly meant for all; passing it on costs at most a spurious wake-up.
            self.notify.notify_one();
        } else {
            self.notify.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &waiter));
        }
    }
}
