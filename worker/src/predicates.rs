//! Lists of conditions such as `proxy_cache_bypass $cookie_nocache $arg_fresh`: one value that is neither empty nor `0` is
//! enough.

use std::rc::Rc;

use conf::{Node, Result, Setting};

use crate::build::Builder;
use crate::request::Request;
use crate::script::Template;

/// See the module's documentation. Without conditions it never holds.
#[derive(Debug, Clone, Default)]
pub struct Predicates(Option<Rc<[Template]>>);

impl Predicates {
    /// Reads all arguments of `node`.
    pub fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let texts: Result<Rc<[Template]>> =
            (0..node.len()).map(|at| Template::parse(cx, node, node.bytes(at))).collect();
        Ok(Self(Some(texts?)))
    }

    /// Adds these conditions to what the same level said before.
    pub fn add_to(self, setting: &mut Setting<Self>) {
        let all = setting.or_insert_with(Self::default);
        let (old, new) = (all.0.as_deref().unwrap_or_default(), self.0.as_deref().unwrap_or_default());
        all.0 = Some(old.iter().chain(new).cloned().collect());
    }

    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether one of the conditions holds.
    pub fn hold(&self, req: &mut Request) -> bool {
        let Some(list) = self.0.clone() else { return false };
        let mut value = Vec::new();
        list.iter().any(|template| {
            value.clear();
            template.append(req, &mut value);
            !matches!(&value[..], b"" | b"0")
        })
    }
}
