//! The resolver against a name server of the test's own.

use std::cell::RefCell;
use std::collections::HashMap;

use net::{Buf, Udp};

use super::*;

/// What the server says: response code and addresses, by name and type.
type Zone = HashMap<(&'static str, u16), (u8, Vec<Vec<u8>>)>;

struct Server {
    addr: Addr,
    questions: Rc<RefCell<Vec<String>>>,
}

/// Serves `zone`; a name that is not in it is not answered at all.
fn serve(zone: Zone) -> Server {
    let socket = Udp::bind(&Addr::from("127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap())).unwrap();
    let addr = socket.local_addr().unwrap();
    let questions = Rc::new(RefCell::new(Vec::new()));
    let asked = Rc::clone(&questions);
    net::spawn(async move {
        loop {
            let mut buf = Buf::with_capacity(4096);
            let Ok((_, from)) = socket.recv_from(&mut buf, Duration::from_secs(60)).await else { return };
            let (name, kind) = question(&buf);
            asked.borrow_mut().push(format!("{name} {kind}"));
            let found = zone.iter().find(|((known, wanted), _)| *known == name && *wanted == kind);
            if let Some((_, (code, records))) = found {
                socket.send_to(&answer(&buf, kind, *code, records), &from).await.unwrap();
            }
        }
    });
    Server { addr, questions }
}

fn question(query: &[u8]) -> (String, u16) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]))
}

fn answer(query: &[u8], kind: u16, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = query.to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    out[7] = records.len() as u8;
    for content in records {
        let kind = if content.first() == Some(&b'@') { 5 } else { kind };
        let content = content.strip_prefix(b"@").unwrap_or(content);
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, content.len() as u8]);
        out.extend_from_slice(content);
    }
    out
}

fn run(test: impl AsyncFnOnce()) {
    let options = net::RingOptions { driver: net::DriverChoice::Epoll, ..net::RingOptions::default() };
    net::run(options, |_| test()).unwrap();
}

const LIMIT: Duration = Duration::from_secs(3);

async fn ips(resolver: &Rc<Resolver>, name: &str) -> Result<Vec<String>, u32> {
    match resolver.addresses_of(name, LIMIT, Freshness::Preferred).await {
        Ok(answer) => Ok(answer.ips.iter().map(ToString::to_string).collect()),
        Err(error) => Err(error.code),
    }
}

#[test]
fn both_families_aliases_and_errors() {
    run(async || {
        let mut six = vec![0; 16];
        six[15] = 1;
        let zone = Zone::from([
            (("two.test", 1), (0, vec![vec![10, 0, 0, 1], vec![10, 0, 0, 2]])),
            (("two.test", 28), (0, vec![six])),
            (("alias.test", 1), (0, vec![b"@\x03two\x04test\x00".to_vec()])),
            (("alias.test", 28), (0, vec![b"@\x03two\x04test\x00".to_vec()])),
            (("none.test", 1), (0, vec![])),
            (("none.test", 28), (0, vec![])),
            (("nx.test", 1), (3, vec![])),
            (("nx.test", 28), (3, vec![])),
            (("broken.test", 1), (2, vec![])),
            (("broken.test", 28), (0, vec![])),
            (("loop.test", 1), (0, vec![b"@\x04loop\x04test\x00".to_vec()])),
            (("loop.test", 28), (0, vec![])),
        ]);
        let server = serve(zone);
        let resolver = Resolver::new(vec![server.addr], None, true, true);
        let two = Ok(["10.0.0.1", "10.0.0.2", "::1"].map(String::from).to_vec());
        assert_eq!(ips(&resolver, "TWO.test.").await, two);
        assert_eq!(ips(&resolver, "alias.test").await, two);
        assert_eq!(ips(&resolver, "none.test").await, Err(3));
        assert_eq!(ips(&resolver, "nx.test").await, Err(3));
        assert_eq!(ips(&resolver, "broken.test").await, Err(2));
        assert_eq!(ips(&resolver, "loop.test").await, Err(3));
        assert_eq!(ips(&resolver, "not..a.name").await, Err(3));
    });
}

#[test]
fn one_lookup_for_many_and_then_none() {
    run(async || {
        let zone = Zone::from([(("a.test", 1), (0, vec![vec![10, 0, 0, 1]]))]);
        let server = serve(zone);
        let resolver = Resolver::new(vec![server.addr], None, true, false);
        let (one, two) = net::join2(ips(&resolver, "a.test"), ips(&resolver, "A.TEST")).await;
        assert_eq!((one.clone(), one), (two, ips(&resolver, "a.test").await));
        assert_eq!(*server.questions.borrow(), ["a.test 1"]);
    });
}

#[test]
fn a_server_that_is_not_there_costs_no_time() {
    run(async || {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = serve(Zone::from([(("a.test", 1), (0, vec![vec![10, 0, 0, 1]]))]));
        let resolver = Resolver::new(vec![Addr::from(nobody), server.addr], None, true, false);
        let start = net::now();
        assert_eq!(ips(&resolver, "a.test").await, Ok(vec!["10.0.0.1".into()]));
        assert!(net::now().since(start) < Duration::from_secs(2));
        let resolver = Resolver::new(vec![Addr::from(nobody)], None, true, false);
        assert_eq!(ips(&resolver, "a.test").await, Err(110));
        assert!(net::now().since(start) < Duration::from_secs(3), "not the whole resolver_timeout");
    });
}

#[test]
fn silence_is_bridged_by_the_old_answer() {
    run(async || {
        let server = serve(Zone::new());
        let resolver = Resolver::new(vec![server.addr], None, true, false);
        let old =
            Answer { ips: vec!["10.0.0.9".parse().unwrap()], services: Vec::new(), valid_until: net::now() };
        let key = Key { name: "a.test".into(), service: false };
        resolver.cache.borrow_mut().put(key, Rc::new(old), net::now());
        let start = net::now();
        assert_eq!(ips(&resolver, "a.test").await, Ok(vec!["10.0.0.9".into()]));
        assert!(net::now().since(start) < Duration::from_secs(2));
        let fresh = resolver.addresses_of("a.test", Duration::from_millis(50), Freshness::Required).await;
        assert_eq!(fresh.unwrap_err().code, 110);
    });
}
