//! Streams on both drivers: transfer, deadlines, dropped receives, hang-ups.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use kit::{ms, on_both, tcp_pair, took};
use net::{Buf, Chain, Either, Received, Stream, Timeout};

const NEVER: Timeout = Timeout::NEVER;

async fn recv_text(stream: &Stream) -> String {
    let (result, buf) = stream.recv(Buf::with_capacity(100), NEVER).await;
    result.unwrap();
    String::from_utf8_lossy(&buf).into_owned()
}

#[test]
fn bytes_pass_and_are_counted() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        client.send(&b"hello"[..], NEVER).await.unwrap();
        let mut buf = Buf::copy_of(b">> ");
        let result;
        (result, buf) = server.recv(buf, Timeout::ms(1000)).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b">> hello"[..]));
        assert_eq!((client.bytes_sent(), server.bytes_received()), (5, 5));
        let (result, empty) = server.send_buf(buf, Timeout::ms(1000)).await;
        result.unwrap();
        assert!(empty.is_empty() && empty.capacity() == 4096);
        assert_eq!(recv_text(&client).await, ">> hello");
        client.shutdown_write().unwrap();
        let (result, _) = server.recv(empty, NEVER).await;
        assert_eq!(result.unwrap(), 0);
    });
}

#[test]
fn a_full_buffer_is_an_error_and_not_the_end() {
    on_both(|_| async {
        let (server, _client) = tcp_pair().await;
        let (result, _) = server.recv(Buf::new(), NEVER).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_receive_times_out_and_loses_nothing() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        for round in 0..3 {
            let start = Instant::now();
            let (result, buf) = server.recv(Buf::with_capacity(100), Timeout::ms(60)).await;
            assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            assert_eq!((buf.len(), buf.capacity()), (0, 4096));
            took(start, 60, 400);
            let text = format!("round {round}");
            client.send(text.clone().into_bytes(), NEVER).await.unwrap();
            assert_eq!(recv_text(&server).await, text);
        }
    });
}

/// Data is sent at about the moment the deadline passes: whatever comes first, every byte arrives once.
#[test]
fn data_that_races_with_the_deadline_arrives_once() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let done = Rc::new(Cell::new(false));
        let flag = done.clone();
        net::spawn(async move {
            for number in 0..300u32 {
                net::sleep(ms(u64::from(number % 4))).await;
                client.send(Bytes::copy_from_slice(&number.to_be_bytes()), NEVER).await.unwrap();
            }
            flag.set(true);
        });
        let (mut all, mut timeouts) = (Buf::with_capacity(2000), 0);
        while all.len() < 1200 {
            let result;
            (result, all) = server.recv(all, Timeout::ms(1)).await;
            match result {
                Ok(count) => assert_ne!(count, 0),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                    timeouts += 1;
                }
            }
        }
        let expected: Vec<u8> = (0..300u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(&all[..], &expected[..]);
        assert!(timeouts > 0);
    });
}

/// The same with the future dropped instead of timed out, and with a smaller buffer afterwards.
#[test]
fn a_dropped_receive_leaves_its_data_to_the_next() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        net::spawn(async move {
            for number in 0..300u32 {
                net::sleep(ms(u64::from(number % 3))).await;
                client.send(Bytes::copy_from_slice(&number.to_be_bytes()), NEVER).await.unwrap();
            }
        });
        let (mut all, mut dropped) = (Vec::new(), 0);
        while all.len() < 1200 {
            let mut small = Buf::with_capacity(10);
            // Room for three bytes only, so that left data is handed out in parts.
            small.extend_from_slice(&[0; 4093]);
            match net::select2(server.recv(small, NEVER), net::sleep(ms(1))).await {
                Either::Left((result, buf)) => {
                    assert_ne!(result.unwrap(), 0);
                    all.extend_from_slice(&buf[4093..]);
                }
                Either::Right(()) => dropped += 1,
            }
            if dropped % 3 == 1 {
                server.readable(NEVER).await.unwrap();
            }
        }
        let expected: Vec<u8> = (0..300u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(all, expected);
        assert_eq!(server.bytes_received(), 1200);
        assert!(dropped > 0);
    });
}

#[test]
fn an_idle_receive_gives_the_buffer_back() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let (result, buf) = server.recv_idle(Buf::with_capacity(1), ms(20), Timeout::ms(5000)).await;
        assert_eq!(result.unwrap(), Received::Idle);
        drop(buf);
        let start = Instant::now();
        let error = server.readable(Timeout::ms(50)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        took(start, 50, 400);
        client.send(&b"x"[..], NEVER).await.unwrap();
        server.readable(Timeout::ms(5000)).await.unwrap();
        let (result, _) = server.recv_idle(Buf::with_capacity(1), ms(20), Timeout::ms(5000)).await;
        assert_eq!(result.unwrap(), Received::Bytes(1));
        let (result, _) = server.recv_idle(Buf::with_capacity(1), ms(500), Timeout::ms(20)).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn chains_arrive_whole_and_in_order() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let parts: Vec<Bytes> = (0..500usize).map(|n| Bytes::from(vec![n as u8; (n * 37) % 9000])).collect();
        let expected: Vec<u8> = parts.iter().flatten().copied().collect();
        let length = expected.len();
        net::spawn(async move {
            client.send_vec(parts, Timeout::ms(5000)).await.unwrap();
            let mut small = Chain::new();
            small.push(&b"head"[..]);
            small.push(&b"body"[..]);
            client.send_vec(small, Timeout::ms(5000)).await.unwrap();
            assert_eq!(client.bytes_sent(), length as u64 + 8);
        });
        let mut all = Vec::new();
        while all.len() < length + 8 {
            let (result, buf) = server.recv(Buf::with_capacity(60_000), Timeout::ms(5000)).await;
            assert_ne!(result.unwrap(), 0);
            all.extend_from_slice(&buf);
        }
        assert!(all[..length] == expected[..]);
        assert_eq!(&all[length..], b"headbody");
    });
}

#[test]
fn a_send_that_makes_no_progress_times_out_and_ends_sending() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let start = Instant::now();
        let big = Bytes::from(vec![1; 64 << 20]);
        let error = client.send(big, Timeout::ms(100)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        took(start, 100, 5000);
        let error = client.send(&b"x"[..], NEVER).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        drop(server);
    });
}

#[test]
fn sending_to_a_closed_peer_is_an_error_and_no_signal() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        server.set_linger_reset().unwrap();
        drop(server);
        net::sleep(ms(20)).await;
        let mut chain = Chain::new();
        chain.push(vec![0; 9000]);
        chain.push(vec![1; 9000]);
        client.send_vec(chain, NEVER).await.unwrap_err();
    });
}

#[test]
fn a_hang_up_is_seen_while_sending() {
    on_both(|_| async {
        for pipelined in [false, true] {
            for reset in [false, true] {
                let (server, client) = tcp_pair().await;
                if pipelined {
                    client.send(&b"more"[..], NEVER).await.unwrap();
                }
                let early = net::select2(server.hung_up(), net::sleep(ms(120))).await;
                assert_eq!(early, Either::Right(()));
                server.send(&b"answer"[..], NEVER).await.unwrap();
                if reset {
                    client.set_linger_reset().unwrap();
                }
                let watch = async {
                    let start = Instant::now();
                    server.hung_up().await;
                    took(start, 0, 800);
                };
                let work = async {
                    server.send(&b"more"[..], NEVER).await.unwrap();
                    net::sleep(ms(100)).await;
                    drop(client);
                };
                net::select::join2(watch, work).await;
            }
        }
    });
}

#[test]
fn one_part_receives_while_another_sends() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        const SIZE: usize = 8 << 20;
        let echo = server.clone();
        net::spawn(async move {
            let mut buf = Buf::with_capacity(60_000);
            loop {
                let result;
                (result, buf) = echo.recv(buf, Timeout::ms(5000)).await;
                if result.unwrap() == 0 {
                    return;
                }
                let result;
                (result, buf) = echo.send_buf(buf, Timeout::ms(5000)).await;
                result.unwrap();
            }
        });
        drop(server);
        let sending = async {
            client.send(Bytes::from(vec![5; SIZE]), Timeout::ms(5000)).await.unwrap();
        };
        let receiving = async {
            let (mut total, mut buf) = (0, Buf::with_capacity(100_000));
            while total < SIZE {
                let result;
                (result, buf) = client.recv(buf, Timeout::ms(5000)).await;
                total += result.unwrap();
                assert!(buf.iter().all(|&byte| byte == 5));
                buf.clear();
            }
        };
        net::select::join2(sending, receiving).await;
    });
}

#[test]
fn closing_while_operations_are_in_flight_is_safe() {
    on_both(|_| async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..50 {
            let (server, client) = tcp_pair().await;
            {
                let receive = server.recv(Buf::with_capacity(100), Timeout::ms(1000));
                let outcome = net::select2(receive, net::yield_turn()).await;
                seen.borrow_mut().push(matches!(outcome, Either::Right(())));
            }
            drop(server);
            // The peer sees the end although the operation was in flight when the last owner went.
            let (result, _) = client.recv(Buf::with_capacity(1), Timeout::ms(2000)).await;
            assert_eq!(result.unwrap(), 0);
        }
        assert!(seen.borrow().iter().all(|&right| right));
    });
}

#[test]
fn peeking_does_not_wait() {
    on_both(|_| async {
        let (server, client) = tcp_pair().await;
        let mut byte = [0; 10];
        assert_eq!(server.try_peek(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        client.send(&b"ab"[..], NEVER).await.unwrap();
        server.readable(NEVER).await.unwrap();
        assert_eq!(server.try_peek(&mut byte).unwrap(), 2);
        assert_eq!(recv_text(&server).await, "ab");
        drop(client);
        server.readable(NEVER).await.unwrap();
        assert_eq!(server.try_peek(&mut byte).unwrap(), 0);
    });
}

#[test]
fn a_receive_started_ahead_delivers_or_tells_that_the_peer_spoke() {
    on_both(|_| async {
        let waker = std::task::Waker::noop();
        let (server, client) = tcp_pair().await;
        assert!(server.ahead_ended(waker), "nothing was started");
        assert!(server.start_ahead(Buf::with_capacity(100), waker));
        assert!(!server.start_ahead(Buf::with_capacity(100), waker), "one at a time");
        assert!(!server.ahead_ended(waker));
        let start = Instant::now();
        let (result, _) = server.recv_started(Timeout::ms(60)).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        took(start, 60, 400);

        assert!(server.start_ahead(Buf::with_capacity(100), waker));
        client.send(&b"answer"[..], NEVER).await.unwrap();
        let (result, buf) = server.recv_started(NEVER).await;
        assert_eq!((result.unwrap(), &buf[..]), (6, &b"answer"[..]));
        client.send(&b"more"[..], NEVER).await.unwrap();
        let (result, buf) = server.recv_started(NEVER).await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"more"[..]), "works without a start, too");

        assert!(server.start_ahead(Buf::with_capacity(100), waker));
        drop(client);
        net::sleep(ms(20)).await;
        assert!(server.ahead_ended(waker), "the peer closed");
    });
}
