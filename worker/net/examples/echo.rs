//! Measures the crate: cost of an echo round trip, and memory of idle connections.
//!
//! `echo serve io_uring|epoll [plain|idle]` prints its port, its processor time and its system calls per message at the
//! end of every connection burst; `echo load PORT CONNECTIONS SECONDS` drives it; `echo idle io_uring|epoll COUNT`
//! prints the heap bytes per connection that waits in `readable`.

#![allow(clippy::unwrap_used, reason = "a measuring tool")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use net::{Buf, DriverChoice, Listener, Received, RingOptions, Stream, Timeout};

/// Counts what is allocated, with malloc's overhead left out.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything through to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: by the trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by the trait's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KEEPALIVE: Timeout = Timeout::ms(75_000);
const GRACE: Duration = Duration::from_millis(50);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", driver, pattern] => serve(driver_of(driver), pattern == "idle"),
        ["load", port, connections, seconds] => {
            load(port.parse().unwrap(), connections.parse().unwrap(), seconds.parse().unwrap());
        }
        ["idle", driver, count] => idle(driver_of(driver), count.parse().unwrap()),
        _ => eprintln!(
            "usage: echo serve DRIVER plain|idle | load PORT CONNECTIONS SECONDS | idle DRIVER COUNT"
        ),
    }
}

fn driver_of(name: &str) -> DriverChoice {
    if name == "epoll" { DriverChoice::Epoll } else { DriverChoice::IoUring }
}

fn listen() -> (Listener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (Listener::from_fd(listener.into()).unwrap(), port)
}

fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn serve(driver: DriverChoice, with_grace: bool) {
    net::run(RingOptions { driver, ..Default::default() }, |_| async move {
        net::cpu::set_affinity(&net::cpu::available().unwrap()[..1]).unwrap();
        let (listener, port) = listen();
        println!("{port}");
        net::spawn(async {
            loop {
                let before = (cpu_us(), MESSAGES.load(Relaxed), CALLS.load(Relaxed));
                net::sleep(Duration::from_secs(2)).await;
                let after = (cpu_us(), MESSAGES.load(Relaxed), CALLS.load(Relaxed));
                let messages = after.1 - before.1;
                if messages > 0 {
                    println!(
                        "{messages} messages, {:.3} us each, {:.4} allocations each",
                        (after.0 - before.0) as f64 / messages as f64,
                        (after.2 - before.2) as f64 / messages as f64
                    );
                }
            }
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            net::spawn(async move {
                let mut buf = Buf::with_capacity(4096);
                loop {
                    let result;
                    if with_grace {
                        (result, buf) = stream.recv_idle(buf, GRACE, KEEPALIVE).await;
                    } else {
                        let bytes;
                        (bytes, buf) = stream.recv(buf, KEEPALIVE).await;
                        result = bytes.map(Received::Bytes);
                    }
                    match result {
                        Ok(Received::Idle) => {
                            buf = Buf::new();
                            if stream.readable(KEEPALIVE).await.is_err() {
                                return;
                            }
                            buf.reserve(4096);
                            continue;
                        }
                        Ok(Received::Bytes(0)) | Err(_) => return,
                        Ok(Received::Bytes(_)) => {}
                    }
                    MESSAGES.fetch_add(1, Relaxed);
                    let result;
                    (result, buf) = stream.send_buf(buf, Timeout::ms(60_000)).await;
                    if result.is_err() {
                        return;
                    }
                }
            });
        }
    })
    .unwrap();
}

fn load(port: u16, connections: usize, seconds: u64) {
    net::run(RingOptions::default(), |_| async move {
        let all = net::cpu::available().unwrap();
        net::cpu::set_affinity(&all[all.len() - 1..]).unwrap();
        let end = Instant::now() + Duration::from_secs(seconds);
        let addr = net::Addr::from(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        for _ in 0..connections {
            let stream = net::connect(&addr, &net::ConnectOptions::default()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            net::spawn(async move {
                let mut buf = Buf::copy_of(&[b'x'; 100]);
                while Instant::now() < end {
                    let result;
                    (result, buf) = stream.send_buf(buf, Timeout::NEVER).await;
                    result.unwrap();
                    let result;
                    (result, buf) = stream.recv(buf, Timeout::NEVER).await;
                    result.unwrap();
                    MESSAGES.fetch_add(1, Relaxed);
                }
            });
        }
        while net::live_tasks() > 0 {
            net::sleep(Duration::from_millis(50)).await;
        }
        println!("{} messages", MESSAGES.load(Relaxed));
    })
    .unwrap();
}

fn idle(driver: DriverChoice, count: usize) {
    net::run(RingOptions { driver, ..Default::default() }, |_| async move {
        let (listener, port) = listen();
        let clients = std::thread::spawn(move || {
            let mut clients = Vec::with_capacity(count);
            for _ in 0..count {
                let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                client.write_all(b"x").unwrap();
                client.read_exact(&mut [0]).unwrap();
                clients.push(client);
            }
            clients
        });
        // The second half of the connections finds pools and tables filled by the first.
        let mut used = [0; 2];
        for half in &mut used {
            for _ in 0..count / 2 {
                let (stream, _) = listener.accept().await.unwrap();
                net::spawn(connection(stream));
            }
            net::sleep(Duration::from_secs(1)).await;
            *half = LIVE.load(Relaxed);
        }
        println!("{} bytes per idle connection", (used[1] - used[0]) / (count / 2));
        drop(clients.join().unwrap());
    })
    .unwrap();
}

/// The task of a connection: while idle it consists of the wait, the rest is boxed for as long as it is needed.
async fn connection(stream: Stream) {
    while stream.readable(KEEPALIVE).await.is_ok() && Box::pin(active(stream.clone())).await {}
}

/// Serves until the connection is idle (true) or over (false).
async fn active(stream: Stream) -> bool {
    let mut buf = Buf::with_capacity(4096);
    loop {
        let (result, full) = stream.recv_idle(buf, GRACE, KEEPALIVE).await;
        match result {
            Ok(Received::Idle) => return true,
            Ok(Received::Bytes(0)) | Err(_) => return false,
            Ok(Received::Bytes(_)) => {}
        }
        let result;
        (result, buf) = stream.send_buf(full, Timeout::ms(60_000)).await;
        if result.is_err() {
            return false;
        }
    }
}
