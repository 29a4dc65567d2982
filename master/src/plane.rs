//! The control plane's place in the master: started with the first configuration that has a `gateway` block, shared by
//! configurations that say the same of it, replaced when they do not.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use control::{Handle, Log, LogLine, Options, StoreOptions};
use worker::gateway::{Admin, CONF, GatewayConf, Store};
use worker::log::Level;

use crate::engine::Plan;
use crate::journal;

/// Messages that are written in one turn; the rest comes in the next.
const LINES_MAX: usize = 100;

/// A running control plane.
pub struct ControlPlane {
    store: Option<Store>,
    admin: Option<Admin>,
    handle: Handle,
    /// Where its messages come from.
    lines: OwnedFd,
    paused: Cell<bool>,
}

/// What `plan` says of a gateway.
pub fn conf(plan: &Plan) -> Option<&GatewayConf> {
    plan.config.http.as_ref().map(|http| http.get(&CONF)).filter(|conf| conf.present)
}

impl ControlPlane {
    /// The control plane of `plan`, which may be the one of the configuration before. On failure the message has been
    /// logged, and `before` goes on.
    pub fn next(plan: &Plan, before: Option<&Rc<Self>>) -> Result<Option<Rc<Self>>, ()> {
        let Some(conf) = conf(plan) else { return Ok(None) };
        if let Some(before) = before.filter(|before| before.store == conf.store && before.admin == conf.admin)
        {
            return Ok(Some(Rc::clone(before)));
        }
        // both may want one file or one address
        if let Some(before) = before {
            before.pause();
        }
        match Self::start(conf) {
            Ok(plane) => Ok(Some(Rc::new(plane))),
            Err(reason) => {
                journal::emerg(format_args!("gateway: {reason}"));
                if let Some(before) = before {
                    before.resume();
                }
                Err(())
            }
        }
    }

    fn start(conf: &GatewayConf) -> Result<Self, String> {
        let (ours, theirs) = net::handoff::pair().map_err(|error| error.to_string())?;
        for fd in [&ours, &theirs] {
            socket2::SockRef::from(fd).set_nonblocking(true).map_err(|error| error.to_string())?;
        }
        let store = match conf.store.clone() {
            Some(Store::Embedded(path)) => StoreOptions::Embedded(path),
            Some(Store::Yaml(path)) => StoreOptions::Yaml(path),
            None => return Err("no store".into()),
        };
        let admin = conf.admin.as_ref().map(|admin| (admin.listen, admin.key_file.clone()));
        let options = Options { store, admin, plugins: plugins::SPECS, service: admin::serve };
        let handle = control::start(options, Log::new(theirs))?;
        Ok(Self {
            store: conf.store.clone(),
            admin: conf.admin.clone(),
            handle,
            lines: ours,
            paused: Cell::new(false),
        })
    }

    /// A worker has been started; `socket` is our end of its gateway socket.
    pub fn join(&self, pid: i32, socket: OwnedFd) {
        self.handle.join(pid, socket);
    }

    /// Lets go of file and address.
    pub fn pause(&self) {
        if !self.paused.replace(true) {
            self.handle.pause();
        }
    }

    /// Takes them back.
    pub fn resume(&self) {
        if self.paused.replace(false) {
            self.handle.resume();
        }
    }

    /// For polling.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.lines.as_fd()
    }

    /// Writes its messages into the log.
    pub fn report(&self) {
        for _ in 0..LINES_MAX {
            let Ok((bytes, _)) = net::handoff::recv(&self.lines) else { return };
            let Some(line) = LogLine::read(&bytes) else { continue };
            let level = match line.level {
                0..=2 => Level::Alert,
                3 | 4 => Level::Error,
                5 => Level::Warn,
                6 => Level::Notice,
                _ => Level::Info,
            };
            journal::write(level, format_args!("{}", line.text));
        }
    }
}
