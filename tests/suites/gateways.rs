//! Servers that do not speak HTTP: FastCGI, SCGI, uwsgi, memcached.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kit::{Answer, Client, Gateway, Origin, get};

/// A FastCGI record.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![1, kind, 0, 1];
    out.extend_from_slice(&(content.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(content);
    out
}

/// Reads a FastCGI request: parameters, and the body.
fn read_fastcgi(stream: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut params, mut body) = (Vec::new(), Vec::new());
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).ok()?;
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        stream.read_exact(&mut content).ok()?;
        let mut padding = vec![0; header[6].into()];
        stream.read_exact(&mut padding).ok()?;
        match header[1] {
            4 => params.extend(content),
            5 if content.is_empty() => return Some((params, body)),
            5 => body.extend(content),
            _ => {}
        }
    }
}

/// A FastCGI server that answers each request with `records`, once per connection.
fn fastcgi(records: Vec<u8>) -> Origin {
    Origin::script(move |stream, seen| {
        if let Some((params, body)) = read_fastcgi(stream) {
            seen.add([params, body].concat());
            let _ = stream.write_all(&records);
        }
    })
}

fn through(origin: &Origin, pass: &str) -> (Gateway, Answer) {
    let conf = format!("http {{ server {{ listen @0; location / {{ {pass} }} }} }}");
    let gateway = Gateway::start_with(&conf, &[origin.addr], |_| {});
    let answer = get(gateway.addr(0), "/");
    (gateway, answer)
}

fn complete(text: &[u8]) -> Vec<u8> {
    [record(6, text), record(6, b""), record(3, &[0; 8])].concat()
}

#[test]
fn fastcgi_requests_and_responses() {
    let origin = fastcgi(complete(b"Status: 201 Made\r\nX-A: b\n\nbody"));
    let conf = "http { server { listen @0; location / { fastcgi_pass %0; fastcgi_param SCRIPT_NAME $fastcgi_script_name;
        fastcgi_param HTTP_X_SET set; fastcgi_param EMPTY '' if_not_empty; fastcgi_index index.php; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let raw = "POST /dir/ HTTP/1.1\r\nHost: x\r\nX-Set: client\r\nX-Two: 1\r\nX-Two: 2\r\nProxy: evil\r\nContent-Length: 4\r\n\r\nbody";
    let answer = kit::request(gateway.addr(0), raw);
    assert_eq!((answer.status, answer.header("x-a"), answer.text()), (201, Some("b"), "body".to_owned()));
    let seen = &origin.seen.all()[0];
    for expected in ["SCRIPT_NAME/dir/index.php", "HTTP_X_SETset", "HTTP_X_TWO1, 2"] {
        assert!(seen.contains(expected), "{expected}: {seen:?}");
    }
    assert!(seen.ends_with("body") && !seen.contains("client") && !seen.contains("EMPTY"));
    assert!(!seen.contains("HTTP_PROXY"), "no client sets the environment's proxy");
    gateway.quit();
}

#[test]
fn fastcgi_streams_a_large_body_in_records() {
    let body = "x".repeat(300_000);
    for buffering in ["on", "off"] {
        let origin = fastcgi(complete(b"A: b\n\nok"));
        let pass =
            format!("client_max_body_size 1m; fastcgi_pass %0; fastcgi_request_buffering {buffering};");
        let conf = format!("http {{ server {{ listen @0; location / {{ {pass} }} }} }}");
        let gateway = Gateway::start_with(&conf, &[origin.addr], |_| {});
        let mut client = Client::connect(gateway.addr(0));
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        assert_eq!(client.answer().expect("there is one").text(), "ok", "{buffering}");
        assert!(origin.seen.all()[0].ends_with(&body), "{buffering}");
        gateway.quit();
    }
}

#[test]
fn fastcgi_answers_that_are_none_are_a_502() {
    for (name, bytes) in [
        ("garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("another version", [&[9][..], &complete(b"A: b\n\n")[1..]].concat()),
        ("another request", [&[1, 6, 0, 2, 0, 0, 0, 0][..], &complete(b"A: b\n\n")].concat()),
        ("no head", complete(b"no head")),
        ("an end before the head", record(3, &[0; 8])),
        ("two lengths", complete(b"Content-Length: 1\nContent-Length: 2\n\nab")),
        ("length and coding", complete(b"Content-Length: 1\nTransfer-Encoding: chunked\n\na")),
        ("a bad status", complete(b"Status: yes\n\nbody")),
        ("a switch", complete(b"Status: 101 Switching Protocols\n\n")),
        ("nothing", Vec::new()),
    ] {
        let (gateway, answer) = through(&fastcgi(bytes), "fastcgi_pass %0;");
        assert_eq!(answer.status, 502, "{name}");
        gateway.quit();
    }
}

#[test]
fn fastcgi_cut_responses_are_seen_to_be_cut() {
    for (name, bytes) in [
        ("in a record", record(6, b"A: b\n\nbody")[..16].to_vec()),
        ("without an end", record(6, b"A: b\n\nbody")),
        ("before its length", complete(b"Content-Length: 100\n\nbody")),
        ("by garbage", [record(6, b"A: b\n\nbody"), b"garbage!".to_vec()].concat()),
    ] {
        for buffering in ["on", "off"] {
            let pass = format!("fastcgi_pass %0; fastcgi_buffering {buffering};");
            let (gateway, answer) = through(&fastcgi(bytes.clone()), &pass);
            assert_eq!((answer.status, answer.complete), (200, false), "{name} {buffering}");
            gateway.quit();
        }
    }
}

#[test]
fn scgi_netstrings_hold_what_they_say() {
    let origin = Origin::script(|stream, seen| {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        while !all.ends_with(b",body") {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => all.extend_from_slice(&piece[..count]),
            }
        }
        seen.add(all);
        let _ = stream.write_all(b"Status: 200 Fine\n\nok");
    });
    let conf = "http { server { listen @0; location / { scgi_pass %0; scgi_param URI $uri; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let raw = "POST /a%0Ab HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(kit::request(gateway.addr(0), raw).text(), "ok");
    let seen = origin.seen.all().remove(0);
    let (length, rest) = seen.split_once(':').expect("numbers and their separator");
    let pairs = &rest[..length.parse().expect("numbers and their separator")];
    assert!(pairs.starts_with("CONTENT_LENGTH\x004\x00") && pairs.contains("URI\x00/a\nb\x00"), "{pairs:?}");
    assert_eq!(&rest[pairs.len()..], ",body");
    assert_eq!(pairs.matches('\0').count() % 2, 0, "names and values are pairs");
    gateway.quit();
}

#[test]
fn uwsgi_requests_too_long_for_their_length_are_refused() {
    let origin = Origin::script(|stream, seen| {
        let mut header = [0; 4];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let mut pairs = vec![0; usize::from(u16::from_le_bytes([header[1], header[2]]))];
        stream.read_exact(&mut pairs).expect("the gateway is there");
        seen.add(pairs);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let conf = "http { large_client_header_buffers 8 64k;
        server { listen @0; location / { uwsgi_pass uwsgi://%0; uwsgi_param ARGS $args; uwsgi_param MORE $args; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    assert_eq!(get(gateway.addr(0), "/?a").text(), "ok");
    let long = format!("/?{}", "x".repeat(40_000));
    assert_eq!(get(gateway.addr(0), &long).status, 500);
    assert_eq!(origin.seen.count(), 1, "a length that wraps would end the parameters early");
    gateway.quit();
}

#[test]
fn memcached_keys_cannot_end_the_command() {
    let origin = Origin::script(|stream, seen| {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while matches!(stream.read(&mut byte), Ok(1)) {
            line.push(byte[0]);
            if line.ends_with(b"\r\n") {
                seen.add(std::mem::take(&mut line));
                let key = seen.all().pop().expect("there is one").trim_end()["get ".len()..].to_owned();
                let answer = match key.as_str() {
                    "/missing" => "END\r\n".to_owned(),
                    "/bad" => "VALUE other 0 2\r\nok\r\nEND\r\n".to_owned(),
                    key => format!("VALUE {key} 0 2\r\nok\r\nEND\r\n"),
                };
                stream.write_all(answer.as_bytes()).expect("the gateway is there");
            }
        }
    });
    let conf = "http { server { listen @0; location / { set $memcached_key $uri; memcached_pass %0; error_page 404 = @none; }
        location @none { return 200 none; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    assert_eq!(get(gateway.addr(0), "/a%0d%0aflush_all%0d%0a%20b").text(), "ok");
    assert_eq!(origin.seen.all(), ["get /a%0D%0Aflush_all%0D%0A%20b\r\n"]);
    assert_eq!(get(gateway.addr(0), "/missing").text(), "none");
    assert_eq!(get(gateway.addr(0), "/bad").status, 502);
    gateway.quit();
}

#[test]
fn passing_is_for_the_location_it_is_said_in() {
    let origin = fastcgi(complete(b"A: b\n\nfastcgi"));
    let conf = "http { server { listen @0; root @prefix/html;
        location / { fastcgi_pass %0; location /inner/ { } if ($arg_p) { proxy_pass http://@1; } } }
        server { listen @1; return 200 proxied; } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |prefix| {
        std::fs::create_dir(prefix.join("html/inner")).expect("the prefix is ours");
        std::fs::write(prefix.join("html/inner/f"), "file").expect("the prefix is ours");
    });
    assert_eq!(get(gateway.addr(0), "/").text(), "fastcgi");
    assert_eq!(get(gateway.addr(0), "/inner/f").text(), "file", "a location inside is its own");
    assert_eq!(get(gateway.addr(0), "/?p=1").text(), "proxied");
    gateway.quit();
}
