//! Files, the thread pool, datagrams, signals and handed-over descriptors on both drivers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use kit::{listen, ms, on_both, took};
use net::handoff::{self, Channel};
use net::{Addr, Buf, Driver, OpenOptions, Signals, Timeout, Udp};

const READ: OpenOptions = OpenOptions {
    read: true,
    write: false,
    create: false,
    create_new: false,
    truncate: false,
    mode: 0,
    flags: 0,
};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, driver: Driver) -> Self {
        let path = std::env::temp_dir().join(format!("net-{name}-{}-{driver:?}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_written_read_and_looked_up() {
    on_both(|driver| async move {
        let folder = Folder::new("file", driver);
        let path = folder.0.join("a");
        let missing = net::file::open(&path, &READ).await.err().unwrap();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        assert_eq!(net::file::metadata(&path).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);

        let create =
            OpenOptions { read: true, write: true, create_new: true, mode: 0o640, ..Default::default() };
        let file = net::file::open(&path, &create).await.unwrap();
        let (result, buf) = file.write_at(Bytes::from_static(b"hello world"), 0).await;
        result.unwrap();
        assert_eq!(&buf[..], b"hello world");
        file.write_at(Bytes::from_static(b"W"), 6).await.0.unwrap();
        let (result, buf) = file.read_at(Buf::copy_of(b"> "), 6, 3).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"> Wor"[..]));
        let (result, _) = file.read_at(Buf::with_capacity(10), 11, 100).await;
        assert_eq!(result.unwrap(), 0);

        let known = file.metadata().unwrap();
        assert_eq!((known.len(), known.is_file(), known.is_dir()), (11, true, false));
        assert_eq!(net::file::metadata(&path).await.unwrap().ino(), known.ino());
        assert!(net::file::metadata(&folder.0).await.unwrap().is_dir());
        // SAFETY: no memory is passed.
        let flags = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK, 0);

        net::file::create_dir_all(folder.0.join("b/c")).await.unwrap();
        net::file::rename(&path, folder.0.join("b/c/d")).await.unwrap();
        let mut names: Vec<_> = net::file::read_dir(folder.0.join("b/c"), 10).await.unwrap();
        assert_eq!(names.pop().map(|entry| (entry.name, entry.metadata.len())), Some(("d".into(), 11)));
        net::file::unlink(folder.0.join("b/c/d")).await.unwrap();
        assert!(net::file::read_dir(folder.0.join("b/c"), 10).await.unwrap().is_empty());
    });
}

#[test]
fn a_fifo_does_not_block_the_open() {
    on_both(|driver| async move {
        let folder = Folder::new("fifo", driver);
        let path = folder.0.join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let start = Instant::now();
        let file = net::file::open(&path, &READ).await.unwrap();
        assert!(!file.metadata().unwrap().is_file());
        took(start, 0, 1000);
    });
}

#[test]
fn blocking_calls_run_beside_the_loop() {
    on_both(|_| async {
        let start = Instant::now();
        for number in 0..4u64 {
            net::spawn(async move {
                let result = net::blocking(move || {
                    std::thread::sleep(ms(100));
                    Ok(number)
                });
                assert_eq!(result.await.unwrap(), number);
            });
        }
        net::sleep(ms(10)).await;
        took(start, 10, 90);
        while net::live_tasks() > 0 {
            net::sleep(ms(5)).await;
        }
        took(start, 100, 350);
        // More calls than the queue holds, and one whose caller goes away.
        drop(
            net::timeout(
                ms(1),
                net::blocking(|| {
                    std::thread::sleep(ms(50));
                    Ok(())
                }),
            )
            .await,
        );
        let sum = std::rc::Rc::new(std::cell::Cell::new(0u64));
        for number in 0..600u64 {
            let sum = sum.clone();
            net::spawn(async move {
                let number = net::blocking(move || Ok(number)).await.unwrap();
                sum.set(sum.get() + number);
            });
        }
        while net::live_tasks() > 0 {
            net::sleep(ms(5)).await;
        }
        assert_eq!(sum.get(), 600 * 599 / 2);
        let result: std::io::Result<()> = net::blocking(|| panic!("expected")).await;
        assert_eq!(result.unwrap_err().to_string(), "a blocking call panicked");
    });
}

#[test]
fn datagrams_pass_and_time_out() {
    on_both(|_| async {
        let local = Addr::from("127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap());
        let server = Udp::bind(&local).unwrap();
        let client = Udp::connect(&server.local_addr().unwrap(), None).unwrap();
        let mut buf = Buf::with_capacity(2000);
        let start = Instant::now();
        let error = server.recv(&mut buf, ms(50)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        took(start, 50, 400);
        client.send(b"question").await.unwrap();
        let (count, from) = server.recv_from(&mut buf, ms(1000)).await.unwrap();
        assert_eq!((count, &buf[..], &from), (8, &b"question"[..], &client.local_addr().unwrap()));
        server.send_to(b"answer", &from).await.unwrap();
        buf.clear();
        assert_eq!(client.recv(&mut buf, ms(1000)).await.unwrap(), 6);
        client.try_send(b"x").unwrap();
    });
}

#[test]
fn signals_are_received_and_not_acted_on() {
    on_both(|_| async {
        let mut signals = Signals::new(&[libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGUSR1] {
            let raise = async {
                net::sleep(ms(5)).await;
                // SAFETY: the signal is blocked in this thread, to which alone it is sent.
                unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
            };
            let (received, ()) = net::select::join2(signals.next(), raise).await;
            assert_eq!(received.unwrap(), signal);
        }
    });
}

#[test]
fn descriptors_are_handed_over() {
    on_both(|_| async {
        let (ours, theirs) = handoff::pair().unwrap();
        let (listener, addr) = listen();
        let master = std::thread::spawn(move || {
            let (bytes, descriptors) = handoff::recv(&theirs).unwrap();
            assert_eq!(bytes, b"listener");
            let socket = std::net::TcpListener::from(descriptors.into_iter().next().unwrap());
            // The worker's driver left it non-blocking with epoll.
            socket.set_nonblocking(false).unwrap();
            handoff::send(&theirs, &vec![7; handoff::MESSAGE_BYTES_MAX], &[]).unwrap();
            for bad in [0, handoff::MESSAGE_BYTES_MAX + 1] {
                let error = handoff::send(&theirs, &vec![7; bad], &[]).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            }
            let (mut stream, _) = socket.accept().unwrap();
            stream.write_all(b"hi").unwrap();
            assert_eq!(handoff::recv(&theirs).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
        let channel = Channel::from_fd(ours).unwrap();
        channel.send(b"listener", &[listener.as_fd()]).await.unwrap();
        let (bytes, descriptors) = channel.recv().await.unwrap();
        assert_eq!((bytes.len(), descriptors.len()), (handoff::MESSAGE_BYTES_MAX, 0));
        drop(listener);
        let client = net::connect(&addr, &net::ConnectOptions::default()).await.unwrap();
        let (result, buf) = client.recv(Buf::with_capacity(10), Timeout::ms(2000)).await;
        assert_eq!((result.unwrap(), &buf[..]), (2, &b"hi"[..]));
        drop((channel, client));
        // The closes go through the loop.
        net::sleep(ms(20)).await;
        master.join().unwrap();
    });
}
