//! Configuration errors in nginx's words.
//!
//! An error's text is what nginx prints after `[emerg] `: a message, and for everything found while reading
//! the configuration the place, as ` in FILE:LINE`. Code that finds an error deep inside a value reader does
//! not know the place or the directive; the walk over the tree (see [`crate::directive::apply`]) adds both on
//! the way out.

use std::fmt;
use std::io;

use crate::ast::Span;

/// Longest message without its place, as in nginx; the rest is cut off, since a word of the configuration may be
/// as long as 4095 bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// A result whose error is a configuration [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How an error counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration cannot be used.
    Fatal,
    /// The configuration uses something nginx has and this server does not have yet. It cannot be used, but the
    /// walk goes on so that all such places are listed at once.
    Unsupported,
    /// The configuration is usable; nginx logs this with `[warn]`.
    Warning,
}

/// Whether an error has a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Not known yet: the walk adds the directive's span.
    Absent,
    /// The message is complete without one.
    None,
    /// There.
    At(Span),
}

/// One configuration error. Displays as `MESSAGE in FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    place: Place,
    kind: Kind,
    /// The message is a predicate ("is duplicate") that still wants `"name" directive ` before it.
    predicate: bool,
}

impl Error {
    /// An error whose place is added by the walk.
    pub fn new(message: impl Into<String>) -> Error {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Error { message, place: Place::Absent, kind: Kind::Fatal, predicate: false }
    }

    /// An error at a known place.
    pub fn at(span: &Span, message: impl Into<String>) -> Error {
        Error { place: Place::At(span.clone()), ..Error::new(message) }
    }

    /// An error that nginx reports without a place, such as a certificate that cannot be loaded.
    pub fn without_place(message: impl Into<String>) -> Error {
        Error { place: Place::None, ..Error::new(message) }
    }

    /// What a directive says of itself: `is duplicate`, `invalid value`, `invalid number`. The walk makes it
    /// `"name" directive is duplicate in FILE:LINE`.
    pub fn predicate(message: impl Into<String>) -> Error {
        Error { predicate: true, ..Error::new(message) }
    }

    /// Something nginx has and this server does not have yet.
    pub fn unsupported(span: &Span, message: impl Into<String>) -> Error {
        Error { kind: Kind::Unsupported, ..Error::at(span, message) }
    }

    /// Something nginx accepts with a `[warn]`.
    pub fn warning(span: &Span, message: impl Into<String>) -> Error {
        Error { kind: Kind::Warning, ..Error::at(span, message) }
    }

    /// A failed call on a file, as nginx prints it: `open() "PATH" failed (2: No such file or directory)`.
    pub fn system(call: &str, path: &str, error: &io::Error) -> Error {
        Error::new(format!("{call} \"{path}\" failed ({})", errno(error)))
    }

    /// Adds the place, unless the error has one already or wants none.
    #[must_use]
    pub fn with_span(mut self, span: &Span) -> Error {
        if self.place == Place::Absent {
            self.place = Place::At(span.clone());
        }
        self
    }

    /// Completes a predicate with the directive's name; other errors stay as they are.
    #[must_use]
    pub fn in_directive(mut self, name: &str) -> Error {
        if self.predicate {
            self.message = format!("\"{name}\" directive {}", self.message);
            self.predicate = false;
        }
        self
    }

    /// The message without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The place, if there is one.
    pub fn span(&self) -> Option<&Span> {
        match &self.place {
            Place::At(span) => Some(span),
            Place::Absent | Place::None => None,
        }
    }

    /// How the error counts.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this is something nginx has and this server does not have yet.
    pub fn is_unsupported(&self) -> bool {
        self.kind == Kind::Unsupported
    }

    /// Whether this is only a warning.
    pub fn is_warning(&self) -> bool {
        self.kind == Kind::Warning
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.span() {
            Some(span) => write!(f, " in {span}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// A system error as nginx prints it: `2: No such file or directory`.
pub fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            let tail = format!(" (os error {code})");
            format!("{code}: {}", text.strip_suffix(&tail).unwrap_or(&text))
        }
        None => text,
    }
}

/// One or more errors, in the order they were found. Displays one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// The collected errors, or `None` when there are none.
    pub fn from_vec(errors: Vec<Error>) -> Option<Errors> {
        if errors.is_empty() { None } else { Some(Errors(errors)) }
    }

    /// The errors, at least one.
    pub fn as_slice(&self) -> &[Error] {
        &self.0
    }

    /// Adds one more.
    pub fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// The errors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Errors {
        Errors(vec![error])
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_message_and_place() {
        let span = Span::new("/etc/nginx.conf", 12);
        let cases = [
            (Error::new("no \"events\" section in configuration"), "no \"events\" section in configuration"),
            (Error::at(&span, "unknown directive \"x\""), "unknown directive \"x\" in /etc/nginx.conf:12"),
            (
                Error::predicate("is duplicate").in_directive("root").with_span(&span),
                "\"root\" directive is duplicate in /etc/nginx.conf:12",
            ),
            (Error::without_place("cannot load certificate").with_span(&span), "cannot load certificate"),
            (
                Error::at(&Span::new(crate::ast::COMMAND_LINE, 0), "unknown directive \"x\""),
                "unknown directive \"x\" in command line",
            ),
            (
                Error::at(&span, "first place wins").with_span(&Span::new("other", 1)),
                "first place wins in /etc/nginx.conf:12",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn system_errors_carry_number_and_text() {
        let error = Error::system("open()", "/x", &io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "open() \"/x\" failed (2: No such file or directory)");
    }

    #[test]
    fn long_messages_are_cut() {
        let error = Error::at(&Span::new("f", 1), format!("x{}", "ä".repeat(4000)));
        assert_eq!(error.message().len(), MESSAGE_BYTES_MAX - 1);
        assert!(error.to_string().ends_with(" in f:1"));
    }

    #[test]
    fn errors_are_never_empty() {
        assert_eq!(Errors::from_vec(Vec::new()), None);
        let mut errors = Errors::from(Error::new("a"));
        errors.push(Error::new("b"));
        assert_eq!(errors.to_string(), "a\nb");
        assert_eq!(errors.iter().count(), errors.as_slice().len());
    }
}
