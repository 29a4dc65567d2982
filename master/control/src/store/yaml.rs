//! A store that is a file people write: `apisix.yaml`, read again when it changes.
//!
//! The last line must be `#END`: a file that is still being written has none. A file is taken as a whole or not at all;
//! when something in it is wrong, that is logged, and what was served before goes on. `${{NAME}}` and `${{NAME:=default}}`
//! stand for variables of the environment.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use schemas::{Key, Kind};
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use super::{Opened, Store, StoreError, StoreEvent, Stored, Wait, Write};
use crate::check::{Against, Checker};
use crate::log::Log;
use crate::state::State;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most values in a file.
const NODES_MAX: usize = 16_000_000;
/// The largest file in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// See the module's documentation.
pub struct Yaml;

/// What a file said when it was last good.
#[derive(Default)]
struct Served {
    revision: u64,
    entries: HashMap<String, Stored>,
}

impl Yaml {
    /// Reads the file at `path` once. The error says what is wrong with it.
    pub fn check(path: &Path, checker: &Checker) -> Result<(), String> {
        read(path, checker).map(drop).map_err(|error| failed(path, &error).to_string())
    }

    /// Serves the file at `path`; what stands in it is checked with `checker`. The first reading must succeed.
    pub fn start(path: PathBuf, checker: Checker, log: Log) -> Result<Opened, StoreError> {
        let (sender, events) = unbounded_channel();
        let mut served = Served { revision: 1, ..Served::default() };
        let mut seen = stamp(&path);
        let first = read(&path, &checker).map_err(|error| failed(&path, &error))?;
        // the receiver is ours and cannot be gone
        let _ = sender.send(served.take(first));
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if sender.is_closed() {
                    return;
                }
                let now = stamp(&path);
                if now == seen {
                    continue;
                }
                seen = now;
                match read(&path, &checker) {
                    Ok(values) => {
                        // nobody watches while the plane ends
                        let _ = sender.send(served.take(values));
                    }
                    Err(error) => log.error(format_args!("{} is not used", failed(&path, &error))),
                }
            }
        });
        Ok(Opened { store: Box::new(Self), events })
    }
}

impl Store for Yaml {
    fn write(&self, _: Write) -> Wait<'_, Result<u64, StoreError>> {
        Box::pin(async { Err(StoreError::ReadOnly) })
    }
}

impl Served {
    /// The snapshot that serves `values`; what did not change keeps its revisions.
    fn take(&mut self, values: Vec<(Key, Value)>) -> StoreEvent {
        self.revision += 1;
        let revision = self.revision;
        let mut next = HashMap::new();
        for (key, value) in values {
            let (key, value) = (key.to_string(), value.to_string().into_bytes());
            let known = self.entries.remove(&key);
            let stored = match known {
                Some(known) if known.value.as_deref() == Some(&value) => known,
                known => {
                    let created = known.map_or(revision, |known| known.created);
                    Stored { key: key.clone(), created, modified: revision, value: Some(value) }
                }
            };
            next.insert(key, stored);
        }
        self.entries = next;
        StoreEvent::Snapshot { revision, entries: self.entries.values().cloned().collect() }
    }
}

fn failed(path: &Path, error: &str) -> StoreError {
    StoreError::Failed(format!("store \"{}\": {error}", path.display()))
}

/// What tells one version of a file from another.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, checker: &Checker) -> Result<Vec<(Key, Value)>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("the file has more than {FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text, |name| std::env::var(name).ok(), checker)
}

fn parse(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
    checker: &Checker,
) -> Result<Vec<(Key, Value)>, String> {
    if text.lines().rev().find(|line| !line.trim().is_empty()).map(str::trim) != Some("#END") {
        return Err("the last line is not \"#END\"".into());
    }
    let text = substitute(text, variable)?;
    let limits = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_events: 2 * NODES_MAX },
    };
    let read = serde_saphyr::from_str_with_options::<Value>(&text, limits);
    let document = read.map_err(|error| error.to_string())?;
    let sections = match document {
        Value::Null => return Ok(Vec::new()),
        Value::Object(sections) => sections,
        _ => return Err("the file is not a mapping".into()),
    };
    let (mut all, mut known) = (Vec::new(), HashSet::new());
    for (name, items) in sections {
        let kind = Kind::of_directory(&name).ok_or_else(|| format!("unknown section \"{name}\""))?;
        let items = match items {
            Value::Null => continue,
            Value::Array(items) => items,
            _ => return Err(format!("section \"{name}\" is not a list")),
        };
        for (at, item) in items.into_iter().enumerate() {
            let key = key_of(kind, &item).ok_or_else(|| format!("{name}[{at}] has no id"))?;
            if !known.insert(key.clone()) {
                return Err(format!("{key} stands there twice"));
            }
            all.push((key, item));
        }
    }
    check(&all, checker)?;
    Ok(all)
}

/// Checks everything, references among each other included.
fn check(all: &[(Key, Value)], checker: &Checker) -> Result<(), String> {
    let mut state = State::default();
    for (key, value) in all {
        let stored = Stored { key: key.to_string(), created: 1, modified: 1, value: None };
        state.set(key.clone(), stored, value.clone());
    }
    for (key, value) in all {
        let checked = checker.check(key.kind, Some(&key.id), value, Against { state: Some(&state) });
        checked.map_err(|error| format!("{key}: {error}"))?;
    }
    Ok(())
}

fn key_of(kind: Kind, item: &Value) -> Option<Key> {
    let text = |field: &str| match item.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match (kind, text("id")) {
        (Kind::Consumer, Some(id)) if id.contains("/credentials/") => Some(Key::new(Kind::Credential, id)),
        (Kind::Consumer, _) => text("username").map(|name| Key::new(kind, name)),
        (kind, id) => id.map(|id| Key::new(kind, id)),
    }
}

/// Puts variables of the environment in their places.
fn substitute(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        let Some(len) = rest[start..].find("}}") else { break };
        let inner = rest[start + 3..start + len].trim();
        let (name, default) = match inner.split_once(":=") {
            Some((name, default)) => (name.trim(), Some(default.trim())),
            None => (inner, None),
        };
        out.push_str(&rest[..start]);
        match variable(name).or_else(|| default.map(str::to_owned)) {
            Some(value) => out.push_str(&value),
            None => return Err(format!("can't find environment variable {name}")),
        }
        rest = &rest[start + len + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(Key, Value)>, String> {
        parse(text, |name| (name == "PORT").then(|| "81".to_owned()), &Checker::new(&[]))
    }

    #[test]
    fn a_file_is_taken_as_a_whole() {
        let good = "
routes:
  - id: 1
    uri: /a
    upstream_id: u
upstreams:
  - id: u
    nodes:
      \"127.0.0.1:${{PORT}}\": ${{WEIGHT:=3}}
consumers:
  - username: jack
#END
";
        let all = parsed(good).unwrap();
        let keys: Vec<String> = all.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["/apisix/routes/1", "/apisix/upstreams/u", "/apisix/consumers/jack"]);
        assert_eq!(all[1].1["nodes"]["127.0.0.1:81"], 3);
        for (text, error) in [
            (good.replace("#END", ""), "the last line is not \"#END\""),
            (
                good.replace("upstream_id: u", "upstream_id: v"),
                "/apisix/routes/1: failed to fetch upstream info",
            ),
            (good.replace("uri: /a", "nothing: /a"), "/apisix/routes/1: invalid configuration"),
            (good.replace("PORT", "NONE"), "can't find environment variable NONE"),
            (good.replace("id: 1", "x: 1"), "routes[0] has no id"),
            (good.replace("consumers:", "things:"), "unknown section \"things\""),
        ] {
            let found = parsed(&text).err().unwrap_or_default();
            assert!(found.starts_with(error), "{found}");
        }
        assert_eq!(parsed("#END").unwrap().len(), 0);
    }

    #[test]
    fn what_did_not_change_keeps_its_revision() {
        let mut served = Served { revision: 1, ..Served::default() };
        let key = |id: &str| Key::new(Kind::Route, id);
        served.take(vec![(key("1"), 1.into()), (key("2"), 1.into())]);
        let StoreEvent::Snapshot { revision: 3, entries } =
            served.take(vec![(key("1"), 1.into()), (key("2"), 2.into())])
        else {
            panic!()
        };
        let of = |id: &str| {
            let found = entries.iter().find(|stored| stored.key == key(id).to_string()).unwrap();
            (found.created, found.modified)
        };
        assert_eq!((of("1"), of("2")), ((2, 2), (2, 3)));
    }
}
