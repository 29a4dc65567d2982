//! What requests of a route do: its plugins merged with those of its plugin config and service, and where it leads.
//!
//! Merging copies pointers to what is prepared already. A plan is made when the first request after a change needs it:
//! a service with ten thousand routes changes at the cost of one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use schemas::resource::Timeout;

use super::plugins::PluginSet;
use super::target::Target;
use crate::upstream::Settings;

/// See the module's documentation.
pub(super) struct Plan {
    /// What it was made from is as it was up to this epoch of the tables.
    pub(super) epoch: Cell<u64>,
    /// Revisions of plugin config and service.
    pub(super) made_from: [u64; 2],
    pub(super) plugins: PluginSet,
    pub(super) leads: Leads,
    pub(super) websocket: bool,
    pub(super) timeout: Option<Timeout>,
    pub(super) service_name: Option<Box<str>>,
    /// Whether a plugin identifies consumers.
    pub(super) authenticates: bool,
    /// Timeouts and buffers for a location, as last made.
    pub(super) settings: RefCell<Option<MadeSettings>>,
}

/// Settings with what they were made for.
pub(super) struct MadeSettings {
    /// Addresses of the location's settings and of the target.
    pub(super) key: (usize, usize),
    pub(super) settings: Rc<Settings>,
}

/// Where a plan leads.
#[derive(Clone)]
pub(super) enum Leads {
    /// To an upstream of its own.
    Here(Rc<Target>),
    /// To the upstream resource of this id, as it is at the time.
    ById(Box<str>),
    /// Nowhere: plugins must answer.
    Nowhere,
}
