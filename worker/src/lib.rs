//! Everything that touches a request.
//!
//! The order of reading: [`boot`] says what a worker is told, [`life`] what it does from start to end, [`build`] how text
//! becomes a [`config::Config`], [`connection`] how bytes become a [`request::Request`], [`phase`] its way, [`filter`] and
//! [`output`] the way of its response. [`modules`] holds nginx's modules, one file each.
#![forbid(unsafe_code)]

pub mod access;
pub mod balance;
pub mod body;
pub mod boot;
pub mod build;
pub mod cache;
mod clock;
pub mod config;
pub mod connection;
pub mod counters;
pub mod fault;
pub mod files;
pub mod filter;
pub mod gateway;
pub mod io;
pub mod life;
pub mod listener;
pub mod locate;
pub mod log;
pub mod module;
pub mod modules;
mod output;
mod pages;
pub mod phase;
pub mod plugin;
pub mod predicates;
pub mod regex;
pub mod request;
pub mod resolver;
pub mod script;
pub mod syslog;
pub mod temp;
pub mod transport;
pub mod upstream;
pub mod variables;
pub mod wildcard;
pub mod worker;
pub mod zone;

pub use build::{Input, Loaded, Paths, load};
pub use life::{listens, run, run_single};
