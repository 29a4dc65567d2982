//! What an upstream must satisfy besides its schema.

use schemas::{Kind, Validator};
use serde_json::Value;

use super::{Against, Checker, Result, id_of, invalid, unsupported};

/// Variables a `chash` upstream may hash.
const VARS: &str = r#"{"type": "string", "pattern":
    "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$"}"#;
/// Names of header fields and cookies.
const NAME: &str = r#"{"type": "string", "pattern": "^[a-zA-Z0-9-_]+$"}"#;

impl Checker {
    /// Checks an upstream, alone or within a route or service.
    pub(super) fn check_upstream(&self, value: &mut Value, against: Against<'_>) -> Result {
        self.validators[&Kind::Upstream].check(value).map_err(invalid)?;
        if let Some(Value::Object(nodes)) = value.get("nodes") {
            for address in nodes.keys() {
                let port = address.rsplit_once(':').filter(|_| !address.ends_with(']')).map(|(_, port)| port);
                if let Some(number) = port.and_then(|port| port.parse::<u64>().ok())
                    && !(1..=65535).contains(&number)
                {
                    return Err(format!("invalid port {number}"));
                }
            }
        }
        check_client_certificate(value, against)?;
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        if text("pass_host") == Some("rewrite") && text("upstream_host").is_none_or(str::is_empty) {
            return Err("`upstream_host` can't be empty when `pass_host` is `rewrite`".into());
        }
        if text("type") == Some("chash") {
            check_hash(text("hash_on").unwrap_or("vars"), value.get("key"))?;
        }
        unsupported::check(Kind::Upstream, value)
    }
}

fn check_client_certificate(value: &Value, against: Against<'_>) -> Result {
    let Some(id) = value.get("tls").and_then(|tls| id_of(tls, "client_cert_id")) else { return Ok(()) };
    let Some(state) = against.state else { return Ok(()) };
    match state.get(Kind::Ssl, &id) {
        None => Err(format!("failed to fetch ssl info by ssl id [{id}], response code: 404")),
        Some(ssl) if ssl.value.get("type").and_then(Value::as_str) != Some("client") => {
            Err(format!("failed to fetch ssl info by ssl id [{id}], wrong ssl type"))
        }
        Some(_) => Ok(()),
    }
}

fn check_hash(hash_on: &str, key: Option<&Value>) -> Result {
    let schema = match (hash_on, key) {
        ("consumer", _) => return Ok(()),
        (_, None) => return Err("missing key".into()),
        ("vars", _) => VARS,
        ("header" | "cookie", _) => NAME,
        _ => return Ok(()),
    };
    let mut key = key.cloned().unwrap_or_default();
    Validator::built_in(schema).check(&mut key).map_err(invalid)
}
