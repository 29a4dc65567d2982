//! `ngx_http_userid_filter_module`: a cookie that tells clients apart.
//!
//! An identifier is sixteen bytes: an address or number of the service, the time, a number of the process, a sequence. Version 2
//! has them in network order; version 1, which nobody should need, in the order of the machine that made it.

use std::cell::Cell;
use std::rc::Rc;

use ::conf::value::time;
use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::clock::unix_seconds;
use crate::fault::Fault;
use crate::filter::{Filter, Interest, Position};
use crate::log::{Level, Text};
use crate::module::{Attach, Module};
use crate::phase::Step;
use crate::request::Request;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: UserIds = UserIds;

static CONF: Slot<UserIdConf> = Slot::new();

/// See the module's documentation.
pub struct UserIds;

const fn directive(
    name: &'static str,
    arity: Arity,
    default: &'static str,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    let contexts = Contexts::HTTP_SERVER_LOCATION;
    Directive { name, contexts, arity, shape: Shape::Simple, default, doc, apply }
}

static DIRECTIVES: &[Directive<Builder>] = &[
    directive(
        "userid",
        Arity::Exactly(1),
        "off",
        "Whether cookies are set (`on`, `v1`), only read (`log`), or neither.",
        |cx, node| {
            let mode =
                node.choice(&[("off", Mode::Off), ("log", Mode::Log), ("v1", Mode::V1), ("on", Mode::On)])?;
            cx.conf(&CONF).set.mode.set(mode)
        },
    ),
    directive(
        "userid_service",
        Arity::Exactly(1),
        "address of the server",
        "Number of the service that makes identifiers.",
        |cx, node| {
            cx.conf(&CONF).set.service.check_unset()?;
            let service = u32::try_from(node.number()?).map_err(|_| node.predicate("invalid number"))?;
            cx.conf(&CONF).set.service.set(Some(service))
        },
    ),
    directive("userid_name", Arity::Exactly(1), "uid", "Name of the cookie.", |cx, node| {
        cx.conf(&CONF).set.name.set(node.bytes(0).into())
    }),
    directive("userid_domain", Arity::Exactly(1), "none", "Domain of the cookie.", |cx, node| {
        cx.conf(&CONF).set.domain.set(attribute("; domain=", node))
    }),
    directive("userid_path", Arity::Exactly(1), "/", "Path of the cookie.", |cx, node| {
        cx.conf(&CONF).set.path.set([b"; path=", node.bytes(0)].concat().into())
    }),
    directive(
        "userid_expires",
        Arity::Exactly(1),
        "off",
        "How long browsers keep the cookie.",
        |cx, node| {
            cx.conf(&CONF).set.expires.check_unset()?;
            let expires = match node.first() {
                "max" => Expires::Max,
                "off" => Expires::Session,
                text => Expires::After(time::parse_sec(text).ok_or_else(|| node.predicate("invalid value"))?),
            };
            cx.conf(&CONF).set.expires.set(expires)
        },
    ),
    directive("userid_flags", Arity::Range(1, 3), "off", "More attributes of the cookie.", flags),
    directive("userid_p3p", Arity::Exactly(1), "none", "Value of the P3P field sent along.", |cx, node| {
        cx.conf(&CONF).set.p3p.set(attribute("", node))
    }),
    directive(
        "userid_mark",
        Arity::Exactly(1),
        "off",
        "Marks cookies with a character; those without it are sent anew.",
        mark,
    ),
];

static VARIABLES: &[Variable] = &[
    Variable::new("uid_got", "Name and identifier the client sent.", |req, _, out| {
        let conf = conf_of(req);
        if conf.mode == Mode::Off {
            return false;
        }
        let ids = Ids::of(req, &conf);
        ids.got.is_some_and(|id| show(&conf.name, &id, out))
    })
    .cached(),
    Variable::new("uid_set", "Name and identifier sent to the client.", |req, _, out| {
        let conf = conf_of(req);
        if conf.mode < Mode::V1 {
            return false;
        }
        let ids = Ids::created(req, &conf);
        ids.set.is_some_and(|id| show(&conf.name, &id, out))
    })
    .cached(),
    Variable::new(
        "uid_reset",
        "Set to anything but 0: the client gets a new identifier; `log`: and it is logged.",
        |req, _, out| {
            if let Some(Reset(value)) = req.context.lasting() {
                out.extend_from_slice(&value);
            }
            true
        },
    )
    .assignable(|req, value| req.context.keep_lasting(Reset(value.into()))),
];

#[derive(Clone)]
struct Reset(Rc<[u8]>);

/// `userid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// No identifiers.
    Off,
    /// Only read.
    Log,
    /// Made in the old form.
    V1,
    /// Made.
    On,
}

/// `userid_expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// With the browser.
    Session,
    /// Never, as far as 32 bits count.
    Max,
    /// After so many seconds.
    After(u64),
}

settings! {
    /// The cookie.
    pub struct UserIdConf, UserIdSettings {
        /// `userid`.
        mode: Mode = Mode::Off,
        /// `userid_service`.
        service: Option<u32> = None,
        /// `userid_name`.
        name: Rc<[u8]> = Rc::from(*b"uid"),
        /// `userid_domain`, as an attribute.
        domain: Rc<[u8]> = Rc::from([]),
        /// `userid_path`, as an attribute.
        path: Rc<[u8]> = Rc::from(*b"; path=/"),
        /// `userid_p3p`.
        p3p: Rc<[u8]> = Rc::from([]),
        /// `userid_expires`.
        expires: Expires = Expires::Session,
        /// `userid_flags`, as attributes.
        flags: Rc<[u8]> = Rc::from([]),
        /// `userid_mark`.
        mark: Option<u8> = None,
    }
}

impl Conf for UserIdConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

fn attribute(prefix: &str, node: &Node) -> Rc<[u8]> {
    if node.first() == "none" { Rc::from([]) } else { [prefix.as_bytes(), node.bytes(0)].concat().into() }
}

/// In the order in which they are sent.
const FLAGS: [&str; 5] = ["secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"];

fn flags(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut given = [false; FLAGS.len()];
    for (i, text) in node.str_args().enumerate() {
        let at = FLAGS.iter().position(|flag| flag.eq_ignore_ascii_case(text));
        match at {
            Some(at) if given[at] => {
                cx.warn(node.warning(format!("duplicate value \"{text}\"")));
            }
            Some(at) => given[at] = true,
            None if text.eq_ignore_ascii_case("off") => {}
            None => return Err(node.invalid_value(i)),
        }
    }
    let attributes: String =
        FLAGS.iter().zip(given).filter(|(_, given)| *given).map(|(flag, _)| format!("; {flag}")).collect();
    cx.conf(&CONF).set.flags.set(attributes.into_bytes().into())
}

fn mark(cx: &mut Builder, node: &Node) -> Result<()> {
    cx.conf(&CONF).set.mark.check_unset()?;
    let mark = match node.bytes(0) {
        b"off" => None,
        [one] if one.is_ascii_alphanumeric() || *one == b'=' => Some(*one),
        _ => return Err(node.predicate("value must be \"off\" or a single letter, digit or \"=\"")),
    };
    cx.conf(&CONF).set.mark.set(mark)
}

impl Module for UserIds {
    fn name(&self) -> &'static str {
        "ngx_http_userid_filter_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.share(&CONF);
        if conf.mode >= Mode::V1 {
            cx.filter(Position::UserId, Rc::new(SetCookie { conf }));
        }
        Ok(())
    }
}

fn conf_of(req: &Request) -> Rc<UserIdConf> {
    req.location.confs.share(&CONF)
}

type Id = [u8; 16];

/// The identifiers of one client request.
#[derive(Clone, Default)]
struct Ids {
    got: Option<Id>,
    set: Option<Id>,
    /// The value of the cookie that came.
    cookie: Rc<[u8]>,
    /// The one that came is replaced.
    reset: bool,
}

/// Characters that encode sixteen bytes. What follows may be a mark, or garbage.
const ENCODED: usize = 22;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Ids {
    /// What the client sent, looked at once.
    fn of(req: &Request, conf: &UserIdConf) -> Self {
        if let Some(ids) = req.context.lasting() {
            return ids;
        }
        let mut ids = Self::default();
        if let Some(value) = req.cookie(&conf.name) {
            ids.cookie = value.into();
            match value.get(..ENCODED) {
                None => {
                    req.log_error(format_args!("client sent too short userid cookie \"{}\"", Text(value)));
                }
                Some(encoded) => match LENIENT.decode(encoded).ok().and_then(|id| Id::try_from(id).ok()) {
                    Some(id) => ids.got = Some(id).filter(|id| id[12..] != [0; 4]),
                    None => {
                        req.log_error(format_args!("client sent invalid userid cookie \"{}\"", Text(value)));
                    }
                },
            }
        }
        req.context.keep_lasting(ids.clone());
        ids
    }

    /// The same, with the identifier to be sent decided.
    fn created(req: &mut Request, conf: &UserIdConf) -> Self {
        let mut ids = Self::of(req, conf);
        if ids.set.is_some() {
            return ids;
        }
        if let Some(got) = ids.got {
            // by its name: a `map` may compute it
            let mut reset = Vec::new();
            req.append_variable_by_name(b"uid_reset", &mut reset);
            if matches!(&*reset, b"" | b"0") {
                let marked = ids.cookie.get(ENCODED..ENCODED + 2);
                let is_marked = conf.mark.is_none_or(|mark| marked == Some(&[mark, b'=']));
                if !is_marked {
                    ids.set = Some(got);
                    req.context.keep_lasting(ids.clone());
                }
                return ids;
            }
            ids.reset = true;
            if reset == b"log" {
                let mut text = Vec::new();
                show(&conf.name, &got, &mut text);
                req.log(Level::Notice, format_args!("userid cookie \"{}\" was reset", Text(&text)));
            }
        }
        ids.set = Some(new_id(req, conf));
        req.context.keep_lasting(ids.clone());
        ids
    }
}

thread_local! {
    /// Of this process: what makes its identifiers differ from those of others that began in the same second.
    static START: u32 = {
        let micros = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_micros());
        (micros / 20) << 16 | std::process::id() & 0xffff
    };
    static SEQUENCE_V1: Cell<u32> = const { Cell::new(1) };
    static SEQUENCE_V2: Cell<u32> = const { Cell::new(SEQUENCE_V2_MIN) };
}

const SEQUENCE_V2_MIN: u32 = 0x0303_0302;

fn new_id(req: &Request, conf: &UserIdConf) -> Id {
    let now = unix_seconds() as u32;
    let start = START.with(|start| *start);
    let join = |words: [[u8; 4]; 4]| {
        let mut id = Id::default();
        for (room, word) in id.chunks_exact_mut(4).zip(words) {
            room.copy_from_slice(&word);
        }
        id
    };
    if conf.mode == Mode::V1 {
        let sequence = SEQUENCE_V1.get();
        SEQUENCE_V1.set(sequence.wrapping_add(0x100));
        return join([conf.service.unwrap_or(0), now, start, sequence].map(u32::to_ne_bytes));
    }
    let sequence = SEQUENCE_V2.get();
    SEQUENCE_V2.set(sequence.wrapping_add(0x100).max(SEQUENCE_V2_MIN));
    let service = match (conf.service, req.conn.local().ip()) {
        (Some(service), _) => service,
        (None, Some(std::net::IpAddr::V4(ip))) => ip.into(),
        (None, Some(std::net::IpAddr::V6(ip))) => (u128::from(ip) & 0xffff_ffff) as u32,
        (None, None) => 0,
    };
    join([service, now, start, sequence].map(u32::to_be_bytes))
}

/// Prints `name=` and the four words of an identifier, as this machine reads them.
fn show(name: &[u8], id: &Id, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(name);
    out.push(b'=');
    for word in id.chunks_exact(4) {
        let word = u32::from_ne_bytes(word.try_into().expect("chunks of four"));
        out.extend_from_slice(format!("{word:08X}").as_bytes());
    }
    true
}

struct SetCookie {
    conf: Rc<UserIdConf>,
}

impl Filter for SetCookie {
    fn header<'r>(&'r self, req: &'r mut Request) -> Step<'r, Result<Interest, Fault>> {
        if req.is_main() {
            let ids = Ids::created(req, &self.conf);
            if let Some(cookie) = self.cookie(&ids, unix_seconds()) {
                req.out.headers.push(b"Set-Cookie", &cookie);
                if !self.conf.p3p.is_empty() {
                    req.out.headers.push(b"P3P", &self.conf.p3p);
                }
            }
        }
        Step::Ready(Ok(Interest::None))
    }
}

impl SetCookie {
    fn cookie(&self, ids: &Ids, now: i64) -> Option<Vec<u8>> {
        let conf = &*self.conf;
        let mut cookie = [&conf.name[..], b"="].concat();
        if ids.got.is_none() || ids.reset {
            let mut encoded = STANDARD.encode(ids.set?).into_bytes();
            if let Some(mark) = conf.mark {
                encoded[ENCODED] = mark;
            }
            cookie.extend_from_slice(&encoded);
        } else {
            ids.set?;
            cookie.extend_from_slice(ids.cookie.get(..ENCODED)?);
            cookie.extend([conf.mark?, b'=']);
        }
        match conf.expires {
            Expires::Session => {}
            Expires::Max => cookie.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT"),
            Expires::After(seconds) => {
                let at = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
                cookie.extend_from_slice(b"; expires=");
                cookie.extend_from_slice(&cookie_time(at));
            }
        }
        for attribute in [&conf.domain, &conf.path, &conf.flags] {
            cookie.extend_from_slice(attribute);
        }
        Some(cookie)
    }
}

/// The date form of Netscape's cookies: dashes, and two digits for years up to 2037.
fn cookie_time(second: i64) -> Vec<u8> {
    let full = http1::http_time(second);
    let (day, month, year, clock) = (&full[..7], &full[8..11], &full[12..16], &full[16..]);
    let year = if year > b"2037".as_slice() { year } else { &year[2..] };
    [day, b"-", month, b"-", year, clock].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_as_nginx_writes_them() {
        let id: Id = std::array::from_fn(|n| n as u8 + 1);
        let conf = |change: fn(&mut UserIdConf)| {
            let mut conf = UserIdConf::default();
            change(&mut conf);
            SetCookie { conf: Rc::new(conf) }
        };
        let new = Ids { set: Some(id), ..Ids::default() };
        let known = Ids {
            got: Some(id),
            set: Some(id),
            cookie: Rc::from(*b"AQIDBAUGBwgJCgsMDQ4PEA=="),
            reset: false,
        };
        type Change = fn(&mut UserIdConf);
        let cases: [(Change, &Ids, Option<&str>); 6] = [
            (|_| {}, &new, Some("uid=AQIDBAUGBwgJCgsMDQ4PEA==; path=/")),
            (|conf| conf.mark = Some(b'X'), &new, Some("uid=AQIDBAUGBwgJCgsMDQ4PEAX=; path=/")),
            (|conf| conf.mark = Some(b'X'), &known, Some("uid=AQIDBAUGBwgJCgsMDQ4PEAX=; path=/")),
            (
                |conf| conf.expires = Expires::Max,
                &new,
                Some("uid=AQIDBAUGBwgJCgsMDQ4PEA==; expires=Thu, 31-Dec-37 23:55:55 GMT; path=/"),
            ),
            (
                |conf| conf.expires = Expires::After(60),
                &new,
                Some("uid=AQIDBAUGBwgJCgsMDQ4PEA==; expires=Thu, 01-Jan-70 00:01:00 GMT; path=/"),
            ),
            (|_| {}, &Ids::default(), None),
        ];
        for (change, ids, expected) in cases {
            let cookie = conf(change).cookie(ids, 0);
            assert_eq!(cookie.as_deref(), expected.map(str::as_bytes));
        }
    }

    #[test]
    fn years_behind_2037_have_four_digits() {
        assert_eq!(cookie_time(2_145_916_555), b"Thu, 31-Dec-37 23:55:55 GMT");
        assert_eq!(cookie_time(2_145_916_555 + 86_400), b"Fri, 01-Jan-2038 23:55:55 GMT");
    }
}
