//! Sends nobody waits for, on both drivers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use kit::{ms, on_both, tcp_pair};
use net::{Buf, Stream, Timeout};

const NEVER: Timeout = Timeout::NEVER;
/// More than the kernel takes at once.
const LARGE: usize = 24 << 20;

async fn read_all(stream: &Stream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (result, buf) = stream.recv(Buf::with_capacity(65536), NEVER).await;
        if result.unwrap() == 0 {
            return all;
        }
        all.extend_from_slice(&buf);
    }
}

fn large() -> Buf {
    let mut buf = Buf::with_capacity(LARGE);
    for number in 0..LARGE / 4 {
        buf.extend_from_slice(&(number as u32).to_be_bytes());
    }
    buf
}

#[test]
fn a_small_send_leaves_without_being_waited_for() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        for round in 0..100 {
            let text = format!("round {round}");
            let spare = server.start_send(Buf::copy_of(text.as_bytes())).unwrap();
            assert!(spare.is_empty());
            let (result, buf) = client.recv(Buf::with_capacity(100), NEVER).await;
            result.unwrap();
            assert_eq!(&buf[..], text.as_bytes());
        }
        server.settle(NEVER).await.unwrap();
        assert!(!server.is_sending());
        assert_eq!(server.bytes_sent(), client.bytes_received());
    });
}

#[test]
fn what_is_sent_next_comes_after_it() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        drop(server.start_send(Buf::copy_of(b"one ")).unwrap());
        server.send(&b"two "[..], NEVER).await.unwrap();
        drop(server.start_send(Buf::copy_of(b"three ")).unwrap());
        server.send_vec(vec![b"four ".as_slice().into(), vec![b'5'; 9000].into()], NEVER).await.unwrap();
        server.shutdown_write().unwrap();
        let all = read_all(&client).await;
        assert_eq!(&all[..19], b"one two three four ");
        assert_eq!(all.len(), 19 + 9000);
    });
}

#[test]
fn what_the_kernel_does_not_take_at_once_is_sent_by_who_settles() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        drop(server.start_send(large()).unwrap());
        // the first part is under way, or stopped: nothing else may be started
        net::sleep(ms(20)).await;
        let refused = server.start_send(Buf::copy_of(b"later")).unwrap_err();
        assert_eq!(&refused[..], b"later");
        let sending = async {
            server.settle(NEVER).await.unwrap();
            server.send(&b"later"[..], NEVER).await.unwrap();
            server.shutdown_write().unwrap();
        };
        let ((), all) = net::join2(sending, read_all(&client)).await;
        assert!(all[..LARGE] == large()[..] && &all[LARGE..] == b"later");
    });
}

#[test]
fn settling_has_a_limit_and_ends_sending() {
    on_both(|_| async {
        let (server, _client) = tcp_pair().await;
        drop(server.start_send(large()).unwrap());
        let error = server.settle(Timeout::ms(80)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(server.start_send(Buf::copy_of(b"x")).is_err());
        assert!(server.send(&b"x"[..], NEVER).await.is_err());
    });
}

#[test]
fn a_peer_that_is_gone_is_found_when_it_is_settled() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        client.set_linger_reset().unwrap();
        drop(client);
        net::sleep(ms(20)).await;
        // accepted or not: the error is told at the latest when it is asked for
        let started = server.start_send(Buf::copy_of(b"x")).is_ok();
        net::sleep(ms(20)).await;
        let settled = server.settle(NEVER).await;
        assert!(!started || settled.is_err());
        assert!(server.send(&b"x"[..], NEVER).await.is_err());
    });
}

#[test]
fn receiving_is_not_disturbed() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        drop(server.start_send(large()).unwrap());
        let (result, _) = server.recv(Buf::with_capacity(100), Timeout::ms(50)).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        client.send(&b"hello"[..], NEVER).await.unwrap();
        let (result, buf) = server.recv(Buf::with_capacity(100), NEVER).await;
        result.unwrap();
        assert_eq!(&buf[..], b"hello");
        let sending = async {
            server.settle(NEVER).await.unwrap();
            server.shutdown_write().unwrap();
        };
        let ((), all) = net::join2(sending, read_all(&client)).await;
        assert!(all[..] == large()[..]);
    });
}
