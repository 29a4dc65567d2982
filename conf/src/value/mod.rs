//! How nginx reads each kind of argument.
//!
//! Readers return `Option`: nginx has one message per kind, which the methods of [`crate::Node`] add.

pub mod addr;
pub mod cidr;
pub mod flag;
pub mod number;
pub mod size;
pub mod time;
pub mod url;
