//! Texts with variables: `$host`, `${host}`, `\$host` for a dollar sign, and `$1` where a pattern matched.

use worker::request::Request;

/// Stands for a question mark that is part of a path; paths have no NUL.
pub(crate) const QUESTION: u8 = 0;

/// A compiled text.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Variable(String),
    Capture(usize),
}

impl Template {
    /// Compiles a text.
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let escaped = rest.strip_prefix("\\$").and_then(name);
            let (found, len) = match (escaped, rest.strip_prefix('$').and_then(reference)) {
                (Some((name, len)), _) => {
                    plain.push(b'$');
                    plain.extend_from_slice(name.as_bytes());
                    rest = &rest[len + 2..];
                    continue;
                }
                (None, Some((found, len))) => (found, len + 1),
                (None, None) => {
                    plain.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
                    rest = &rest[first.len_utf8()..];
                    continue;
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(match found.parse() {
                Ok(number) => Part::Capture(number),
                Err(_) => Part::Variable(found.to_owned()),
            });
            rest = &rest[len..];
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// The text of a request, and how many of its variables have a value. `captures` are the groups of a match.
    pub(crate) fn eval(&self, req: &mut Request, captures: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let mut resolved = 0;
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(name) => {
                    resolved +=
                        usize::from(req.append_variable_by_name(name.as_bytes(), &mut out) == Some(true));
                }
                Part::Capture(number) => {
                    out.extend_from_slice(captures.get(*number).map_or(&[][..], |group| group));
                }
            }
        }
        (out, resolved)
    }

    /// The text of a request as a path: a question mark in a value is [`QUESTION`], it does not begin the arguments.
    pub(crate) fn eval_path(&self, req: &mut Request) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            let start = out.len();
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Capture(_) => {}
                Part::Variable(name) => {
                    req.append_variable_by_name(name.as_bytes(), &mut out);
                    out[start..].iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = QUESTION);
                }
            }
        }
        out
    }

    /// The text of a match alone.
    pub(crate) fn of_captures(&self, captures: &pcre2::bytes::Captures<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(_) => {}
                Part::Capture(number) => {
                    out.extend_from_slice(captures.get(*number).map_or(&[][..], |group| group.as_bytes()));
                }
            }
        }
        out
    }
}

/// A name at the beginning of `text`, and its length.
fn name(text: &str) -> Option<(&str, usize)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], end))
}

/// `name` or `{name}` at the beginning of `text`, and the length of all of it.
fn reference(text: &str) -> Option<(&str, usize)> {
    match text.strip_prefix('{') {
        Some(inner) => {
            let (name, len) = name(inner)?;
            inner[len..].starts_with('}').then_some((name, len + 2))
        }
        None => name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let parts = |text: &str| Template::new(text).0;
        let text = |text: &str| Part::Text(text.into());
        let variable = |name: &str| Part::Variable(name.into());
        assert_eq!(
            parts("/a/$uri?x=${arg_x}y"),
            [text("/a/"), variable("uri"), text("?x="), variable("arg_x"), text("y")]
        );
        assert_eq!(parts("\\$host $"), [text("$host $")]);
        assert_eq!(parts("$1-${2}"), [Part::Capture(1), text("-"), Part::Capture(2)]);
        assert_eq!(parts("${x"), [text("${x")]);
        assert_eq!(parts("ä$b"), [text("ä"), variable("b")]);
    }
}
