//! `jwt-auth`: consumers show a signed token.
//!
//! The consumer's configuration says which algorithm is used, never the token: a token that names another one is refused,
//! `none` included. Signatures are compared in constant time; nothing of a key gets into an answer or a log.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemas::{PluginSpec, Role};
use serde::Deserialize;
use serde_json::Value;
use worker::gateway::{Binding, attach_consumer, find_consumer};
use worker::phase::Step;
use worker::plugin::{Phases, Plugin, Prepare, Verdict};
use worker::request::Request;

use crate::{args, auth};

/// See the module's documentation.
pub(crate) struct JwtAuth(Conf);

#[derive(Deserialize)]
pub(crate) struct Conf {
    header: String,
    query: String,
    cookie: String,
    hide_credentials: bool,
    key_claim_name: String,
    realm: String,
    anonymous_consumer: Option<String>,
    claims_to_verify: Option<Vec<String>>,
    #[serde(default)]
    store_in_ctx: bool,
}

/// The longest token that is read.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

impl Plugin for JwtAuth {
    const SPEC: &'static PluginSpec = &PluginSpec {
        auth: true,
        identity: "key",
        consumer_schema: include_str!("../../schemas/plugins/jwt-auth.consumer.json"),
        check,
        ..PluginSpec::new("jwt-auth", 2510, 0.1, include_str!("../../schemas/plugins/jwt-auth.json"))
    };
    const PHASES: Phases = Phases::REWRITE;
    type Conf = Conf;

    fn prepare(conf: Conf, _: &Prepare<'_>) -> Result<Self, String> {
        if conf.store_in_ctx {
            return Err("store_in_ctx is not supported yet".into());
        }
        Ok(Self(conf))
    }

    fn rewrite<'r>(&'r self, req: &'r mut Request) -> Step<'r, Verdict> {
        let token = self.token(req);
        let found = match &token {
            Some(token) => self.identify(req, token),
            None => Err("Missing JWT token in request"),
        };
        Step::Ready(match found {
            Ok(binding) => {
                attach_consumer(req, &binding);
                Verdict::Next
            }
            Err(message) => {
                let challenge = format!("Bearer realm=\"{}\"", self.0.realm);
                auth::refuse(req, self.0.anonymous_consumer.as_deref(), &challenge, message)
            }
        })
    }
}

fn check(conf: &Value, role: Role) -> Result<(), String> {
    if role != Role::Consumer {
        return crate::check::<JwtAuth>(conf, role);
    }
    let algorithm = conf.get("algorithm").and_then(Value::as_str).unwrap_or("HS256");
    if !algorithm.starts_with("HS") {
        return Err(format!("algorithm \"{algorithm}\" is not supported yet"));
    }
    match conf.get("secret").and_then(Value::as_str) {
        None => Err("property \"secret\" is required when using HS based algorithms".into()),
        Some(_) if secret(conf).is_none() => {
            Err("base64_secret required but the secret is not in base64 format".into())
        }
        Some(_) => Ok(()),
    }
}

/// The bytes of a consumer's secret.
fn secret(conf: &Value) -> Option<Vec<u8>> {
    let text = conf.get("secret")?.as_str()?;
    match conf.get("base64_secret") {
        Some(Value::Bool(true)) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
        _ => Some(text.as_bytes().to_vec()),
    }
}

impl JwtAuth {
    /// Takes the token from field, argument or cookie.
    fn token(&self, req: &mut Request) -> Option<Vec<u8>> {
        let conf = &self.0;
        if let Some(field) = req.headers.get(conf.header.as_bytes()).map(<[u8]>::to_vec) {
            if conf.hide_credentials {
                req.headers.remove(conf.header.as_bytes());
            }
            let bearer = field.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
            return Some(if bearer { field[7..].to_vec() } else { field });
        }
        if let Some(argument) = args::get(&req.args, &conf.query) {
            if conf.hide_credentials {
                req.args = args::without(&req.args, &conf.query);
                req.unparsed_valid = false;
            }
            return Some(argument);
        }
        let mut cookie = Vec::new();
        let name = format!("cookie_{}", conf.cookie);
        if req.append_variable_by_name(name.as_bytes(), &mut cookie) != Some(true) {
            return None;
        }
        if conf.hide_credentials {
            hide_cookie(req, conf.cookie.as_bytes());
        }
        Some(cookie)
    }

    fn identify(&self, req: &Request, token: &[u8]) -> Result<Rc<Binding>, &'static str> {
        const INVALID: &str = "JWT token invalid";
        let token = Token::parse(token).ok_or(INVALID)?;
        let key = token.claims.get(&self.0.key_claim_name).and_then(Value::as_str);
        let key = key.ok_or("missing user key in JWT token")?;
        let binding = find_consumer(req, "jwt-auth", key).ok_or("Invalid user key in JWT token")?;
        let wanted = binding.conf.get("algorithm").and_then(Value::as_str).unwrap_or("HS256");
        let secret = secret(&binding.conf).ok_or("failed to verify jwt")?;
        if token.algorithm != wanted || !token.is_signed(wanted, &secret) {
            return Err("failed to verify jwt");
        }
        let grace = binding.conf.get("lifetime_grace_period").and_then(Value::as_i64).unwrap_or(0);
        token
            .check_times(self.0.claims_to_verify.as_deref(), grace)
            .then_some(binding)
            .ok_or("failed to verify jwt")
    }
}

/// A token taken apart.
struct Token<'t> {
    signed: &'t [u8],
    signature: Vec<u8>,
    algorithm: String,
    claims: Value,
}

impl<'t> Token<'t> {
    fn parse(text: &'t [u8]) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let (head, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let decode = |part: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok();
        let json = |part: &[u8]| serde_json::from_slice::<Value>(&decode(part)?).ok();
        let (header, body) = (json(head)?, json(claims)?);
        Some(Self {
            signed: &text[..head.len() + 1 + claims.len()],
            signature: decode(signature)?,
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            claims: body.is_object().then_some(body)?,
        })
    }

    fn is_signed(&self, algorithm: &str, secret: &[u8]) -> bool {
        match algorithm {
            "HS256" => Hmac::<sha2::Sha256>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(self.signed).verify_slice(&self.signature).is_ok()),
            "HS384" => Hmac::<sha2::Sha384>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(self.signed).verify_slice(&self.signature).is_ok()),
            "HS512" => Hmac::<sha2::Sha512>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(self.signed).verify_slice(&self.signature).is_ok()),
            _ => false,
        }
    }

    /// Whether the token is good now. Times that are there are looked at; those in `demanded` must be.
    fn check_times(&self, demanded: Option<&[String]>, grace: i64) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (now, grace) = (now as f64, grace as f64);
        let good = |name: &str, fits: &dyn Fn(f64) -> bool| match self.claims.get(name) {
            None => !demanded.is_some_and(|demanded| demanded.iter().any(|claim| claim == name)),
            Some(value) => value.as_f64().is_some_and(fits),
        };
        good("exp", &|at| now < at + grace) && good("nbf", &|at| now + grace >= at)
    }
}

/// Takes one cookie out of the request.
fn hide_cookie(req: &mut Request, name: &[u8]) {
    let all: Vec<u8> = req.headers.get_all(b"Cookie").collect::<Vec<_>>().join(&b"; "[..]);
    let others = all
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default() != name);
    let others = others.collect::<Vec<_>>().join(&b"; "[..]);
    req.headers.remove(b"Cookie");
    if !others.is_empty() {
        req.headers.set(b"Cookie", &others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    fn token(head: &str, claims: &str, secret: &[u8]) -> String {
        let signed = format!("{}.{}", encode(head.as_bytes()), encode(claims.as_bytes()));
        let mac =
            Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(signed.as_bytes()).finalize();
        format!("{signed}.{}", encode(&mac.into_bytes()))
    }

    #[test]
    fn the_example_of_rfc_7515() {
        let token = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let token = Token::parse(token).unwrap();
        assert!(token.is_signed("HS256", &secret));
        assert!(!token.is_signed("HS384", &secret) && !token.is_signed("none", &secret));
        assert!(!token.is_signed("HS256", b"other"));
        assert!(!token.check_times(None, 0), "it expired in 2011");
    }

    #[test]
    fn times_and_shapes() {
        let good = |claims: &str, demanded: Option<&[String]>| {
            Token::parse(token(r#"{"alg":"HS256"}"#, claims, b"s").as_bytes())
                .unwrap()
                .check_times(demanded, 0)
        };
        assert!(good(r#"{"exp": 99999999999}"#, None));
        assert!(good("{}", None) && !good("{}", Some(&["exp".to_owned()])));
        assert!(!good(r#"{"nbf": 99999999999}"#, None) && !good(r#"{"exp": "soon"}"#, None));
        for bad in ["", "a.b", "a.b.c.d", "!!.!!.!!", "e30.e30."] {
            assert!(Token::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
