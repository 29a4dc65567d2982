//! A group of servers with its method: the balancer of an `upstream` block.

use std::cell::RefCell;
use std::rc::Rc;

use net::Addr;
use shm::PeerZone;
use shm::peers::Field;

use super::states::{Place, Record, States};
use super::sticky::Sticky;
use super::tier::{Member, PeerSet};
use super::{Finish, Memory, Method, Pick, RoundRobin, Server};
use crate::log::Level;
use crate::phase::Step;
use crate::request::Request;
use crate::script::Template;
use crate::upstream::{Balancer, Blame, NoPeer, Outcome, Peer, Picked, Tried};

/// Bits of [`Picked::token`].
const SINGLE: usize = 1;
/// See [`Method::counts_inflight`].
const INFLIGHT: usize = 2;

/// What a method hashes.
pub enum Seed {
    /// Nothing.
    None,
    /// The value of a template.
    Key(Template),
    /// The client's address.
    Client,
}

/// See the module's documentation.
pub struct Group {
    /// The name of the `upstream` block.
    pub name: Rc<str>,
    /// Its `server` directives.
    pub servers: Vec<Server>,
    method: Box<dyn Method>,
    seed: Seed,
    sticky: Option<Sticky>,
    states: States,
    set: RefCell<Rc<PeerSet>>,
}

impl Group {
    /// A group of `servers` whose numbers are the worker's own, for now.
    pub fn new(
        name: Rc<str>,
        servers: Vec<Server>,
        method: Box<dyn Method>,
        seed: Seed,
        sticky: Option<Sticky>,
    ) -> Self {
        let (set, records) = fixed(&servers);
        Self {
            name,
            servers,
            method,
            seed,
            sticky,
            states: States::new(records),
            set: RefCell::new(Rc::new(set)),
        }
    }

    /// A group that takes turns, for addresses without an `upstream` block.
    pub fn of_addresses(name: Rc<str>, server: &str, addrs: Vec<Addr>) -> Self {
        Self::new(name, vec![Server::new(server, addrs)], Box::new(RoundRobin), Seed::None, None)
    }

    /// Moves the numbers to the zone: from now on they are those of all workers. The first worker to come enters the
    /// addresses the configuration knows.
    pub fn open(&self, zone: &shm::Zone) -> shm::Result<()> {
        let mut peers = PeerZone::open(zone)?;
        peers.claim()?;
        let group = peers.into_group(&self.name).ok_or(shm::Error::NotFound)?;
        let mut guard = group.lock()?;
        for (origin, server) in self.servers.iter().enumerate() {
            for addr in &server.addrs {
                let name = addr.to_string();
                let known = guard.peers().any(|peer| {
                    guard.field(peer, Field::Origin).is_ok_and(|own| own == origin as i64)
                        && guard.names(peer).is_ok_and(|(own, _)| own == name)
                });
                if !known {
                    guard.add(&server.config(&name, origin))?;
                }
            }
        }
        drop(guard);
        self.states.share(group);
        Ok(())
    }

    /// The group's part of the zone, if it has one.
    pub fn shared(&self) -> Option<&shm::peers::Group> {
        self.states.shared()
    }

    /// The sessions of `sticky`, if there are any.
    pub fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref()
    }

    /// The servers as they are now.
    pub fn current(&self) -> Rc<PeerSet> {
        let known = Rc::clone(&self.set.borrow());
        match self.states.shared() {
            Some(group) if group.generation() != known.generation => self.reread(group, known),
            _ => known,
        }
    }

    /// Makes the set anew from the zone. An address that was in the old set stays the same [`Peer`].
    #[cold]
    fn reread(&self, group: &shm::peers::Group, old: Rc<PeerSet>) -> Rc<PeerSet> {
        let Ok(guard) = group.lock() else { return old };
        let mut peers: Vec<_> = guard.peers().collect();
        peers.sort_by_key(|peer| peer.serial());
        let (mut primary, mut backup) = (Vec::new(), Vec::new());
        for peer in peers {
            let place = Place::Shared(peer);
            let (Ok(state), Ok((name, server))) = (guard.state(peer), guard.names(peer)) else { continue };
            let Some(origin) = usize::try_from(state.origin).ok().and_then(|at| self.servers.get(at)) else {
                continue;
            };
            let known = old.members().find(|member| member.place == place);
            let Some(peer) =
                known.map(|member| Rc::clone(&member.peer)).or_else(|| attached(&name, &server, place))
            else {
                continue;
            };
            let member =
                Member { peer, place, weight: state.weight, sid: origin.sid(&name), down: state.down != 0 };
            if state.backup { backup.push(member) } else { primary.push(member) }
        }
        let set = Rc::new(PeerSet::new(primary, backup, group.generation()));
        *self.set.borrow_mut() = Rc::clone(&set);
        set
    }

    /// Chooses a server.
    pub fn choose(&self, tried: &[Rc<Peer>], hint: Option<&[u8]>, memory: &mut Memory) -> Option<Picked> {
        let set = self.current();
        let now_ms = net::now().0 as i64;
        loop {
            let tier = if memory.backup { &set.backup } else { &set.primary };
            let mut pick =
                Pick { tier, access: self.states.access()?, tried, hint, now: now_ms / 1000, now_ms };
            let chosen = if tier.members.is_empty() { None } else { self.method.choose(&mut pick, memory) };
            if let Some(at) = chosen {
                pick.take(at);
                let single = if tier.single { SINGLE } else { 0 };
                let inflight = if self.method.counts_inflight() && !tier.single { INFLIGHT } else { 0 };
                let picked = Picked::new(Rc::clone(&tier.members[at].peer));
                picked.token.set(single | inflight);
                return Some(picked);
            }
            if memory.backup || set.backup.members.is_empty() {
                return None;
            }
            memory.backup = true;
        }
    }

    /// Notes how a try ended. `true`: the server is out of service for a while from now on.
    pub fn finish(&self, picked: &Picked, outcome: Outcome) -> bool {
        let (Some(place), Some(mut access)) = (place_of(&picked.peer), self.states.access()) else {
            return false;
        };
        let token = picked.token.get();
        let end = Finish {
            answered: matches!(outcome.blame, Blame::None | Blame::Unknown),
            header_ms: outcome.header_ms.map(|ms| ms as i64),
            response_ms: outcome.response_ms as i64,
            inflight: token & INFLIGHT != 0,
            now_ms: net::now().0 as i64,
        };
        self.method.done(&mut access, place, &end);
        access.closed(place);
        if token & SINGLE != 0 {
            access.set(place, Field::Fails, 0);
            return false;
        }
        if outcome.blame == Blame::Failed {
            return failed(&mut access, place, end.now_ms / 1000);
        }
        if access.get(place, Field::Accessed) < access.get(place, Field::Checked) {
            // it was tried after a failure and works
            access.set(place, Field::Fails, 0);
        }
        false
    }

    fn begin(&self, req: &mut Request) -> Memory {
        let mut memory = Memory::default();
        match &self.seed {
            Seed::None => {}
            Seed::Key(template) => template.append(req, &mut memory.key),
            Seed::Client => memory.key = client_bytes(&req.client.addr),
        }
        if let Some(sticky) = &self.sticky {
            memory.session = sticky.session(req);
        }
        memory
    }
}

/// Counts a failure; whether it was the one too many.
fn failed(access: &mut super::Access<'_>, place: Place, now: i64) -> bool {
    let fails = access.get(place, Field::Fails) + 1;
    access.set(place, Field::Fails, fails);
    access.set(place, Field::FailsTotal, access.get(place, Field::FailsTotal) + 1);
    access.set(place, Field::Accessed, now);
    access.set(place, Field::Checked, now);
    let max_fails = access.get(place, Field::MaxFails);
    if max_fails == 0 {
        return false;
    }
    let lowered = access.get(place, Field::EffectiveWeight) - access.get(place, Field::Weight) / max_fails;
    access.set(place, Field::EffectiveWeight, lowered.max(0));
    fails >= max_fails
}

impl Balancer for Group {
    fn pick<'r>(&'r self, req: &'r mut Request, tried: &'r mut Tried) -> Step<'r, Result<Picked, NoPeer>> {
        let mut memory = match tried.state.take().and_then(|state| state.downcast::<Memory>().ok()) {
            Some(kept) => *kept,
            None => self.begin(req),
        };
        let hint = self.sticky.as_ref().and_then(|sticky| sticky.hint(&memory.session));
        let picked = self.choose(&tried.peers, hint.as_deref(), &mut memory);
        if let (Some(sticky), Some(picked)) = (&self.sticky, &picked) {
            sticky.set_cookie(req, &self.sid(picked), &mut memory);
        }
        // most groups have nothing to remember, and then nothing is allocated
        if memory.backup || self.sticky.is_some() || !matches!(self.seed, Seed::None) {
            tried.state = Some(Box::new(memory));
        }
        Step::Ready(picked.ok_or(NoPeer::NoneLive))
    }

    fn done(&self, req: Option<&mut Request>, picked: Picked, outcome: Outcome) {
        let disabled = self.finish(&picked, outcome);
        let Some(req) = req else { return };
        if disabled {
            req.log(Level::Warn, format_args!("upstream server temporarily disabled"));
        }
        if let Some(sticky) = &self.sticky
            && matches!(outcome.blame, Blame::None | Blame::Unknown)
        {
            sticky.learn(req, &self.sid(&picked), false);
        }
    }

    fn tries(&self) -> usize {
        self.current().tries()
    }

    fn header(&self, req: &mut Request, picked: &Picked) {
        if let Some(sticky) = &self.sticky {
            sticky.learn(req, &self.sid(picked), true);
        }
        let token = picked.token.get();
        if token & INFLIGHT == 0 {
            return;
        }
        let header_ms = req.upstream.tries.last().and_then(|last| last.header_ms).map(|ms| ms as i64);
        let (Some(place), Some(mut access)) = (place_of(&picked.peer), self.states.access()) else { return };
        let end = Finish {
            answered: true,
            header_ms,
            response_ms: header_ms.unwrap_or(0),
            inflight: true,
            now_ms: net::now().0 as i64,
        };
        if self.method.header(&mut access, place, &end) {
            picked.token.set(token & !INFLIGHT);
        }
    }
}

impl Group {
    fn sid(&self, picked: &Picked) -> Rc<[u8]> {
        let set = self.set.borrow();
        let member = set.members().find(|member| Rc::ptr_eq(&member.peer, &picked.peer));
        member.map_or_else(|| Rc::from([]), |member| Rc::clone(&member.sid))
    }
}

/// The set and the numbers of servers whose addresses the configuration knows.
fn fixed(servers: &[Server]) -> (PeerSet, Vec<Record>) {
    let mut records = Vec::new();
    let (mut primary, mut backup) = (Vec::new(), Vec::new());
    for (origin, server) in servers.iter().enumerate() {
        for addr in &server.addrs {
            let name: Rc<str> = addr.to_string().into();
            let place = Place::Own(records.len());
            records.push(server.config(&name, origin).initial_state().fields());
            let mut peer = Peer::new(addr.clone(), Rc::clone(&server.name));
            peer.state = Some(Box::new(place));
            let member = Member {
                sid: server.sid(&name),
                peer: Rc::new(peer),
                place,
                weight: server.weight.into(),
                down: server.down != 0,
            };
            if server.backup { backup.push(member) } else { primary.push(member) }
        }
    }
    (PeerSet::new(primary, backup, 0), records)
}

/// An address as the zone has it. `None`: it is not one.
fn attached(name: &str, server: &str, place: Place) -> Option<Rc<Peer>> {
    let addr = match name.strip_prefix("unix:") {
        Some(path) => Addr::unix(path),
        None => Addr::from(name.parse::<std::net::SocketAddr>().ok()?),
    };
    let mut peer = Peer::new(addr, server.into());
    peer.state = Some(Box::new(place));
    Some(Rc::new(peer))
}

fn place_of(peer: &Peer) -> Option<Place> {
    peer.state.as_ref()?.downcast_ref().copied()
}

/// What `ip_hash` hashes of an address: the first three bytes of IPv4, all of IPv6; three zeros for anything else.
fn client_bytes(addr: &Addr) -> Vec<u8> {
    match addr {
        Addr::V4(addr) => addr.ip().octets()[..3].to_vec(),
        Addr::V6(addr) => addr.ip().octets().to_vec(),
        Addr::Unix(_) => vec![0; 3],
    }
}
