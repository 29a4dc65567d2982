//! Mutations of good and bad messages: whatever the client sends, what reaches the origin is what a strict reader of the same
//! bytes finds, and nothing behind the first thing it refuses.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::*;

/// Where mutations begin.
const SEEDS: &[&str] = &[
    "GET @ HTTP/1.1\r\nHost: a\r\n\r\nGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX-T: 1\r\n\r\nGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST http://a@ HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\nGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST @ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhelloGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD @ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET @two HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// What is put in.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b";",
    b",",
    b"#",
    b"%2f",
    b"%00",
    b"0",
    b"5",
    b"-",
    b"+",
    b"0x",
    b"_",
    b"\x80",
    b"\xff",
    b"\x7f",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Host: b\r\n",
    b"chunked",
    b", chunked",
    b" HTTP/1.1",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b" folded\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Content-Length : 3\r\n",
    b"Transfer_Encoding: chunked\r\n",
];

/// Mutations in a short run.
const COUNT: usize = 1500;

fn mutate(rng: &mut StdRng, seed: &str, path: &str) -> Vec<u8> {
    let mut bytes = seed.replace('@', path).into_bytes();
    let pick = |rng: &mut StdRng, below: usize| rng.next_u32() as usize % below.max(1);
    for _ in 0..=pick(rng, 3) {
        let at = pick(rng, bytes.len());
        match pick(rng, 5) {
            0 => {
                bytes.remove(at);
            }
            1 => bytes[at] = pick(rng, 256) as u8,
            2 => {
                let end = (at + 1 + pick(rng, 12)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                // where a line begins: whole lines go in
                let at = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(at, |skip| at + skip + 1);
                bytes.splice(at..at, PIECES[pick(rng, PIECES.len())].to_vec());
            }
            _ => {
                bytes.splice(at..at, PIECES[pick(rng, PIECES.len())].to_vec());
            }
        }
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// The target as it is passed on: origin form without a fragment.
fn passed_on(target: &[u8]) -> Vec<u8> {
    let end = target.iter().position(|byte| *byte == b'#').unwrap_or(target.len());
    let target = &target[..end];
    let Some(at) = target.windows(3).position(|window| window == b"://").filter(|_| target[0] != b'/') else {
        return target.to_vec();
    };
    let behind = &target[at + 3..];
    match behind.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(at) if behind[at] == b'/' => behind[at..].to_vec(),
        Some(at) => [b"/", &behind[at..]].concat(),
        None => b"/".to_vec(),
    }
}

fn check(sent: &[u8], seen: &[Vec<u8>], outcome: &Outcome) -> Result<(), String> {
    let (wanted, refused) = requests(sent);
    let mut wanted = wanted.into_iter();
    for bytes in seen {
        let Reading::Request(passed, _) = strict::read(bytes, PASSED) else {
            return Err("the origin was sent something it cannot read".to_owned());
        };
        // what the gateway refuses or answers itself is left out, in order
        let is_it = |sent: &Message| {
            (&sent.method, &sent.body, passed_on(&sent.target))
                == (&passed.method, &passed.body, passed.target.clone())
        };
        if !wanted.by_ref().any(|sent| is_it(&sent)) {
            return Err(format!("nobody sent this ({refused:?}): {passed:?}"));
        }
    }
    if !outcome.garbage.is_empty() {
        return Err(format!("answers with garbage: {:?}", String::from_utf8_lossy(&outcome.garbage)));
    }
    let (sent, _) = requests(sent);
    let final_error = usize::from(refused.is_some());
    if outcome.statuses.len() > sent.len() + final_error.max(1) {
        return Err("more answers than requests".to_owned());
    }
    if outcome.statuses.iter().any(|status| *status >= 500 && !matches!(status, 501 | 505)) {
        return Err("a server error".to_owned());
    }
    Ok(())
}

#[test]
fn what_reaches_the_origin_is_what_a_strict_reader_finds() {
    let origin = strict_origin();
    let gateway = start(&origin);
    let seed: [u8; 32] = match std::env::var("TEST_SEED") {
        Ok(text) => std::array::from_fn(|at| text.as_bytes().get(at).copied().unwrap_or(0)),
        Err(_) => [7; 32],
    };
    let mut rng = StdRng::from_seed(seed);
    let mut wrong = Vec::new();
    for count in 0..kit::rounds(COUNT) {
        let path = ["/", "/stream/", "/own/"][count % 3];
        let sent = mutate(&mut rng, SEEDS[count / 3 % SEEDS.len()], path);
        let before = origin.seen.count();
        let heads: Vec<bool> = requests(&sent).0.iter().map(|message| message.method == "HEAD").collect();
        let outcome = exchange(gateway.addr(0), &sent, &heads);
        let seen = origin.seen.since(before);
        if let Err(why) = check(&sent, &seen, &outcome) {
            wrong.push(format!("{why}\n  sent {:?}\n  got {outcome:?}", String::from_utf8_lossy(&sent)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    gateway.quit();
}
