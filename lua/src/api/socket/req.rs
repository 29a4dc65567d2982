//! `ngx.req.socket`: the client's connection as a cosocket, for the request body or raw.

use worker::body::Progress;
use worker::io::Io;

use super::tcp::Socket;
use super::tcp_api::push;
use crate::api::Function;
use crate::api::output::{Ended, RawSocket};
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns};
use crate::function;
use crate::phase::Phases;
use crate::response;

/// The functions.
pub static FUNCTIONS: &[Function] = &[function!(
    "ngx.req.socket",
    Phases::RESPONSE,
    "Returns the client's connection: to read the request body, or with true to do as one likes.",
    socket
)];

fn socket(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    if call.count() > 1 {
        return Err(format!("expecting zero arguments, but got {}", call.count()).into());
    }
    let raw = lua.to_bool(1);
    let req = call.request()?;
    if !req.is_main() {
        return Err("attempt to read the request body in a subrequest".into());
    }
    if req.context.get::<RawSocket>().is_some() || req.body.progress == Progress::Streaming {
        return call.failure("duplicate call");
    }
    if req.body.progress != Progress::Unread || req.body.discarded {
        return call.failure("request body already exists");
    }
    let conf = response::settings(req);
    let socket = Socket::new(
        conf.socket_connect_timeout,
        conf.socket_send_timeout,
        conf.socket_read_timeout,
        conf.socket_buffer_size,
    );
    let transport = req.conn.stream.clone();
    let Io::H1(h1) = &mut req.io else { return call.failure("http v2 not supported yet") };
    if raw && (!req.outgoing.is_empty() || h1.pending() > 0) {
        return call.failure("pending data to write");
    }
    if !raw {
        let Some(length) = h1.decoder.left() else {
            return call.failure("chunked request bodies not supported yet");
        };
        if length == 0 {
            return call.failure("no body");
        }
        socket.limit(length);
    }
    let early = std::mem::take(&mut h1.inbuf);
    if raw {
        // from here on the connection is the code's own
        h1.upgraded = true;
        h1.finished = true;
        req.context.set(RawSocket);
        req.context.set(Ended);
    }
    req.keepalive = false;
    req.body.progress = if raw { Progress::Done } else { Progress::Streaming };
    req.body.discarded = true;
    socket.of_client.set(true);
    socket.open(transport, 0, false);
    socket.begin(early);
    push(lua, socket);
    Ok(Returns::ONE)
}
