//! Black-box suites by theme.

/// Responses kept on disk.
mod cache;
/// Configuration errors, `-t`, `-T`, the migration report.
mod command_line;
/// Modules of OpenResty's bundle besides Lua.
mod companions;
/// Files changed by clients: WebDAV.
mod dav;
/// Upstreams that fail in every way of the fault matrix.
mod faults;
/// Bytes on the wire: framing, smuggling, splitting, limits.
mod framing;
/// The gateway: Admin API, routes, plugins.
mod gateway;
/// Servers that speak other protocols than HTTP.
mod gateways;
/// Responses made of others: SSI, addition, slices.
mod includes;
/// Lua handlers.
mod lua;
/// Dictionaries, patterns, JSON and modules for Lua code.
mod lua_libraries;
/// Raw messages and mutations of them, in every kind of location.
mod probe;
/// Processes: reload, upgrade, killed workers and masters.
mod processes;
/// What passes through a reverse proxy besides the plain exchange.
mod proxy;
/// Too little of something: descriptors, disk, patience.
mod scarcity;
/// TLS on both sides.
mod tls;
