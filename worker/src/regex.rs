//! PCRE2 patterns as nginx uses them: compiled once with JIT, captures by number and by name.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use conf::Node;
use pcre2::bytes::{CaptureLocations, Regex as Pcre, RegexBuilder};

use crate::build::Builder;
use crate::log::Level;
use crate::request::Request;
use crate::variables::{Source, VarId};

/// A compiled pattern.
#[derive(Clone)]
pub struct Regex(Rc<Inner>);

struct Inner {
    code: Pcre,
    /// Room for the groups of a match.
    locations: RefCell<CaptureLocations>,
    pattern: Box<str>,
    names: Vec<(Box<str>, usize)>,
    /// Variables that take the named groups, where they are declared.
    variables: RefCell<Vec<(VarId, usize)>>,
}

/// A pattern could not be run on a text; why was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CannotRun;

/// Where a match and its groups lie: byte offsets into the subject, by group number. Group 0 is the whole match.
#[derive(Debug, Default, Clone)]
pub struct Captures {
    /// The text the offsets point into, as it was when it matched.
    subject: Vec<u8>,
    groups: Vec<Option<(u32, u32)>>,
}

impl Captures {
    /// The text of group `n`, if it took part in the match.
    pub fn get(&self, n: usize) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(n)?)?;
        Some(&self.subject[start as usize..end as usize])
    }

    /// Number of groups including the whole match.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether nothing matched yet.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Forgets the last match; keeps the memory.
    pub fn clear(&mut self) {
        self.subject.clear();
        self.groups.clear();
    }
}

impl Regex {
    /// Compiles `pattern`; the error text is nginx's `pcre2_compile() failed: … in "pattern" at "rest"`.
    pub fn new(pattern: &str, caseless: bool) -> Result<Self, String> {
        let code = RegexBuilder::new()
            .caseless(caseless)
            .jit_if_available(true)
            .build(pattern)
            .map_err(|error| compile_error(pattern, &error))?;
        let names = code.capture_names().iter().enumerate();
        let names = names.filter_map(|(n, name)| Some((name.as_deref()?.into(), n))).collect();
        let locations = RefCell::new(code.capture_locations());
        let pattern = pattern.into();
        Ok(Self(Rc::new(Inner { code, locations, pattern, names, variables: RefCell::default() })))
    }

    /// Whether `subject` matches. A pattern that gives up (match limit) does not match.
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.0.code.is_match(subject).unwrap_or(false)
    }

    /// Matches and stores where the groups lie.
    pub fn captures(&self, subject: &[u8], into: &mut Captures) -> Result<bool, String> {
        let mut locations = self.0.locations.borrow_mut();
        let found = self.0.code.captures_read(&mut locations, subject).map_err(|error| error.to_string())?;
        if found.is_none() {
            return Ok(false);
        }
        into.subject.clear();
        into.subject.extend_from_slice(subject);
        into.groups.clear();
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        into.groups
            .extend((0..locations.len()).map(|n| locations.get(n).map(|(s, e)| (offset(s), offset(e)))));
        Ok(true)
    }

    /// Matches `subject` on behalf of `req`: groups go to `req.captures`, named ones to their variables too. A pattern that
    /// cannot be run (match limit) is logged and gives `Err`.
    pub fn exec(&self, req: &mut Request, subject: &[u8]) -> Result<bool, CannotRun> {
        match self.captures(subject, &mut req.captures) {
            Ok(true) => {
                self.store_names(req);
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                let (subject, pattern) = (subject.escape_ascii(), self.pattern());
                req.log(
                    Level::Alert,
                    format_args!("pcre2_match() failed: {error} on \"{subject}\" using \"{pattern}\""),
                );
                Err(CannotRun)
            }
        }
    }

    /// Declares the pattern's named groups as variables.
    pub fn declare_names(&self, cx: &mut Builder, node: &Node) -> conf::Result<()> {
        for (name, group) in &self.0.names {
            let id = cx.variables.declare(node, name, Source::Stored, true)?;
            self.0.variables.borrow_mut().push((id, *group));
        }
        Ok(())
    }

    /// Assigns the named groups of the match in `req.captures` to their variables.
    pub fn store_names(&self, req: &mut Request) {
        let variables = self.0.variables.borrow();
        if variables.is_empty() {
            return;
        }
        let captures = std::mem::take(&mut req.captures);
        for (id, group) in variables.iter() {
            // a group that took no part in the match is empty, and not missing
            req.values.put(*id, Some(captures.get(*group).unwrap_or_default()));
        }
        req.captures = captures;
    }

    /// Number of groups, not counting the whole match.
    pub fn group_count(&self) -> usize {
        self.0.code.captures_len() - 1
    }

    /// Named groups and their numbers.
    pub fn names(&self) -> &[(Box<str>, usize)] {
        &self.0.names
    }

    /// The pattern as written.
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }
}

fn compile_error(pattern: &str, error: &pcre2::Error) -> String {
    match error.offset() {
        Some(at) if at < pattern.len() && pattern.is_char_boundary(at) => {
            format!("pcre2_compile() failed: {} in \"{pattern}\" at \"{}\"", message(error), &pattern[at..])
        }
        _ => format!("pcre2_compile() failed: {} in \"{pattern}\"", message(error)),
    }
}

/// The crate prefixes its texts with where they came from; nginx's message has PCRE2's words alone.
fn message(error: &pcre2::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, tail)| tail.to_owned())
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_number_and_name() {
        let regex = Regex::new(r"^/(?<first>\w+)/(x)?(.*)$", false).unwrap();
        let mut captures = Captures::default();
        assert!(regex.captures(b"/ab/cd", &mut captures).unwrap());
        assert_eq!(captures.get(1), Some(&b"ab"[..]));
        assert_eq!(captures.get(2), None);
        assert_eq!(captures.get(3), Some(&b"cd"[..]));
        assert_eq!(regex.names(), &[("first".into(), 1)]);
        assert_eq!(regex.group_count(), 3);
        assert!(!regex.captures(b"nothing", &mut captures).unwrap());
        assert_eq!(captures.get(1), Some(&b"ab"[..]), "a failed match keeps the last one");
    }

    #[test]
    fn error_names_the_place() {
        let error = Regex::new("a(b", false).unwrap_err();
        assert!(error.starts_with("pcre2_compile() failed: "), "{error}");
        assert!(error.contains("in \"a(b\""), "{error}");
    }
}
