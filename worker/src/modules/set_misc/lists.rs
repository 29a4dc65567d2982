//! `ndk_http_module`'s lists of upstreams, and the choice from one by a hash.

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::Call;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;
use crate::script::Template;

/// The module.
pub const NDK: Ndk = Ndk;

static CONF: Slot<ListsConf> = Slot::new();

/// See the module's documentation.
pub struct Ndk;

/// Lists by name.
#[derive(Default)]
pub struct ListsConf(Vec<List>);

/// A name and the upstreams it stands for.
type List = (Box<[u8]>, Vec<Box<[u8]>>);

impl Conf for ListsConf {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

impl ListsConf {
    fn find(&self, name: &[u8]) -> Option<&[Box<[u8]>]> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, names)| names.as_slice())
    }
}

static DIRECTIVES: &[Directive<Builder>] = &[Directive {
    name: "upstream_list",
    contexts: Contexts::HTTP_SERVER_LOCATION,
    arity: Arity::AtLeast(2),
    shape: Shape::Simple,
    default: "",
    doc: "Names a list of upstreams for set_hashed_upstream.",
    apply: |cx, node| {
        let names = (1..node.len()).map(|i| node.bytes(i).into()).collect();
        let lists = &mut cx.http_conf(&CONF).0;
        if lists.iter().any(|(known, _)| **known == *node.bytes(0)) {
            return Err(node.error(format!("duplicate upstream list name \"{}\"", node.first())));
        }
        lists.push((node.bytes(0).into(), names));
        Ok(())
    },
}];

impl Module for Ndk {
    fn name(&self) -> &'static str {
        "ndk_http_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

/// A list that is named and not computed must be there already.
pub(super) fn check(cx: &mut Builder, node: &Node, list: &Template) -> Result<()> {
    let Some(name) = list.as_literal() else { return Ok(()) };
    if cx.http_conf(&CONF).find(name).is_some() {
        return Ok(());
    }
    Err(node.error(format!("set_hashed_upstream: upstream list \"{}\" not defined yet", name.escape_ascii())))
}

/// `set_hashed_upstream`.
pub(super) fn hashed_upstream(call: &mut Call<'_>) -> std::result::Result<(), String> {
    let config = call.req.config.clone();
    let lists = config.http.as_ref().map(|confs| confs.share(&CONF));
    let names = lists.as_ref().and_then(|lists| lists.find(call.arg(0))).ok_or_else(|| {
        let name = call.arg(0).escape_ascii();
        format!("set_hashed_upstream: upstream list \"{name}\" not defined yet")
    })?;
    let key = call
        .arg(1)
        .iter()
        .fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte.to_ascii_lowercase())));
    if let Some(name) = names.get((key as u32) as usize % names.len().max(1)) {
        call.out.extend_from_slice(name);
    }
    Ok(())
}
