//! Rules that replace a part of a field: `proxy_redirect`, `proxy_cookie_domain`, `proxy_cookie_path`.

use conf::{Node, Result};

use crate::build::Builder;
use crate::regex::Regex;
use crate::request::Request;
use crate::script::Template;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) pattern: Pattern,
    pub(super) replacement: Template,
}

/// What a rule applies to.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// The value begins with this.
    Prefix(Template),
    /// The value is this domain, a leading dot aside, in any case.
    Domain(Template),
    /// The value matches.
    Regex(Regex),
}

impl Rule {
    /// Reads `pattern replacement`; `~` begins a pattern, `~*` one without regard to case.
    pub(super) fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let pattern = match (node.first().strip_prefix("~*"), node.first().strip_prefix('~')) {
            (Some(rest), _) => Pattern::Regex(regex(cx, node, rest, true)?),
            (None, Some(rest)) => Pattern::Regex(regex(cx, node, rest, false)?),
            (None, None) => Pattern::Prefix(Template::parse(cx, node, node.first())?),
        };
        Ok(Self { pattern, replacement: Template::parse(cx, node, node.second())? })
    }

    /// Reads the arguments of `proxy_cookie_domain`: `~` begins a pattern without regard to case.
    pub(super) fn parse_domain(cx: &mut Builder, node: &Node) -> Result<Self> {
        if let Some(rest) = node.first().strip_prefix('~') {
            let pattern = Pattern::Regex(regex(cx, node, rest, true)?);
            return Ok(Self { pattern, replacement: Template::parse(cx, node, node.second())? });
        }
        let bare = |text: &str| text.strip_prefix('.').unwrap_or(text).to_owned();
        let pattern = Pattern::Domain(Template::parse(cx, node, bare(node.first()))?);
        Ok(Self { pattern, replacement: Template::parse(cx, node, bare(node.second()))? })
    }

    /// The value with what the rule replaces from byte `from` on; `None`: it does not apply.
    pub(super) fn apply(&self, req: &mut Request, value: &[u8], from: usize) -> Option<Vec<u8>> {
        let part = &value[from..];
        let replaced = match &self.pattern {
            Pattern::Prefix(pattern) => {
                let pattern = pattern.eval(req);
                part.starts_with(&pattern).then_some(from..from + pattern.len())?
            }
            Pattern::Domain(pattern) => {
                let pattern = pattern.eval(req);
                let dot = usize::from(part.first() == Some(&b'.'));
                part[dot..].eq_ignore_ascii_case(&pattern).then_some(from + dot..value.len())?
            }
            Pattern::Regex(regex) => {
                let mut captures = std::mem::take(&mut req.captures);
                let found = regex.captures(part, &mut captures).unwrap_or(false);
                req.captures = captures;
                if !found {
                    return None;
                }
                regex.store_names(req);
                from..value.len()
            }
        };
        let mut out = value[..replaced.start].to_vec();
        self.replacement.append(req, &mut out);
        out.extend_from_slice(&value[replaced.end..]);
        Some(out)
    }
}

/// Compiles a pattern of a directive and declares its named groups.
pub(super) fn regex(cx: &mut Builder, node: &Node, text: &str, caseless: bool) -> Result<Regex> {
    let regex = Regex::new(text, caseless).map_err(|error| node.error(error))?;
    regex.declare_names(cx, node)?;
    Ok(regex)
}

/// The result of the first rule that applies.
pub(super) fn first(rules: &[Rule], req: &mut Request, value: &[u8], from: usize) -> Option<Vec<u8>> {
    rules.iter().find_map(|rule| rule.apply(req, value, from))
}
