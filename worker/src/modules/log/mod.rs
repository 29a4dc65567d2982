//! `ngx_http_log_module`: access logs.
//!
//! A request passes every log of its location when its response is complete. A line is rendered into a buffer of the
//! thread and handed to the file, which writes the lines of many requests at once (see [`crate::log::LogFile`]), to a file
//! whose name the request decides ([`named`]), or to syslog.

mod conf;
mod escape;
mod format;
mod named;

use std::cell::Cell;
use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Result, Shape};

use self::conf::{AccessLog, LogConf, Sink};
use self::named::FileCache;
use crate::build::{Builder, Slot};
use crate::log::Level;
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;

/// The module.
pub const MODULE: AccessLogs = AccessLogs;

static CONF: Slot<LogConf> = Slot::new();
static FORMATS: Slot<conf::Formats> = Slot::new();

/// See the module's documentation.
pub struct AccessLogs;

const PLACES: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LOCATION_IF).or(Contexts::LIMIT_EXCEPT);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "log_format",
        contexts: Contexts::HTTP,
        arity: Arity::AtLeast(2),
        shape: Shape::Simple,
        default: "combined \"...\"",
        doc: "Names a format of access log lines: text and variables, escaped for a log (`escape=default`), for JSON \
              strings (`escape=json`), or not at all (`escape=none`).",
        apply: conf::log_format,
    },
    Directive {
        name: "access_log",
        contexts: PLACES,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "logs/access.log combined",
        doc: "Where requests are logged, in which format, and under which condition; `off`: nowhere. Lines without \
              `buffer=` are written together at the end of a turn of the event loop.",
        apply: conf::access_log,
    },
    Directive {
        name: "open_log_file_cache",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 4),
        shape: Shape::Simple,
        default: "off",
        doc: "Keeps log files whose names have variables open.",
        apply: conf::open_log_file_cache,
    },
];

impl Module for AccessLogs {
    fn name(&self) -> &'static str {
        "ngx_http_log_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&FORMATS);
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        let cache = conf.cache.clone().flatten();
        let logs = match &conf.logs {
            Some(logs) => Rc::clone(logs),
            None => cx.confs.get(&FORMATS).default_logs(cx.builder)?,
        };
        if !logs.is_empty() {
            cx.handler(Phase::Log, order::ACCESS_LOG, Rc::new(Writer { logs, cache }));
        }
        Ok(())
    }
}

/// The logs of one location.
struct Writer {
    logs: Rc<[AccessLog]>,
    cache: Option<Rc<FileCache>>,
}

thread_local! {
    /// The line being made; taken out while it is, because variables run code of other modules.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory of a line that is kept for the next one.
const LINE_KEPT_MAX: usize = 64 * 1024;

impl Handler for Writer {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        let mut line = LINE.take();
        for log in self.logs.iter() {
            line.clear();
            if log.wants(req) {
                log.format.append(req, &mut line);
                log.write(req, &mut line, self.cache.as_deref());
            }
        }
        if line.capacity() <= LINE_KEPT_MAX {
            LINE.set(line);
        }
        Step::Ready(Flow::Next)
    }
}

impl AccessLog {
    /// Whether `if=` lets the request pass.
    fn wants(&self, req: &mut Request) -> bool {
        let Some(filter) = &self.filter else { return true };
        !matches!(&*filter.eval(req), b"" | b"0")
    }

    fn write(&self, req: &mut Request, line: &mut Vec<u8>, cache: Option<&FileCache>) {
        match &self.sink {
            Sink::File(file) => {
                line.push(b'\n');
                file.line(line);
            }
            Sink::Named(name) => {
                line.push(b'\n');
                name.write(req, line, cache);
            }
            Sink::Syslog(syslog) => {
                if syslog.send_access(line).is_err() {
                    req.log(Level::Warn, format_args!("send() to syslog failed"));
                }
            }
        }
    }
}
