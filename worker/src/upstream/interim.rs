//! Interim responses (1xx): dropped, except that early hints may go to the client.

use http1::ResponseHead;

use super::Order;
use crate::fault::Fault;
use crate::request::Request;

/// Decides about one interim head. `100 Continue` was not asked for and everything unknown is between the server and us.
pub(super) async fn pass(_req: &mut Request, _order: &Order<'_>, _head: &ResponseHead) -> Result<(), Fault> {
    Ok(())
}
