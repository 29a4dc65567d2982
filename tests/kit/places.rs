//! Addresses and directories no other test uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Longest wait for anything to happen; reached only when something is broken.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

const PORT_FIRST: u16 = 20_000;
const PORTS: u16 = 40_000;
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Loopback addresses of this test process: its own IP address from 127.0.0.0/8, so that tests in other processes can never
/// meet it, and a port of its own for every call.
pub struct Places;

impl Places {
    /// The process's own loopback IP address.
    pub fn ip() -> Ipv4Addr {
        let pid = std::process::id();
        let byte = |shift: u32| (pid >> shift & 0xff) as u8;
        Ipv4Addr::new(127, 64 + (byte(16) & 0x3f), byte(8), byte(0))
    }

    /// An address nobody else was given.
    pub fn address() -> SocketAddr {
        let port = PORT_FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        SocketAddr::new(Self::ip().into(), port)
    }
}
