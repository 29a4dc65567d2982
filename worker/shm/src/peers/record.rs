//! One peer's record: the fields of nginx's ngx_http_upstream_rr_peer_t that workers share.

use crate::{
    error::{Error, Result},
    map::Region,
};

/// Bytes before the connections of the slots.
pub(super) const RECORD: usize = 512;
/// [`USED`] and [`BACKUP`].
pub(super) const FLAGS: usize = 0;
pub(super) const USED: u64 = 1;
const BACKUP: u64 = 2;
pub(super) const SERIAL: usize = 8;
const FIELDS: usize = 16;
/// Lengths of the two names, 32 bits each.
const NAME_LENS: usize = 208;
const NAMES: usize = 216;
/// Address text and server name together, bytes.
pub const NAMES_MAX: usize = RECORD - NAMES;

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident $name:ident,)*) => {
        /// A number in a peer's record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Field { $($(#[$doc])* $variant,)* }

        /// All numbers of a peer's record.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PeerState {
            $($(#[$doc])* pub $name: i64,)*
            /// Used only when no other peer works.
            pub backup: bool,
        }

        impl PeerState {
            pub(super) fn load(region: &Region, at: usize) -> Result<Self> {
                Ok(Self {
                    $($name: region.load64(at + Field::$variant.offset())? as i64,)*
                    backup: region.load64(at + FLAGS)? & BACKUP != 0,
                })
            }

            /// Stores all but `conns`, which is counted, and `backup`, which is fixed.
            pub(super) fn store(&self, region: &Region, at: usize) -> Result<()> {
                $(if Field::$variant != Field::Conns {
                    region.store64(at + Field::$variant.offset(), self.$name as u64)?;
                })*
                Ok(())
            }
        }

        const FIELD_COUNT: usize = [$(Field::$variant),*].len();

        impl Field {
            /// How many fields there are; `field as usize` is below it.
            pub const COUNT: usize = FIELD_COUNT;
        }

        impl PeerState {
            /// All numbers, each at the index `field as usize`.
            pub fn fields(&self) -> [i64; FIELD_COUNT] {
                [$(self.$name),*]
            }
        }
    };
}

fields! {
    /// Weight in the running round of smooth round robin.
    CurrentWeight current_weight,
    /// Weight lowered by failures.
    EffectiveWeight effective_weight,
    /// `weight=`.
    Weight weight,
    /// Connections now, over all workers.
    Conns conns,
    /// `max_conns=`; 0 is no limit.
    MaxConns max_conns,
    /// Failures within `fail_timeout`.
    Fails fails,
    /// `max_fails=`; 0 means failures do not count.
    MaxFails max_fails,
    /// When it last failed, seconds.
    Accessed accessed,
    /// When it was last tried after a failure, seconds.
    Checked checked,
    /// `fail_timeout=`, seconds.
    FailTimeout fail_timeout,
    /// `slow_start=`, milliseconds.
    SlowStart slow_start,
    /// When it came back, milliseconds.
    StartTime start_time,
    /// 0: in use; [`DOWN`]: not to be used; [`DRAINING`]: only for sessions bound to it.
    Down down,
    /// Requests passed to it.
    Requests requests,
    /// Failures in all.
    FailsTotal fails_total,
    /// Moving average until the response head, milliseconds.
    HeaderTime header_time,
    /// Moving average until the end of the response, milliseconds.
    ResponseTime response_time,
    /// Requests whose time counts already while they run (`least_time … inflight`).
    Inflight inflight,
    /// Sum of the times of those up to `inflight_since`, milliseconds.
    InflightLast inflight_last,
    /// When `inflight` changed last, milliseconds.
    InflightSince inflight_since,
    /// Moving average of the time of running requests, milliseconds.
    InflightTime inflight_time,
    /// Which `server` of the upstream the peer comes from, counted from 0.
    Origin origin,
}

const _: () = assert!(FIELDS + FIELD_COUNT * 8 <= NAME_LENS);

impl Field {
    /// Where it is in the record.
    #[inline]
    pub(super) const fn offset(self) -> usize {
        FIELDS + self as usize * 8
    }
}

impl PeerState {
    /// Takes over what an earlier peer of the same name had learnt.
    pub(super) fn inherit(&mut self, old: &Self) {
        self.current_weight = 0;
        // A weight lowered by failures stays lowered by as much.
        let lowered = (old.weight - old.effective_weight).max(0);
        self.effective_weight = (self.weight - lowered).max(0);
        self.fails = old.fails;
        self.accessed = old.accessed;
        self.checked = old.checked;
        self.start_time = old.start_time;
        self.requests = old.requests;
        self.fails_total = old.fails_total;
        self.header_time = old.header_time;
        self.response_time = old.response_time;
    }
}

/// [`Field::Down`] of a peer that is not to be used.
pub const DOWN: i64 = 1;
/// [`Field::Down`] of a peer that gets no new sessions.
pub const DRAINING: i64 = 8;

/// What the configuration says about a peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerConfig<'a> {
    /// The address as text, for example `10.0.0.1:80`.
    pub name: &'a str,
    /// The `server` directive's own text; several peers may come from one.
    pub server: &'a str,
    /// `weight=`.
    pub weight: u32,
    /// `max_conns=`.
    pub max_conns: u32,
    /// `max_fails=`.
    pub max_fails: u32,
    /// `fail_timeout=`, seconds.
    pub fail_timeout: u64,
    /// `slow_start=`, milliseconds.
    pub slow_start: u64,
    /// `backup`.
    pub backup: bool,
    /// `down` or `drain`, as [`Field::Down`] stores it; 0 for neither.
    pub down: i64,
    /// Which `server` of the upstream it comes from, counted from 0.
    pub origin: u32,
}

impl Default for PeerConfig<'_> {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            name: "",
            server: "",
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: 10,
            slow_start: 0,
            backup: false,
            down: 0,
            origin: 0,
        }
    }
}

impl PeerConfig<'_> {
    pub(super) fn flags(&self) -> u64 {
        USED | if self.backup { BACKUP } else { 0 }
    }

    /// The state of a peer that was never used.
    pub fn initial_state(&self) -> PeerState {
        let mut state = PeerState { effective_weight: self.weight.into(), ..PeerState::default() };
        self.apply(&mut state);
        state.backup = self.backup;
        state
    }

    /// Puts the configured numbers in place and leaves what was learnt.
    pub(super) fn apply(&self, state: &mut PeerState) {
        if state.weight != i64::from(self.weight) {
            state.effective_weight = self.weight.into();
        }
        state.weight = self.weight.into();
        state.max_conns = self.max_conns.into();
        state.max_fails = self.max_fails.into();
        state.fail_timeout = i64::try_from(self.fail_timeout).unwrap_or(i64::MAX);
        state.slow_start = i64::try_from(self.slow_start).unwrap_or(i64::MAX);
        state.down = self.down;
        state.origin = self.origin.into();
    }
}

pub(super) fn write_names(region: &Region, at: usize, config: &PeerConfig<'_>) -> Result<()> {
    let (name, server) = (config.name.as_bytes(), config.server.as_bytes());
    let have = name.len() + server.len();
    if have > NAMES_MAX {
        return Err(Error::TooLong { have, max: NAMES_MAX });
    }
    region.store32(at + NAME_LENS, name.len() as u32)?;
    region.store32(at + NAME_LENS + 4, server.len() as u32)?;
    region.write(at + NAMES, name)?;
    region.write(at + NAMES + name.len(), server)
}

pub(super) fn names(region: &Region, at: usize) -> Result<(String, String)> {
    let (name, server) = lens(region, at)?;
    let text = |at, len| region.read(at, len, |text| String::from_utf8_lossy(text).into_owned());
    Ok((text(at + NAMES, name)?, text(at + NAMES + name, server)?))
}

pub(super) fn is_named(region: &Region, at: usize, name: &str, server: &str) -> bool {
    let same = || -> Result<bool> {
        Ok(lens(region, at)? == (name.len(), server.len())
            && region.equals(at + NAMES, name.as_bytes())?
            && region.equals(at + NAMES + name.len(), server.as_bytes())?)
    };
    same().unwrap_or(false)
}

fn lens(region: &Region, at: usize) -> Result<(usize, usize)> {
    let name = region.load32(at + NAME_LENS)? as usize;
    let server = region.load32(at + NAME_LENS + 4)? as usize;
    if name + server > NAMES_MAX {
        return Err(Error::Corrupt("names of a peer"));
    }
    Ok((name, server))
}
