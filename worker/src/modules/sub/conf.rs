//! What `sub_filter` directives say.

use std::rc::Rc;

use conf::{Node, Result};

use super::CONF;
use super::matcher::Matcher;
use crate::build::{Builder, Conf, MergeCx};
use crate::modules::http::TypeSet;
use crate::script::Template;
use crate::settings;

/// One `sub_filter`.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The string to look for.
    pub pattern: Template,
    /// What replaces it.
    pub value: Template,
}

settings! {
    /// Replacements in a location.
    pub struct SubConf, SubSettings {
        /// `sub_filter`, in order.
        pairs: Rc<[Pair]> = Rc::from([]),
        /// The patterns compiled; `None` when they have variables.
        matcher: Option<Rc<Matcher>> = None,
        /// `sub_filter_once`.
        once: bool = true,
        /// `sub_filter_last_modified`.
        last_modified: bool = false,
        /// `sub_filter_types`.
        types: TypeSet = TypeSet::html(),
    }
}

impl Conf for SubConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        let own = self.set.pairs.is_set();
        self.merge_settings(outer);
        self.matcher = if own { self.compile() } else { outer.matcher.clone() };
        Ok(())
    }
}

impl SubConf {
    fn compile(&self) -> Option<Rc<Matcher>> {
        let literals = self.pairs.iter().map(|pair| pair.pattern.as_literal().map(Box::from));
        let literals: Option<Vec<Box<[u8]>>> = literals.collect();
        literals.map(|patterns| Rc::new(Matcher::new(patterns)))
    }
}

/// nginx keeps positions of patterns in a byte.
const PAIRS_MAX: usize = 255;

/// `sub_filter string replacement`.
pub(super) fn apply_sub_filter(cx: &mut Builder, node: &Node) -> Result<()> {
    if node.bytes(0).is_empty() {
        return Err(node.error("empty search pattern"));
    }
    if cx.conf(&CONF).set.pairs.as_ref().is_some_and(|pairs| pairs.len() == PAIRS_MAX) {
        return Err(node.error(format!("number of search patterns exceeds {PAIRS_MAX}")));
    }
    let pattern = Template::parse(cx, node, node.bytes(0).to_ascii_lowercase())?;
    let value = Template::parse(cx, node, node.bytes(1))?;
    let pairs = cx.conf(&CONF).set.pairs.or_insert_with(|| Rc::from([]));
    *pairs = pairs.iter().cloned().chain([Pair { pattern, value }]).collect();
    Ok(())
}
