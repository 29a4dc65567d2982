//! The order of handlers within their phase: nginx's, where modules listed later run earlier.

/// `realip` looks at the connection before anything else does.
pub const REALIP: u16 = 100;
/// `realip` of a location, before its limits.
pub const REALIP_AGAIN: u16 = 50;
/// Rewrite instructions.
pub const REWRITE: u16 = 100;
/// Request fields that are set or removed when the instructions have run.
pub const HEADERS_MORE: u16 = 800;
/// Lua's handlers run after the native ones of a phase.
pub const LUA: u16 = 900;

/// `limit_req` before `limit_conn`.
pub const LIMIT_REQ: u16 = 100;
/// Connection limits.
pub const LIMIT_CONN: u16 = 200;

/// Address lists first: the cheapest check.
pub const ACCESS: u16 = 100;
/// Passwords.
pub const AUTH_BASIC: u16 = 200;
/// Subrequests to an authorisation service last.
pub const AUTH_REQUEST: u16 = 300;

/// `try_files` before `mirror`.
pub const TRY_FILES: u16 = 100;
/// Mirroring.
pub const MIRROR: u16 = 200;

/// Changing files.
pub const DAV: u16 = 50;
/// `index` turns a directory into a file name.
pub const INDEX: u16 = 100;
/// `random_index`.
pub const RANDOM_INDEX: u16 = 110;
/// Directory listings.
pub const AUTOINDEX: u16 = 200;
/// Precompressed files.
pub const GZIP_STATIC: u16 = 290;
/// Files.
pub const STATIC: u16 = 300;

/// Access logs.
pub const ACCESS_LOG: u16 = 100;
