//! What a `geo` block is compiled to.

use std::collections::HashMap;
use std::net::IpAddr;

/// The different values of a block, each stored once.
#[derive(Default)]
pub(super) struct Values {
    list: Vec<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, ValueId>,
}

/// Index into [`Values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ValueId(u32);

impl Values {
    /// The number of `value`.
    pub(super) fn id(&mut self, value: &[u8]) -> ValueId {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let id = ValueId(u32::try_from(self.list.len()).expect("a file has far fewer lines"));
        self.list.push(value.into());
        self.ids.insert(value.into(), id);
        id
    }

    /// The value as text, for messages.
    pub(super) fn text(&self, id: ValueId) -> String {
        String::from_utf8_lossy(&self.list[id.0 as usize]).into_owned()
    }
}

/// Addresses from `first` to `last` with their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span<A> {
    pub(super) first: A,
    pub(super) last: A,
    pub(super) value: ValueId,
}

/// Values by address.
pub(super) struct Table {
    values: Box<[Box<[u8]>]>,
    v4: Box<[Span<u32>]>,
    v6: Box<[Span<u128>]>,
    /// For addresses in no span.
    default: Option<ValueId>,
}

impl Table {
    /// A table of spans, which must be sorted and must not overlap.
    pub(super) fn new(
        values: Values,
        v4: Vec<Span<u32>>,
        v6: Vec<Span<u128>>,
        default: Option<ValueId>,
    ) -> Self {
        debug_assert!(v4.is_sorted_by(|a, b| a.last < b.first) && v6.is_sorted_by(|a, b| a.last < b.first));
        Self { values: values.list.into(), v4: v4.into(), v6: v6.into(), default }
    }

    /// The value of an address. No IP address at all counts as 255.255.255.255, as in nginx.
    pub(super) fn find(&self, ip: Option<IpAddr>) -> &[u8] {
        let found = match ip.map(|ip| ip.to_canonical()) {
            None => search(&self.v4, u32::MAX),
            Some(IpAddr::V4(ip)) => search(&self.v4, ip.into()),
            Some(IpAddr::V6(ip)) => search(&self.v6, ip.into()),
        };
        found.or(self.default).map_or(b"", |id| &self.values[id.0 as usize])
    }
}

fn search<A: Ord + Copy>(spans: &[Span<A>], address: A) -> Option<ValueId> {
    let before = spans.partition_point(|span| span.first <= address);
    let span = spans.get(before.checked_sub(1)?)?;
    (address <= span.last).then_some(span.value)
}
