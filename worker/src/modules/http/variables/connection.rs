//! The connection: its two ends, its server, its age.

use net::Addr;

use super::{found, number, port, seconds};
use crate::request::Request;
use crate::variables::Variable;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("remote_addr", "The client's address.", |req, _, out| {
        found(out, req.client.text.as_bytes())
    }),
    Variable::new("binary_remote_addr", "The client's address in 4 or 16 bytes.", |req, _, out| {
        match &req.client.addr {
            Addr::V4(addr) => found(out, &addr.ip().octets()),
            Addr::V6(addr) => found(out, &addr.ip().octets()),
            Addr::Unix(_) => found(out, req.client.text.as_bytes()),
        }
    }),
    Variable::new("remote_port", "The client's port.", |req, _, out| port(out, req.client.addr.port())),
    Variable::new("server_addr", "The address the client connected to.", |req, _, out| {
        use std::io::Write;
        // writing to memory does not fail
        let _ = match req.conn.local() {
            Addr::V4(addr) => write!(out, "{}", addr.ip()),
            Addr::V6(addr) => write!(out, "{}", addr.ip()),
            unix @ Addr::Unix(_) => write!(out, "{unix}"),
        };
        true
    }),
    Variable::new("server_port", "The port the client connected to.", |req, _, out| {
        port(out, req.conn.local().port())
    }),
    Variable::new("server_name", "The server's first name.", |req, _, out| {
        found(out, req.server_conf().display_name().as_bytes())
    }),
    Variable::new("scheme", "http or https.", |req, _, out| found(out, req.scheme())),
    Variable::new("https", "on if the connection is encrypted, else empty.", |req, _, out| {
        found(out, if req.conn.secure { b"on" } else { b"" })
    }),
    Variable::new("connection", "Serial number of the connection.", |req, _, out| {
        number(out, req.conn.number)
    }),
    Variable::new("connection_requests", "Requests on the connection so far.", |req, _, out| {
        number(out, req.conn.requests.get())
    }),
    Variable::new("connection_time", "Seconds since the connection was accepted.", |req, _, out| {
        seconds(out, net::now().since(req.conn.accepted).as_millis() as u64)
    }),
    Variable::new("tcpinfo_rtt", "Round trip time as the system measured it, in us.", |req, _, out| {
        tcp_info(req, out, |info| info.rtt_us)
    }),
    Variable::new("tcpinfo_rttvar", "Variance of the round trip time, in us.", |req, _, out| {
        tcp_info(req, out, |info| info.rttvar_us)
    }),
    Variable::new("tcpinfo_snd_cwnd", "Congestion window of our end.", |req, _, out| {
        tcp_info(req, out, |info| info.snd_cwnd)
    }),
    Variable::new("tcpinfo_rcv_space", "Receive window of our end.", |req, _, out| {
        tcp_info(req, out, |info| info.rcv_space)
    }),
];

fn tcp_info(req: &Request, out: &mut Vec<u8>, field: impl Fn(&net::TcpInfo) -> u32) -> bool {
    match req.conn.stream.socket().tcp_info() {
        Ok(info) => number(out, field(&info).into()),
        Err(_) => false,
    }
}
