//! A connection becomes a tunnel when the origin has answered 101 to a request for one, and never before.

use super::*;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

const CONF: &str = "
http { proxy_ignore_client_abort on; server {
    listen @0;
    location / { proxy_pass http://%0; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }
    location /plain/ { proxy_pass http://%0; }
    location /smuggled { return 298 here; }
    location /after { return 299 after; }
} }";

/// Answers every request with `answer` and notes every byte it gets.
fn origin(answer: &'static str) -> Origin {
    Origin::script(move |stream, seen| {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            seen.add(piece[..count].to_vec());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn bytes_behind_a_refused_upgrade_are_the_next_request() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 426 x\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = origin(answer);
        let gateway = Gateway::start_with(CONF, &[origin.addr], |_| {});
        let sent = [UPGRADE, SMUGGLED, AFTER].concat();
        let outcome = exchange(gateway.addr(0), sent.as_bytes(), &[]);
        assert_eq!(outcome.statuses[1..], [298, 299], "{outcome:?}");
        let seen = origin.seen.all().concat();
        assert!(!seen.contains("smuggled"), "{seen}");
        gateway.quit();
    }
}

#[test]
fn a_switch_nobody_asked_for_is_an_error() {
    let origin =
        origin("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let gateway = Gateway::start_with(CONF, &[origin.addr], |_| {});
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plain/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let outcome = exchange(gateway.addr(0), [head, SMUGGLED].concat().as_bytes(), &[]);
        assert_eq!(outcome.statuses.first(), Some(&502), "{head}: {outcome:?}");
        assert!(!origin.seen.all().concat().contains("smuggled"));
    }
    gateway.quit();
}

#[test]
fn a_tunnel_passes_bytes_both_ways_and_nothing_is_parsed() {
    let origin = Origin::script(|stream, seen| {
        let Some(request) = kit::read_request(stream) else { return };
        seen.add(request);
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            if stream.write_all(&piece[..count]).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::start_with(CONF, &[origin.addr], |_| {});
    let mut client = kit::Client::connect(gateway.addr(0));
    client.send(UPGRADE);
    let answer = client.answer().expect("an answer");
    assert_eq!(answer.status, 101, "{}", answer.head);
    let sent = "GET /smuggled HTTP/1.1\n\n\0";
    client.send(sent);
    let wanted = format!("hello{sent}");
    assert_eq!(String::from_utf8_lossy(&client.take(wanted.len())), wanted);
    client.finish();
    assert_eq!(client.rest(), b"");
    gateway.quit();
}
