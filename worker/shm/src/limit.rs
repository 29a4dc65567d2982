//! The zones behind `limit_req` and `limit_conn`.

pub mod conn;
pub mod req;

pub use conn::{Held, LimitConn};
pub use req::{Limit, LimitReq, Lookup, Outcome, Reservation, delay_ms, limit_all};
