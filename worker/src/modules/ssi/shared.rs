//! What all parts of a page have in common: variables of `set`, groups of the last pattern, blocks.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use crate::regex::Captures;
use crate::request::Request;

/// Variables and blocks of one page, and the bytes of both together.
const ENTRIES_MAX: usize = 1000;
const BYTES_MAX: usize = 1024 * 1024;

/// Shared by the client's request and all its subrequests.
pub(super) type Shared = Rc<RefCell<Page>>;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Page {
    variables: Vec<(Box<[u8]>, Bytes)>,
    blocks: Vec<(Box<[u8]>, Vec<u8>)>,
    pub(super) captures: Captures,
    bytes: usize,
}

/// A page wants to keep too much.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The page `req` is a part of.
pub(super) fn page(req: &Request) -> Shared {
    req.context.lasting::<Shared>().unwrap_or_else(|| {
        let page = Shared::default();
        req.context.keep_lasting(Rc::clone(&page));
        page
    })
}

impl Page {
    /// The value of a variable, or of a group where `name` is a digit.
    pub(super) fn variable(&self, name: &[u8]) -> Option<Bytes> {
        if let [digit @ b'0'..=b'9'] = name
            && usize::from(digit - b'0') < self.captures.len()
        {
            let group = self.captures.get(usize::from(digit - b'0')).unwrap_or_default();
            return Some(Bytes::copy_from_slice(group));
        }
        let found = self.variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    /// Assigns a variable.
    pub(super) fn assign(&mut self, name: &[u8], value: Bytes) -> Result<(), TooMuch> {
        let old = self.variables.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, old)) = old {
            let bytes = self.bytes - old.len() + value.len();
            if bytes > BYTES_MAX {
                return Err(TooMuch);
            }
            (self.bytes, *old) = (bytes, value);
            return Ok(());
        }
        self.take(name.len() + value.len(), self.variables.len())?;
        self.variables.push((name.into(), value));
        Ok(())
    }

    /// Begins the block `name`; of several of one name the first counts.
    pub(super) fn begin_block(&mut self, name: &[u8]) -> Result<(), TooMuch> {
        self.take(name.len(), self.blocks.len())?;
        self.blocks.push((name.into(), Vec::new()));
        Ok(())
    }

    /// Appends to the block begun last.
    pub(super) fn extend_block(&mut self, text: &[u8]) -> Result<(), TooMuch> {
        self.take(text.len(), 0)?;
        if let Some((_, block)) = self.blocks.last_mut() {
            block.extend_from_slice(text);
        }
        Ok(())
    }

    /// The block `name`.
    pub(super) fn block(&self, name: &[u8]) -> Option<Bytes> {
        let found = self.blocks.iter().find(|(known, _)| **known == *name);
        found.map(|(_, text)| Bytes::copy_from_slice(text))
    }

    fn take(&mut self, bytes: usize, entries: usize) -> Result<(), TooMuch> {
        if self.bytes + bytes > BYTES_MAX || entries >= ENTRIES_MAX {
            return Err(TooMuch);
        }
        self.bytes += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_blocks_have_limits() {
        let mut page = Page::default();
        page.assign(b"Name", Bytes::from_static(b"one")).unwrap();
        page.assign(b"name", Bytes::from_static(b"two")).unwrap();
        assert_eq!(page.variable(b"NAME").as_deref(), Some(&b"two"[..]));
        let large = Bytes::from(vec![b'x'; BYTES_MAX]);
        assert_eq!(page.assign(b"name", large.clone()), Err(TooMuch));
        assert_eq!(page.variable(b"name").as_deref(), Some(&b"two"[..]), "what is there stays");
        page.begin_block(b"b").unwrap();
        page.extend_block(b"text").unwrap();
        assert_eq!(page.extend_block(&large), Err(TooMuch));
        assert_eq!(page.block(b"b").as_deref(), Some(&b"text"[..]));
        let filled = (0..ENTRIES_MAX).find(|n| page.begin_block(format!("{n}").as_bytes()).is_err());
        assert_eq!(filled, Some(ENTRIES_MAX - 1));
    }
}
