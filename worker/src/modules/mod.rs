//! One file (or folder) per nginx module: configuration struct, directives, variables, handlers, tests.

pub mod access;
pub mod addition;
pub mod array_var;
pub mod auth_basic;
pub mod auth_request;
pub mod autoindex;
pub mod browser;
pub mod charset;
pub mod dav;
pub mod echo;
pub mod empty_gif;
pub mod encrypted_session;
pub mod fastcgi;
pub mod flv;
pub mod geo;
pub mod gunzip;
pub mod gzip;
pub mod gzip_static;
pub mod headers;
pub mod headers_more;
pub mod http;
pub mod index;
pub mod limit_conn;
pub mod limit_req;
mod limit_zone;
pub mod log;
pub mod main;
pub mod map;
pub mod memcached;
pub mod mirror;
pub mod not_modified;
pub mod open_files;
mod pass;
pub mod proxy;
pub mod proxy_protocol;
pub mod random_index;
pub mod range;
pub mod realip;
pub mod referer;
pub mod resolver;
pub mod rewrite;
pub mod scgi;
pub mod secure_link;
pub mod set_misc;
pub mod slice;
pub mod split_clients;
pub mod ssi;
pub mod ssl;
pub mod static_file;
pub mod stub_status;
pub mod sub;
pub mod try_files;
pub mod upstream;
pub mod userid;
pub mod uwsgi;
pub mod v2;

use crate::module::Module;

/// The modules of this crate. Order matters where nginx's does: later modules' declarations may refer to earlier ones.
pub const ALL: &[&dyn Module] = &[
    &main::MODULE,
    &http::MODULE,
    &rewrite::MODULE,
    &set_misc::NDK,
    &set_misc::MODULE,
    &array_var::MODULE,
    &encrypted_session::MODULE,
    &map::MODULE,
    &split_clients::MODULE,
    &geo::MODULE,
    &referer::MODULE,
    &secure_link::MODULE,
    &try_files::MODULE,
    &open_files::MODULE,
    &static_file::MODULE,
    &index::MODULE,
    &random_index::MODULE,
    &autoindex::MODULE,
    &not_modified::MODULE,
    &range::MODULE,
    &headers::MODULE,
    &headers_more::MODULE,
    &empty_gif::MODULE,
    &echo::MODULE,
    &ssl::MODULE,
    &v2::MODULE,
    &gzip::MODULE,
    &gunzip::MODULE,
    &gzip_static::MODULE,
    &resolver::MODULE,
    &upstream::MODULE,
    &upstream::HASH,
    &upstream::IP_HASH,
    &upstream::LEAST_CONN,
    &upstream::LEAST_TIME,
    &upstream::RANDOM,
    &upstream::KEEPALIVE,
    &upstream::STICKY,
    &upstream::ZONE,
    &proxy::ssl::MODULE,
    &proxy::MODULE,
    &fastcgi::MODULE,
    &uwsgi::MODULE,
    &scgi::MODULE,
    &memcached::MODULE,
    &crate::gateway::MODULE,
    &access::MODULE,
    &auth_basic::MODULE,
    &auth_request::MODULE,
    &limit_conn::MODULE,
    &limit_req::MODULE,
    &log::MODULE,
    &mirror::MODULE,
    &proxy_protocol::MODULE,
    &realip::MODULE,
    &stub_status::MODULE,
    &userid::MODULE,
    &sub::MODULE,
    &addition::MODULE,
    &charset::MODULE,
    &ssi::MODULE,
    &slice::MODULE,
    &dav::MODULE,
    &flv::MODULE,
    &browser::MODULE,
];
