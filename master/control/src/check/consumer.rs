//! Consumers and their credentials.

use schemas::{Kind, Role};
use serde_json::{Map, Value};

use super::{Against, Checker, Result, id_of};
use crate::state::State;

impl Checker {
    /// Checks a consumer or credential whose schema is satisfied.
    pub(super) fn check_consumer(
        &self,
        kind: Kind,
        id: Option<&str>,
        value: &Value,
        against: Against<'_>,
    ) -> Result {
        let name = match kind {
            Kind::Consumer => value.get("username").and_then(Value::as_str).unwrap_or_default(),
            _ => id.and_then(|id| id.split('/').next()).unwrap_or_default(),
        };
        if kind == Kind::Consumer && id.is_some_and(|id| id != name) {
            return Err("wrong username".into());
        }
        if let Some(plugins) = value.get("plugins").and_then(Value::as_object) {
            let role = |name: &str| {
                let auth = self.plugin(name).is_some_and(|spec| spec.auth);
                if auth { Role::Consumer } else { Role::Route }
            };
            for (name, conf) in plugins {
                let one = Map::from_iter([(name.clone(), conf.clone())]);
                let wrong = |error| format!("invalid plugins configuration: {error}");
                self.check_plugins(&one, role(name)).map_err(wrong)?;
            }
            if kind == Kind::Credential && plugins.keys().any(|name| role(name) == Role::Route) {
                return Err("only supports auth type plugins in consumer credential".into());
            }
            if let Some(state) = against.state {
                let credential = (kind == Kind::Credential).then(|| id.unwrap_or_default());
                self.check_duplicates(state, plugins, name, credential)?;
            }
        }
        let group = id_of(value, "group_id");
        match (group, against.state) {
            (Some(id), Some(state)) if state.get(Kind::ConsumerGroup, &id).is_none() => Err(format!(
                "failed to fetch consumer group info by consumer group id [{id}], response code: 404"
            )),
            _ => Ok(()),
        }
    }

    /// Whether somebody else is identified by the same key.
    fn check_duplicates(
        &self,
        state: &State,
        plugins: &Map<String, Value>,
        consumer: &str,
        credential: Option<&str>,
    ) -> Result {
        for (name, conf) in plugins {
            let Some(spec) = self.plugin(name).filter(|spec| spec.auth) else { continue };
            let identity = |conf: &Value| conf.get(spec.identity).and_then(Value::as_str).map(str::to_owned);
            let Some(wanted) = identity(conf) else { continue };
            let held = |value: &Value| {
                let conf = value.get("plugins").and_then(|plugins| plugins.get(name));
                conf.and_then(identity).is_some_and(|other| other == wanted)
            };
            let taken =
                |by: String| Err(format!("duplicate {} of plugin {name} found with {by}", spec.identity));
            for other in state.all(Kind::Consumer) {
                let itself = credential.is_none() && *other.key.id == *consumer;
                if !itself && held(&other.value) {
                    return taken(format!("consumer: {}", other.key.id));
                }
            }
            for other in state.all(Kind::Credential) {
                if credential != Some(&*other.key.id) && held(&other.value) {
                    let owner = other.key.consumer().unwrap_or_default();
                    let own = other.key.id.rsplit('/').next().unwrap_or_default();
                    return taken(format!("credential: {own} of consumer: {owner}"));
                }
            }
        }
        Ok(())
    }
}
