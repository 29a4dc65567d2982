//! `least_conn`: the server with the fewest connections for its weight; turns among equals.

use shm::peers::Field;
use smallvec::SmallVec;

use super::pick::{Memory, Pick};
use super::{Method, round_robin};

/// See the module's documentation.
pub struct LeastConn;

impl Method for LeastConn {
    fn choose(&self, pick: &mut Pick<'_>, _: &mut Memory) -> Option<usize> {
        least(pick, |pick, at| pick.get(at, Field::Conns))
    }
}

/// The usable member with the least `load` for its weight.
pub(super) fn least(pick: &mut Pick<'_>, mut load: impl FnMut(&mut Pick<'_>, usize) -> i64) -> Option<usize> {
    if pick.tier.single {
        return round_robin::choose(pick);
    }
    if let Some(at) = pick.hinted() {
        return Some(at);
    }
    let mut best: Option<(usize, i64, i64)> = None;
    let mut equals = SmallVec::<[usize; 16]>::new();
    for at in 0..pick.count() {
        if !pick.is_usable(at) {
            continue;
        }
        let (own, weight) = (load(pick, at), pick.member(at).weight);
        let (mine, other) = match best {
            None => (0, 1),
            Some((_, least, its_weight)) => (own.saturating_mul(its_weight), least.saturating_mul(weight)),
        };
        if mine < other {
            best = Some((at, own, weight));
            equals.clear();
            equals.push(at);
        } else if mine == other {
            equals.push(at);
        }
    }
    let (mut at, ..) = best?;
    if equals.len() > 1 {
        at = turn(pick, &equals);
    }
    Some(at)
}

/// A round of weighted turns among `equals`, the first of which wins a draw.
fn turn(pick: &mut Pick<'_>, equals: &[usize]) -> usize {
    let mut best = equals[0];
    let mut total = 0;
    for &at in equals {
        total += pick.step(at);
        if pick.get(at, Field::CurrentWeight) > pick.get(best, Field::CurrentWeight) {
            best = at;
        }
    }
    pick.win(best, total);
    best
}
