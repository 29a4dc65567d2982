//! The gateway: routes, services, upstreams, consumers and plugins that change while the worker serves.
//!
//! ```text
//!   control plane ──(update)──► follow ──► Live (tables, router) ◄── match ── pass ◄── location with gateway_pass
//!                ◄───(ack)─────┘                                       │
//!                                     Plan: plugins merged, target ◄───┘
//! ```
//!
//! [`Live`] is what this worker serves; [`follow`] patches it as the control plane says, at a cost that goes with the change.
//! A request is matched by the [`router`], whose cost does not grow with the number of routes; it then holds its route, so
//! that a change never touches a request in flight. [`plan`] merges plugins by APISIX's precedence, [`chain`] runs them,
//! [`target`] makes an upstream resource a group of the [upstream machinery](crate::upstream), [`pass`] is the content
//! handler.

mod auth;
mod chain;
mod choice;
mod context;
mod directives;
mod filter;
mod follow;
mod head;
mod limits;
mod live;
mod pass;
mod plan;
mod plugins;
mod router;
mod settings;
mod target;

pub use auth::{Binding, attach_consumer, find_anonymous, find_consumer};
pub use choice::{OwnUpstream, choose_upstream};
pub use context::{GatewayContext, RequestVars};
pub use directives::{Admin, CONF, GatewayConf, MODULE, Store};
pub(crate) use follow::follow;
pub use limits::{Counted, Limits};
pub use live::Live;

/// Milliseconds of the clock all workers have in common.
pub fn now_ms() -> u64 {
    net::now().0
}
