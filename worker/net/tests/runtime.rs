//! The loop itself: timers, yielding, panics, starvation, idleness.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kit::{ms, on_both, tcp_pair, took};
use net::{Buf, Driver, Either, Notify, Timeout};

#[test]
fn the_best_ring_is_used_here() {
    kit::run_on(net::DriverChoice::Auto, |driver| async move {
        let report = net::runtime::report().unwrap();
        assert_eq!(report.driver, driver);
        eprintln!("{report:?}");
        if driver == Driver::IoUring && report.refusals.is_empty() {
            assert_eq!(report.flags, "SINGLE_ISSUER|DEFER_TASKRUN");
        }
    });
}

#[test]
fn sleeps_end_in_order_and_in_time() {
    on_both(|_| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        for delay in [70, 5, 200, 30, 1, 0] {
            let order = order.clone();
            net::spawn(async move {
                let start = Instant::now();
                net::sleep(ms(delay)).await;
                took(start, delay, delay + 100);
                order.borrow_mut().push(delay);
            });
        }
        while net::live_tasks() > 0 {
            net::sleep(ms(10)).await;
        }
        assert_eq!(*order.borrow(), [0, 1, 5, 30, 70, 200]);
    });
}

#[test]
fn a_timeout_drops_what_it_guards() {
    on_both(|_| async {
        let start = Instant::now();
        let notify = Notify::new();
        assert!(net::timeout(ms(30), notify.notified()).await.is_err());
        took(start, 30, 200);
        assert_eq!(notify.waiters(), 0);
        assert_eq!(net::timeout(ms(1000), async { 7 }).await, Ok(7));
    });
}

#[test]
fn a_panic_ends_one_task_and_is_reported() {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    net::set_panic_hook(|message| {
        assert!(message.starts_with("expected"));
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("expected, in a drop");
            }
        }
    }
    on_both(|_| async {
        let before = REPORTS.load(Ordering::Relaxed);
        net::spawn(async { panic!("expected {}", 1) });
        net::spawn(async {
            net::sleep(ms(1)).await;
            panic!("expected");
        });
        net::spawn(async {
            let _loud = Loud;
            net::sleep(ms(1)).await;
        });
        while net::live_tasks() > 0 {
            net::sleep(ms(5)).await;
        }
        assert_eq!((net::live_tasks(), REPORTS.load(Ordering::Relaxed) - before), (0, 3));
    });
}

#[test]
fn yielding_lets_io_and_other_tasks_run() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let turns = Rc::new(Cell::new(0u32));
        let stop = Rc::new(Cell::new(false));
        for _ in 0..2 {
            let (turns, stop) = (turns.clone(), stop.clone());
            net::spawn(async move {
                while !stop.get() {
                    net::yield_turn().await;
                    turns.set(turns.get() + 1);
                }
            });
        }
        let start = Instant::now();
        for _ in 0..20 {
            client.send(&b"x"[..], Timeout::NEVER).await.unwrap();
            let (result, _) = server.recv(Buf::with_capacity(1), Timeout::ms(1000)).await;
            result.unwrap();
        }
        net::sleep(ms(20)).await;
        took(start, 20, 1000);
        stop.set(true);
        assert!(turns.get() > 40);
    });
}

/// Two tasks that keep waking each other keep the loop from ever waiting.
#[test]
fn io_and_timers_survive_tasks_that_never_let_the_loop_wait() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let (ping, pong) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let stop = Rc::new(Cell::new(false));
        for (mine, other) in [(ping.clone(), pong.clone()), (pong.clone(), ping.clone())] {
            let stop = stop.clone();
            net::spawn(async move {
                while !stop.get() {
                    other.notify_one();
                    mine.notified().await;
                }
                other.notify_one();
            });
        }
        let start = Instant::now();
        net::sleep(ms(50)).await;
        took(start, 50, 300);
        let start = Instant::now();
        for _ in 0..10 {
            client.send(&b"x"[..], Timeout::ms(1000)).await.unwrap();
            let (result, _) = server.recv(Buf::with_capacity(1), Timeout::ms(1000)).await;
            result.unwrap();
        }
        took(start, 0, 1000);
        stop.set(true);
    });
}

#[test]
fn notifications_are_not_lost() {
    on_both(|_| async {
        let notify = Rc::new(Notify::new());
        notify.notify_one();
        notify.notified().await;
        // Given to a waiter that is dropped before it runs: passed on.
        let outcome = {
            let first = notify.notified();
            let second = notify.notified();
            let both = net::select2(net::select2(first, second), net::yield_turn()).await;
            notify.notify_one();
            both
        };
        assert!(matches!(outcome, Either::Right(())));
        notify.notified().await;
        let count = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (notify, count) = (notify.clone(), count.clone());
            net::spawn(async move {
                notify.notified().await;
                count.set(count.get() + 1);
            });
        }
        net::yield_turn().await;
        notify.notify_all();
        net::sleep(ms(5)).await;
        assert_eq!(count.get(), 3);
    });
}

/// Processor time of this thread.
fn thread_cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Voluntary context switches of this thread: one per wait that really slept.
fn switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_idle_loop_does_not_wake_up() {
    on_both(|_| async {
        let (server, _client) = tcp_pair().await;
        for _ in 0..20 {
            let server = server.clone();
            net::spawn(async move {
                net::sleep(ms(5)).await;
                drop(server);
            });
        }
        let waiting = server.clone();
        net::spawn(async move { drop(waiting.recv(Buf::with_capacity(1), Timeout::ms(60_000)).await) });
        net::sleep(ms(100)).await;
        let before = (thread_cpu_us(), switches());
        net::sleep(ms(1000)).await;
        let after = (thread_cpu_us(), switches());
        assert!(after.1 - before.1 <= 4, "{} wake-ups", after.1 - before.1);
        assert!(after.0 - before.0 < 10_000, "{} us of processor time", after.0 - before.0);
    });
}
