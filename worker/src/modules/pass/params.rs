//! Parameters of a request as CGI has them (RFC 3875): those of the configuration, and the client's fields as `HTTP_*`.

use std::rc::Rc;

use conf::{Node, Result};
use http1::Known;

use crate::build::Builder;
use crate::request::Request;
use crate::script::Template;

/// One `*_param`.
#[derive(Debug, Clone)]
pub struct Param {
    name: Box<[u8]>,
    value: Template,
    if_not_empty: bool,
}

/// `*_param name value [if_not_empty]`.
pub(in crate::modules) fn parse(cx: &mut Builder, node: &Node) -> Result<Param> {
    let if_not_empty = match node.arg(2) {
        None => false,
        Some("if_not_empty") => true,
        Some(_) => return Err(node.invalid_parameter(2)),
    };
    Ok(Param { name: node.bytes(0).into(), value: Template::parse(cx, node, node.second())?, if_not_empty })
}

/// All parameters of a location.
pub(in crate::modules) struct Params {
    list: Rc<[Param]>,
    pass_fields: bool,
    /// Fields in whose place the configuration has a parameter, in the form of parameters: `X_FORWARDED_FOR`.
    replaced: Vec<Box<[u8]>>,
}

const PREFIX: &[u8] = b"HTTP_";

impl Params {
    pub(in crate::modules) fn new(list: &Rc<[Param]>, pass_fields: bool) -> Self {
        let fields = list.iter().filter_map(|param| param.name.strip_prefix(PREFIX));
        let replaced = fields.map(|name| name.to_ascii_uppercase().into()).collect();
        Self { list: Rc::clone(list), pass_fields, replaced }
    }

    /// Hands every parameter to `push`.
    pub(in crate::modules) fn each(&self, req: &mut Request, mut push: impl FnMut(&[u8], &[u8])) {
        let mut value = Vec::new();
        for param in self.list.iter() {
            // an empty text takes the client's field away
            if param.name.starts_with(PREFIX) && param.value.is_empty() {
                continue;
            }
            value.clear();
            param.value.append(req, &mut value);
            if !(param.if_not_empty && value.is_empty()) {
                push(&param.name, &value);
            }
        }
        if self.pass_fields {
            self.fields(req, &mut value, &mut push);
        }
    }

    /// The client's fields; those of one name are one parameter.
    fn fields(&self, req: &Request, value: &mut Vec<u8>, push: &mut impl FnMut(&[u8], &[u8])) {
        let mut name = Vec::new();
        for (at, (known, field, first)) in req.headers.entries().enumerate() {
            name.clear();
            name.extend_from_slice(PREFIX);
            name.extend(
                field.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }),
            );
            let plain = &name[PREFIX.len()..];
            // `HTTP_PROXY` is the environment's word for something else: no client may set it
            if plain == b"PROXY" || self.replaced.iter().any(|replaced| **replaced == *plain) {
                continue;
            }
            let same = |(_, other, _): &(Option<Known>, &[u8], &[u8])| other.eq_ignore_ascii_case(field);
            if req.headers.entries().take(at).any(|entry| same(&entry)) {
                continue;
            }
            value.clear();
            value.extend_from_slice(first);
            let separator: &[u8] = if known == Some(Known::Cookie) { b"; " } else { b", " };
            for (_, _, more) in req.headers.entries().skip(at + 1).filter(same) {
                value.extend_from_slice(separator);
                value.extend_from_slice(more);
            }
            push(&name, value);
        }
    }
}
