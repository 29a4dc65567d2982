//! Lists: filters and paging.

use std::rc::Rc;

use control::{Entry, State};
use pcre2::bytes::Regex;
use schemas::Kind;
use serde_json::{Value, json};

use crate::reply::{Reply, Result};
use crate::request::{Request, read_args};
use crate::resource::{Place, shown};

/// Sizes of a page.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 10..=500;

/// Answers a list.
pub(crate) fn answer(state: &State, request: &Request, place: &Place) -> Result {
    let mut entries: Vec<&Rc<Entry>> =
        state.all(place.kind).filter(|entry| place.holds(&entry.key)).collect();
    if place.kind == Kind::Credential && entries.is_empty() {
        return Err(Reply::key_not_found());
    }
    let filter = Filter::read(request, place.kind)?;
    entries.retain(|entry| filter.fits(&entry.value));
    let total = entries.len();
    if let Some((page, size)) = paging(request)? {
        entries.sort_by_key(|entry| entry.created);
        let from = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        entries = entries.into_iter().skip(from).take(size).collect();
    }
    let list: Vec<Value> = entries.into_iter().map(|entry| shown(entry)).collect();
    Ok(Reply::json(200, json!({ "total": total, "list": list })))
}

/// Page and size, if both are given.
fn paging(request: &Request) -> Result<Option<(u64, u64)>> {
    let number = |name: &str| request.args.get(name).and_then(|text| text.parse::<f64>().ok());
    let (Some(page), Some(size)) = (number("page"), number("page_size")) else { return Ok(None) };
    if !PAGE_SIZES.contains(&(size.max(0.0) as u64)) {
        return Err(Reply::text(400, "page_size must be between 10 and 500"));
    }
    Ok(Some(((page.max(1.0)) as u64, size as u64)))
}

struct Filter {
    name: Option<Regex>,
    uri: Option<Regex>,
    label: Option<String>,
    fields: Vec<(String, String)>,
}

impl Filter {
    fn read(request: &Request, kind: Kind) -> Result<Self> {
        let pattern = |name: &str| {
            let text = request.args.get(name);
            let built = text.map(|text| Regex::new(text)).transpose();
            built.map_err(|error| Reply::error(400, format!("invalid argument {name}: {error}")))
        };
        let mut fields: Vec<(String, String)> = match request.args.get("filter") {
            Some(text) if kind == Kind::Route => read_args(text).into_iter().collect(),
            _ => Vec::new(),
        };
        fields.retain(|(name, _)| matches!(name.as_str(), "service_id" | "upstream_id"));
        Ok(Self {
            name: pattern("name")?,
            uri: pattern("uri")?,
            label: request.args.get("label").cloned(),
            fields,
        })
    }

    fn fits(&self, value: &Value) -> bool {
        let matches = |pattern: &Regex, value: &Value| {
            value.as_str().is_some_and(|text| pattern.is_match(text.as_bytes()).unwrap_or(false))
        };
        if let Some(name) = &self.name
            && !value.get("name").is_some_and(|value| matches(name, value))
        {
            return false;
        }
        if let Some(label) = &self.label
            && value.get("labels").and_then(|labels| labels.get(label)).is_none()
        {
            return false;
        }
        if let Some(uri) = &self.uri {
            let more = value.get("uris").and_then(Value::as_array);
            let mut all = value.get("uri").into_iter().chain(more.into_iter().flatten());
            if !all.any(|value| matches(uri, value)) {
                return false;
            }
        }
        self.fields.iter().all(|(name, wanted)| match value.get(name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Number(number)) => number.to_string() == *wanted,
            _ => false,
        })
    }
}
