//! The lock's algorithm, step by step, in every possible order.
//!
//! Each step of `Lock::lock` and of dropping a guard that touches shared memory or the kernel is one transition of a small model;
//! any process may be killed between any two. All reachable states are visited. What must hold:
//!
//! * two living processes are never inside together;
//! * who comes in after a death inside sees the poison, also if the one who found the death died as well;
//! * from every state all living processes can get through (nobody waits for ever);
//! * without deaths nobody depends on a time-out: a wake-up is never lost.

use std::collections::{HashMap, HashSet};

const PROCESSES: usize = 3;

/// The lock word: holder (0 is free, else process + 1) and the waiters' bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word {
    holder: u8,
    waiters: bool,
}

const FREE: Word = Word { holder: 0, waiters: false };

/// Where a process is: what it does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// The compare-exchange of the fast path.
    Fast,
    /// Read the word.
    Look,
    /// Found it free: compare-exchange to our name with the waiters' bit.
    Grab,
    /// Found it held: compare-exchange to the same with the waiters' bit.
    Mark(Word),
    /// Enter the kernel, which compares once more.
    Wait(Word),
    Asleep(Word),
    /// The slice is over: is the holder alive?
    Check(Word),
    /// It is not: compare-exchange to our name.
    Seize(Word),
    /// Seized: store the poison.
    SetPoison,
    /// Inside: read the poison.
    Enter,
    Repair,
    ClearPoison,
    /// The guarded work: the structure is inconsistent between these two.
    Begin,
    End,
    /// Exchange the word for free.
    Leave,
    /// The word had the waiters' bit: wake one.
    Wake,
    Done,
    Dead,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    word: Word,
    poison: bool,
    inconsistent: bool,
    at: [At; PROCESSES],
    rounds_left: [u8; PROCESSES],
    deaths_left: u8,
}

impl State {
    fn new(rounds: u8, deaths: u8) -> Self {
        Self {
            word: FREE,
            poison: false,
            inconsistent: false,
            at: [At::Fast; PROCESSES],
            rounds_left: [rounds; PROCESSES],
            deaths_left: deaths,
        }
    }

    fn finished(&self) -> bool {
        self.at.iter().all(|at| matches!(at, At::Done | At::Dead))
    }

    fn inside(&self, p: usize) -> bool {
        matches!(
            self.at[p],
            At::SetPoison | At::Enter | At::Repair | At::ClearPoison | At::Begin | At::End | At::Leave
        )
    }

    fn check(&self) {
        let inside: Vec<_> = (0..PROCESSES).filter(|&p| self.inside(p)).collect();
        assert!(inside.len() <= 1, "two are inside: {self:?}");
        if let [p] = inside[..] {
            assert_eq!(self.word.holder as usize, p + 1, "inside without the lock: {self:?}");
            if self.at[p] == At::Begin {
                assert!(!self.inconsistent, "works on a damaged structure: {self:?}");
            }
        }
    }

    /// Every state that one step of process `p` may lead to. `timeouts`: sleep may end by itself.
    fn steps(&self, p: usize, timeouts: bool) -> Vec<Self> {
        let me = p as u8 + 1;
        let go = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            vec![next]
        };
        let to = |at| go(&|s| s.at[p] = at);
        let exchange = |expected: Word, new: Word, won: At, lost: At| {
            go(&|s| {
                if s.word == expected {
                    s.word = new;
                    s.at[p] = won;
                } else {
                    s.at[p] = lost;
                }
            })
        };
        let marked = |word: Word| Word { waiters: true, ..word };
        match self.at[p] {
            At::Fast => exchange(FREE, Word { holder: me, waiters: false }, At::Enter, At::Look),
            At::Look if self.word == FREE => to(At::Grab),
            At::Look => to(At::Mark(self.word)),
            At::Grab => exchange(FREE, Word { holder: me, waiters: true }, At::Enter, At::Look),
            At::Mark(seen) if seen.waiters => to(At::Wait(seen)),
            At::Mark(seen) => exchange(seen, marked(seen), At::Wait(marked(seen)), At::Look),
            At::Wait(seen) if self.word == seen => to(At::Asleep(seen)),
            At::Wait(_) => to(At::Look),
            At::Asleep(seen) if timeouts => to(At::Check(seen)),
            At::Asleep(_) => vec![],
            At::Check(seen) if self.at[seen.holder as usize - 1] == At::Dead => to(At::Seize(seen)),
            At::Check(_) => to(At::Look),
            At::Seize(seen) => exchange(seen, Word { holder: me, waiters: true }, At::SetPoison, At::Look),
            At::SetPoison => go(&|s| {
                s.poison = true;
                s.at[p] = At::Enter;
            }),
            At::Enter if self.poison => to(At::Repair),
            At::Enter => to(At::Begin),
            At::Repair => go(&|s| {
                s.inconsistent = false;
                s.at[p] = At::ClearPoison;
            }),
            At::ClearPoison => go(&|s| {
                s.poison = false;
                s.at[p] = At::Begin;
            }),
            At::Begin => go(&|s| {
                s.inconsistent = true;
                s.at[p] = At::End;
            }),
            At::End => go(&|s| {
                s.inconsistent = false;
                s.at[p] = At::Leave;
            }),
            At::Leave => go(&|s| {
                s.rounds_left[p] -= 1;
                s.at[p] = if s.word.waiters { At::Wake } else { s.next_round(p) };
                s.word = FREE;
            }),
            At::Wake => self.wakings(p),
            At::Done | At::Dead => vec![],
        }
    }

    fn next_round(&self, p: usize) -> At {
        if self.rounds_left[p] > 0 { At::Fast } else { At::Done }
    }

    /// The kernel wakes any one sleeper.
    fn wakings(&self, p: usize) -> Vec<Self> {
        let sleepers = (0..PROCESSES).filter(|&q| matches!(self.at[q], At::Asleep(_)));
        let mut all: Vec<_> = sleepers
            .map(|q| {
                let mut next = self.clone();
                next.at[q] = At::Look;
                next
            })
            .collect();
        if all.is_empty() {
            all.push(self.clone());
        }
        for next in &mut all {
            next.at[p] = next.next_round(p);
        }
        all
    }

    fn kill(&self, p: usize) -> Option<Self> {
        if self.deaths_left == 0 || matches!(self.at[p], At::Done | At::Dead) {
            return None;
        }
        let mut next = self.clone();
        next.at[p] = At::Dead;
        next.deaths_left -= 1;
        Some(next)
    }
}

/// All reachable states, each with what follows it without a further death.
fn explore(start: State, timeouts: bool) -> HashMap<State, Vec<State>> {
    let mut graph = HashMap::new();
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        if graph.contains_key(&state) {
            continue;
        }
        state.check();
        let steps: Vec<_> = (0..PROCESSES).flat_map(|p| state.steps(p, timeouts)).collect();
        open.extend(steps.iter().cloned());
        open.extend((0..PROCESSES).filter_map(|p| state.kill(p)));
        graph.insert(state, steps);
    }
    graph
}

/// Whether from every state some way leads to the end.
fn everybody_gets_through(graph: &HashMap<State, Vec<State>>) {
    let mut before: HashMap<&State, Vec<&State>> = HashMap::new();
    for (state, steps) in graph {
        for step in steps {
            before.entry(step).or_default().push(state);
        }
    }
    let mut open: Vec<_> = graph.keys().filter(|state| state.finished()).collect();
    let mut good: HashSet<&State> = open.iter().copied().collect();
    while let Some(state) = open.pop() {
        for &previous in before.get(state).into_iter().flatten() {
            if good.insert(previous) {
                open.push(previous);
            }
        }
    }
    let stuck = graph.keys().find(|state| !good.contains(state));
    assert!(stuck.is_none(), "no way out of {stuck:?}");
}

#[test]
fn with_deaths_nobody_is_locked_out() {
    let graph = explore(State::new(2, 2), true);
    assert!(graph.len() > 10_000, "{} states", graph.len());
    everybody_gets_through(&graph);
}

#[test]
fn without_deaths_no_wake_up_is_lost() {
    let graph = explore(State::new(2, 0), false);
    assert!(graph.len() > 5_000, "{} states", graph.len());
    everybody_gets_through(&graph);
}
