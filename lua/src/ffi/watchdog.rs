//! Interrupts Lua code that runs for too long without giving control back (`lua_time_limit`).

/// Lua code begins to run.
#[inline]
pub fn resumed() {}

/// Lua code gave control back.
#[inline]
pub fn stopped() {}
