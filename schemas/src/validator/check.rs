//! Checking a value, and filling in defaults.

use serde_json::{Map, Value};

use super::text::{lua_number, lua_quote, lua_type, number};
use super::{Additional, Dependency, Format, Node, Type};

type Result<T = (), E = String> = std::result::Result<T, E>;

impl Node {
    /// Fills in the defaults of properties that are absent, here and below.
    pub(super) fn fill(&self, value: &mut Value) {
        if !self.has_defaults {
            return;
        }
        match value {
            Value::Object(object) => self.fill_object(object),
            Value::Array(array) => {
                if let Some(items) = &self.items {
                    array.iter_mut().for_each(|item| items.fill(item));
                }
            }
            _ => {}
        }
        self.all_of.iter().for_each(|inner| inner.fill(value));
        fill_first(&self.any_of, value);
        fill_first(&self.one_of, value);
        if let Some(condition) = &self.condition {
            let holds = condition.test.check(value).is_ok();
            let branch = if holds { &condition.then } else { &condition.otherwise };
            if let Some(branch) = branch {
                branch.fill(value);
            }
        }
    }

    fn fill_object(&self, object: &mut Map<String, Value>) {
        for property in &self.properties {
            match object.get_mut(&property.name) {
                Some(value) => property.node.fill(value),
                None => {
                    if let Some(default) = &property.default {
                        object.insert(property.name.clone(), default.clone());
                    }
                }
            }
        }
        for (_, pattern, inner) in &self.patterns {
            for (name, value) in object.iter_mut() {
                if pattern.is_match(name.as_bytes()).unwrap_or(false) {
                    inner.fill(value);
                }
            }
        }
    }

    /// Checks `value`.
    pub(super) fn check(&self, value: &Value) -> Result {
        match self.always {
            Some(true) => return Ok(()),
            Some(false) => return Err("expect false always".into()),
            None => {}
        }
        self.check_type(value)?;
        match value {
            // an empty table is both
            Value::Array(array) if array.is_empty() => {
                self.check_object(&Map::new())?;
                self.check_array(array)?;
            }
            Value::Object(object) => {
                self.check_object(object)?;
                if object.is_empty() {
                    self.check_array(&[])?;
                }
            }
            Value::Array(array) => self.check_array(array)?,
            Value::String(text) => self.check_string(text)?,
            Value::Number(number) => self.check_number(number)?,
            _ => {}
        }
        if let Some(choices) = &self.choices
            && !choices.iter().any(|choice| equal(choice, value))
        {
            return Err("matches none of the enum values".into());
        }
        self.check_compound(value)?;
        self.check_format(value)?;
        match &self.constant {
            Some(constant) if !equal(constant, value) => Err("failed to check const value".into()),
            _ => Ok(()),
        }
    }

    fn check_type(&self, value: &Value) -> Result {
        if self.types.is_empty() || self.types.iter().any(|wanted| is_of(*wanted, value)) {
            return Ok(());
        }
        let one_of = if self.one_type { "" } else { "one of " };
        Err(format!("wrong type: expected {one_of}{}, got {}", self.types_text, lua_type(value)))
    }

    fn check_object(&self, object: &Map<String, Value>) -> Result {
        for property in &self.properties {
            match object.get(&property.name) {
                Some(value) => {
                    property.node.check(value).map_err(|error| {
                        format!("property {} validation failed: {error}", lua_quote(&property.name))
                    })?;
                    self.check_dependencies(object, &property.name)?;
                }
                None if self.required.contains(&property.name) => {
                    return Err(format!("property {} is required", lua_quote(&property.name)));
                }
                None => {}
            }
        }
        for name in &self.required {
            if !object.contains_key(name) {
                return Err(format!("property {} is required", lua_quote(name)));
            }
        }
        for (name, _) in &self.dependencies {
            if object.contains_key(name) {
                self.check_dependencies(object, name)?;
            }
        }
        self.check_others(object)?;
        let count = object.len() as u64;
        if let Some(min) = self.min_properties.filter(|min| count < *min) {
            return Err(format!("expect object to have at least {min} properties"));
        }
        if let Some(max) = self.max_properties.filter(|max| count > *max) {
            return Err(format!("expect object to have at most {max} properties"));
        }
        Ok(())
    }

    fn check_dependencies(&self, object: &Map<String, Value>, name: &str) -> Result {
        for (_, dependency) in self.dependencies.iter().filter(|(of, _)| of == name) {
            match dependency {
                Dependency::Names(names) => {
                    if let Some(missing) = names.iter().find(|other| !object.contains_key(*other)) {
                        return Err(format!(
                            "property {} is required when {} is set",
                            lua_quote(missing),
                            lua_quote(name)
                        ));
                    }
                }
                Dependency::Schema(inner) => {
                    inner.check(&Value::Object(object.clone())).map_err(|error| {
                        format!("failed to validate dependent schema for {}: {error}", lua_quote(name))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Properties that match patterns, and those nothing is said of.
    fn check_others(&self, object: &Map<String, Value>) -> Result {
        if self.patterns.is_empty() && matches!(self.additional, Additional::Allowed) {
            return Ok(());
        }
        for (name, value) in object {
            let mut matched = false;
            for (text, pattern, inner) in &self.patterns {
                if pattern.is_match(name.as_bytes()).unwrap_or(false) {
                    matched = true;
                    inner.check(value).map_err(|error| {
                        format!("failed to validate {name} (matching {}): {error}", lua_quote(text))
                    })?;
                }
            }
            if matched || self.properties.iter().any(|property| property.name == *name) {
                continue;
            }
            match &self.additional {
                Additional::Allowed => {}
                Additional::Forbidden => {
                    return Err(format!("additional properties forbidden, found {name}"));
                }
                Additional::Schema(inner) => {
                    inner
                        .check(value)
                        .map_err(|error| format!("failed to validate additional property {name}: {error}"))?;
                }
            }
        }
        Ok(())
    }

    fn check_array(&self, array: &[Value]) -> Result {
        let count = array.len() as u64;
        if let Some(min) = self.min_items.filter(|min| count < *min) {
            return Err(format!("expect array to have at least {min} items"));
        }
        if let Some(max) = self.max_items.filter(|max| count > *max) {
            return Err(format!("expect array to have at most {max} items"));
        }
        if let Some(items) = &self.items {
            for (at, item) in array.iter().enumerate() {
                items.check(item).map_err(|error| format!("failed to validate item {}: {error}", at + 1))?;
            }
        }
        if self.unique {
            for (at, item) in array.iter().enumerate() {
                if let Some(first) = array[..at].iter().position(|other| equal(other, item)) {
                    return Err(format!(
                        "expected unique items but items {} and {} are equal",
                        first + 1,
                        at + 1
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_string(&self, text: &str) -> Result {
        if self.min_length.is_some() || self.max_length.is_some() {
            let count = text.chars().count() as u64;
            if let Some(min) = self.min_length.filter(|min| count < *min) {
                return Err(format!("string too short, expected at least {min}, got {count}"));
            }
            if let Some(max) = self.max_length.filter(|max| count > *max) {
                return Err(format!("string too long, expected at most {max}, got {count}"));
            }
        }
        match &self.pattern {
            Some((source, pattern)) if !pattern.is_match(text.as_bytes()).unwrap_or(false) => {
                Err(format!("failed to match pattern {} with {}", lua_quote(source), lua_quote(text)))
            }
            _ => Ok(()),
        }
    }

    fn check_number(&self, given: &serde_json::Number) -> Result {
        let value = given.as_f64().unwrap_or_default();
        let wrong = |text: &str, limit: f64| {
            Err(format!("expected {} to be {text} {}", number(given), lua_number(limit)))
        };
        if let Some(limit) = self.minimum.filter(|limit| value < *limit) {
            return wrong("at least", limit);
        }
        if let Some(limit) = self.exclusive_minimum.filter(|limit| value <= *limit) {
            return wrong("greater than", limit);
        }
        if let Some(limit) = self.maximum.filter(|limit| value > *limit) {
            return wrong("at most", limit);
        }
        if let Some(limit) = self.exclusive_maximum.filter(|limit| value >= *limit) {
            return wrong("smaller than", limit);
        }
        match self.multiple_of {
            Some(of) if of != 0.0 && (value / of).fract() != 0.0 => wrong("a multiple of", of),
            _ => Ok(()),
        }
    }

    fn check_compound(&self, value: &Value) -> Result {
        for (at, inner) in self.all_of.iter().enumerate() {
            inner.check(value).map_err(|error| format!("allOf {} failed: {error}", at + 1))?;
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|inner| inner.check(value).is_ok()) {
            return Err(match &*self.any_requires {
                "" => "object matches none of the required".into(),
                requires => format!("object matches none of the required: {requires}"),
            });
        }
        if !self.one_of.is_empty() {
            let mut matching = self
                .one_of
                .iter()
                .enumerate()
                .filter(|(_, inner)| inner.check(value).is_ok())
                .map(|(at, _)| at + 1);
            match (matching.next(), matching.next()) {
                (Some(_), None) => {}
                (Some(first), Some(second)) => {
                    return Err(format!(
                        "value should match only one schema, but matches both schemas {first} and {second}"
                    ));
                }
                (None, _) => return Err("value should match only one schema, but matches none".into()),
            }
        }
        if self.not.as_ref().is_some_and(|inner| inner.check(value).is_ok()) {
            return Err("value wasn't supposed to match schema".into());
        }
        let Some(condition) = &self.condition else { return Ok(()) };
        let (branch, name) = match condition.test.check(value) {
            Ok(()) => (&condition.then, "then"),
            Err(_) => (&condition.otherwise, "else"),
        };
        match branch {
            Some(branch) if branch.check(value).is_err() => Err(format!("{name} clause did not match")),
            _ => Ok(()),
        }
    }

    fn check_format(&self, value: &Value) -> Result {
        let (Some(format), Value::String(text)) = (self.format, value) else { return Ok(()) };
        let (good, what) = match format {
            Format::Email => (is_email(text), "email"),
            Format::Ipv4 => (text.parse::<std::net::Ipv4Addr>().is_ok(), "ipv4"),
            Format::Ipv6 => (text.parse::<std::net::Ipv6Addr>().is_ok(), "ipv6"),
            Format::Hostname => (
                !text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')),
                "hostname",
            ),
        };
        if good { Ok(()) } else { Err(format!("expect valid {what} address but got: {text}")) }
    }
}

/// Fills in the defaults of the first branch that accepts `value`.
fn fill_first(branches: &[Node], value: &mut Value) {
    if !branches.iter().any(|branch| branch.has_defaults) {
        return;
    }
    for branch in branches {
        let mut filled = value.clone();
        branch.fill(&mut filled);
        if branch.check(&filled).is_ok() {
            *value = filled;
            return;
        }
    }
}

fn is_of(wanted: Type, value: &Value) -> bool {
    match (wanted, value) {
        (Type::Object, Value::Object(_)) | (Type::Array, Value::Array(_)) => true,
        // the Lua library cannot tell them apart when they are empty
        (Type::Object, Value::Array(array)) => array.is_empty(),
        (Type::Array, Value::Object(object)) => object.is_empty(),
        (Type::String, Value::String(_)) | (Type::Number, Value::Number(_)) => true,
        (Type::Integer, Value::Number(number)) => number.as_f64().is_some_and(|value| value.fract() == 0.0),
        (Type::Boolean, Value::Bool(_)) | (Type::Null, Value::Null) => true,
        _ => false,
    }
}

/// Equality as Lua sees it: `1` and `1.0` are one number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn is_email(text: &str) -> bool {
    let part = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let Some((local, domain)) = text.split_once('@') else { return false };
    let Some((host, top)) = domain.rsplit_once('.') else { return false };
    part(local)
        && part(host)
        && (2..=4).contains(&top.len())
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
}
