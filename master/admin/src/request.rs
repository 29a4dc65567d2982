//! A request as handlers see it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::reply::{Reply, Result};

/// The longest body in bytes, APISIX's limit.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024 + 512 * 1024;
/// How long a write waits for all workers unless `?wait=` says otherwise.
const WAIT: Duration = Duration::from_secs(5);
/// The longest `?wait=`.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Request {
    /// In lower case.
    pub(crate) method: String,
    /// Segments of the path, unescaped.
    pub(crate) path: Vec<String>,
    /// Arguments; of several with one name the last.
    pub(crate) args: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Who asked: the role of the key, for the history.
    pub(crate) role: &'static str,
}

impl Request {
    /// The body as JSON; `None`: there is no body.
    pub(crate) fn json(&self) -> Result<Option<Value>> {
        if self.body.is_empty() {
            return Ok(None);
        }
        let read = read_json(&self.body);
        read.map(Some).map_err(|error| {
            let text = String::from_utf8_lossy(&self.body);
            Reply::json(
                400,
                serde_json::json!({ "error_msg": format!("invalid request body: {error}"), "req_body": text }),
            )
        })
    }

    /// `?ttl=` in seconds.
    pub(crate) fn ttl(&self) -> Result<Option<u64>> {
        let Some(text) = self.args.get("ttl") else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Ok(Some(seconds.max(0.0) as u64)),
            _ => Err(Reply::error(400, "invalid argument ttl: should be a number")),
        }
    }

    /// `?wait=` in ms; 0: do not wait.
    pub(crate) fn wait(&self) -> Result<Duration> {
        let Some(text) = self.args.get("wait") else { return Ok(WAIT) };
        match text.parse() {
            Ok(ms) => Ok(Duration::from_millis(ms).min(WAIT_MAX)),
            Err(_) => Err(Reply::error(400, "invalid argument wait: should be a number of milliseconds")),
        }
    }

    /// Whether an argument is set to `true` or `1`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.args.get(name).map(String::as_str), Some("true" | "1"))
    }
}

/// Reads JSON. Names that occur twice are refused: two readers would see two different objects.
pub(crate) fn read_json(bytes: &[u8]) -> std::result::Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde::de::DeserializeSeed::deserialize(Strict, &mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Reads a value whose objects have no name twice.
struct Strict;

impl<'de> serde::de::DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format_args!("duplicate name \"{name}\"")));
            }
            let value = entries.next_value_seed(Strict)?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

/// Reads `a=b&c=d`.
pub(crate) fn read_args(query: &str) -> HashMap<String, String> {
    let pair = |piece: &str| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (unescape(name, true), unescape(value, true))
    };
    query.split('&').filter(|piece| !piece.is_empty()).map(pair).collect()
}

/// Undoes percent-escapes; `plus`: `+` is a blank.
pub(crate) fn unescape(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match (bytes[at], code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_not_occur_twice() {
        assert!(read_json(br#"{"a": 1, "b": [{"a": 2}]}"#).is_ok());
        for bad in [&br#"{"a": 1, "a": 2}"#[..], br#"{"x": [{"a": 1, "a": 1}]}"#, b"{} x", b"{", b"\xff"] {
            assert!(read_json(bad).is_err());
        }
        let deep = [b"[".repeat(1000), b"]".repeat(1000)].concat();
        assert!(read_json(&deep).is_err(), "nesting has a limit");
    }

    #[test]
    fn arguments() {
        let args = read_args("a=1&b=x%20y+z&c&%");
        assert_eq!(args["a"], "1");
        assert_eq!(args["b"], "x y z");
        assert_eq!(args["c"], "");
        assert_eq!(args["%"], "");
    }
}
