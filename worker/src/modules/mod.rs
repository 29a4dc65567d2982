//! One file (or folder) per nginx module: configuration struct, directives, variables, handlers, tests.

pub mod http;
pub mod main;
pub mod ssl;

use crate::module::Module;

/// The modules of this crate. Order matters where nginx's does: later modules' declarations may refer to earlier ones.
pub const ALL: &[&dyn Module] = &[&main::MODULE, &http::MODULE, &ssl::MODULE];
