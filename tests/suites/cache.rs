//! Responses kept on disk: served, renewed, shared by those who ask at the same time, found again, and never half ones.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use kit::{Answer, Client, Gateway, Origin, WAIT_MAX, read_request};

/// A gateway with a cache in `dir`.
fn gateway(dir: &Path, zone: &str, settings: &str, origin: &Origin) -> Gateway {
    let dir = dir.display();
    let conf = format!(
        "http {{ proxy_cache_path {dir} levels=1:2 keys_zone=C:1m {zone};
         server {{ listen @0; location / {{ proxy_pass http://%0; proxy_cache C; proxy_cache_key $uri;
         add_header X-Status $upstream_cache_status; {settings} }} }} }}"
    );
    Gateway::start_with(&conf, &[origin.addr], |_| {})
}

fn dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("uresty-cache.").tempdir().expect("a temporary directory")
}

fn status(answer: &Answer) -> &str {
    answer.header("X-Status").unwrap_or("none")
}

/// All files below `dir`.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn ok(fields: &str) -> Origin {
    Origin::fixed(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello"))
}

#[test]
fn a_response_is_stored_once_and_served_again() {
    let (dir, origin) = (dir(), ok("Cache-Control: max-age=60\r\nAccept-Ranges: bytes\r\nX-Own: 1\r\n"));
    let gateway = gateway(dir.path(), "", "", &origin);
    let first = kit::get(gateway.addr(0), "/a");
    assert_eq!((status(&first), first.text().as_str()), ("MISS", "hello"));
    for _ in 0..3 {
        let again = kit::get(gateway.addr(0), "/a");
        assert_eq!((status(&again), again.text().as_str()), ("HIT", "hello"));
        assert_eq!(again.header("X-Own"), Some("1"));
    }
    let head = kit::request(gateway.addr(0), "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((status(&head), head.header("Content-Length")), ("HIT", Some("5")));
    let range = "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=1-3\r\n\r\n";
    let range = kit::request(gateway.addr(0), range);
    assert_eq!((range.status, range.text().as_str()), (206, "ell"));
    assert_eq!(status(&kit::get(gateway.addr(0), "/b")), "MISS");
    assert_eq!(origin.seen.all().len(), 2);
    let names: Vec<_> =
        files(dir.path()).iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_owned()).collect();
    assert_eq!(names.len(), 2);
    for name in names {
        let text = name.to_str().unwrap();
        let hex = text.rsplit('/').next().unwrap();
        assert_eq!(text, format!("{}/{}/{hex}", &hex[31..], &hex[29..31]), "levels=1:2");
    }
    gateway.quit();
}

#[test]
fn head_and_conditions_become_a_question_for_the_whole() {
    let (dir, origin) = (dir(), ok("Cache-Control: max-age=60\r\n"));
    let gateway = gateway(dir.path(), "", "", &origin);
    let head = "HEAD /a HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\n\r\n";
    let head = kit::request(gateway.addr(0), head);
    assert_eq!((head.status, status(&head)), (200, "MISS"));
    let get = kit::get(gateway.addr(0), "/a");
    assert_eq!((status(&get), get.text().as_str()), ("HIT", "hello"));
    let seen = origin.seen.all();
    assert!(seen[0].starts_with("GET /a ") && !seen[0].contains("If-None") && !seen[0].contains("Range"));
    gateway.quit();
}

#[test]
fn what_must_not_be_stored_is_not() {
    for fields in
        ["", "Cache-Control: no-store\r\n", "Cache-Control: max-age=9\r\nSet-Cookie: a=b\r\n", "Vary: *\r\n"]
    {
        let (dir, origin) = (dir(), ok(fields));
        let gateway = gateway(dir.path(), "", "", &origin);
        for _ in 0..2 {
            assert_eq!(status(&kit::get(gateway.addr(0), "/a")), "MISS", "{fields}");
        }
        assert_eq!(files(dir.path()).len(), 0);
        gateway.quit();
    }
}

#[test]
fn a_cut_response_is_not_stored() {
    let cut = ["Content-Length: 50\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"];
    for rest in cut {
        let origin = Origin::once(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{rest}"));
        let dir = dir();
        let gateway = gateway(dir.path(), "use_temp_path=off", "", &origin);
        for n in 1..=2 {
            let mut client = Client::connect(gateway.addr(0));
            client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(client.answer().is_none_or(|answer| !answer.complete || answer.status == 502));
            assert_eq!(origin.seen.all().len(), n, "asked again");
        }
        assert_eq!(files(dir.path()).len(), 0, "nothing is left behind");
        gateway.quit();
    }
}

#[test]
fn what_is_still_good_is_renewed() {
    let origin = Origin::script(|stream, seen| {
        while let Some(request) = read_request(stream) {
            let again = String::from_utf8_lossy(&request).contains("If-None-Match: \"v1\"");
            seen.add(request);
            let answer = if again {
                "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nETag: \"v1\"\r\nContent-Length: 5\r\n\r\nhello"
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let dir = dir();
    let gateway = gateway(dir.path(), "", "proxy_cache_revalidate on;", &origin);
    for expected in ["MISS", "REVALIDATED", "HIT", "HIT"] {
        let answer = kit::get(gateway.addr(0), "/a");
        assert_eq!((answer.status, status(&answer), answer.text().as_str()), (200, expected, "hello"));
    }
    assert_eq!(origin.seen.all().len(), 2);
    gateway.quit();
}

#[test]
fn what_has_grown_old_is_better_than_an_error() {
    let origin = Origin::script(|stream, seen| {
        let Some(request) = read_request(stream) else { return };
        let first = seen.all().is_empty();
        seen.add(request);
        if first {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    let dir = dir();
    let gateway = gateway(dir.path(), "", "proxy_cache_use_stale error;", &origin);
    for expected in ["MISS", "STALE", "STALE"] {
        let answer = kit::get(gateway.addr(0), "/a");
        assert_eq!((answer.status, status(&answer), answer.text().as_str()), (200, expected, "hello"));
    }
    assert_eq!(kit::get(gateway.addr(0), "/b").status, 502);
    gateway.quit();
}

#[test]
fn one_request_fetches_for_all_that_wait() {
    let (sender, go) = channel::<()>();
    let go = Mutex::new(go);
    let origin = Origin::script(move |stream, seen| {
        while let Some(request) = read_request(stream) {
            seen.add(request);
            go.lock().expect("no origin panics").recv_timeout(WAIT_MAX).expect("the test lets it go on");
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    let dir = dir();
    let lock = "proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;";
    let gateway = gateway(dir.path(), "", lock, &origin);
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(gateway.addr(0))).collect();
    for client in &mut clients {
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while origin.seen.all().is_empty() {
        std::thread::yield_now();
    }
    sender.send(()).expect("the origin listens");
    let mut statuses: Vec<String> = Vec::new();
    for client in &mut clients {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.text(), "hello");
        statuses.push(status(&answer).to_owned());
    }
    statuses.sort();
    assert_eq!(statuses, ["HIT", "HIT", "HIT", "HIT", "MISS"]);
    assert_eq!(origin.seen.all().len(), 1);
    gateway.quit();
}

#[test]
fn files_are_found_again_and_broken_ones_are_not_served() {
    let (dir, origin) = (dir(), ok("Cache-Control: max-age=60\r\n"));
    let one = gateway(dir.path(), "", "", &origin);
    for path in ["/a", "/b"] {
        assert_eq!(status(&kit::get(one.addr(0), path)), "MISS");
    }
    one.quit();
    let mut paths = files(dir.path());
    paths.sort();
    let broken = &paths[0];
    let bytes = std::fs::read(broken).expect("a cached file");
    std::fs::write(broken, &bytes[..bytes.len() - 1]).expect("a cached file");
    let other = gateway(dir.path(), "", "", &origin);
    let mut statuses = ["/a", "/b"].map(|path| {
        let answer = kit::get(other.addr(0), path);
        assert_eq!(answer.text(), "hello");
        status(&answer).to_owned()
    });
    statuses.sort();
    assert_eq!(statuses, ["HIT", "MISS"]);
    other.quit();
}

#[test]
fn there_is_never_too_much_for_long() {
    let (dir, origin) = (dir(), ok("Cache-Control: max-age=60\r\n"));
    let mut gateway = gateway(dir.path(), "max_size=20k inactive=1s", "", &origin);
    for n in 0..20 {
        kit::get(gateway.addr(0), &format!("/{n}"));
    }
    // each file takes a block; after a second nobody asks for any of them
    gateway.wait_for("the files to go", |_| files(dir.path()).is_empty());
    gateway.quit();
}

#[test]
fn responses_can_be_saved_as_files() {
    let origin = ok("Last-Modified: Mon, 28 Sep 1970 06:00:00 GMT\r\n");
    let conf = "http { server { listen @0; root html; proxy_store_access user:rw all:r;
        location / { proxy_pass http://%0; proxy_store on; }
        location /other/ { proxy_pass http://%0; proxy_store @prefix/saved$uri; } } }";
    let gateway = Gateway::start_with(conf, &[origin.addr], |_| {});
    for (target, file) in [("/a/b", "html/a/b"), ("/other/c", "saved/other/c")] {
        assert_eq!(kit::get(gateway.addr(0), target).text(), "hello");
        let path = gateway.path(file);
        assert_eq!(std::fs::read(&path).expect("the file"), b"hello");
        let metadata = std::fs::metadata(&path).expect("the file");
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!((metadata.mode() & 0o777, metadata.mtime()), (0o604, 23_349_600));
    }
    gateway.quit();
}
