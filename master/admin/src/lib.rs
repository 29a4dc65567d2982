//! The Admin API: Apache APISIX's paths, methods, status codes and answers, on an address of its own.
//!
//! From top to bottom: [`server`] connections, [`keys`] who may, [`request`] and [`reply`] the two sides of an exchange,
//! [`route`] which resource is meant, [`resource`] the five methods of resources, [`list`] lists with paging and filters,
//! [`patch`] merging, [`describe`] schemas and plugins, [`uresty`] what goes beyond APISIX.
#![forbid(unsafe_code)]

mod describe;
mod keys;
mod list;
mod patch;
mod reply;
mod request;
mod resource;
mod route;
mod server;
mod uresty;

pub use server::serve;
