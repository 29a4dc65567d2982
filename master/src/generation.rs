//! One configuration at work: its plan, its sockets, its shared memory, and how a worker of it is started.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::unistd::Pid;
use worker::boot::{Boot, BootZone};
use worker::log::Level;
use worker::zone::ZoneSpec;

use crate::birth::{self, Birth};
use crate::engine::Plan;
use crate::listen::SocketTable;
use crate::place::Place;
use crate::plane::ControlPlane;
use crate::spawn::{self, Child, c_string};
use crate::title::Program;
use crate::{environment, files, journal, orphans, signal};

/// What stays the same for the life of the master.
pub struct Setting {
    /// The name it was called by.
    pub program: Program,
    /// All its arguments.
    pub argv: Vec<OsString>,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where things are.
    pub place: Place,
    /// `-g`.
    pub globals: Option<String>,
    /// Where standard error of workers goes in the background; `None`: where the master's goes.
    pub stderr: Option<OwnedFd>,
}

/// A configuration with everything it needs.
pub struct Generation {
    /// Counts configurations from 0.
    pub number: u64,
    /// What it says.
    pub plan: Plan,
    /// Its listening sockets.
    pub sockets: SocketTable,
    /// Its shared memory.
    pub zones: shm::Registry,
    /// The control plane its workers follow.
    pub plane: Option<Rc<ControlPlane>>,
}

impl Generation {
    /// Prepares `plan`: directories, logs, memory, sockets; what is there already in `sockets` and `zones` (made as `before`
    /// says) is shared. On failure the messages have been logged, and everything is as it was.
    pub fn open(
        number: u64,
        plan: Plan,
        sockets: &SocketTable,
        zones: &shm::Registry,
        before: &[ZoneSpec],
    ) -> Result<Self, ()> {
        if let Err(reason) = files::prepare(&plan) {
            journal::emerg(format_args!("{reason}"));
            return Err(());
        }
        let specs: Vec<shm::Spec> = plan.zones.iter().map(|zone| zone.shm()).collect();
        let format = |zone: &shm::Zone| {
            let named = |spec: &&ZoneSpec| spec.name == zone.spec().name;
            let Some(wanted) = plan.zones.iter().find(named) else { return Ok(()) };
            wanted.format(zone)?;
            match (before.iter().find(named), zones.zone(&wanted.name)) {
                (Some(before), Some(old)) => {
                    // what cannot be taken over is learnt again
                    if let Err(error) = wanted.carry(zone, before, old) {
                        journal::write(Level::Warn, format_args!("zone \"{}\": {error}", wanted.name));
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        let zones = zones.next(&specs, format).map_err(|error| {
            journal::emerg(format_args!("shared memory: {error}"));
        })?;
        let sockets = sockets.next(&plan.listens, plan.workers)?;
        Ok(Self { number, plan, sockets, zones, plane: None })
    }

    /// What the worker in `slot` is told; `control` is its end of the control socket.
    pub fn boot(&self, setting: &Setting, slot: u32, control: Option<i32>) -> Boot {
        let zone = |zone: &shm::Zone| {
            let spec = self.plan.zones.iter().find(|spec| spec.name == zone.spec().name)?;
            Some(BootZone { spec: spec.clone(), fd: zone.fd().as_raw_fd() })
        };
        Boot {
            program: setting.program.name().to_owned(),
            sources: self.plan.sources.clone(),
            main_file: setting.place.conf_file.clone(),
            prefix: setting.place.prefix.clone(),
            error_log: setting.place.error_log.clone(),
            globals: setting.globals.clone(),
            slot,
            workers: self.plan.workers,
            generation: self.number,
            listeners: self.sockets.of_slot(slot, self.plan.workers),
            zones: self.zones.iter().filter_map(zone).collect(),
            control,
            gateway: None,
            cpu_mask: self.plan.mask(slot),
            epoll: self.plan.epoll(),
        }
    }

    /// Starts the worker in `slot`; returns the process and the master's end of the control socket.
    pub fn start(&self, setting: &Setting, slot: u32) -> io::Result<(Pid, OwnedFd)> {
        let (ours, theirs) = net::handoff::pair()?;
        // what a stuck worker does not read must not stop the master
        socket2::SockRef::from(&ours).set_nonblocking(true)?;
        let gateway = self.plane.as_ref().map(|_| net::handoff::pair()).transpose()?;
        let mut boot = self.boot(setting, slot, Some(theirs.as_raw_fd()));
        let mut keep = vec![theirs.as_raw_fd()];
        if let Some((ours, theirs)) = &gateway {
            socket2::SockRef::from(ours).set_nonblocking(true)?;
            boot.gateway = Some(theirs.as_raw_fd());
            keep.push(theirs.as_raw_fd());
        }
        keep.extend(boot.listeners.iter().flat_map(|listener| &listener.fds));
        keep.extend(boot.zones.iter().map(|zone| zone.fd));
        let birth =
            Birth { boot, limits: self.plan.limits.clone(), early_log: setting.place.early_log.clone() };
        let birth = birth.send()?;
        keep.push(birth.as_raw_fd());
        let mut env = environment::of_child(&self.plan.main().env, setting.environment.iter().cloned());
        env.push(birth::variable(birth.as_raw_fd()));
        // the last one: a longer title takes the place of the first ones
        env.push(orphans::variable());
        let argv: Vec<CString> = vec![c_string(setting.program.worker_title())];
        let blocked = signal::all();
        let stderr = setting.stderr.as_ref().map(AsRawFd::as_raw_fd);
        let child = Child { path: spawn::SELF, argv, env, keep, stderr, blocked };
        let pid = child.start()?;
        if let (Some(plane), Some((ours, _))) = (&self.plane, gateway) {
            plane.join(pid.as_raw(), ours);
        }
        Ok((pid, ours))
    }
}
