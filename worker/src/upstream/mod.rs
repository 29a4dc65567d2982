//! Talking to upstream servers: groups, the servers in them, and one request's way to a response.
//!
//! An [`Upstream`] is a group of servers under one name: an `upstream` block, or what `proxy_pass http://host:port` names
//! (all addresses of the host). Its [`Balancer`] chooses a [`Peer`] for each try and is told how the try ended; its
//! [`pool::Pool`] keeps connections that can be used again.
//!
//! Where groups come from: the walk of the configuration registers `upstream` blocks in the builder's [`UpstreamTable`];
//! when locations are attached, addresses that are no such block become implicit groups in the same table; the table
//! then belongs to the [`Config`](crate::config::Config), where names that come out of variables are looked up.

mod balancer;
mod peer;
pub mod pool;
mod resolve;
mod table;
mod trace;

pub use balancer::{Balancer, Blame, NoPeer, Outcome, Picked, Tried};
pub use peer::Peer;
pub use pool::Keepalive;
pub use resolve::{Resolve, ResolveError, resolver};
pub use table::{Upstream, UpstreamTable};
pub use trace::{Trace, Try};
