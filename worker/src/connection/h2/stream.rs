//! The task of one stream: a request through the phases, then the stream's end.

use std::rc::Rc;

use http2::Code;
use shm::counter::Status;

use super::head_in::Refused;
use super::{Shared, wait_until_sent};
use crate::io::Io;
use crate::log::Level;
use crate::phase::{self, Flow};
use crate::request::Request;

/// Lets go of a stream when its task ends, however that happens.
struct Release {
    shared: Rc<Shared>,
    id: u32,
    code: Code,
}

impl Drop for Release {
    fn drop(&mut self) {
        let mut proto = self.shared.proto.borrow_mut();
        proto.release(self.id, self.code);
        self.shared.quiet_since.set(net::now().0);
        if !self.shared.keeps && proto.streams() == 0 {
            proto.go_away(Code::NO_ERROR);
        }
    }
}

/// Serves a request. `refused`: its head is not acceptable.
pub(super) async fn stream(mut req: Box<Request>, refused: Option<Refused>) {
    let worker = Rc::clone(&req.worker);
    let mut release = match &req.io {
        Io::H2(h2) => Release { shared: Rc::clone(&h2.shared), id: h2.id, code: Code::INTERNAL_ERROR },
        _ => return,
    };
    let stage = worker.counters.stage(Status::Writing);
    match refused {
        None => match req.tls_objection() {
            None => phase::run(&mut req).await,
            Some(flow) => phase::run_refused(&mut req, flow).await,
        },
        Some(refused) => refuse(&mut req, &refused).await,
    }
    if let Io::H2(h2) = &req.io {
        release.code = h2.code;
        if h2.aborted {
            // what is queued was given up
            release.shared.proto.borrow_mut().reset(release.id, h2.code);
        }
    }
    if let Err(fault) = wait_until_sent(&mut req).await {
        req.log(Level::Debug, format_args!("{fault}"));
    }
    drop(release);
    drop(stage);
    worker.recycle(req);
}

/// Answers a head that cannot be accepted.
async fn refuse(req: &mut Request, refused: &Refused) {
    let (status, has_uri) = match refused {
        Refused::Malformed(malformed) => {
            req.log(Level::Info, format_args!("client {malformed}"));
            (malformed.status(), false)
        }
        Refused::Request(error) => {
            req.log(Level::Info, format_args!("{error}"));
            (error.status(), true)
        }
    };
    if !has_uri {
        req.uri.clear();
    }
    phase::run_refused(req, Flow::Status(status)).await;
}
