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
mod decode;
mod exchange;
mod interim;
mod link;
mod names;
mod order;
mod pass;
mod peer;
pub mod pool;
mod protocol;
mod relay;
mod resolve;
mod respond;
mod retry;
mod secure;
pub mod secure_arguments;
mod secure_directives;
mod settings;
mod spool;
mod table;
mod trace;
mod tunnel;
mod upload;
mod variables;

pub use balancer::{Balancer, Blame, NoPeer, Outcome, Picked, Tried};
pub use names::NameSet;
pub use order::{Order, Rewrite, Upload};
pub use pass::pass;
pub use peer::Peer;
pub use pool::Keepalive;
pub use protocol::{Framed, Plain, Protocol};
pub use resolve::{Resolve, ResolveError, resolver};
pub(crate) use respond::{fill as fill_head, parse_unsafe_uri, redirected};
pub use secure::{TlsClient, TlsConf, TlsConfSettings, UpstreamTls};
pub use settings::{Bind, Conditions, IgnoredHeaders, Settings};
pub use table::{Upstream, UpstreamTable};
pub use trace::{Trace, Try};
pub use variables::VARIABLES;
