//! Listening and connecting on both drivers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use kit::{listen, ms, on_both, took};
use net::{Addr, Buf, ConnectOptions, Either, Listener, Timeout};

#[test]
fn accepted_sockets_close_on_exec_and_know_their_addresses() {
    on_both(|_| async {
        let (listener, addr) = listen();
        let client =
            net::connect(&addr, &ConnectOptions { nodelay: true, ..Default::default() }).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!((server.local_addr().unwrap(), client.peer_addr().unwrap()), (addr.clone(), addr));
        for stream in [&server, &client] {
            // SAFETY: no memory is passed.
            let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
        assert!(client.socket().tcp_nodelay().unwrap());
    });
}

#[test]
fn unix_sockets_work_as_well() {
    on_both(|driver| async move {
        let folder = std::env::temp_dir().join(format!("net-{}-{driver:?}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::from_fd(listener.into()).unwrap();
        let client = net::connect(&Addr::unix(&path), &ConnectOptions::default()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.to_string(), "unix:");
        assert_eq!(server.local_addr().unwrap(), Addr::unix(&path));
        server.send(&b"hi"[..], Timeout::ms(1000)).await.unwrap();
        let (result, buf) = client.recv(Buf::with_capacity(10), Timeout::ms(1000)).await;
        assert_eq!((result.unwrap(), &buf[..]), (2, &b"hi"[..]));
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn stopping_ends_accepting_and_leaves_the_queue() {
    on_both(|_| async {
        let (listener, addr) = listen();
        let listener = Rc::new(listener);
        // A waiting accept ends when it is stopped from elsewhere.
        let other = listener.clone();
        net::spawn(async move {
            net::sleep(ms(20)).await;
            other.stop();
        });
        let error = listener.accept().await.unwrap_err();
        assert!(net::is_cancelled(&error) && listener.is_stopped());
        assert!(net::is_cancelled(&listener.accept().await.unwrap_err()));

        // What comes later waits for whoever asks for it.
        let nobody = listener.accept_queued().map(drop).unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
        let client = std::net::TcpStream::connect(addr.socket_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept_queued().unwrap();
        accepted.send(&b"x"[..], Timeout::ms(1000)).await.unwrap();
        assert_eq!(std::io::Read::read(&mut &client, &mut [0]).unwrap(), 1);
    });
}

#[test]
fn what_waits_when_a_listener_is_dropped_is_for_the_next() {
    on_both(|_| async {
        let (listener, addr) = listen();
        let mut clients = Vec::new();
        for _ in 0..10 {
            let heir = Listener::from_fd(std::os::fd::AsFd::as_fd(&listener).try_clone_to_owned().unwrap());
            assert!(matches!(net::select2(listener.accept(), net::yield_turn()).await, Either::Right(())));
            clients.push(std::net::TcpStream::connect(addr.socket_addr().unwrap()).unwrap());
            // with a turn in which the kernel could give the connection to an operation that nobody waits for
            net::yield_turn().await;
            heir.unwrap().accept().await.unwrap();
        }
    });
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    on_both(|_| async {
        let (listener, addr) = listen();
        let mut clients = Vec::new();
        for _ in 0..10 {
            assert!(matches!(net::select2(listener.accept(), net::yield_turn()).await, Either::Right(())));
            clients.push(std::net::TcpStream::connect(addr.socket_addr().unwrap()).unwrap());
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn many_connections_at_once() {
    on_both(|_| async {
        let (listener, addr) = listen();
        const COUNT: usize = 200;
        net::spawn(async move {
            for _ in 0..COUNT {
                let (stream, _) = listener.accept().await.unwrap();
                net::spawn(async move {
                    let (result, buf) = stream.recv(Buf::with_capacity(100), Timeout::ms(5000)).await;
                    result.unwrap();
                    stream.send_buf(buf, Timeout::ms(5000)).await.0.unwrap();
                });
            }
        });
        for number in 0..COUNT as u32 {
            let addr = addr.clone();
            net::spawn(async move {
                let client = net::connect(&addr, &ConnectOptions::default()).await.unwrap();
                client.send_buf(Buf::copy_of(&number.to_be_bytes()), Timeout::ms(5000)).await.0.unwrap();
                let (result, buf) = client.recv(Buf::with_capacity(100), Timeout::ms(5000)).await;
                result.unwrap();
                assert_eq!(&buf[..], &number.to_be_bytes());
            });
        }
        while net::live_tasks() > 0 {
            net::sleep(ms(5)).await;
        }
    });
}

#[test]
fn connecting_fails_with_the_kernels_error_or_in_time() {
    on_both(|_| async {
        let (listener, addr) = listen();
        drop(listener);
        net::sleep(ms(20)).await;
        let error = net::connect(&addr, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));

        // A listener whose queue is full answers no SYN.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let addr = Addr::local(&socket).unwrap();
        let options = ConnectOptions { timeout: Some(ms(100)), ..Default::default() };
        let mut held = Vec::new();
        let start = loop {
            let start = Instant::now();
            match net::connect(&addr, &options).await {
                Ok(stream) => held.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                    break start;
                }
            }
            assert!(held.len() < 10);
        };
        took(start, 100, 500);
    });
}

#[test]
fn running_out_of_descriptors_is_returned_and_survived() {
    on_both(|_| async {
        // The limit is the process's: other tests run beside, so an own process would be needed to lower it. The
        // kernel's answer for a wrong socket takes the same way through the code.
        let (socket, other) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &other, b"x").unwrap();
        let listener = Listener::from_fd(socket.into()).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert!(!net::is_cancelled(&error));
        assert!(listener.accept().await.is_err());
    });
}
