//! The PROXY protocol header at the beginning of a connection (`listen … proxy_protocol`).

use net::proxy_protocol::{self, Parsed, Proxied};
use net::{Buf, Stream, Timeout};

use super::accept::Listening;
use super::{ClientAddr, log_outside};
use crate::log::Level;
use crate::modules::http;

/// Reads the header. Returns what it says, and what came behind it; `None`: there is no valid header, which was logged.
pub(super) async fn read_header(
    number: u64,
    listening: &Listening,
    stream: &Stream,
    client: &ClientAddr,
) -> Option<(Option<Proxied>, Buf)> {
    let server = &listening.servers.default;
    let log = |level: Level, what: &dyn std::fmt::Display| {
        log_outside(listening, number, client, level, format_args!("{what} while reading PROXY protocol"));
    };
    let until = net::now().0 + server.confs.get(&http::SERVER).client_header_timeout;
    let mut buf = Buf::with_capacity(proxy_protocol::MAX_HEADER);
    loop {
        let left = until.saturating_sub(net::now().0).max(1);
        let (received, back) = stream.recv(buf, Timeout::ms(left)).await;
        buf = back;
        match received {
            // a health check of the proxy, or a port scan: nginx says nothing either
            Ok(0) if buf.is_empty() => return None,
            Ok(0) => {
                log(Level::Info, &"client prematurely closed connection");
                return None;
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                log(Level::Info, &"client timed out (110: Connection timed out)");
                return None;
            }
            Err(_) => return None,
        }
        match proxy_protocol::parse(&buf) {
            Ok(Parsed::Incomplete) => buf.reserve(1),
            Ok(Parsed::Header { length, proxied }) => {
                buf.consume(length);
                return Some((proxied, buf));
            }
            Err(error) => {
                log(Level::Error, &error);
                return None;
            }
        }
    }
}
