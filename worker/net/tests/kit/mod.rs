//! Runs a test body on both drivers.
#![allow(dead_code)]

use std::future::Future;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use net::{Addr, ConnectOptions, Driver, DriverChoice, Listener, RingOptions, Stream};

/// Longest time one body may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `body` on io_uring and on epoll, each on a thread of its own.
pub fn on_both<F: Future<Output = ()>>(body: impl Fn(Driver) -> F + Copy + Send + 'static) {
    for driver in [DriverChoice::IoUring, DriverChoice::Epoll] {
        run_on(driver, body);
    }
}

/// Runs `body` on one driver.
pub fn run_on<F: Future<Output = ()>>(driver: DriverChoice, body: impl FnOnce(Driver) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let options = RingOptions { entries: 256, driver };
        net::run(options, |driver| async move {
            net::timeout(LIMIT, body(driver)).await.expect("the test body takes too long");
        })
        .expect("the driver is available");
    });
    if let Err(panic) = thread.join() {
        eprintln!("on {driver:?}");
        std::panic::resume_unwind(panic);
    }
}

/// A listener on a free loopback port.
pub fn listen() -> (Listener, Addr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = Addr::from(listener.local_addr().unwrap());
    (Listener::from_fd(listener.into()).unwrap(), addr)
}

/// Two connected TCP streams: accepted and connecting side.
pub async fn tcp_pair() -> (Stream, Stream) {
    let (listener, addr) = listen();
    let client = net::connect(&addr, &ConnectOptions::default()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (server, client)
}

/// Asserts that `since` lies between `low` and `high` milliseconds ago.
#[track_caller]
pub fn took(since: Instant, low: u64, high: u64) {
    let elapsed = since.elapsed().as_millis() as u64;
    assert!((low..=high).contains(&elapsed), "took {elapsed} ms instead of {low} to {high}");
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
