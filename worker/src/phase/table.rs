//! The handlers of one location, by phase and order.

use std::rc::Rc;

use super::{Handler, Phase};
use crate::module::Attached;

/// Handlers of one location, flat and sorted by phase and order.
pub struct HandlerTable {
    entries: Box<[Entry]>,
    /// `starts[p]..starts[p + 1]` are the entries of phase `p`.
    starts: [u16; Phase::COUNT + 1],
}

struct Entry {
    order: u16,
    handler: Rc<dyn Handler>,
}

impl HandlerTable {
    pub(crate) fn new(mut attached: Vec<Attached>) -> Self {
        attached.sort_by_key(|a| (a.phase, a.order));
        let mut starts = [0u16; Phase::COUNT + 1];
        for a in &attached {
            starts[a.phase as usize + 1] += 1;
        }
        for phase in 0..Phase::COUNT {
            starts[phase + 1] += starts[phase];
        }
        let entries = attached.into_iter().map(|a| Entry { order: a.order, handler: a.handler }).collect();
        Self { entries, starts }
    }

    /// Whether any handler runs in `phase`.
    pub fn has(&self, phase: Phase) -> bool {
        self.starts[phase as usize] != self.starts[phase as usize + 1]
    }

    /// The first handler of `phase` whose order is above `after` (any, when `None`), with its order.
    ///
    /// Orders and not positions: a rewrite may move the request into an `if` block, whose table is another one, in
    /// the middle of a phase.
    pub fn next(&self, phase: Phase, after: Option<u16>) -> Option<(u16, &Rc<dyn Handler>)> {
        let range = self.starts[phase as usize] as usize..self.starts[phase as usize + 1] as usize;
        let entry = self.entries[range].iter().find(|entry| after.is_none_or(|after| entry.order > after))?;
        Some((entry.order, &entry.handler))
    }
}
