//! `ngx_http_secure_link_module`: links that are valid only with a hash, and if it says so only for a time.

use std::rc::Rc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use conf::{Arity, Contexts, Directive, Error, Node, Result, Setting, Shape};
use md5::{Digest, Md5};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::clock;
use crate::module::Module;
use crate::request::Request;
use crate::script::Template;
use crate::variables::Variable;

/// The module.
pub const MODULE: SecureLink = SecureLink;

/// See the module's documentation.
pub struct SecureLink;

impl Module for SecureLink {
    fn name(&self) -> &'static str {
        "ngx_http_secure_link_module"
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

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "secure_link",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Hash and, behind a comma, time of expiry of a link.",
        apply: |cx, node| {
            cx.conf(&CONF).link.check_unset()?;
            let template = template(cx, node)?;
            cx.conf(&CONF).link.set(template)
        },
    },
    Directive {
        name: "secure_link_md5",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Text whose MD5 must be the link's hash.",
        apply: |cx, node| {
            cx.conf(&CONF).md5.check_unset()?;
            let template = template(cx, node)?;
            cx.conf(&CONF).md5.set(template)
        },
    },
    Directive {
        name: "secure_link_secret",
        contexts: Contexts::LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Secret word of links of the form /prefix/hash/link.",
        apply: |cx, node| cx.conf(&CONF).secret.set(node.bytes(0).into()),
    },
];

fn template(cx: &mut Builder, node: &Node) -> Result<Rc<Template>> {
    Template::parse(cx, node, node.bytes(0)).map(Rc::new)
}

static VARIABLES: &[Variable] = &[
    Variable::new("secure_link", "1 for a valid link, 0 for one that is out of date.", |req, _, out| {
        let location = Rc::clone(&req.location);
        location.confs.get(&CONF).check(req, out)
    })
    .cached(),
    Variable::new("secure_link_expires", "Time of expiry of the link.", |req, _, out| {
        match req.context.get::<Expires>() {
            Some(Expires(text)) => {
                out.extend_from_slice(text);
                true
            }
            None => false,
        }
    }),
];

static CONF: Slot<LinkConf> = Slot::new();

/// Settings of a location.
#[derive(Default)]
struct LinkConf {
    link: Setting<Rc<Template>>,
    md5: Setting<Rc<Template>>,
    secret: Setting<Rc<[u8]>>,
}

impl Conf for LinkConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        if self.secret.is_set() {
            if self.link.is_set() || self.md5.is_set() {
                return Err(Error::new(
                    "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"",
                ));
            }
            return Ok(());
        }
        self.link.inherit(&outer.link);
        self.md5.inherit(&outer.md5);
        if !self.link.is_set() && !self.md5.is_set() {
            self.secret.inherit(&outer.secret);
        }
        Ok(())
    }
}

/// The time of expiry as the link has it.
struct Expires(Vec<u8>);

/// Padding may be there or not.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl LinkConf {
    fn check(&self, req: &mut Request, out: &mut Vec<u8>) -> bool {
        if let Some(secret) = self.secret.as_ref() {
            return match link_behind_hash(req.head.request_uri(), secret) {
                Some(link) => {
                    out.extend_from_slice(link);
                    true
                }
                None => false,
            };
        }
        let (Some(link), Some(text)) = (self.link.as_ref(), self.md5.as_ref()) else { return false };
        let link = link.eval(req);
        let (hash, expires) = match memchr::memchr(b',', &link) {
            None => (&link[..], None),
            Some(comma) => {
                let text = &link[comma + 1..];
                let Some(time @ 1..) = decimal(text) else { return false };
                req.context.set(Expires(text.to_vec()));
                (&link[..comma], Some(time))
            }
        };
        let Ok(hash) = DECODER.decode(hash) else { return false };
        let Ok(hash) = <[u8; 16]>::try_from(hash) else { return false };
        let expected: [u8; 16] = Md5::digest(text.eval(req)).into();
        if !same(&hash, &expected) {
            return false;
        }
        let over = expires.is_some_and(|time| time < clock::unix_seconds());
        out.push(if over { b'0' } else { b'1' });
        true
    }
}

/// The link in `/prefix/hash/link`, if the hash is that of link and secret.
fn link_behind_hash<'u>(uri: &'u [u8], secret: &[u8]) -> Option<&'u [u8]> {
    let rest = uri.get(1..)?;
    let rest = &rest[memchr::memchr(b'/', rest)? + 1..];
    let slash = memchr::memchr(b'/', rest)?;
    let (hash, link) = (&rest[..slash], &rest[slash + 1..]);
    if hash.len() != 32 || link.is_empty() {
        return None;
    }
    let mut given = [0u8; 16];
    for (byte, digits) in given.iter_mut().zip(hash.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    let expected: [u8; 16] = Md5::new().chain_update(link).chain_update(secret).finalize().into();
    same(&given, &expected).then_some(link)
}

/// Compares in the same time whatever differs.
fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok().and_then(conf::value::number::parse).and_then(|time| time.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_links() {
        // md5("linksecret")
        let hash: String = Md5::digest(b"linksecret").iter().map(|byte| format!("{byte:02X}")).collect();
        let check = |uri: &str| {
            let uri = uri.replace("HASH", &hash);
            link_behind_hash(uri.as_bytes(), b"secret").map(|link| String::from_utf8_lossy(link).into_owned())
        };
        assert_eq!(check("/p/HASH/link").as_deref(), Some("link"));
        for wrong in
            ["/p/HASH/links", "/p/HASH/", "/p/HASH", "/HASH/link", "/p/q/HASH/link", "/p/xHASH/link", "", "/"]
        {
            assert_eq!(check(wrong), None, "{wrong}");
        }
    }
}
