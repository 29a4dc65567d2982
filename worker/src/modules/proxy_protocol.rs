//! Variables of a PROXY protocol header.

use net::proxy_protocol::{Endpoint, Proxied};

use crate::module::Module;
use crate::request::Request;
use crate::variables::Variable;

/// The module.
pub const MODULE: ProxyProtocol = ProxyProtocol;

/// See the module's documentation.
pub struct ProxyProtocol;

impl Module for ProxyProtocol {
    fn name(&self) -> &'static str {
        "ngx_http_core_module"
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }
}

static VARIABLES: &[Variable] = &[
    Variable::new("proxy_protocol_addr", "Client's address in the PROXY protocol header.", |req, _, out| {
        address(req, |proxied| &proxied.source, out)
    }),
    Variable::new("proxy_protocol_port", "Client's port in the PROXY protocol header.", |req, _, out| {
        port(req, |proxied| &proxied.source, out)
    }),
    Variable::new(
        "proxy_protocol_server_addr",
        "Server's address in the PROXY protocol header.",
        |req, _, out| address(req, |proxied| &proxied.destination, out),
    ),
    Variable::new(
        "proxy_protocol_server_port",
        "Server's port in the PROXY protocol header.",
        |req, _, out| port(req, |proxied| &proxied.destination, out),
    ),
    Variable::prefix(
        "proxy_protocol_tlv_",
        "A field of the PROXY protocol header, by name or 0x number.",
        field,
    ),
];

type Which = fn(&Proxied) -> &Endpoint;

fn address(req: &Request, which: Which, out: &mut Vec<u8>) -> bool {
    let Some(proxied) = &req.conn.proxied else { return false };
    out.extend_from_slice(which(proxied).address.as_bytes());
    true
}

fn port(req: &Request, which: Which, out: &mut Vec<u8>) -> bool {
    let Some(proxied) = &req.conn.proxied else { return false };
    let port = which(proxied).port;
    if port > 0 {
        out.extend_from_slice(http1::encode::decimal(port.into(), &mut [0; 20]));
    }
    true
}

fn field(req: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(proxied) = &req.conn.proxied else { return false };
    let Ok(name) = std::str::from_utf8(name) else { return false };
    match proxied.tlv(name) {
        Ok(Some(value)) => {
            out.extend_from_slice(&value);
            true
        }
        Ok(None) => false,
        Err(error) => {
            req.log_error(format_args!("{error}"));
            false
        }
    }
}
