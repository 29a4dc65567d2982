//! `ngx_http_browser_module`: tells modern browsers from ancient ones by `User-Agent`.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use http1::Known;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::module::Module;
use crate::phase::is_msie;
use crate::request::Request;
use crate::settings;
use crate::variables::Variable;

/// The module.
pub const MODULE: Browser = Browser;

static CONF: Slot<BrowserConf> = Slot::new();

/// See the module's documentation.
pub struct Browser;

const HSL: Contexts = Contexts::HTTP_SERVER_LOCATION;

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "modern_browser",
        contexts: HSL,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "",
        doc: "A browser (msie, gecko, opera, safari, konqueror) that is modern from a version on, or `unlisted`: all others are.",
        apply: modern_browser,
    },
    Directive {
        name: "ancient_browser",
        contexts: HSL,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Texts in `User-Agent` that make a browser ancient; `netscape4` stands for all of its kind.",
        apply: |cx, node| {
            let list = cx.conf(&CONF).set.ancient.or_insert_with(Ancient::default);
            for word in node.args.iter() {
                match word.bytes() {
                    b"netscape4" => list.netscape4 = true,
                    text => list.texts = list.texts.iter().cloned().chain([text.into()]).collect(),
                }
            }
            Ok(())
        },
    },
    Directive {
        name: "modern_browser_value",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1",
        doc: "Value of $modern_browser for a modern browser.",
        apply: |cx, node| {
            cx.conf(&CONF).set.modern_value.replace(node.bytes(0).into());
            Ok(())
        },
    },
    Directive {
        name: "ancient_browser_value",
        contexts: HSL,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1",
        doc: "Value of $ancient_browser for an ancient browser.",
        apply: |cx, node| {
            cx.conf(&CONF).set.ancient_value.replace(node.bytes(0).into());
            Ok(())
        },
    },
];

static VARIABLES: &[Variable] = &[
    Variable::new(
        "modern_browser",
        "The value of modern_browser_value if the browser is modern.",
        |req, _, out| {
            let conf = req.location.confs.share(&CONF);
            value(out, &conf.modern_value, conf.is_modern(req.header(Known::UserAgent)))
        },
    ),
    Variable::new(
        "ancient_browser",
        "The value of ancient_browser_value if the browser is ancient.",
        |req, _, out| {
            let conf = req.location.confs.share(&CONF);
            value(out, &conf.ancient_value, !conf.is_modern(req.header(Known::UserAgent)))
        },
    ),
    Variable::new("msie", "`1` for any Internet Explorer.", |req: &mut Request, _, out| {
        value(out, b"1", is_msie(req))
    }),
];

/// Appends `text` if it is the one; otherwise the value is empty.
fn value(out: &mut Vec<u8>, text: &[u8], applies: bool) -> bool {
    if applies {
        out.extend_from_slice(text);
    }
    true
}

/// What `modern_browser` directives say.
#[derive(Debug, Clone, Default)]
pub struct Modern {
    /// In the order in which they are looked for.
    browsers: Rc<[(Kind, Version)]>,
    unlisted: bool,
}

/// What `ancient_browser` directives say.
#[derive(Debug, Clone, Default)]
pub struct Ancient {
    texts: Rc<[Box<[u8]>]>,
    netscape4: bool,
}

settings! {
    /// Browsers in a location.
    pub struct BrowserConf, BrowserSettings {
        /// `modern_browser`.
        modern: Modern = Modern::default(),
        /// `ancient_browser`.
        ancient: Ancient = Ancient::default(),
        /// `modern_browser_value`.
        modern_value: Rc<[u8]> = Rc::from(*b"1"),
        /// `ancient_browser_value`.
        ancient_value: Rc<[u8]> = Rc::from(*b"1"),
    }
}

impl Conf for BrowserConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// A family of browsers. Opera comes first: it says it is others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Opera,
    Msie,
    Gecko,
    Safari,
    Konqueror,
}

const KINDS: [(&str, Kind); 5] = [
    ("opera", Kind::Opera),
    ("msie", Kind::Msie),
    ("gecko", Kind::Gecko),
    ("safari", Kind::Safari),
    ("konqueror", Kind::Konqueror),
];

impl Kind {
    /// Behind how many bytes of a `User-Agent` its mark is looked for, the mark, and the bytes between it and the version.
    fn mark(self) -> (usize, &'static [u8], usize) {
        match self {
            Self::Opera => (0, b"Opera", 1),
            Self::Msie => ("Mozilla/4.0 (compatible; ".len(), b"MSIE ", 0),
            Self::Gecko => ("Mozilla/5.0 (".len(), b"rv:", 0),
            Self::Safari => ("Mozilla/5.0 (".len(), b"Safari/", 0),
            Self::Konqueror => ("Mozilla/5.0 (compatible; ".len(), b"Konqueror/", 0),
        }
    }
}

/// The first four numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 4]);

impl Version {
    /// Later than any.
    const NEVER: Self = Self([u32::MAX; 4]);

    /// Reads numbers with dots between them as far as there are any; returns what follows them too.
    fn parse(text: &[u8]) -> (Self, &[u8]) {
        let (mut numbers, mut place) = ([0u32; 4], 0);
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b'0'..=b'9' if place < numbers.len() => {
                    numbers[place] = numbers[place].saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                }
                b'0'..=b'9' => {}
                b'.' => place += 1,
                _ => return (Self(numbers), &text[at..]),
            }
        }
        (Self(numbers), b"")
    }
}

fn modern_browser(cx: &mut Builder, node: &Node) -> Result<()> {
    let Some(version) = node.arg(1) else {
        if node.first() != "unlisted" {
            return Err(node.invalid_parameter(0));
        }
        cx.conf(&CONF).set.modern.or_insert_with(Modern::default).unlisted = true;
        return Ok(());
    };
    let name = node.first();
    let found = KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, kind) = found.ok_or_else(|| node.error(format!("unknown browser name \"{name}\"")))?;
    let (parsed, rest) = Version::parse(version.as_bytes());
    if !rest.is_empty() {
        return Err(node.error(format!("invalid browser version \"{version}\"")));
    }
    let modern = cx.conf(&CONF).set.modern.or_insert_with(Modern::default);
    let mut browsers: Vec<(Kind, Version)> = modern.browsers.to_vec();
    browsers.push((*kind, parsed));
    if !browsers.iter().any(|(kind, _)| *kind == Kind::Opera) {
        // it must not be taken for another one
        browsers.push((Kind::Opera, Version::NEVER));
    } else if *kind == Kind::Opera {
        browsers.retain(|browser| *browser != (Kind::Opera, Version::NEVER));
    }
    browsers.sort_by_key(|(kind, _)| *kind);
    modern.browsers = browsers.into();
    Ok(())
}

impl BrowserConf {
    /// Whether a browser is modern; one that does not say what it is counts as not listed.
    fn is_modern(&self, agent: Option<&[u8]>) -> bool {
        let Some(agent) = agent else { return self.modern.unlisted };
        for (kind, from) in self.modern.browsers.iter() {
            let (skip, mark, gap) = kind.mark();
            let rest = agent.get(skip..).unwrap_or_default();
            let version = memchr::memmem::find(rest, mark).and_then(|at| rest.get(at + mark.len() + gap..));
            if let Some(version) = version.filter(|version| !version.is_empty()) {
                return Version::parse(version).0 >= *from;
            }
        }
        if !self.modern.browsers.is_empty() && !self.modern.unlisted {
            return false;
        }
        let netscape4 = agent.len() > "Mozilla/4.72 ".len()
            && agent.strip_prefix(b"Mozilla/").is_some_and(|rest| matches!(rest[0], b'1'..=b'4'));
        let ancient = self.ancient.texts.iter().any(|text| memchr::memmem::find(agent, text).is_some());
        let is_ancient = ancient || (self.ancient.netscape4 && netscape4);
        !is_ancient && self.modern.unlisted
    }
}

impl Module for Browser {
    fn name(&self) -> &'static str {
        "ngx_http_browser_module"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(browsers: &[(Kind, &str)], unlisted: bool) -> BrowserConf {
        let browsers = browsers.iter().map(|(kind, version)| (*kind, Version::parse(version.as_bytes()).0));
        let mut conf =
            BrowserConf { modern: Modern { browsers: browsers.collect(), unlisted }, ..Default::default() };
        conf.ancient.texts = Rc::from([b"Lynx"[..].into()]);
        conf.ancient.netscape4 = true;
        conf
    }

    #[test]
    fn agents() {
        let conf = conf(&[(Kind::Opera, "9.0"), (Kind::Msie, "5.5"), (Kind::Gecko, "1.0.0")], true);
        for (agent, modern) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 5.01; Windows)", false),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0; en) Opera 8.0", false),
            ("Opera/9.01 (X11; FreeBSD 6 i386; U; en)", true),
            ("Mozilla/5.0 (X11; U; Linux i686; en-US; rv:0.9.4) Gecko/2001", false),
            ("Mozilla/5.0 (X11; rv:145.0) Gecko/20100101", true),
            ("Mozilla/4.72 [en] (X11)", false),
            ("Lynx/2.8", false),
            ("curl/8", true),
            ("Mozilla/", true),
            ("", true),
        ] {
            assert_eq!(conf.is_modern(Some(agent.as_bytes())), modern, "{agent}");
        }
        assert!(conf.is_modern(None));
        assert!(!BrowserConf::default().is_modern(Some(b"curl/8")));
    }

    #[test]
    fn versions() {
        let version = |text: &str| Version::parse(text.as_bytes()).0;
        assert!(version("5.5") < version("5.51") && version("5.10") > version("5.9"));
        assert_eq!(version("99999999999999999999"), Version([u32::MAX, 0, 0, 0]));
        assert_eq!(Version::parse(b"1.2.3.4.5;").1, b";");
    }
}
