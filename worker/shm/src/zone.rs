//! Named zones: what `zone=name:size` in a configuration stands for.
//!
//! The master keeps a [`Registry`]. At a reload it derives the next one from the new configuration: a zone whose name, size and
//! kind are unchanged is the same memory with everything in it, any other is made anew, and the old registry stays valid until
//! the new configuration is accepted. Workers get the descriptors and [`Zone::attach`].
//!
//! ```text
//! 0    magic  version  kind  layout  size  name length  name (at most 255 bytes)
//! 512  body: belongs to the kind
//! ```

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    map::{self, Region},
};

const MAGIC: u64 = u64::from_le_bytes(*b"urestyzn");
/// Of the header and of everything the kinds have in common; changes when a process could misread another's zone.
const VERSION: u32 = 1;
const HEADER: usize = 512;
const NAME_AT: usize = 40;
/// Longest name of a zone, bytes.
pub const NAME_MAX: usize = 255;

/// What a zone holds and how it is laid out. Zones of different kinds are never taken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Four letters that name the structure.
    pub id: [u8; 4],
    /// Its version and everything fixed at creation that the size does not tell.
    pub layout: u32,
}

/// A zone a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name; one name is one zone.
    pub name: String,
    /// Bytes, header included; rounded up to whole pages.
    pub size: usize,
    /// What it holds.
    pub kind: Kind,
}

/// A mapped zone. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Zone {
    spec: Spec,
    fd: Arc<OwnedFd>,
    body: Region,
}

impl Zone {
    /// Makes a zone with a zero-filled body, which the caller formats.
    pub fn create(spec: &Spec) -> Result<Self> {
        let name = spec.name.as_bytes();
        if name.len() > NAME_MAX {
            return Err(Error::TooLong { have: name.len(), max: NAME_MAX });
        }
        if spec.size <= HEADER {
            return Err(Error::TooSmall { have: spec.size, need: HEADER + 1 });
        }
        let size = spec.size.checked_next_multiple_of(4096).ok_or(Error::NoMemory)?;
        let fd = map::create(&spec.name, size)?;
        let whole = map::attach(&fd, size)?;
        whole.store64(0, MAGIC)?;
        whole.store32(8, VERSION)?;
        whole.write(12, &spec.kind.id)?;
        whole.store32(16, spec.kind.layout)?;
        whole.store64(24, size as u64)?;
        whole.store32(32, name.len() as u32)?;
        whole.write(NAME_AT, name)?;
        Ok(Self { spec: spec.clone(), fd: Arc::new(fd), body: whole.part(HEADER, size - HEADER)? })
    }

    /// Maps a zone another process made. Refuses one that is not exactly `spec`.
    pub fn attach(fd: OwnedFd, spec: &Spec) -> Result<Self> {
        let size = spec.size.checked_next_multiple_of(4096).ok_or(Error::NoMemory)?;
        let whole = map::attach(&fd, size)?;
        let name = spec.name.as_bytes();
        if whole.load64(0)? != MAGIC || whole.load32(8)? != VERSION {
            return Err(Error::Mismatch("its header is of another version"));
        }
        if !whole.equals(12, &spec.kind.id)? || whole.load32(16)? != spec.kind.layout {
            return Err(Error::Mismatch("it is of another kind"));
        }
        if whole.load32(32)? as usize != name.len() || !whole.equals(NAME_AT, name)? {
            return Err(Error::Mismatch("its name differs"));
        }
        Ok(Self { spec: spec.clone(), fd: Arc::new(fd), body: whole.part(HEADER, size - HEADER)? })
    }

    /// Name, size and kind.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The memory that belongs to the kind.
    pub fn body(&self) -> &Region {
        &self.body
    }

    /// The descriptor to pass on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The zones of one configuration, by name.
#[derive(Clone, Debug, Default)]
pub struct Registry(BTreeMap<String, Zone>);

impl Registry {
    /// No zones.
    pub fn new() -> Self {
        Self::default()
    }

    /// The zones of the next configuration: those of `self` that are asked for unchanged, and new ones, which `format` prepares.
    /// On an error `self` is as good as before. The same spec may occur several times; one name with two specs is
    /// [`Error::Mismatch`].
    pub fn next(&self, wanted: &[Spec], mut format: impl FnMut(&Zone) -> Result<()>) -> Result<Self> {
        let mut next = BTreeMap::new();
        for spec in wanted {
            if let Some(twin) = next.get(&spec.name) {
                let twin: &Zone = twin;
                if twin.spec != *spec {
                    return Err(Error::Mismatch("one name is used with two sizes or for two purposes"));
                }
                continue;
            }
            let zone = match self.0.get(&spec.name) {
                Some(zone) if zone.spec == *spec => zone.clone(),
                _ => {
                    let zone = Zone::create(spec)?;
                    format(&zone)?;
                    zone
                }
            };
            next.insert(spec.name.clone(), zone);
        }
        Ok(Self(next))
    }

    /// Adds a zone received from the master; replaces one of the same name.
    pub fn insert(&mut self, zone: Zone) {
        self.0.insert(zone.spec.name.clone(), zone);
    }

    /// The zone of this name.
    pub fn zone(&self, name: &str) -> Option<&Zone> {
        self.0.get(name)
    }

    /// All zones, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { id: *b"test", layout: 1 };

    fn spec(name: &str, size: usize, kind: Kind) -> Spec {
        Spec { name: name.into(), size, kind }
    }

    #[test]
    fn attach_sees_what_create_wrote_and_refuses_all_else() {
        let want = spec("one", 10_000, KIND);
        let zone = Zone::create(&want).unwrap();
        zone.body().store64(0, 99).unwrap();
        let fd = || zone.fd().try_clone_to_owned().unwrap();
        let other = Zone::attach(fd(), &want).unwrap();
        assert_eq!(other.body().load64(0).unwrap(), 99);
        assert_eq!(other.body().len(), 12_288 - 512);
        for wrong in [
            spec("two", 10_000, KIND),
            spec("one", 20_000, KIND),
            spec("one", 10_000, Kind { layout: 2, ..KIND }),
            spec("one", 10_000, Kind { id: *b"tset", ..KIND }),
        ] {
            assert!(matches!(Zone::attach(fd(), &wrong), Err(Error::Mismatch(_))), "{wrong:?}");
        }
    }

    #[test]
    fn unchanged_zones_survive_a_reload() {
        let mut formatted = Vec::new();
        let mut go = |old: &Registry, specs: &[Spec]| {
            old.next(specs, |zone| {
                formatted.push(zone.spec().name.clone());
                Ok(())
            })
        };
        let first =
            go(&Registry::new(), &[spec("a", 8192, KIND), spec("b", 8192, KIND), spec("a", 8192, KIND)])
                .unwrap();
        first.zone("a").unwrap().body().store64(0, 1).unwrap();
        first.zone("b").unwrap().body().store64(0, 2).unwrap();
        let second = go(&first, &[spec("a", 8192, KIND), spec("b", 16384, KIND)]).unwrap();
        assert_eq!(second.zone("a").unwrap().body().load64(0).unwrap(), 1, "same memory");
        assert_eq!(second.zone("b").unwrap().body().load64(0).unwrap(), 0, "another size, another zone");
        assert!(go(&second, &[spec("a", 8192, KIND), spec("a", 4096, KIND)]).is_err());
        assert!(go(&second, &[spec("a", 100, KIND)]).is_err());
        assert_eq!(formatted, ["a", "b", "b"]);
    }
}
