//! `random`: by chance, weighted; `random two`: the less loaded of two.

use rand::Rng;
use shm::peers::Field;

use super::hash::by_weight;
use super::pick::{Memory, Pick, TRIES_MAX};
use super::{Method, round_robin};

/// See the module's documentation.
pub struct Random {
    /// Whether two are drawn.
    pub two: bool,
}

impl Method for Random {
    fn choose(&self, pick: &mut Pick<'_>, memory: &mut Memory) -> Option<usize> {
        if memory.tries > TRIES_MAX || pick.count() < 2 {
            return round_robin::choose(pick);
        }
        if let Some(at) = pick.hinted() {
            return Some(at);
        }
        let mut first: Option<usize> = None;
        loop {
            let at = by_weight(pick.tier, rand::rng().random::<u32>().into());
            if first != Some(at) && pick.is_usable(at) {
                match first {
                    None if self.two => first = Some(at),
                    None => return Some(at),
                    Some(other) => return Some(less_loaded(pick, other, at)),
                }
                continue;
            }
            memory.tries += 1;
            if memory.tries > TRIES_MAX {
                return round_robin::choose(pick);
            }
        }
    }
}

/// The one with fewer connections for its weight; the second wins a draw.
fn less_loaded(pick: &Pick<'_>, first: usize, second: usize) -> usize {
    let load = |at: usize, weight_of: usize| {
        pick.get(at, Field::Conns).saturating_mul(pick.member(weight_of).weight)
    };
    if load(second, first) > load(first, second) { first } else { second }
}
