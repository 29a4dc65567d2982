//! Turns by weight, spread smoothly: nginx's `ngx_http_upstream_get_peer`.
//!
//! Every usable server's current weight grows by its effective weight; the one with the largest is chosen and loses the
//! sum of all. Weights 5, 1, 1 give a a b a c a a. The effective weight falls with failures and grows back by one at
//! each choice.

use shm::peers::Field;

use super::Method;
use super::pick::{Memory, Pick};

/// The method of a group that names none.
pub struct RoundRobin;

impl Method for RoundRobin {
    fn choose(&self, pick: &mut Pick<'_>, _: &mut Memory) -> Option<usize> {
        choose(pick)
    }
}

/// Also what hashing and random methods fall back to.
pub(super) fn choose(pick: &mut Pick<'_>) -> Option<usize> {
    if pick.tier.single {
        return single(pick);
    }
    let hinted = pick.hinted();
    if let Some(at) = hinted {
        // a bound session may take one turn in advance; beyond that it does not change the weights
        let low = -(pick.tier.total_weight - pick.member(at).weight);
        if pick.get(at, Field::CurrentWeight) <= low {
            return Some(at);
        }
    }
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for at in 0..pick.count() {
        if !pick.is_usable(at) {
            continue;
        }
        total += pick.step(at);
        let current = pick.get(at, Field::CurrentWeight);
        if best.is_none_or(|(_, most)| current > most) {
            best = Some((at, current));
        }
    }
    let at = hinted.or(best.map(|(at, _)| at))?;
    pick.win(at, total);
    Some(at)
}

/// The only server is used whatever was tried and however often it failed.
fn single(pick: &Pick<'_>) -> Option<usize> {
    pick.hinted().or_else(|| (pick.get(0, Field::Down) == 0 && !pick.is_full(0)).then_some(0))
}
