//! Fields that APISIX knows and this program does not act on: refused by name.

use schemas::Kind;
use schemas::expr::Expr;
use serde_json::Value;

use super::Result;

/// Balancers there are.
const BALANCERS: [&str; 3] = ["roundrobin", "chash", "least_conn"];

/// Refuses what is not supported in a resource of `kind`.
pub(super) fn check(kind: Kind, value: &Value) -> Result {
    match kind {
        Kind::Route => none_of(value, &["filter_func", "script", "script_id"]),
        Kind::Service => none_of(value, &["script"]),
        Kind::Upstream => {
            none_of(value, &["checks", "discovery_type", "service_name", "tls"])?;
            let text = |field: &str| value.get(field).and_then(Value::as_str);
            if let Some(scheme) = text("scheme").filter(|scheme| *scheme != "http") {
                return Err(refuse(&format!("scheme \"{scheme}\"")));
            }
            match text("type") {
                Some(kind) if !BALANCERS.contains(&kind) => Err(refuse(&format!("type \"{kind}\""))),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Refuses variables that need the body of a request.
pub(super) fn check_vars(expr: &Expr) -> Result {
    let body = |name: &&str| name.starts_with("post_arg") || name.starts_with("graphql_");
    match expr.names().into_iter().find(body) {
        Some(name) => Err(refuse(&format!("variable \"{name}\""))),
        None => Ok(()),
    }
}

fn none_of(value: &Value, fields: &[&str]) -> Result {
    match fields.iter().find(|field| value.get(**field).is_some()) {
        Some(field) => Err(refuse(&format!("\"{field}\""))),
        None => Ok(()),
    }
}

fn refuse(what: &str) -> String {
    format!("invalid configuration: {what} is not supported yet")
}
