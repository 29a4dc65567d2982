//! `ngx_http_encrypted_session_module` of OpenResty's bundle: instructions that encrypt and decrypt what a client keeps.
//!
//! ```text
//! MD5 of what is encrypted | AES-256-CBC: text, when it expires (seconds since 1970, 8 bytes, 0: never), padding
//! ```
//!
//! The format is the module's, so that sessions made by OpenResty stay good. The sum is not keyed: values should be kept
//! where nobody can try many of them.

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Node, Result, Shape};
use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use md5::{Digest, Md5};

use super::rewrite::{self, Computed};
use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::Level;
use crate::module::Module;
use crate::phase::Flow;
use crate::request::Request;
use crate::script::Template;
use crate::settings;

/// The module.
pub const MODULE: EncryptedSession = EncryptedSession;

static CONF: Slot<SessionConf> = Slot::new();

/// See the module's documentation.
pub struct EncryptedSession;

const KEY_LEN: usize = 32;
const IV_LEN: usize = 16;
const SUM_LEN: usize = 16;
const TIME_LEN: usize = 8;

settings! {
    /// Settings of a location.
    pub struct SessionConf, SessionSettings {
        /// `encrypted_session_key`.
        key: Option<Rc<[u8; 32]>> = None,
        /// `encrypted_session_iv`.
        iv: [u8; 16] = *b"deadbeefdeadbeef",
        /// `encrypted_session_expires`, seconds; 0: never.
        expires: u64 = 86_400,
    }
}

impl Conf for SessionConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

const BLOCKS: Contexts =
    Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF);
const ALL_BLOCKS: Contexts = Contexts::HTTP.or(BLOCKS);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "encrypted_session_key",
        contexts: ALL_BLOCKS,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "The key of sessions, 32 bytes.",
        apply: |cx, node| {
            let key: [u8; KEY_LEN] = node.bytes(0).try_into().map_err(|_| {
                node.error(format!("encrypted_session_key: the key must be of {KEY_LEN} bytes long"))
            })?;
            cx.conf(&CONF).set.key.set(Some(Rc::new(key)))
        },
    },
    Directive {
        name: "encrypted_session_iv",
        contexts: ALL_BLOCKS,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "deadbeefdeadbeef",
        doc: "What the encryption begins with, at most 16 bytes.",
        apply: |cx, node| {
            let given = node.bytes(0);
            let mut iv = [0; IV_LEN];
            let Some(place) = iv.get_mut(..given.len()) else {
                return Err(node.error(format!(
                    "encrypted_session_iv: the init vector must NOT be longer than {IV_LEN} bytes"
                )));
            };
            place.copy_from_slice(given);
            cx.conf(&CONF).set.iv.set(iv)
        },
    },
    Directive {
        name: "encrypted_session_expires",
        contexts: ALL_BLOCKS,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1d",
        doc: "How long sessions are good; 0: for ever.",
        apply: |cx, node| {
            let seconds = node.time_ms()? / 1000;
            cx.conf(&CONF).set.expires.set(seconds)
        },
    },
    Directive {
        name: "set_encrypt_session",
        contexts: BLOCKS,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "",
        doc: "Encrypts a text, as bytes.",
        apply: |cx, node| instruction(cx, node, Rc::new(Encrypt)),
    },
    Directive {
        name: "set_decrypt_session",
        contexts: BLOCKS,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "",
        doc: "Decrypts what set_encrypt_session made; empty if it is anything else or has expired.",
        apply: |cx, node| instruction(cx, node, Rc::new(Decrypt)),
    },
];

fn instruction(cx: &mut Builder, node: &Node, call: Rc<dyn Computed>) -> Result<()> {
    let source = node.arg(node.len() - 1).unwrap_or_default();
    let source = Template::parse(cx, node, source)?;
    rewrite::push_computed(cx, node, node.first(), [source].into(), call)
}

impl Module for EncryptedSession {
    fn name(&self) -> &'static str {
        "ngx_http_encrypted_session_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

/// The key of the location.
fn key(req: &Request, conf: &SessionConf) -> std::result::Result<Rc<[u8; KEY_LEN]>, Flow> {
    conf.key.clone().ok_or_else(|| {
        req.log(
            Level::Error,
            format_args!(
                "encrypted_session: a key is required to be defined by the encrypted_session_key directive"
            ),
        );
        Flow::Status(500)
    })
}

struct Encrypt;

impl Computed for Encrypt {
    fn compute(
        &self,
        req: &mut Request,
        args: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Flow> {
        let conf = req.location.confs.share(&CONF);
        let key = key(req, &conf)?;
        let expires = if conf.expires == 0 { 0 } else { net::unix_ms() / 1000 + conf.expires };
        out.extend(seal(&key, &conf.iv, &args[0], expires));
        Ok(())
    }
}

struct Decrypt;

impl Computed for Decrypt {
    fn compute(
        &self,
        req: &mut Request,
        args: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Flow> {
        let conf = req.location.confs.share(&CONF);
        let key = key(req, &conf)?;
        match open(&key, &conf.iv, &args[0], net::unix_ms() / 1000) {
            Some(text) => out.extend(text),
            // one message whatever was wrong: nobody shall learn how far a forgery came
            None => req.log(Level::Info, format_args!("encrypted_session: failed to decrypt session")),
        }
        Ok(())
    }
}

/// Encrypts `text`, which expires then, seconds since 1970.
fn seal(key: &[u8; KEY_LEN], iv: &[u8; IV_LEN], text: &[u8], expires: u64) -> Vec<u8> {
    let plain = [text, &expires.to_be_bytes()].concat();
    let sum = Md5::digest(&plain);
    let body = cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_padded_vec::<Pkcs7>(&plain);
    [&sum[..], &body].concat()
}

/// Decrypts; `None`: it was not encrypted with this key, or has expired.
fn open(key: &[u8; KEY_LEN], iv: &[u8; IV_LEN], sealed: &[u8], now: u64) -> Option<Vec<u8>> {
    let (sum, body) = sealed.split_at_checked(SUM_LEN)?;
    let mut plain =
        cbc::Decryptor::<Aes256>::new(key.into(), iv.into()).decrypt_padded_vec::<Pkcs7>(body).ok()?;
    let own = Md5::digest(&plain);
    // every byte is looked at, however early one differs
    let differs = own.iter().zip(sum).fold(0, |bits, (a, b)| bits | (a ^ b));
    if differs != 0 {
        return None;
    }
    let time = plain.split_off(plain.len().checked_sub(TIME_LEN)?);
    let expires = u64::from_be_bytes(time.try_into().ok()?);
    (expires == 0 || expires > now).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz123456";
    const IV: &[u8; 16] = b"deadbeefdeadbeef";

    #[test]
    fn what_was_sealed_is_opened_until_it_expires() {
        let sealed = seal(KEY, IV, b"text", 100);
        assert_eq!(sealed.len(), 16 + 16);
        assert_eq!(open(KEY, IV, &sealed, 99).as_deref(), Some(&b"text"[..]));
        assert_eq!(open(KEY, IV, &sealed, 100), None);
        assert_eq!(open(b"another key of thirty-two bytes!", IV, &sealed, 1), None);
        assert_eq!(open(KEY, IV, &seal(KEY, IV, b"", 0), u64::MAX).as_deref(), Some(&b""[..]));
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_ne!(open(KEY, IV, &forged, 1).as_deref(), Some(&b"text"[..]));
        }
        assert_eq!(open(KEY, IV, &sealed[..20], 1), None);
    }
}
