//! Too little of something: descriptors, space on a disk, a client's patience with its own requests.

use std::time::{Duration, Instant};

use kit::{Client, Gateway, Origin};
use nix::sys::signal::Signal;

const FRAME: &str = "
daemon off; user root; pid logs/test.pid; error_log logs/error.log info; events { worker_connections 1000; }
worker_rlimit_nofile 48;
http { keepalive_timeout 60s; server { listen @0; location / { return 200 ok; } } }";

/// Connections that are merely kept make room for new ones, nobody is refused, and the log stays readable.
#[test]
fn running_out_of_descriptors_costs_idle_connections_only() {
    const CLIENTS: usize = 100;
    let gateway = Gateway::start(FRAME);
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let mut client = Client::connect(gateway.addr(0));
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = client.answer().unwrap_or_else(|| panic!("client {n} got no answer"));
        assert_eq!(answer.status, 200);
        clients.push(client);
    }
    drop(clients);
    assert_eq!(kit::get(gateway.addr(0), "/").status, 200);
    let log = gateway.error_log();
    let told = log.matches("accept4() failed (24: Too many open files)").count();
    assert!((1..=20).contains(&told), "told {told} times:\n{log}");
    gateway.quit();
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let conf = "http { access_log /dev/full; server { listen @0; location / { return 200 ok; } } }";
    let mut gateway = Gateway::start(conf);
    for _ in 0..50 {
        assert_eq!(kit::get(gateway.addr(0), "/").status, 200);
    }
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
    let log = gateway.error_log();
    assert!(log.contains("28: No space left on device"), "{log}");
    assert!(log.matches("No space left").count() < 20, "{log}");
}

#[test]
fn a_body_that_cannot_be_stored_costs_its_request_only() {
    let origin = Origin::echo();
    let conf =
        "http { client_body_temp_path @prefix/temp; client_body_buffer_size 1k; client_max_body_size 0;
        server { listen @0; location / { proxy_pass http://%0; } } }";
    let mut gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    std::fs::remove_dir_all(gateway.path("temp")).expect("made at the start");
    std::fs::write(gateway.path("temp"), "in the way").expect("the prefix is writable");
    let body = "x".repeat(100_000);
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = Client::connect(gateway.addr(0)).send(head + &body).answer().expect("an answer");
    assert_eq!(answer.status, 500);
    assert_eq!(kit::get(gateway.addr(0), "/").status, 200);
    assert_eq!(origin.seen.count(), 1, "the broken request was not sent");
    gateway.signal(Signal::SIGQUIT);
    assert!(gateway.wait().success());
}

#[test]
fn a_head_that_drips_ends_in_time() {
    let conf = "http { client_header_timeout 1s; server { listen @0; location / { return 200 ok; } } }";
    let gateway = Gateway::start(conf);
    let begun = Instant::now();
    let mut client = Client::connect(gateway.addr(0));
    client.send("GET / HTTP/1.1\r\nX: ");
    while !client.has_ended() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the head is still welcome");
        client.send("x");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "after {:?}", begun.elapsed());
    gateway.quit();
}

#[test]
fn a_body_that_does_not_come_ends_in_time() {
    let origin = Origin::echo();
    let conf = "http { client_body_timeout 1s; server { listen @0; location / { proxy_pass http://%0; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let begun = Instant::now();
    let mut client = Client::connect(gateway.addr(0));
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
    let answer = client.answer();
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(begun.elapsed() < Duration::from_secs(10), "after {:?}", begun.elapsed());
    assert_eq!(origin.seen.count(), 0);
    gateway.quit();
}

/// Somebody who asks for much and reads nothing.
#[test]
fn answers_nobody_reads_take_little_memory_and_end_in_time() {
    const CLIENTS: usize = 20;
    let big = vec![b'x'; 32 * 1024 * 1024];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", big.len());
    let origin = Origin::fixed([head.into_bytes(), big].concat());
    let conf = "http { send_timeout 2s; proxy_max_temp_file_size 0; server { listen @0; location / { proxy_pass http://%0; } } }";
    let mut gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let worker = gateway.workers()[0];
    let before = kit::memory_kib_of(worker);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(gateway.addr(0))).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    gateway.wait_for("answers", |_| clients.iter().all(Client::has_answer));
    let mut most = 0;
    gateway.wait_for("their end", |gateway| {
        most = most.max(kit::memory_kib_of(worker));
        gateway.error_log().matches("client timed out").count() >= CLIENTS
    });
    assert!(most < before + CLIENTS * 1024, "{most} KiB after {before}");
    gateway.quit();
}
