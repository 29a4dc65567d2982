//! Schemas and plugins.

use control::Plane;
use control::check::Against;
use schemas::{Kind, PluginSpec, Role, Validator};
use serde_json::{Map, Value, json};

use crate::reply::{Reply, Result};
use crate::request::Request;

/// `/apisix/admin/schema/…`
pub(crate) fn schema(plane: &Plane, request: &Request, path: &[&str]) -> Result {
    match (request.method.as_str(), path) {
        ("get", ["plugins", name]) => plugin(plane, request, name),
        ("get", [name]) => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.schema_name() == *name);
            match kind.and_then(Kind::schema_text) {
                Some(text) => Ok(Reply::json(200, Validator::expand(text))),
                None => Err(Reply::error(400, format!("not found schema: {name}"))),
            }
        }
        ("post", ["validate", name]) => validate(plane, request, name),
        _ => Err(Reply::error(404, "not found")),
    }
}

fn validate(plane: &Plane, request: &Request, name: &str) -> Result {
    let unknown = || Reply::error(404, format!("Unsupported resource type: {name}"));
    let kind = Kind::of_directory(name).ok_or_else(unknown)?;
    let value = request.json()?.ok_or_else(|| Reply::error(400, "missing configurations"))?;
    let id = value.get("id").and_then(Value::as_str);
    let checked = plane.checker.check(kind, id, &value, Against { state: None });
    checked.map(|()| Reply::empty(200)).map_err(|error| Reply::error(400, error))
}

/// `/apisix/admin/plugins/…`
pub(crate) fn plugins(plane: &Plane, request: &Request, path: &[&str]) -> Result {
    match (request.method.as_str(), path) {
        ("put", ["reload"]) => Ok(Reply::text(200, "done")),
        (method, ["reload"]) => {
            let method = method.to_ascii_uppercase();
            let text =
                format!("please use PUT method to reload the plugins, {method} method is not allowed.");
            Err(Reply::error(405, text))
        }
        ("get", ["list"]) => match request.args.get("subsystem").map(String::as_str) {
            None | Some("http") => {
                let names: Vec<Value> = plane.checker.plugins().iter().map(|spec| spec.name.into()).collect();
                Ok(Reply::json(200, names.into()))
            }
            Some("stream") => Ok(Reply::json(200, json!([]))),
            Some(_) => Err(Reply::text(400, "invalid subsystem passed")),
        },
        ("get", []) if request.flag("all") => {
            let all = plane.checker.plugins().into_iter().map(|spec| (spec.name.to_owned(), described(spec)));
            Ok(Reply::json(200, Value::Object(all.collect())))
        }
        ("get", [name]) => plugin(plane, request, name),
        _ => Err(Reply::error(404, "not found")),
    }
}

fn described(spec: &PluginSpec) -> Value {
    let mut out = Map::new();
    out.insert("version".into(), spec.version.into());
    out.insert("priority".into(), spec.priority.into());
    out.insert("schema".into(), Validator::expand(spec.schema));
    if spec.auth {
        out.insert("type".into(), "auth".into());
    }
    for (name, text) in [("consumer_schema", spec.consumer_schema), ("metadata_schema", spec.metadata_schema)]
    {
        if !text.is_empty() {
            out.insert(name.into(), Validator::expand(text));
        }
    }
    Value::Object(out)
}

fn plugin(plane: &Plane, request: &Request, name: &str) -> Result {
    let subsystem = request.args.get("subsystem").map_or("http", String::as_str);
    if !matches!(subsystem, "http" | "stream") {
        return Err(Reply::error(400, format!("unsupported subsystem: {subsystem}")));
    }
    let found = plane.checker.plugin(name).filter(|_| subsystem == "http");
    let spec =
        found.ok_or_else(|| Reply::error(404, format!("plugin not found in subsystem {subsystem}")))?;
    let role = match request.args.get("schema_type").map(String::as_str) {
        Some("consumer") if spec.consumer_schema.is_empty() => None,
        Some("consumer") => Some(Role::Consumer),
        Some("metadata") => Some(Role::Metadata),
        _ => Some(Role::Route),
    };
    match role.and_then(|role| spec.schema_of(role)) {
        Some(text) => Ok(Reply::json(200, Validator::expand(text))),
        None => Err(Reply::error(400, "not found schema")),
    }
}
