//! What passes through a reverse proxy besides the plain exchange: interim responses, streamed bodies, actions afterwards.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use kit::{Client, Gateway, Origin, WAIT_MAX, read_request};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn ok() -> Origin {
    Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

#[test]
fn early_hints_are_passed_on_where_they_are_wanted() {
    let origin = Origin::fixed(
        "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\nX-Hidden: 1\r\nConnection: close\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let conf = "http { server { listen @0; proxy_hide_header X-Hidden;
        location / { proxy_pass http://%0; early_hints $arg_a $arg_b; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let mut client = Client::connect(gateway.addr(0));
    client.send("GET /?b=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let hints = client.answer().expect("the hints");
    assert_eq!(hints.head, "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n");
    let answer = client.answer().expect("the answer");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("Link")), (200, "ok", None));
    for request in ["GET /?b=0 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?b=1 HTTP/1.0\r\nHost: x\r\n\r\n"] {
        assert_eq!(kit::request(gateway.addr(0), request).status, 200, "{request}");
    }
    gateway.quit();
}

#[test]
fn interim_responses_without_end_are_a_502() {
    let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let origin = Origin::fixed(format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let conf = "http { server { listen @0; location / { proxy_pass http://%0; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    assert_eq!(kit::request(gateway.addr(0), GET).status, 502);
    gateway.quit();
}

#[test]
fn what_is_done_afterwards_reaches_nobody_but_the_server() {
    let origin = ok();
    let conf = "http { server { listen @0; root html;
        location / { post_action /after; }
        location /after { internal; proxy_pass http://%0/count; proxy_set_header X-Sent $body_bytes_sent; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |prefix| {
        std::fs::write(prefix.join("html/file"), "hello").expect("a fresh file");
    });
    let mut client = Client::connect(gateway.addr(0));
    for n in 1..=2 {
        client.send("GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = client.answer().expect("the file");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        while origin.seen.all().len() < n {
            std::thread::yield_now();
        }
    }
    let seen = origin.seen.all().pop().unwrap_or_default();
    assert!(seen.starts_with("GET /count HTTP/1.1\r\n") && seen.contains("X-Sent: 5\r\n"), "{seen}");
    gateway.quit();
}

#[test]
fn a_body_read_early_is_there_for_everything() {
    let conf = "http { server { listen @0; client_body_early_read $arg_early;
        client_max_body_size 10; if ($request_body = hi) { return 200 early; } return 200 late; } }";
    let gateway = Gateway::start(conf);
    let post = |target: &str, body: &str| {
        let length = body.len();
        let raw = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        kit::request(gateway.addr(0), &raw)
    };
    assert_eq!(post("/?early=1", "hi").text(), "early");
    assert_eq!(post("/", "hi").text(), "late");
    assert_eq!(post("/?early=1", "much too long").status, 413);
    gateway.quit();
}

#[test]
fn pieces_of_a_streamed_body_are_passed_on_as_they_come() {
    let (sender, pieces) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::script(move |stream, _| {
        let mut all = Vec::new();
        let mut piece = [0; 1024];
        while !all.ends_with(b"0\r\n\r\n") {
            let Ok(count @ 1..) = std::io::Read::read(stream, &mut piece) else { return };
            all.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&all).into_owned();
            sender.lock().expect("no origin panics").send(text).expect("the test listens");
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let conf =
        "http { server { listen @0; location / { proxy_pass http://%0; proxy_request_buffering off; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let mut client = Client::connect(gateway.addr(0));
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    // the next piece is sent only when the one before it has arrived
    for (send, arrives) in [
        ("5\r\n01234\r\n", "\r\n\r\n5\r\n01234\r\n"),
        ("3\r\n567\r\n2\r\n89\r\n", "5\r\n56789\r\n"),
        ("0\r\n\r\n", "0\r\n\r\n"),
    ] {
        client.send(send);
        loop {
            let so_far: String = pieces.recv_timeout(WAIT_MAX).expect("the piece");
            if so_far.ends_with(arrives) {
                break;
            }
        }
    }
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    gateway.quit();
}

#[test]
fn a_client_that_leaves_gives_its_place_back_at_once() {
    let origin = Origin::script(|stream, seen| {
        while let Some(request) = read_request(stream) {
            seen.add(request);
        }
    });
    let conf = "http { limit_conn_zone $server_addr zone=z:1m; server { listen @0; limit_conn z 1;
        location / { proxy_pass http://%0; } location /file { root html; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |prefix| {
        std::fs::write(prefix.join("html/file"), "hello").expect("a fresh file");
    });
    for n in 1..=3 {
        let mut client = Client::connect(gateway.addr(0));
        client.send(GET);
        while origin.seen.all().len() < n {
            std::thread::yield_now();
        }
        assert_eq!(kit::get(gateway.addr(0), "/file").status, 503, "the place is taken");
        drop(client);
        assert_eq!(kit::get(gateway.addr(0), "/file").status, 200, "the place is free");
    }
    gateway.quit();
}

#[test]
fn a_client_that_waits_for_nothing_is_told_to_go_on() {
    let origin = ok();
    let conf = "http { server { listen @0; location / { proxy_pass http://%0; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let mut client = Client::connect(gateway.addr(0));
    client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().map(|answer| answer.status), Some(100));
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    gateway.quit();
}
