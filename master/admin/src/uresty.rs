//! What goes beyond APISIX: `/uresty/admin/…`.

use std::rc::Rc;

use control::Plane;
use control::check::Against;
use control::history::{Kept, Record, now_ms};
use control::store::Write;
use schemas::{Key, Kind};
use serde_json::{Map, Value, json};

use crate::reply::{Reply, Result};
use crate::request::Request;
use crate::resource::store_error;

/// Answers a request of our own.
pub(crate) async fn answer(plane: &Rc<Plane>, request: &Request, path: &[&str]) -> Result {
    match (request.method.as_str(), path) {
        ("get", ["status"]) => Ok(status(plane)),
        ("get", ["history"]) => Ok(history(plane)),
        ("post", ["rollback", revision]) => rollback(plane, request, revision).await,
        _ => Err(Reply::error(404, "not found")),
    }
}

/// What is served, by whom, and what cannot be.
fn status(plane: &Plane) -> Reply {
    let state = plane.state();
    let worker = |member: &Rc<control::Member>| json!({ "pid": member.pid, "revision": member.acked.get(), "took_us": member.took_us.get() });
    let workers: Vec<Value> = plane.members().iter().map(worker).collect();
    let refused: Vec<Value> =
        state.refused().map(|(key, reason)| json!({ "key": key.to_string(), "reason": reason })).collect();
    let counts: Map<String, Value> = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Credential)
        .map(|kind| (kind.directory().to_owned(), state.count(kind).into()))
        .collect();
    let body =
        json!({ "revision": state.revision(), "workers": workers, "refused": refused, "resources": counts });
    Reply::json(200, body)
}

/// The last changes, the last first.
fn history(plane: &Plane) -> Reply {
    let kept = |kept: &Kept| match kept {
        Kept::None => Value::Null,
        Kept::Value(value) => value.clone(),
        Kept::TooLarge => "(not kept)".into(),
    };
    let record = |record: &Record| {
        json!({
            "revision": record.revision,
            "time": record.at_ms as f64 / 1000.0,
            "by": record.by,
            "action": record.action,
            "key": record.key.to_string(),
            "before": kept(&record.before),
            "after": kept(&record.after),
        })
    };
    let history = plane.history();
    let list: Vec<Value> = history.iter().map(record).collect();
    Reply::json(200, json!({ "total": list.len(), "list": list }))
}

/// Makes every resource what it was at a revision, all at once.
async fn rollback(plane: &Rc<Plane>, request: &Request, revision: &str) -> Result {
    let unknown = || Reply::error(404, format!("revision {revision} is not in the history"));
    let number = revision.parse().map_err(|_| unknown())?;
    let writer = plane.writer().await;
    let then = plane.history().at(number).ok_or_else(unknown)?;
    let (mut puts, mut deletes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for (key, kept) in then {
        let now = plane.state().get(key.kind, &key.id).map(|entry| entry.value.clone());
        match &kept {
            Kept::TooLarge => {
                return Err(Reply::error(409, format!("what {key} was is not kept")));
            }
            Kept::None if now.is_none() => continue,
            Kept::None => deletes.push(key.to_string()),
            Kept::Value(value) if now.as_ref() == Some(value) => continue,
            Kept::Value(value) => {
                check(plane, &key, value)?;
                puts.push((key.to_string(), value.to_string().into_bytes()));
            }
        }
        records.push((key, Kept::of(now.as_ref()), kept));
    }
    let changed: Vec<String> = records.iter().map(|(key, ..)| key.to_string()).collect();
    if changed.is_empty() || request.flag("dry_run") {
        return Ok(Reply::json(200, json!({ "changed": changed })));
    }
    let written = writer.write(Write::Many { puts, deletes }).await.map_err(|error| store_error(&error))?;
    drop(writer);
    for (key, before, after) in records {
        let (at_ms, action) = (now_ms(), "rollback".to_owned());
        plane.record(Record { revision: written, at_ms, by: request.role, action, key, before, after });
    }
    let applied = plane.applied(written, request.wait()?).await;
    Ok(Reply::json(200, json!({ "changed": changed })).applied(applied))
}

/// An old value may not be good any more.
fn check(plane: &Plane, key: &Key, value: &Value) -> Result<()> {
    let checked = plane.checker.check(key.kind, Some(&key.id), value, Against { state: None });
    checked.map_err(|error| Reply::error(409, format!("{key}: {error}")))
}
