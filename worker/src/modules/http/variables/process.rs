//! This process and its clock.

use super::{found, number, seconds};
use crate::log::time;
use crate::modules::http::VERSION;
use crate::variables::Variable;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("nginx_version", "The nginx release whose behaviour is followed.", |_, _, out| {
        found(out, VERSION.as_bytes())
    }),
    Variable::new("uresty_version", "The release of this software.", |_, _, out| {
        found(out, env!("CARGO_PKG_VERSION").as_bytes())
    }),
    Variable::new("hostname", "Name of the machine.", |_, _, out| {
        HOSTNAME.with(|name| found(out, name.as_bytes()))
    }),
    Variable::new("pid", "Number of this process.", |_, _, out| number(out, std::process::id().into())),
    Variable::new("msec", "Seconds since 1970.", |_, _, out| seconds(out, net::unix_ms())),
    Variable::new("time_iso8601", "Local time as in ISO 8601.", |_, _, out| {
        time::iso8601(out);
        true
    }),
    Variable::new("time_local", "Local time as in logs.", |_, _, out| {
        time::common_log(out);
        true
    }),
];

thread_local! {
    static HOSTNAME: String = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
}
