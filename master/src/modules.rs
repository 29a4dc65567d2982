//! The one list of modules of this binary.

use worker::module::Module;

/// Every module, in the order in which they see the configuration.
pub static ALL: &[&dyn Module] = worker::modules::ALL;
