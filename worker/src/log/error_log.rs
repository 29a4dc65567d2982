//! The error log: nginx's levels and line format.
//!
//! `2026/11/23 08:30:00 [error] 17#17: *5 message, client: 127.0.0.1, server: x, request: "GET / HTTP/1.1", host: "x"`

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::rc::Rc;

use super::Target;
use crate::request::Request;

/// How bad it is; a log configured at a level takes that level and everything worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The process cannot go on.
    Emerg = 1,
    /// A bug or a broken system.
    Alert,
    /// Critical.
    Crit,
    /// A request could not be served as configured.
    Error,
    /// Worth a look.
    Warn,
    /// Worth knowing.
    Notice,
    /// Clients' doings.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    /// nginx's names.
    pub const ALL: [(&'static str, Level); 8] = [
        ("emerg", Level::Emerg),
        ("alert", Level::Alert),
        ("crit", Level::Crit),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("notice", Level::Notice),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];

    /// The level called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(text, _)| *text == name).map(|(_, level)| *level)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize - 1].0
    }
}

/// The error logs of one level of the configuration.
#[derive(Clone)]
pub struct ErrorLog {
    targets: Rc<[(Target, Level)]>,
    /// The most talkative of them.
    max: Level,
}

impl ErrorLog {
    /// Logs to all of `targets`, each from its own level on.
    pub fn new(targets: Vec<(Target, Level)>) -> Self {
        let max = targets.iter().map(|(_, level)| *level).max().unwrap_or(Level::Emerg);
        Self { targets: targets.into(), max }
    }

    /// Whether anything takes `level`: asked before a message is formatted.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.max
    }

    /// Writes one line. `connection` is printed as `*N`.
    pub fn write(
        &self,
        level: Level,
        connection: Option<u64>,
        message: fmt::Arguments<'_>,
        context: Option<&RequestContext<'_>>,
    ) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            super::time::error_log(line);
            let pid = std::process::id();
            let mut text = String::new();
            let _ = write!(text, " [{}] {pid}#{pid}: ", level.name());
            if let Some(number) = connection {
                let _ = write!(text, "*{number} ");
            }
            let _ = text.write_fmt(message);
            if let Some(context) = context {
                let _ = write!(text, "{context}");
            }
            let cut = floor_char_boundary(&text, LINE_BYTES_MAX);
            text.truncate(cut);
            line.extend_from_slice(text.as_bytes());
            line.push(b'\n');
            for (target, _) in self.targets.iter().filter(|(_, from)| level <= *from) {
                match target {
                    // a full disk must not stop the service
                    Target::File(file) => drop(file.append(line)),
                    Target::Syslog(syslog) => syslog.send(level, &line[..line.len() - 1]),
                }
            }
        });
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PROCESS: RefCell<Option<ErrorLog>> = const { RefCell::new(None) };
}

/// A line is cut here (nginx: 2,048; Lua tracebacks are longer).
const LINE_BYTES_MAX: usize = 4096;

fn floor_char_boundary(text: &str, at: usize) -> usize {
    if text.len() <= at {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Makes `log` the log of messages that belong to no request.
pub fn set_process_log(log: ErrorLog) {
    PROCESS.set(Some(log));
}

/// Writes a message that belongs to no request; to standard error while no log is configured.
pub fn process(level: Level, message: fmt::Arguments<'_>) {
    PROCESS.with_borrow(|log| match log {
        Some(log) if log.enabled(level) => log.write(level, None, message, None),
        Some(_) => {}
        None => eprintln!("[{}] {message}", level.name()),
    });
}

/// Whether messages of `level` that belong to no request are logged.
pub fn process_enabled(level: Level) -> bool {
    PROCESS.with_borrow(|log| log.as_ref().is_none_or(|log| log.enabled(level)))
}

/// What a request adds to its lines.
pub struct RequestContext<'a>(&'a Request);

impl<'a> RequestContext<'a> {
    /// The context of `req`.
    pub fn of(req: &'a Request) -> Self {
        Self(req)
    }
}

impl fmt::Display for RequestContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let req = self.0;
        write!(f, ", client: {}, server: {}", req.client.text, req.server_conf().display_name())?;
        let line = req.head.request_line();
        if !line.is_empty() {
            write!(f, ", request: \"{}\"", Text(line))?;
        }
        if req.origin != crate::request::Origin::Client {
            write!(f, ", subrequest: \"{}\"", Text(&req.uri))?;
        }
        if let Some(upstream) = req.upstream.current() {
            write!(f, ", upstream: \"{upstream}\"")?;
        }
        if let Some(host) = req.header(http1::Known::Host) {
            write!(f, ", host: \"{}\"", Text(host))?;
        }
        if let Some(referrer) = req.header(http1::Known::Referer) {
            write!(f, ", referrer: \"{}\"", Text(referrer))?;
        }
        Ok(())
    }
}

/// Bytes from outside in a line: as they are, as nginx prints them, but for what would disturb a terminal or a reader
/// that expects UTF-8.
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for (n, part) in chunk.valid().split(|c: char| c.is_control()).enumerate() {
                if n > 0 {
                    f.write_char('.')?;
                }
                f.write_str(part)?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes_stay_readable_and_on_one_line() {
        for (bytes, expected) in [
            (&b"GET /a\"b\\c HTTP/1.1"[..], "GET /a\"b\\c HTTP/1.1"),
            ("Grüße".as_bytes(), "Grüße"),
            (b"a\x1b[31m\nb", "a.[31m.b"),
            (b"a\xff\xfeb", "a\\xFF\\xFEb"),
        ] {
            assert_eq!(Text(bytes).to_string(), expected);
        }
    }
}
