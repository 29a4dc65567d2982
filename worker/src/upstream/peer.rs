//! One server of an upstream group.

use std::any::Any;
use std::rc::Rc;

use net::Addr;

/// An address to connect to.
pub struct Peer {
    /// Where it is.
    pub addr: Addr,
    /// The address as `$upstream_addr` and log lines print it.
    pub name: Rc<str>,
    /// The server as the configuration names it (`backend1.example.com:8080`); several peers may come from one server.
    pub server: Rc<str>,
    /// What the balancer attached: weights, counters in a shared zone.
    pub state: Option<Box<dyn Any>>,
}

impl Peer {
    /// A peer whose name is its address.
    pub fn new(addr: Addr, server: Rc<str>) -> Self {
        Self { name: addr.to_string().into(), addr, server, state: None }
    }
}
