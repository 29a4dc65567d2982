//! `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: attributes of cookies that servers set.

use std::rc::Rc;

use conf::{Node, Result};

use super::rule::{self, Rule};
use crate::build::Builder;
use crate::regex::Regex;
use crate::request::Request;
use crate::script::Template;

/// One `proxy_cookie_flags` rule.
#[derive(Debug, Clone)]
pub struct CookieFlags {
    name: CookieName,
    flags: Rc<[Template]>,
}

#[derive(Debug, Clone)]
enum CookieName {
    Equal(Template),
    Regex(Regex),
}

impl CookieFlags {
    /// Reads `cookie [flag …]`.
    pub(super) fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let name = match node.first().strip_prefix('~') {
            Some(pattern) => CookieName::Regex(rule::regex(cx, node, pattern, true)?),
            None => CookieName::Equal(Template::parse(cx, node, node.first())?),
        };
        let flags: Result<Vec<_>> =
            node.str_args().skip(1).map(|flag| Template::parse(cx, node, flag)).collect();
        Ok(Self { name, flags: flags?.into() })
    }

    fn applies(&self, req: &mut Request, cookie: &[u8]) -> bool {
        match &self.name {
            CookieName::Equal(name) => name.eval(req).eq_ignore_ascii_case(cookie),
            CookieName::Regex(regex) => {
                let mut captures = std::mem::take(&mut req.captures);
                let found = regex.captures(cookie, &mut captures).unwrap_or(false);
                req.captures = captures;
                if found {
                    regex.store_names(req);
                }
                found
            }
        }
    }
}

/// What flags ask for; `None`: nothing is said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    secure: Option<bool>,
    http_only: Option<bool>,
    /// `Some(None)`: remove it.
    same_site: Option<Option<&'static str>>,
}

impl Wanted {
    fn read(req: &mut Request, flags: &[Template]) -> Self {
        let mut wanted = Self::default();
        for flag in flags {
            match flag.eval(req).to_ascii_lowercase().as_slice() {
                b"secure" => wanted.secure = Some(true),
                b"nosecure" => wanted.secure = Some(false),
                b"httponly" => wanted.http_only = Some(true),
                b"nohttponly" => wanted.http_only = Some(false),
                b"samesite=strict" => wanted.same_site = Some(Some("Strict")),
                b"samesite=lax" => wanted.same_site = Some(Some("Lax")),
                b"samesite=none" => wanted.same_site = Some(Some("None")),
                b"nosamesite" => wanted.same_site = Some(None),
                _ => {}
            }
        }
        wanted
    }
}

/// One attribute of a cookie, or its name and value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Attribute {
    fn flag(key: &str, value: Option<&str>) -> Self {
        Self { key: key.as_bytes().to_vec(), value: value.map(|value| value.as_bytes().to_vec()) }
    }
}

/// What a location does to cookies.
pub(super) struct CookieRules {
    pub(super) domains: Rc<[Rule]>,
    pub(super) paths: Rc<[Rule]>,
    pub(super) flags: Rc<[CookieFlags]>,
}

impl CookieRules {
    pub(super) fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty()
    }

    /// The value of `Set-Cookie` after the rules; `None`: none applies.
    pub(super) fn rewrite(&self, req: &mut Request, value: &[u8]) -> Option<Vec<u8>> {
        let mut attributes = parse(value);
        attributes.first()?.value.as_ref()?;
        let mut changed = false;
        for attribute in &mut attributes[1..] {
            let Some(old) = &attribute.value else { continue };
            let rules = if attribute.key.eq_ignore_ascii_case(b"domain") {
                &self.domains
            } else if attribute.key.eq_ignore_ascii_case(b"path") {
                &self.paths
            } else {
                continue;
            };
            if let Some(new) = rule::first(rules, req, old, 0) {
                attribute.value = Some(new);
                changed = true;
            }
        }
        let name = attributes[0].key.clone();
        if let Some(rule) = self.flags.iter().find(|rule| rule.applies(req, &name)) {
            let wanted = Wanted::read(req, &rule.flags);
            if wanted != Wanted::default() {
                edit(&mut attributes, &wanted);
                changed = true;
            }
        }
        changed.then(|| print(&attributes))
    }
}

fn parse(value: &[u8]) -> Vec<Attribute> {
    let attribute = |part: &[u8]| match memchr::memchr(b'=', part) {
        Some(at) => Attribute {
            key: part[..at].trim_ascii().to_vec(),
            value: Some(part[at + 1..].trim_ascii().to_vec()),
        },
        None => Attribute { key: part.trim_ascii().to_vec(), value: None },
    };
    value.split(|byte| *byte == b';').map(attribute).collect()
}

fn print(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&attribute.key);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

/// Adds, changes and removes flags; those that are right stay as they are written.
fn edit(attributes: &mut Vec<Attribute>, wanted: &Wanted) {
    let mut left = Wanted { secure: wanted.secure, http_only: wanted.http_only, same_site: wanted.same_site };
    let mut first = true;
    attributes.retain_mut(|attribute| {
        if std::mem::take(&mut first) {
            return true;
        }
        let is = |name: &[u8]| attribute.key.eq_ignore_ascii_case(name);
        if is(b"secure") {
            return keep_flag(&mut left.secure);
        }
        if is(b"httponly") {
            return keep_flag(&mut left.http_only);
        }
        if is(b"samesite") {
            match left.same_site {
                Some(None) => return false,
                Some(Some(value)) => {
                    left.same_site = None;
                    let same = attribute
                        .value
                        .as_ref()
                        .is_some_and(|old| old.eq_ignore_ascii_case(value.as_bytes()));
                    if !same {
                        *attribute = Attribute::flag("SameSite", Some(value));
                    }
                }
                None => {}
            }
        }
        true
    });
    if left.secure == Some(true) {
        attributes.push(Attribute::flag("Secure", None));
    }
    if left.http_only == Some(true) {
        attributes.push(Attribute::flag("HttpOnly", None));
    }
    if let Some(Some(value)) = left.same_site {
        attributes.push(Attribute::flag("SameSite", Some(value)));
    }
}

/// Whether a flag that is there stays; one that was wanted needs not be added any more.
fn keep_flag(wanted: &mut Option<bool>) -> bool {
    match wanted {
        Some(false) => false,
        Some(true) => {
            *wanted = None;
            true
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_added_changed_and_removed() {
        let on = |text: &str, wanted: &Wanted| {
            let mut attributes = parse(text.as_bytes());
            edit(&mut attributes, wanted);
            String::from_utf8(print(&attributes)).unwrap()
        };
        let all = Wanted { secure: Some(true), http_only: Some(true), same_site: Some(Some("Lax")) };
        assert_eq!(on("a=b", &all), "a=b; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(on("a=b; secure ;  samesite=strict", &all), "a=b; secure; SameSite=Lax; HttpOnly");
        assert_eq!(on("a=b; samesite=lax", &all), "a=b; samesite=lax; Secure; HttpOnly");
        let none = Wanted { secure: Some(false), http_only: Some(false), same_site: Some(None) };
        assert_eq!(on("secure=b; Secure; HttpOnly; SameSite=None; Path=/", &none), "secure=b; Path=/");
    }
}
