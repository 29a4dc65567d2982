//! Resources: GET, PUT, POST, PATCH, DELETE.
//!
//! A write is checked, stored, and answered when every worker serves it. What a check depends on cannot change until the
//! write is stored, because there is one writer at a time.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use control::check::Against;
use control::history::{Kept, Record, now_ms};
use control::store::{StoreError, Write};
use control::{Entry, Plane, State};
use schemas::{Key, Kind};
use serde_json::{Map, Value, json};

use crate::reply::{Reply, Result};
use crate::request::Request;
use crate::{list, patch};

/// What a path means.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// The consumer of a credential, the manager of a secret.
    pub(crate) parent: Option<String>,
    pub(crate) id: Option<String>,
    /// What follows the id.
    pub(crate) sub_path: Vec<String>,
}

impl Place {
    fn key(&self, id: &str) -> Key {
        let parent = self.parent.as_deref().unwrap_or_default();
        match self.kind {
            Kind::Credential => Key::new(self.kind, format!("{parent}/credentials/{id}")),
            Kind::Secret => Key::new(self.kind, format!("{parent}/{id}")),
            _ => Key::new(self.kind, id),
        }
    }

    /// Whether a list of this place contains `key`.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        match &self.parent {
            Some(parent) => key.id.split('/').next() == Some(parent),
            None => true,
        }
    }

    fn missing_id(&self) -> Reply {
        Reply::error(400, format!("missing {} id", self.kind.name()))
    }
}

/// Methods a kind does not have.
fn is_unsupported(kind: Kind, method: &str) -> bool {
    match kind {
        Kind::Consumer | Kind::Credential | Kind::PluginMetadata => matches!(method, "post" | "patch"),
        Kind::GlobalRule | Kind::PluginConfig | Kind::ConsumerGroup | Kind::Secret => method == "post",
        Kind::Proto => method == "patch",
        _ => false,
    }
}

/// Answers a request for a resource.
pub(crate) async fn answer(plane: &Rc<Plane>, request: &Request, place: &Place) -> Result {
    let method = request.method.as_str();
    if is_unsupported(place.kind, method) {
        let method = method.to_ascii_uppercase();
        return Err(Reply::error(405, format!("not supported `{method}` method for {}", place.kind.name())));
    }
    match method {
        "get" => get(plane, request, place),
        "put" => put(plane, request, place).await,
        "post" => post(plane, request, place).await,
        "patch" => change(plane, request, place).await,
        "delete" => delete(plane, request, place).await,
        _ => Err(Reply::error(404, "not found")),
    }
}

/// A resource as the API shows it.
pub(crate) fn shown(entry: &Entry) -> Value {
    let mut value = entry.value.clone();
    if entry.key.kind == Kind::Ssl
        && let Some(object) = value.as_object_mut()
    {
        // private keys never leave
        object.shift_remove("key");
        object.shift_remove("keys");
    }
    json!({
        "key": entry.key.to_string(),
        "value": value,
        "createdIndex": entry.created,
        "modifiedIndex": entry.modified,
    })
}

fn get(plane: &Plane, request: &Request, place: &Place) -> Result {
    let state = plane.state();
    match &place.id {
        None => list::answer(&state, request, place),
        Some(id) => match state.get(place.kind, &place.key(id).id) {
            Some(entry) => Ok(Reply::json(200, shown(entry))),
            None => Err(Reply::key_not_found()),
        },
    }
}

async fn put(plane: &Rc<Plane>, request: &Request, place: &Place) -> Result {
    let mut value = configuration(request)?;
    if place.kind == Kind::Secret && place.id.is_none() {
        return Err(place.missing_id());
    }
    let id = match place.kind {
        // its name says who it is
        Kind::Consumer => place.id.clone().or_else(|| text_of(&value, "username")),
        Kind::PluginMetadata => place.id.clone(),
        _ => Some(own_id(place, &mut value)?),
    };
    if place.kind != Kind::PluginMetadata {
        refuse_times(&value)?;
    }
    let writer = plane.writer().await;
    let key = place.key(id.as_deref().unwrap_or_default());
    let known = {
        let state = plane.state();
        check(plane, &state, &key, id.as_deref(), &value)?;
        if let Some(consumer) = key.consumer()
            && state.get(Kind::Consumer, consumer).is_none()
        {
            return Err(Reply::error(404, "consumer not found"));
        }
        state.get(key.kind, &key.id).cloned()
    };
    if place.kind == Kind::PluginMetadata {
        set(&mut value, "id", id.clone().unwrap_or_default().into());
    } else {
        let created = known.as_ref().and_then(|known| known.value.get("create_time").cloned());
        set(&mut value, "create_time", created.unwrap_or_else(now));
        set(&mut value, "update_time", now());
    }
    let status = if known.is_some() { 200 } else { 201 };
    store(plane, request, Job { writer, key, value, expected: None, status, known }).await
}

async fn post(plane: &Rc<Plane>, request: &Request, place: &Place) -> Result {
    let mut value = configuration(request)?;
    if place.id.is_some() || value.get("id").is_some() {
        return Err(Reply::error(400, format!("wrong {} id, do not need it", place.kind.name())));
    }
    refuse_times(&value)?;
    let writer = plane.writer().await;
    check(plane, &plane.state(), &Key::new(place.kind, ""), None, &value)?;
    // as in APISIX, the id is the number of a revision made for it
    let id = match request.flag("dry_run") {
        true => "0".repeat(20),
        false => format!("{:020}", writer.write(Write::Touch).await.map_err(|error| store_error(&error))?),
    };
    set(&mut value, "id", id.as_str().into());
    set(&mut value, "create_time", now());
    set(&mut value, "update_time", now());
    let key = place.key(&id);
    store(plane, request, Job { writer, key, value, expected: None, status: 201, known: None }).await
}

async fn change(plane: &Rc<Plane>, request: &Request, place: &Place) -> Result {
    let Some(id) = &place.id else { return Err(place.missing_id()) };
    let Some(new) = request.json()? else { return Err(Reply::error(400, "missing new configuration")) };
    let writer = plane.writer().await;
    let key = place.key(id);
    let known = plane.state().get(key.kind, &key.id).cloned().ok_or_else(Reply::key_not_found)?;
    let mut value = known.value.clone();
    let mut refresh = true;
    if place.sub_path.is_empty() {
        let (Value::Object(new), Some(object)) = (new, value.as_object_mut()) else {
            return Err(Reply::error(400, "invalid configuration"));
        };
        refresh = !new.contains_key("update_time");
        patch::merge(object, new);
    } else {
        patch::replace(&mut value, &place.sub_path, new).map_err(|error| Reply::error(400, error))?;
    }
    if value.get("create_time").is_none() {
        set(&mut value, "create_time", now());
    }
    if refresh || value.get("update_time").is_none() {
        set(&mut value, "update_time", now());
    }
    if place.kind != Kind::Secret {
        let own = id_text(&value);
        if own.is_some_and(|own| own != *id) {
            return Err(Reply::error(400, format!("wrong {} id", place.kind.name())));
        }
        set(&mut value, "id", id.as_str().into());
    }
    check(plane, &plane.state(), &key, Some(id), &value)?;
    let expected = Some(known.modified);
    store(plane, request, Job { writer, key, value, expected, status: 200, known: Some(known) }).await
}

async fn delete(plane: &Rc<Plane>, request: &Request, place: &Place) -> Result {
    let Some(id) = &place.id else { return Err(place.missing_id()) };
    let writer = plane.writer().await;
    let key = place.key(id);
    let mut keys = vec![key.to_string()];
    let known = plane.state().get(key.kind, &key.id).cloned();
    {
        let state = plane.state();
        if !request.flag("force") {
            plane.checker.check_delete(&key, &state).map_err(|error| Reply::error(400, error))?;
        }
        if known.is_none() && !state.refused().any(|(refused, _)| *refused == key) {
            return Err(Reply::key_not_found());
        }
        if key.kind == Kind::Consumer {
            let credentials =
                state.all(Kind::Credential).filter(|entry| entry.key.consumer() == Some(&key.id));
            keys.extend(credentials.map(|entry| entry.key.to_string()));
        }
    }
    let body = json!({ "deleted": "1", "key": key.to_string() });
    if request.flag("dry_run") {
        return Ok(Reply::json(200, body));
    }
    let written = writer.write(Write::Delete { keys }).await;
    drop(writer);
    let revision = written.map_err(|error| store_error(&error))?;
    record(plane, request, revision, &key, known.as_deref(), None);
    Ok(Reply::json(200, body).applied(plane.applied(revision, request.wait()?).await))
}

/// A checked write.
struct Job<'p> {
    writer: control::Writer<'p>,
    key: Key,
    value: Value,
    expected: Option<u64>,
    status: u16,
    known: Option<Rc<Entry>>,
}

/// Stores what was checked and waits until it is served.
async fn store(plane: &Plane, request: &Request, job: Job<'_>) -> Result {
    let Job { writer, key, value, expected, status, known } = job;
    let (ttl, wait) = (request.ttl()?, request.wait()?);
    if request.flag("dry_run") {
        let before = known.map_or(Value::Null, |known| shown(&known));
        let body = json!({ "key": key.to_string(), "value": value, "dry_run": true, "before": before });
        return Ok(Reply::json(200, body));
    }
    let write = Write::Put { key: key.to_string(), value: value.to_string().into_bytes(), expected, ttl };
    let written = writer.write(write).await;
    drop(writer);
    let revision = written.map_err(|error| store_error(&error))?;
    record(plane, request, revision, &key, known.as_deref(), Some(&value));
    let entry = plane.state().get(key.kind, &key.id).cloned();
    let body = match entry.filter(|entry| entry.modified == revision) {
        Some(entry) => shown(&entry),
        // changed again already
        None => json!({ "key": key.to_string(), "value": value }),
    };
    Ok(Reply::json(status, body).applied(plane.applied(revision, wait).await))
}

/// Remembers a change. What is secret is not kept.
fn record(
    plane: &Plane,
    request: &Request,
    revision: u64,
    key: &Key,
    before: Option<&Entry>,
    after: Option<&Value>,
) {
    let kept = |value: Option<&Value>| match (key.kind, value) {
        (Kind::Ssl | Kind::Secret, Some(_)) => Kept::TooLarge,
        (_, value) => Kept::of(value),
    };
    plane.record(Record {
        revision,
        at_ms: now_ms(),
        by: request.role,
        action: request.method.clone(),
        key: key.clone(),
        before: kept(before.map(|entry| &entry.value)),
        after: kept(after),
    });
}

fn check(plane: &Plane, state: &State, key: &Key, id: Option<&str>, value: &Value) -> Result<()> {
    let id = match key.kind {
        Kind::Credential | Kind::Secret => Some(&*key.id),
        _ => id,
    };
    let checked = plane.checker.check(key.kind, id, value, Against { state: Some(state) });
    checked.map_err(|error| Reply::error(400, error))
}

pub(crate) fn store_error(error: &StoreError) -> Reply {
    match error {
        StoreError::Conflict => Reply::error(409, error.to_string()),
        StoreError::ReadOnly => Reply::error(405, error.to_string()),
        StoreError::Failed(_) => Reply::error(503, error.to_string()),
    }
}

/// The body of a write.
fn configuration(request: &Request) -> Result<Value> {
    request
        .json()?
        .filter(|value| !value.is_null())
        .ok_or_else(|| Reply::error(400, "missing configurations"))
}

/// The id in path and body, which must agree; it is put into the value.
fn own_id(place: &Place, value: &mut Value) -> Result<String> {
    let given = id_text(value);
    let id = place.id.clone().or_else(|| given.clone()).ok_or_else(|| place.missing_id())?;
    if given.is_some_and(|given| given != id) {
        return Err(Reply::error(400, format!("wrong {} id", place.kind.name())));
    }
    match value.get("id") {
        // a number stays one
        Some(Value::Number(_)) if place.id.is_none() => {}
        _ => set(value, "id", id.as_str().into()),
    }
    Ok(id)
}

fn id_text(value: &Value) -> Option<String> {
    match value.get("id")? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        other => Some(other.to_string()),
    }
}

fn text_of(value: &Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(str::to_owned)
}

/// Times are ours to set.
fn refuse_times(value: &Value) -> Result<()> {
    for (inside, prefix) in
        [(Some(value), ""), (value.get("upstream"), "upstream."), (value.get("plugins"), "plugins.")]
    {
        for name in ["create_time", "update_time"] {
            if inside.is_some_and(|inside| inside.get(name).is_some()) {
                return Err(Reply::error(400, format!("the property is forbidden:  {prefix}{name}")));
            }
        }
    }
    Ok(())
}

fn set(value: &mut Value, name: &str, new: Value) {
    if let Value::Object(object) = value {
        object.insert(name.to_owned(), new);
    } else if value.as_array().is_some_and(Vec::is_empty) {
        *value = Value::Object(Map::from_iter([(name.to_owned(), new)]));
    }
}

fn now() -> Value {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).into()
}
