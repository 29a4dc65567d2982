//! Responses that are made of others: SSI, addition, slices.

use std::io::Write as _;

use kit::{Client, Gateway, Origin, get, read_request};

fn pages(settings: &str, files: &'static [(&'static str, &'static str)]) -> Gateway {
    let conf = format!(
        "http {{ charset_map bytes utf-8 {{ 80 E282AC; }}
         server {{ listen @0; root @prefix/html; types {{ text/html html; }} ssi on; {settings} }} }}"
    );
    Gateway::start_with(&conf, &[], |prefix| {
        for (name, text) in files {
            std::fs::write(prefix.join("html").join(name), text).expect("the prefix is ours");
        }
    })
}

#[test]
fn ssi_pages_that_include_themselves_end() {
    let gateway = pages(
        "",
        &[
            ("self.html", "x<!--#include virtual=\"/self.html\" -->"),
            ("wait.html", "x<!--#include virtual=\"/wait.html\" wait=\"yes\" -->"),
            ("one.html", "1<!--#include virtual=\"/two.html\" -->"),
            ("two.html", "2<!--#include file=\"one.html\" -->"),
            ("set.html", "<!--#include virtual=\"/set.html\" set=\"v\" -->."),
        ],
    );
    for target in ["/self.html", "/wait.html", "/one.html"] {
        let answer = get(gateway.addr(0), target);
        assert!(answer.complete, "{target}");
        let depth = answer.text().chars().filter(|letter| "x12".contains(*letter)).count();
        assert!((40..60).contains(&depth), "{target}: {depth}");
        assert!(answer.text().ends_with("[an error occurred while processing the directive]"), "{target}");
    }
    assert_eq!(get(gateway.addr(0), "/set.html").text(), ".");
    assert!(gateway.error_log().contains("subrequests cycle while processing"));
    gateway.quit();
}

#[test]
fn ssi_includes_of_one_page_are_counted() {
    let gateway = pages(
        "",
        &[(
            "twice.html",
            "x<!--#include virtual=\"/twice.html\" --><!--#include virtual=\"/twice.html\" -->",
        )],
    );
    let answer = get(gateway.addr(0), "/twice.html");
    assert!(answer.complete, "two to the power of fifty is too much, ten thousand is not");
    assert!(gateway.error_log().contains("too many subrequests while processing"));
    gateway.quit();
}

#[test]
fn ssi_commands_and_variables() {
    let gateway = pages(
        "location = /lower.html { default_type text/html; return 200 '<!--#echo var=\"v\" -->'; }",
        &[
            (
                "page.html",
                concat!(
                    "<!--#set var=\"v\" value=\"one\" -->",
                    "<!--#include virtual=\"/lower.html\" -->,",
                    "<!--#if expr=\"$v = /^(o)n/\" --><!--#echo var=\"1\" --><!--#else -->no<!--#endif -->,",
                    "<!--#echo var=\"nothing\" default=\"<d>\" -->,",
                    "<!--#block name=\"b\" -->stub<!--#endblock -->",
                    "<!--#include virtual=\"/missing\" stub=\"b\" -->,",
                    "<!--#include virtual=\"/empty.html\" stub=\"b\" -->,",
                    "<!--#include virtual=\"/part.html\" set=\"p\" --><!--#echo var=\"p\" encoding=\"none\" -->,",
                    "<!--#include virtual=\"/../etc/passwd\" -->"
                ),
            ),
            ("part.html", "<b>"),
            ("empty.html", ""),
        ],
    );
    let expected = "one,o,&lt;d&gt;,stub,stub,<b>,[an error occurred while processing the directive]";
    assert_eq!(get(gateway.addr(0), "/page.html").text(), expected);
    gateway.quit();
}

#[test]
fn included_parts_are_as_long_as_they_are() {
    // many times what a subrequest may be ahead
    let large = "0123456789abcdef".repeat(64 * 1024);
    let of_page = large.clone();
    let conf = "http { server { listen @0; root @prefix/html; types { text/html html; }
        location / { ssi on; } location = /plain.html { add_after_body /large.html; } } }";
    let gateway = Gateway::start_with(conf, &[], |prefix| {
        let include = "<!--#include virtual=\"/large.html\" -->";
        std::fs::write(prefix.join("html/page.html"), format!("a{include}b{include}c"))
            .expect("the prefix is ours");
        std::fs::write(prefix.join("html/plain.html"), "plain").expect("the prefix is ours");
        std::fs::write(prefix.join("html/large.html"), of_page).expect("the prefix is ours");
    });
    assert_eq!(get(gateway.addr(0), "/page.html").text(), format!("a{large}b{large}c"));
    assert_eq!(get(gateway.addr(0), "/plain.html").text(), format!("plain{large}"));
    gateway.quit();
}

#[test]
fn charset_of_an_included_part_is_that_of_the_page() {
    let gateway = pages(
        "charset utf-8; location = /old.html { source_charset bytes; }",
        &[("page.html", "<!--#include virtual=\"/old.html\" -->")],
    );
    std::fs::write(gateway.path("html/old.html"), b"\x80!").expect("the prefix is ours");
    let answer = get(gateway.addr(0), "/page.html");
    assert_eq!(
        (answer.text().as_str(), answer.header("content-type")),
        ("€!", Some("text/html; charset=utf-8"))
    );
    gateway.quit();
}

/// An origin with ten bytes that it serves in ranges; `head` says what a request for `start` is answered with besides.
fn ranges(head: impl Fn(usize) -> String + Send + Sync + 'static) -> Origin {
    Origin::script(move |stream, seen| {
        while let Some(request) = read_request(stream) {
            let text = String::from_utf8_lossy(&request).into_owned();
            seen.add(request);
            let range = text.lines().find_map(|line| line.strip_prefix("Range: bytes=")).unwrap_or("0-9");
            let (start, end) = range.split_once('-').expect("numbers and their separator");
            let (start, end): (usize, usize) = (
                start.parse().expect("numbers and their separator"),
                end.parse().expect("numbers and their separator"),
            );
            let body = &"0123456789"[start..=end.min(9)];
            let range = format!("bytes {start}-{}/10", start + body.len() - 1);
            let head = head(start);
            let range = if head.contains("Content-Range") {
                String::new()
            } else {
                format!("Content-Range: {range}\r\n")
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 206 Partial\r\nContent-Length: {length}\r\n{range}{head}\r\n{body}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn slices(origin: &Origin) -> Gateway {
    let conf = "http { server { listen @0; location / { slice 4; proxy_pass http://%0; proxy_set_header Range $slice_range; } } }";
    Gateway::start_with(conf, &[origin.addr], |_| {})
}

#[test]
fn slices_make_one_response() {
    let origin = ranges(|_| "ETag: \"a\"\r\n".to_owned());
    let gateway = slices(&origin);
    let ask = |range: &str| {
        let raw = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n");
        let answer = kit::request(gateway.addr(0), &raw);
        (answer.status, answer.text(), answer.header("content-range").map(str::to_owned))
    };
    assert_eq!(ask(""), (200, "0123456789".to_owned(), None));
    assert_eq!(origin.seen.count(), 3);
    for (range, text, expected) in [
        ("bytes=3-4", "34", "bytes 3-4/10"),
        ("bytes=5-", "56789", "bytes 5-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=0-0", "0", "bytes 0-0/10"),
    ] {
        let field = format!("Range: {range}\r\n");
        assert_eq!(ask(&field), (206, text.to_owned(), Some(expected.to_owned())), "{range}");
    }
    gateway.quit();
}

#[test]
fn slice_never_mixes_versions() {
    type Head = fn(usize) -> String;
    let cases: [(&str, Head); 6] = [
        ("another tag", |start| format!("ETag: \"{start}\"\r\n")),
        ("no tag any more", |start| if start == 0 { "ETag: \"a\"\r\n".to_owned() } else { String::new() }),
        ("a weak tag", |start| format!("ETag: {}\"a\"\r\n", if start == 0 { "" } else { "W/" })),
        ("another time", |start| format!("Last-Modified: Thu, 01 Jan 1970 00:00:0{start} GMT\r\n")),
        ("another length", |start| {
            if start == 4 { "Content-Range: bytes 4-7/11\r\n".to_owned() } else { String::new() }
        }),
        ("another range", |start| {
            if start == 4 { "Content-Range: bytes 5-8/10\r\n".to_owned() } else { String::new() }
        }),
    ];
    for (name, head) in cases {
        let origin = ranges(head);
        let gateway = slices(&origin);
        let raw = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = Client::connect(gateway.addr(0)).send(raw).answer();
        assert!(answer.is_none(), "{name}: nothing of it had left, and nothing does: {answer:?}");
        gateway.quit();
    }
}

#[test]
fn slice_that_changes_on_the_way_cuts_the_response() {
    let large = 200_000;
    let origin = Origin::script(move |stream, _| {
        while let Some(request) = read_request(stream) {
            let text = String::from_utf8_lossy(&request).into_owned();
            let range = text.lines().find_map(|line| line.strip_prefix("Range: bytes=")).expect("a range");
            let (start, _) = range.split_once('-').expect("two numbers");
            let start: usize = start.parse().expect("a number");
            let (end, total) = (start + large - 1, 2 * large);
            let head = format!(
                "HTTP/1.1 206 Partial\r\nContent-Length: {large}\r\nContent-Range: bytes {start}-{end}/{total}\r\nETag: \"{start}\"\r\n\r\n"
            );
            let body = vec![b'x'; large];
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    });
    let conf = "http { server { listen @0; location / { slice 200000; proxy_pass http://%0; proxy_set_header Range $slice_range; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    let answer = get(gateway.addr(0), "/");
    assert_eq!((answer.complete, answer.body.len()), (false, large));
    assert!(gateway.error_log().contains("etag mismatch in slice response"));
    gateway.quit();
}

#[test]
fn an_included_part_is_never_upgraded() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes of the tunnel";
    let origin = Origin::once(switch);
    let conf = "http { server { listen @0; root @prefix/html; types { text/html html; }
        location / { ssi on; }
        location /up { proxy_pass http://%0; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |prefix| {
        std::fs::write(prefix.join("html/page.html"), "a<!--#include virtual=\"/up\" -->b")
            .expect("the prefix is ours");
    });
    let raw = "GET /page.html HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let answer = kit::request(gateway.addr(0), raw);
    assert!(answer.complete && answer.text().contains("502 Bad Gateway"), "{answer:?}");
    assert!(!answer.text().contains("tunnel"));
    gateway.quit();
}

#[test]
fn a_client_that_leaves_ends_what_its_page_waits_for() {
    // answers nothing, and tells when it is left
    let origin = Origin::script(|stream, seen| {
        if let Some(request) = read_request(stream) {
            seen.add(request);
            if std::io::Read::read(stream, &mut [0]).is_ok_and(|count| count == 0) {
                seen.add(b"left".to_vec());
            }
        }
    });
    let conf = "http { server { listen @0; root @prefix/html; types { text/html html; }
        location / { ssi on; } location /slow { proxy_pass http://%0; } } }";
    let mut gateway = Gateway::start_with(conf, &[origin.addr], |prefix| {
        let include = "<!--#include virtual=\"/slow\" -->";
        std::fs::write(prefix.join("html/page.html"), include.repeat(3)).expect("the prefix is ours");
    });
    let mut client = Client::connect(gateway.addr(0));
    client.send("GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n");
    let seen = origin.seen.clone();
    gateway.wait_for("three requests", |_| seen.count() == 3);
    drop(client);
    gateway.wait_for("the end of all three", |_| seen.count() == 6);
    gateway.quit();
}
