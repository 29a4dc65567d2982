//! Options of listening sockets, as `listen` gives them.

use std::fmt;
use std::io;
use std::time::Duration;

use conf::error::errno;
use nix::sys::socket::setsockopt;
use socket2::{Socket, TcpKeepalive};
use worker::listener::{Keepalive, ListenAddr, ListenSpec};

mod tcp {
    use nix::libc;
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// Wakes an accepting process only when data has come, or after this many seconds.
        DeferAccept,
        SetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        u32
    );
    sockopt_impl!(
        /// Length of the queue of connections that bring data with their first packet.
        FastOpen,
        SetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_FASTOPEN,
        u32
    );
}

/// Gives `socket` the options of `spec`. What cannot be set is reported and left, as in nginx.
pub fn apply(socket: &Socket, spec: &ListenSpec, report: impl Fn(fmt::Arguments<'_>)) {
    let addr = &spec.addr;
    let check = |option: fmt::Arguments<'_>, result: io::Result<()>| {
        if let Err(error) = result {
            report(format_args!("setsockopt({option}) {addr} failed, ignored ({})", errno(&error)));
        }
    };
    if let Some(bytes) = spec.rcvbuf {
        check(format_args!("SO_RCVBUF, {bytes}"), socket.set_recv_buffer_size(bytes));
    }
    if let Some(bytes) = spec.sndbuf {
        check(format_args!("SO_SNDBUF, {bytes}"), socket.set_send_buffer_size(bytes));
    }
    if let Some(keepalive) = &spec.keepalive {
        let on = !keepalive.off;
        check(format_args!("SO_KEEPALIVE, {}", u8::from(on)), socket.set_keepalive(on));
        if on && let ListenAddr::Tcp(_) = addr {
            check(format_args!("TCP_KEEPIDLE"), keepalive_times(socket, keepalive));
        }
    }
    if let ListenAddr::Tcp(_) = addr {
        if let Some(queue) = spec.fastopen {
            let set = setsockopt(socket, tcp::FastOpen, &queue);
            check(format_args!("TCP_FASTOPEN, {queue}"), set.map_err(io::Error::from));
        }
        // how long a connection has been waiting cannot be known, hence the shortest time there is
        let wait = u32::from(spec.deferred);
        let set = setsockopt(socket, tcp::DeferAccept, &wait);
        check(format_args!("TCP_DEFER_ACCEPT, {wait}"), set.map_err(io::Error::from));
    }
}

fn keepalive_times(socket: &Socket, keepalive: &Keepalive) -> io::Result<()> {
    let Keepalive { idle, interval, count, .. } = *keepalive;
    let mut times = TcpKeepalive::new();
    if let Some(idle) = idle {
        times = times.with_time(at_least_a_second(idle));
    }
    if let Some(interval) = interval {
        times = times.with_interval(at_least_a_second(interval));
    }
    if let Some(count) = count {
        times = times.with_retries(count);
    }
    socket.set_tcp_keepalive(&times)
}

/// The kernel counts seconds and refuses 0.
fn at_least_a_second(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    #[test]
    fn every_option_is_taken() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut spec = ListenSpec::new(ListenAddr::Tcp("127.0.0.1:80".parse().unwrap()));
        spec.rcvbuf = Some(16 * 1024);
        spec.sndbuf = Some(16 * 1024);
        spec.deferred = true;
        spec.fastopen = Some(16);
        spec.keepalive = Some(Keepalive {
            off: false,
            idle: Some(Duration::from_secs(30)),
            interval: None,
            count: Some(4),
        });
        apply(&socket, &spec, |message| panic!("{message}"));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
    }
}
