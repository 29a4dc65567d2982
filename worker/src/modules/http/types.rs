//! `types` and `default_type`: media types by file extension.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use conf::{Node, Result};

use super::LOCATION;
use crate::build::Builder;

/// Extension to media type. Extensions are compared in lower case.
#[derive(Debug, Clone, Default)]
pub struct Types {
    map: HashMap<Box<[u8]>, Rc<[u8]>>,
    sealed: Cell<bool>,
}

/// Longer extensions name no type: keeps the lookup's copy on the stack.
const EXTENSION_BYTES_MAX: usize = 64;

impl Types {
    /// nginx's built-in three.
    pub fn builtin() -> Self {
        let mut types = Self::default();
        for (extension, media) in [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")] {
            types.insert(extension.as_bytes(), media.as_bytes().into());
        }
        types
    }

    fn insert(&mut self, extension: &[u8], media: Rc<[u8]>) -> bool {
        self.map.insert(extension.to_ascii_lowercase().into(), media).is_none()
    }

    pub(super) fn seal(&self) {
        self.sealed.set(true);
    }

    /// The type of `extension`.
    pub fn find(&self, extension: &[u8]) -> Option<&Rc<[u8]>> {
        if extension.is_empty() {
            return None;
        }
        let mut lower = [0u8; EXTENSION_BYTES_MAX];
        let lower = lower.get_mut(..extension.len())?;
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        self.map.get(&*lower)
    }
}

/// `types { text/html html htm; … }`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut types = match cx.conf(&LOCATION).set.types.replace(Rc::default()) {
        Some(earlier) => (*earlier).clone(),
        None => Types::default(),
    };
    for entry in node.children() {
        if entry.block.is_some() {
            return Err(entry.error(format!("unexpected \"{{\" behind \"{}\"", entry.name.text())));
        }
        let media: Rc<[u8]> = entry.name.bytes().into();
        if entry.args.is_empty() {
            return Err(entry.error("invalid number of arguments in \"types\" directive"));
        }
        for extension in &entry.args {
            if !types.insert(extension.bytes(), Rc::clone(&media)) {
                cx.warn(entry.warning(format!(
                    "duplicate extension \"{}\", content type: \"{}\"",
                    extension.text(),
                    entry.name.text()
                )));
            }
        }
    }
    cx.conf(&LOCATION).set.types.replace(Rc::new(types));
    Ok(())
}
