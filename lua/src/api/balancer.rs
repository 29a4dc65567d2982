//! `ngx.balancer`: which server a request is passed to.

use std::net::SocketAddr;

use net::Addr;

use super::Function;
use crate::balancer::{Balancing, Last};
use crate::ffi::call::Result;
use crate::ffi::{Call, Error, Returns, State, Type};
use crate::function;
use crate::phase::Phases;

/// Where a server is chosen.
const USE: Phases = Phases::BALANCER;

/// The functions; `setup` files them in the module `ngx.balancer`.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.balancer.set_current_peer", USE, "Chooses the server.", set_current_peer),
    function!("ngx.balancer.set_more_tries", USE, "Allows so many more tries.", set_more_tries),
    function!("ngx.balancer.get_last_failure", USE, "Tells how the try before failed.", get_last_failure),
];

/// Makes the functions the module.
pub(super) fn setup(lua: State<'_>) {
    super::push_path(lua, "ngx");
    lua.raw_get_field(1, "balancer");
    lua.push_nil();
    lua.raw_set_field(1, "balancer");
    lua.push_bytes("0.1.30");
    lua.raw_set_field(2, "version");
    super::preload(lua, "ngx.balancer");
}

fn set_current_peer(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let host = String::from_utf8_lossy(call.bytes(1)?).into_owned();
    let port = if lua.is_none_or_nil(2) { 0 } else { call.integer(2)? };
    if !lua.is_none_or_nil(3) && lua.type_of(3) != Type::String {
        let found = lua.type_of(3).name();
        return Err(Error::Argument(3, format!("string expected, got {found}").into()));
    }
    let addr = match host.strip_prefix("unix:") {
        Some(path) => Addr::unix(path),
        None => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
            // `address:port` in one, as well
            let split = bare
                .parse()
                .map(|ip| (ip, port))
                .or_else(|_| host.parse::<SocketAddr>().map(|addr| (addr.ip(), i64::from(addr.port()))));
            let Ok((ip, port)) = split else { return call.failure("no host allowed") };
            let Ok(port) = u16::try_from(port) else { return call.failure("invalid port") };
            SocketAddr::new(ip, port).into()
        }
    };
    let balancing = call.request()?.context.entry::<Balancing>();
    balancing.peer = Some(addr);
    lua.push_bool(true);
    Ok(Returns::ONE)
}

fn set_more_tries(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let count = call.integer(1)?;
    let req = call.request()?;
    let balancing = req.context.entry::<Balancing>();
    balancing.more = usize::try_from(count).map_err(|_| Error::from("bad count"))?;
    lua.push_bool(true);
    Ok(Returns::ONE)
}

fn get_last_failure(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let req = call.request()?;
    match req.context.entry::<Balancing>().last {
        None => {
            lua.push_nil();
            Ok(Returns::ONE)
        }
        Some(Last { failed, status }) => {
            lua.push_bytes(if failed { "failed" } else { "next" });
            lua.push_int(status);
            Ok(Returns::values(2))
        }
    }
}
