//! What the zones of `limit_req` and `limit_conn` have in common: a key, a name, a size, and memory that a worker opens once
//! however many locations refer to it.

use std::cell::OnceCell;
use std::rc::Rc;

use ::conf::value::size;
use ::conf::{Error, Node, Result};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::Level;
use crate::script::Template;
use crate::zone::{ZoneKind, ZoneRef};

/// What is counted for: the template, and as it was written.
pub struct Key {
    /// Evaluated per request; an empty value is not limited.
    pub template: Template,
    /// For messages.
    pub text: Box<str>,
}

/// One zone: its key, its memory seen as `M`, and what else its directive said.
pub struct LimitZone<M, T> {
    zone: ZoneRef,
    /// What is counted for.
    pub key: Key,
    /// What else was said.
    pub with: T,
    memory: OnceCell<M>,
}

impl<M, T> LimitZone<M, T> {
    /// The zone's name.
    pub fn name(&self) -> &str {
        &self.zone.name
    }

    /// The zone's memory, opened with `open` on first use.
    pub fn memory(&self, open: fn(&shm::Zone) -> shm::Result<M>) -> shm::Result<&M> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let zone = self.zone.memory().ok_or(shm::Error::Mismatch("the zone is not attached"))?;
        let opened = open(zone)?;
        Ok(self.memory.get_or_init(|| opened))
    }
}

/// The zones of one module.
pub struct Zones<M, T>(Vec<Rc<LimitZone<M, T>>>);

impl<M, T> Default for Zones<M, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M: 'static, T: 'static> Conf for Zones<M, T> {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

impl<M, T> Zones<M, T> {
    /// The zone called `name`, which some limit refers to.
    pub fn find(&self, name: &str) -> Result<Rc<LimitZone<M, T>>> {
        let found = self.0.iter().find(|zone| zone.name() == name);
        found.map(Rc::clone).ok_or_else(|| Error::new(format!("zero size shared memory zone \"{name}\"")))
    }

    /// All zones.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<LimitZone<M, T>>> {
        self.0.iter()
    }
}

/// The levels limits may be logged at.
pub const LEVELS: [(&str, Level); 4] =
    [("info", Level::Info), ("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error)];

/// The level of delays where refusals are logged at `level`.
pub fn below(level: Level) -> Level {
    match level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    }
}

/// The argument of `limit_req_status` and `limit_conn_status`.
pub fn status(node: &Node) -> Result<u16> {
    let status = node.in_bounds(node.number()?, 400, Some(599))?;
    Ok(u16::try_from(status).expect("checked to be below 600"))
}

/// Zones must have room for more than their own administration: nginx's eight pages.
const SIZE_MIN: usize = 8 * 4096;

/// Reads `key zone=name:size …`; `option` takes what else may stand there, or `None`.
pub fn declare(
    cx: &mut Builder,
    node: &Node,
    kind: ZoneKind,
    mut option: impl FnMut(&str) -> Option<Result<()>>,
) -> Result<ZoneRef> {
    let mut zone = None;
    for i in 1..node.len() {
        let text = node.arg(i).unwrap_or_default();
        if let Some(value) = text.strip_prefix("zone=") {
            let invalid = || node.error(format!("invalid zone size \"{text}\""));
            let (name, size) = value.split_once(':').ok_or_else(invalid)?;
            let size = size::parse_size(size).ok_or_else(invalid)?;
            if size < SIZE_MIN {
                return Err(node.error(format!("zone \"{text}\" is too small")));
            }
            zone = Some((name, size)).filter(|(name, _)| !name.is_empty());
        } else {
            option(text).ok_or_else(|| node.invalid_parameter(i))??;
        }
    }
    let Some((name, size)) = zone else { return Err(no_zone(node)) };
    cx.zone(node, name, Some(size), kind)
}

/// The error of a directive without `zone=`.
pub fn no_zone(node: &Node) -> Error {
    node.error(format!("\"{}\" must have \"zone\" parameter", node.name.text()))
}

/// Binds a declared zone to the key that stands first in `node`.
pub fn bind<M: 'static, T: 'static>(
    cx: &mut Builder,
    node: &Node,
    slot: &Slot<Zones<M, T>>,
    zone: ZoneRef,
    with: T,
) -> Result<()> {
    let template = Template::parse(cx, node, node.first())?;
    let zones = &mut cx.http_conf(slot).0;
    if let Some(other) = zones.iter().find(|other| other.name() == &*zone.name) {
        let directive = node.name.text();
        let text = format!("{directive} \"{}\" is already bound to key \"{}\"", zone.name, other.key.text);
        return Err(node.error(text));
    }
    let key = Key { template, text: node.first().into() };
    zones.push(Rc::new(LimitZone { zone, key, with, memory: OnceCell::new() }));
    Ok(())
}
