//! Waiting on purpose: delays of limits and of refused logins.

use std::time::Duration;

use net::Either;

use super::{HoldsPlace, Origin, Request};
use crate::fault::{Fault, Kind, Side};

impl Request {
    /// Resolves when the client goes away. Nobody else may receive from its connection meanwhile,
    /// unless the request is on a stream.
    pub fn hung_up(&self) -> impl Future<Output = ()> + use<> {
        let stream = self.conn.stream.clone();
        let watch = self.watch.clone();
        let at_once = self.context.lasting::<HoldsPlace>().is_some();
        async move {
            match watch {
                Some(watch) => watch.hung_up().await,
                None if at_once => stream.hung_up_from_now().await,
                None => stream.hung_up().await,
            }
        }
    }

    /// Waits for `duration`, or until the client goes away: nobody would read the answer.
    ///
    /// # Errors
    /// The client closed its connection.
    pub async fn pause(&mut self, duration: Duration) -> Result<(), Fault> {
        if self.origin == Origin::Background {
            // nobody reads its answer anyway, and the connection is the client request's to look at
            net::sleep(duration).await;
            return Ok(());
        }
        match net::select2(net::sleep(duration), self.hung_up()).await {
            Either::Left(()) => Ok(()),
            Either::Right(()) => {
                self.keepalive = false;
                Err(Fault::new(Side::Client, Kind::Closed, 499, "client prematurely closed connection"))
            }
        }
    }
}
