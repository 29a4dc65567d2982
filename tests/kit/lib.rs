//! What black-box tests are made of: a gateway that really runs, origins that follow a script, clients that send raw bytes.
//!
//! Nothing here sleeps to wait for something: a gateway is up when its socket answers, a process has ended when it was reaped.

mod client;
mod gateway;
mod load;
mod origin;
mod places;
mod secure;
pub mod strict;

pub use client::{Answer, Client, get, request};
pub use gateway::{
    Gateway, binary, children_of, descriptors_of, has_ended, is_io_uring_refused, memory_kib_of, rounds,
    sockets_of,
};
pub use load::{Habit, Load, Loss, Lost};
pub use origin::{Origin, Script, Seen, read_request};
pub use places::{Places, WAIT_MAX};
pub use secure::{Certificate, SecureClient};
