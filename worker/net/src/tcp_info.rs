//! What the system knows of a TCP connection.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use crate::Stream;

/// A part of `TCP_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round trip time in microseconds.
    pub rtt_us: u32,
    /// Its variance in microseconds.
    pub rttvar_us: u32,
    /// Congestion window in segments.
    pub snd_cwnd: u32,
    /// Advertised receive window in bytes.
    pub rcv_space: u32,
}

impl Stream {
    /// Round trip time and windows; an error for a stream that is not TCP.
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the descriptor is open while `self` lives; the kernel writes at most `len` bytes to `info`, whose fields
        // are numbers and were zeroed before.
        let (result, info) = unsafe {
            let fd = self.socket().as_fd().as_raw_fd();
            let to = info.as_mut_ptr().cast();
            (libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &mut len), info.assume_init())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(TcpInfo {
            rtt_us: info.tcpi_rtt,
            rttvar_us: info.tcpi_rttvar,
            snd_cwnd: info.tcpi_snd_cwnd,
            rcv_space: info.tcpi_rcv_space,
        })
    }
}
