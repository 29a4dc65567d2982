//! Interim responses (1xx): dropped, except that early hints may go to the client.

use http1::{Headers, Known, ResponseHead};

use super::Order;
use crate::fault::Fault;
use crate::log::Level;
use crate::request::Request;

/// Early Hints (RFC 8297).
const EARLY_HINTS: u16 = 103;

/// Interim responses of one try. How many there may be is the parser's to say.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// Bytes of those with early hints.
    hint_bytes: usize,
}

impl Interim {
    /// Passes early hints on as `early_hints` says. All else was not asked for, or is between the server and us.
    pub(super) async fn pass(
        &mut self,
        req: &mut Request,
        order: &Order<'_>,
        head: &ResponseHead,
        len: usize,
    ) -> Result<(), Fault> {
        if head.status != EARLY_HINTS || !req.is_main() || req.post_action {
            return Ok(());
        }
        self.hint_bytes += len;
        if self.hint_bytes > order.settings.buffer_size {
            req.log(Level::Info, format_args!("upstream sent too big early hints"));
            return Ok(());
        }
        let location = std::rc::Rc::clone(&req.location);
        if !location.confs.get(&crate::modules::http::LOCATION).early_hints.hold(req) {
            return Ok(());
        }
        let hidden = &order.settings.hidden;
        let mut fields = Headers::new();
        fields.append_where(&head.headers, |known, name, _| {
            !hidden.contains(known, name) && !known.is_some_and(is_of_connection)
        });
        if fields.is_empty() {
            return Ok(());
        }
        req.send_early_hints(&fields).await
    }
}

/// Whether the field concerns one connection, or a body that an interim response does not have.
fn is_of_connection(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Upgrade
    )
}
