//! The gateway's resources, in Apache APISIX's data model: what kinds there are ([`Kind`]), what each may contain
//! ([`Validator`] over the JSON Schemas in `resources/`), their typed form ([`resource`]), the language of conditions
//! ([`expr`]), and what the control plane sends to workers ([`Update`]).
//!
//! Nothing here knows a socket or a clock.
#![forbid(unsafe_code)]

mod address;
pub mod expr;
mod kind;
mod plugin;
pub mod resource;
mod update;
mod validator;

pub use address::{Network, Networks};
pub use kind::{Key, Kind};
pub use plugin::{PluginSpec, Role};
pub use update::{Ack, Change, Message, Update, UpdateError};
pub use validator::{Validator, lua_number, lua_quote};
