//! From what `upstream` blocks say to groups, and their life in a worker.

use std::rc::Rc;
use std::time::Duration;

use conf::{Error, Result, Span};

use super::{CONF, GROUPS, UpstreamConf, dynamic, keepalive};
use crate::balance::{DynamicRoom, Group, RoundRobin, Seed};
use crate::build::{Builder, Conf, LevelKind, MergeCx};
use crate::log::{self, Level};
use crate::modules::resolver;
use crate::upstream::Upstream;
use crate::worker::Worker;
use crate::zone::{GroupRoom, ZoneRef};

/// The groups of the `http` block that need something when a worker starts.
#[derive(Default)]
pub(super) struct Groups {
    zoned: Vec<(Rc<Group>, ZoneRef)>,
    /// Zones of `sticky learn` and the upstreams they belong to, while the configuration is read.
    pub(super) sticky_zones: Vec<(Box<str>, Box<str>)>,
}

impl Conf for Groups {
    fn merge(&mut self, _: &Self, _: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

/// Makes the groups when the whole configuration has been read.
pub(super) fn declare(cx: &mut Builder) -> Result<()> {
    let Some(http) = cx.level_mut().children.iter().position(|level| matches!(level.kind, LevelKind::Http))
    else {
        return Ok(());
    };
    let mut groups = Groups::default();
    for at in 0..cx.level_mut().children[http].children.len() {
        let level = &mut cx.level_mut().children[http].children[at];
        let LevelKind::Upstream(name) = level.kind.clone() else { continue };
        let span = level.span.clone();
        let conf = std::mem::take(level.conf(&CONF));
        let mut resolver = level.conf(&resolver::CONF).resolver.is_set();
        resolver |= cx.level_mut().children[http].conf(&resolver::CONF).resolver.is_set();
        check(&name, &span, &conf, resolver)?;
        assemble(cx, &name, &span, conf, &mut groups)?;
    }
    *cx.level_mut().children[http].conf(&GROUPS) = groups;
    Ok(())
}

fn assemble(
    cx: &mut Builder,
    name: &str,
    span: &Span,
    mut conf: UpstreamConf,
    groups: &mut Groups,
) -> Result<()> {
    let keepalive = keepalive::settings(&conf);
    let (method, seed) = conf.method.take().unwrap_or_else(|| (Box::new(RoundRobin), Seed::None));
    let sticky = conf.sticky.take().filter(|_| !conf.sticky_replaced);
    if let Some(zone) = &conf.zone {
        let fixed: usize = conf.servers.iter().map(|server| server.addrs.len()).sum();
        let room = GroupRoom {
            name: name.into(),
            peers_min: u32::try_from(fixed).unwrap_or(u32::MAX),
            dynamic: DynamicRoom::of(&conf.servers),
            digest: crate::balance::digest(&conf.servers),
        };
        cx.zones.add_group(&zone.name, room);
    }
    let group = Rc::new(Group::new(name.into(), conf.servers, method, seed, sticky));
    if let Some(zone) = conf.zone {
        groups.zoned.push((Rc::clone(&group), zone));
    }
    let balancer = match conf.guest {
        Some(guest) => guest(group),
        None => group,
    };
    cx.upstreams.add(span, Rc::new(Upstream::new(name, balancer, keepalive)))
}

fn check(name: &str, span: &Span, conf: &UpstreamConf, resolver: bool) -> Result<()> {
    let dynamic = conf.servers.iter().any(|server| server.dynamic.is_some());
    if dynamic && conf.zone.is_none() {
        // nginx gives the place behind the upstream and goes on
        let text = format!(
            "resolving names at run time requires upstream \"{name}\" in {span} to be in shared memory"
        );
        return Err(Error::without_place(text));
    }
    if dynamic && !resolver {
        let text = format!("no resolver defined to resolve names at run time in upstream \"{name}\"");
        return Err(Error::at(span, text));
    }
    if conf.servers.iter().all(|server| server.backup) {
        return Err(Error::at(span, format!("no servers in upstream \"{name}\"")));
    }
    Ok(())
}

impl Groups {
    /// Moves the groups' numbers to their zones and begins to resolve names.
    pub(super) fn start(&self, worker: &Rc<Worker>) {
        for (group, zone) in &self.zoned {
            let opened = match zone.memory() {
                Some(memory) => group.open(memory).map_err(|error| error.to_string()),
                None => Err("the master gave no memory for it".into()),
            };
            if let Err(error) = opened {
                let text = format_args!("upstream zone \"{}\" cannot be used: {error}", zone.name);
                log::process(Level::Alert, text);
                continue;
            }
            if worker.slot == dynamic::SLOT {
                resolve(group, worker);
            }
        }
    }
}

/// Starts a task for each name of `group`.
fn resolve(group: &Rc<Group>, worker: &Rc<Worker>) {
    let upstreams = &worker.config.upstreams;
    let Some((_, confs)) = upstreams.iter().find(|(name, _)| **name == *group.name) else { return };
    let conf = confs.get(&resolver::CONF);
    let Some(resolver) = conf.resolver.as_ref() else { return };
    let limit = Duration::from_millis(*conf.timeout.get());
    for (origin, server) in group.servers.iter().enumerate() {
        if server.dynamic.is_some() {
            let (group, resolver, worker) = (Rc::clone(group), Rc::clone(resolver), Rc::clone(worker));
            net::spawn(dynamic::keep(group, origin, resolver, limit, worker));
        }
    }
}
