//! `ngx_http_referer_module`: `$invalid_referer` says whether a request comes from a page it should not come from.

use std::cell::OnceCell;
use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};
use http1::Known;

use super::http;
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::locate::ServerName;
use crate::module::Module;
use crate::regex::Regex;
use crate::request::Request;
use crate::variables::Variable;
use crate::wildcard::WildcardMap;

/// The module.
pub const MODULE: Referer = Referer;

/// See the module's documentation.
pub struct Referer;

impl Module for Referer {
    fn name(&self) -> &'static str {
        "ngx_http_referer_module"
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
}

const PLACES: Contexts = Contexts::SERVER.or(Contexts::LOCATION);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "valid_referers",
        contexts: PLACES,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Values of Referer that leave $invalid_referer empty.",
        apply: valid_referers,
    },
    Directive {
        name: "referer_hash_max_size",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "2048",
        doc: "Accepted without effect: tables size themselves.",
        apply: |cx, node| cx.conf(&CONF).hash_max_size.set(node.number()?),
    },
    Directive {
        name: "referer_hash_bucket_size",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64",
        doc: "Accepted without effect: tables size themselves.",
        apply: |cx, node| cx.conf(&CONF).hash_bucket_size.set(node.number()?),
    },
];

static VARIABLES: &[Variable] =
    &[Variable::new("invalid_referer", "1 unless the Referer field is a valid one.", |req, _, out| {
        let location = Rc::clone(&req.location);
        if !location.confs.get(&CONF).accepts(req) {
            out.push(b'1');
        }
        true
    })];

static CONF: Slot<RefererConf> = Slot::new();

/// `valid_referers` of one level.
#[derive(Default)]
struct RefererConf {
    own: Option<Rules>,
    rules: Option<Rc<Rules>>,
    hash_max_size: Setting<u64>,
    hash_bucket_size: Setting<u64>,
}

/// What is accepted.
#[derive(Default)]
struct Rules {
    /// `none`: a request without the field.
    none: bool,
    /// `blocked`: a field without a scheme, as some firewalls leave it.
    blocked: bool,
    /// `server_names`: the names of the server itself.
    server_names: bool,
    /// Hosts, with what the path must begin with.
    hosts: WildcardMap<Rc<[u8]>>,
    /// Patterns for everything behind the scheme.
    patterns: Vec<Regex>,
    /// The server's names, collected when they are needed first.
    of_server: OnceCell<ServerNames>,
}

#[derive(Default)]
struct ServerNames {
    names: WildcardMap<()>,
    patterns: Vec<Regex>,
}

impl Conf for RefererConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.hash_max_size.merge(&outer.hash_max_size, 2048);
        self.hash_bucket_size.merge(&outer.hash_bucket_size, 64);
        match self.own.take() {
            Some(rules) => {
                let hosts = rules.server_names || !rules.hosts.is_empty();
                if (rules.none || rules.blocked) && !hosts {
                    return Err(conf::Error::without_place(
                        "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" \
                         directive without any valid referer",
                    ));
                }
                self.rules = Some(Rc::new(rules));
            }
            None => self.rules.clone_from(&outer.rules),
        }
        Ok(())
    }
}

fn valid_referers(cx: &mut Builder, node: &Node) -> Result<()> {
    let rules = cx.conf(&CONF).own.get_or_insert_default();
    for word in node.str_args() {
        match word {
            "" => return Err(node.error("invalid referer \"\"")),
            "none" => rules.none = true,
            "blocked" => rules.blocked = true,
            "server_names" => rules.server_names = true,
            _ => match word.strip_prefix('~') {
                Some("") => return Err(node.error("empty regex in \"~\"")),
                Some(pattern) => {
                    let regex = Regex::new(pattern, true).map_err(|error| node.error(error))?;
                    rules.patterns.push(regex);
                }
                None => {
                    let (host, path) = word.split_at(word.find('/').unwrap_or(word.len()));
                    let added = rules.hosts.add(host.as_bytes(), path.as_bytes().into());
                    added.map_err(|error| node.error(error.message(host.as_bytes())))?;
                }
            },
        }
    }
    Ok(())
}

/// The shortest field that names a host; shorter ones count as blocked.
const SHORTEST: usize = b"http://i.ru".len();
/// Longer hosts are no hosts.
const HOST_BYTES_MAX: usize = 256;

impl RefererConf {
    fn accepts(&self, req: &Request) -> bool {
        let Some(rules) = &self.rules else { return true };
        let Some(referer) = req.header(Known::Referer) else { return rules.none };
        let rest = Some(referer).filter(|referer| referer.len() >= SHORTEST).and_then(without_scheme);
        match rest {
            None => rules.blocked,
            Some(rest) => rules.accept(req, rest),
        }
    }
}

fn without_scheme(referer: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = referer.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

impl Rules {
    /// `rest`: what stands behind the scheme.
    fn accept(&self, req: &Request, rest: &[u8]) -> bool {
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b':')).unwrap_or(rest.len());
        if end > HOST_BYTES_MAX {
            return false;
        }
        let host = rest[..end].to_ascii_lowercase();
        if let Some(path) = self.hosts.find(&host) {
            let slash = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            return rest[slash..].starts_with(path);
        }
        if self.server_names {
            let of_server = self.of_server.get_or_init(|| ServerNames::of(req));
            if of_server.names.find(&host).is_some() {
                return true;
            }
            if of_server.patterns.iter().any(|regex| regex.is_match(&host)) {
                return true;
            }
        }
        self.patterns.iter().any(|regex| regex.is_match(rest))
    }
}

impl ServerNames {
    /// Collects the names of the server that the rules stand in.
    fn of(req: &Request) -> Self {
        let mut collected = Self::default();
        let names = &req.server.confs.get(&http::SERVER).server_names;
        for (text, name) in names.iter() {
            match name {
                ServerName::Regex(regex) => collected.patterns.push(regex.clone()),
                // a name given twice is accepted once
                _ => drop(collected.names.add(text.as_bytes(), ())),
            }
        }
        collected
    }
}
