//! Header fields of requests and responses, some of which have places of their own.

use http1::Known;
use serde_json::Value;
use worker::gateway::GatewayContext;
use worker::request::Request;

use crate::template::Template;

/// Sets a field of the response; an empty value removes it.
pub(crate) fn set_response(req: &mut Request, name: &[u8], value: &[u8]) {
    let value = clean(value);
    match Known::from_name(name) {
        Some(Known::ContentType) => req.out.set_content_type(&value),
        Some(Known::ContentLength) => {}
        Some(Known::Location) => {
            req.out.headers.remove(name);
            req.out.location = (!value.is_empty()).then_some(value);
        }
        Some(Known::Server) => req.out.server = Some(value),
        Some(Known::Date) => req.out.date = Some(value),
        _ if value.is_empty() => {
            req.out.headers.remove(name);
        }
        _ => req.out.headers.set(name, &value),
    }
}

/// Adds a field to the response.
pub(crate) fn add_response(req: &mut Request, name: &[u8], value: &[u8]) {
    match Known::from_name(name) {
        Some(Known::ContentType | Known::ContentLength | Known::Location | Known::Server | Known::Date) => {
            set_response(req, name, value);
        }
        _ => req.out.headers.push(name, &clean(value)),
    }
}

/// Removes a field from the response.
pub(crate) fn remove_response(req: &mut Request, name: &[u8]) {
    match Known::from_name(name) {
        Some(Known::ContentType) => req.out.content_type.clear(),
        Some(Known::LastModified) => req.out.last_modified = None,
        Some(Known::Location) => {
            req.out.location = None;
            req.out.headers.remove(name);
        }
        _ => {
            req.out.headers.remove(name);
        }
    }
}

/// The body will be another one: what described the old one goes.
pub(crate) fn body_changes(req: &mut Request) {
    req.out.content_length = None;
    req.out.last_modified = None;
    req.out.allow_ranges = false;
    for name in [&b"Content-Encoding"[..], b"ETag", b"Accept-Ranges"] {
        req.out.headers.remove(name);
    }
}

/// Sets a field of the request; an empty value removes it.
pub(crate) fn set_request(req: &mut Request, name: &[u8], value: &[u8]) {
    let value = clean(value);
    match Known::from_name(name) {
        Some(Known::ContentLength | Known::TransferEncoding | Known::Connection) => {}
        Some(Known::Host) => req.context.entry::<GatewayContext>().set_upstream_host(value),
        _ if value.is_empty() => {
            req.headers.remove(name);
        }
        _ => req.headers.set(name, &value),
    }
}

/// Adds a field to the request.
pub(crate) fn add_request(req: &mut Request, name: &[u8], value: &[u8]) {
    match Known::from_name(name) {
        Some(Known::ContentLength | Known::TransferEncoding | Known::Connection | Known::Host) => {}
        _ => req.headers.push(name, &clean(value)),
    }
}

/// Line breaks and NUL become blanks: a value never begins a line of its own.
fn clean(value: &[u8]) -> Vec<u8> {
    value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }).collect()
}

/// A text or number as a template.
pub(crate) fn template_of(value: &Value) -> Template {
    match value {
        Value::String(text) => Template::new(text),
        other => Template::new(&other.to_string()),
    }
}

/// Names and values of an object; a list is several values.
pub(crate) fn templates_of(value: Option<&Value>) -> Vec<(Vec<u8>, Vec<Template>)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    let templates = |value: &Value| match value {
        Value::Array(list) => list.iter().map(template_of).collect(),
        one => vec![template_of(one)],
    };
    entries.map(|(name, value)| (name.as_bytes().to_vec(), templates(value))).collect()
}

/// Whether every name may name a field.
pub(crate) fn check_names<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Result<(), String> {
    let token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    match names.into_iter().all(|name| !name.is_empty() && name.iter().all(token)) {
        true => Ok(()),
        false => Err("invalid field character in header".into()),
    }
}
