//! What `log_format`, `access_log` and `open_log_file_cache` say.

use std::cell::OnceCell;
use std::rc::Rc;

use conf::value::{number, size, time};
use conf::{Error, Node, Result};

use super::escape::Escape;
use super::format::Format;
use super::named::{CacheOptions, FileCache, NamedFile};
use super::{CONF, FORMATS};
use crate::build::{Builder, Conf, MergeCx};
use crate::log::{Buffering, LogFile};
use crate::script::Template;
use crate::syslog::Syslog;

/// One `access_log`.
pub struct AccessLog {
    pub(super) sink: Sink,
    pub(super) format: Rc<Format>,
    pub(super) filter: Option<Template>,
}

/// Where lines go.
pub enum Sink {
    /// A file known beforehand.
    File(Rc<LogFile>),
    /// A file whose name has variables.
    Named(NamedFile),
    /// A syslog server.
    Syslog(Rc<Syslog>),
}

/// The logs of one level.
#[derive(Default)]
pub struct LogConf {
    /// `None`: nothing was said. Empty: `off`.
    pub(super) logs: Option<Rc<[AccessLog]>>,
    pub(super) cache: Option<Option<Rc<FileCache>>>,
    collecting: Vec<AccessLog>,
    off: bool,
}

impl Conf for LogConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        if self.cache.is_none() {
            self.cache.clone_from(&outer.cache);
        }
        self.logs = if self.off {
            Some(Rc::from([]))
        } else if self.collecting.is_empty() {
            outer.logs.clone()
        } else {
            Some(std::mem::take(&mut self.collecting).into())
        };
        Ok(())
    }
}

/// The formats of the http level.
#[derive(Default)]
pub struct Formats {
    named: Vec<(Box<str>, Rc<Format>)>,
    combined: OnceCell<Rc<Format>>,
    default: OnceCell<Rc<[AccessLog]>>,
}

impl Conf for Formats {
    fn merge(&mut self, _outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        Ok(())
    }
}

impl Formats {
    /// The log of servers for which nothing is said.
    pub(super) fn default_logs(&self, cx: &mut Builder) -> Result<Rc<[AccessLog]>> {
        if let Some(logs) = self.default.get() {
            return Ok(Rc::clone(logs));
        }
        let format = match self.combined.get() {
            Some(format) => Rc::clone(format),
            None => Rc::new(Format::combined(cx)?),
        };
        let file = cx.logs.file(&cx.paths.full("logs/access.log"));
        let log = AccessLog { sink: Sink::File(file), format, filter: None };
        Ok(Rc::clone(self.default.get_or_init(|| Rc::from([log]))))
    }
}

const COMBINED: &str = "combined";

/// `log_format name [escape=…] text …`.
pub(super) fn log_format(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.first();
    let formats = cx.http_conf(&FORMATS);
    if name == COMBINED || formats.named.iter().any(|(other, _)| **other == *name) {
        return Err(node.error(format!("duplicate \"log_format\" name \"{name}\"")));
    }
    let escape = match node.second().strip_prefix("escape=") {
        None => None,
        Some("default") => Some(Escape::Default),
        Some("json") => Some(Escape::Json),
        Some("none") => Some(Escape::None),
        Some(other) => return Err(node.error(format!("unknown log format escaping \"{other}\""))),
    };
    let texts = node.args.iter().skip(1 + usize::from(escape.is_some()));
    let texts = texts.map(|word| word.bytes());
    let format = Format::parse(cx, &node.span, texts, escape.unwrap_or(Escape::Default))?;
    cx.http_conf(&FORMATS).named.push((name.into(), Rc::new(format)));
    Ok(())
}

fn find_format(cx: &mut Builder, node: &Node, name: &str) -> Result<Rc<Format>> {
    let formats = cx.http_conf(&FORMATS);
    if name.eq_ignore_ascii_case(COMBINED) {
        if let Some(format) = formats.combined.get() {
            return Ok(Rc::clone(format));
        }
        let format = Rc::new(Format::combined(cx)?);
        return Ok(Rc::clone(cx.http_conf(&FORMATS).combined.get_or_init(|| format)));
    }
    let found = formats.named.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    found
        .map(|(_, format)| Rc::clone(format))
        .ok_or_else(|| node.error(format!("unknown log format \"{name}\"")))
}

/// `access_log path [format [buffer=size] [gzip[=level]] [flush=time] [if=condition]]`, `access_log off`.
pub(super) fn access_log(cx: &mut Builder, node: &Node) -> Result<()> {
    let path = node.first();
    if path == "off" {
        cx.conf(&CONF).off = true;
        return if node.len() > 1 { Err(node.invalid_parameter(1)) } else { Ok(()) };
    }
    let sink = if let Some(options) = path.strip_prefix("syslog:") {
        Sink::Syslog(Rc::new(Syslog::parse(node, options)?))
    } else if path.contains('$') {
        let full = cx.paths.full(path);
        Sink::Named(NamedFile::new(Template::parse(cx, node, full.as_os_str().as_encoded_bytes())?))
    } else {
        let full = cx.paths.full(path);
        Sink::File(cx.logs.file(&full))
    };
    let format = find_format(cx, node, node.arg(1).unwrap_or(COMBINED))?;
    let mut options = Options::default();
    for i in 2..node.len() {
        options.read(cx, node, i)?;
    }
    options.apply(node, &sink)?;
    cx.conf(&CONF).collecting.push(AccessLog { sink, format, filter: options.filter });
    Ok(())
}

#[derive(Default)]
struct Options {
    size: usize,
    flush_ms: Option<u64>,
    gzip: Option<u32>,
    filter: Option<Template>,
}

/// `gzip` without a size.
const GZIP_BUFFER_BYTES: usize = 64 * 1024;

impl Options {
    fn read(&mut self, cx: &mut Builder, node: &Node, i: usize) -> Result<()> {
        let text = node.arg(i).unwrap_or_default();
        match text.split_once('=') {
            Some(("buffer", value)) => {
                let size = size::parse_size(value).filter(|size| *size > 0);
                self.size = size.ok_or_else(|| node.error(format!("invalid buffer size \"{value}\"")))?;
            }
            Some(("flush", value)) => {
                let flush = time::parse_ms(value).filter(|ms| *ms > 0);
                let invalid = || node.error(format!("invalid flush time \"{value}\""));
                self.flush_ms = Some(flush.ok_or_else(invalid)?);
            }
            Some(("gzip", value)) => {
                let level = value.parse().ok().filter(|level| (1..=9).contains(level));
                let invalid = || node.error(format!("invalid compression level \"{value}\""));
                self.compressed(level.ok_or_else(invalid)?);
            }
            None if text == "gzip" => self.compressed(1),
            Some(("if", value)) => self.filter = Some(Template::parse(cx, node, value)?),
            _ => return Err(node.invalid_parameter(i)),
        }
        Ok(())
    }

    fn compressed(&mut self, level: u32) {
        self.gzip = Some(level);
        if self.size == 0 {
            self.size = GZIP_BUFFER_BYTES;
        }
    }

    fn apply(&self, node: &Node, sink: &Sink) -> Result<()> {
        let path = node.first();
        if self.size == 0 {
            return match self.flush_ms {
                None => Ok(()),
                Some(_) => Err(node.error(format!("no buffer is defined for access_log \"{path}\""))),
            };
        }
        let buffering = Buffering { size: self.size, flush_ms: self.flush_ms, gzip: self.gzip };
        match sink {
            Sink::Named(_) => Err(node.error("buffered logs cannot have variables in name")),
            Sink::Syslog(_) => Err(node.error("logs to syslog cannot be buffered")),
            Sink::File(file) if file.set_buffering(buffering) => Ok(()),
            Sink::File(_) => {
                let text = format!("access_log \"{path}\" already defined with conflicting parameters");
                Err(node.error(text))
            }
        }
    }
}

/// `open_log_file_cache max=n [inactive=time] [min_uses=n] [valid=time]`, `open_log_file_cache off`.
pub(super) fn open_log_file_cache(cx: &mut Builder, node: &Node) -> Result<()> {
    if cx.conf(&CONF).cache.is_some() {
        return Err(Error::predicate("is duplicate"));
    }
    let mut options = CacheOptions::default();
    let mut off = false;
    for (i, text) in node.str_args().enumerate() {
        let invalid = || node.error(format!("invalid \"open_log_file_cache\" parameter \"{text}\""));
        let count = |value| number::parse(value).and_then(|n| usize::try_from(n).ok()).ok_or_else(invalid);
        let ms = |value| time::parse_sec(value).map(|seconds| seconds * 1000).ok_or_else(invalid);
        match text.split_once('=') {
            Some(("max", value)) => options.max = count(value)?,
            Some(("inactive", value)) => options.inactive_ms = ms(value)?,
            Some(("min_uses", value)) => options.min_uses = count(value)?,
            Some(("valid", value)) => options.valid_ms = ms(value)?,
            None if text == "off" && i == 0 => off = true,
            _ => return Err(invalid()),
        }
    }
    let cache = if off {
        None
    } else if options.max == 0 {
        return Err(node.error("\"open_log_file_cache\" must have \"max\" parameter"));
    } else {
        Some(Rc::new(FileCache::new(options)))
    };
    cx.conf(&CONF).cache = Some(cache);
    Ok(())
}
