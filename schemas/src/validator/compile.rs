//! From the JSON of a schema to its compiled form.

use serde_json::{Map, Value};

use super::{Additional, Condition, Dependency, Format, Node, Pattern, Property, Type};

/// Definitions that built-in schemas refer to by name.
const DEFINITIONS: &str = include_str!("../../resources/defs.json");

/// How deep schemas may nest: one that refers to itself must not hang us.
const DEPTH_MAX: u32 = 64;

/// Reads a built-in schema and replaces `{"$ref": "name", …}` by the definition, with what stands beside it added.
pub(super) fn expand(text: &str) -> Result<Value, String> {
    let mut schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let definitions: Map<String, Value> =
        serde_json::from_str(DEFINITIONS).map_err(|error| error.to_string())?;
    replace(&mut schema, &definitions, DEPTH_MAX)?;
    Ok(schema)
}

fn replace(value: &mut Value, definitions: &Map<String, Value>, left: u32) -> Result<(), String> {
    let left = left.checked_sub(1).ok_or("schemas nest too deep")?;
    if let Value::Object(object) = value
        && let Some(Value::String(name)) = object.get("$ref")
    {
        let mut definition =
            definitions.get(name).cloned().ok_or_else(|| format!("no definition \"{name}\""))?;
        let target = definition.as_object_mut().ok_or("a definition is an object")?;
        let beside = std::mem::take(object);
        target.extend(beside.into_iter().filter(|(key, _)| key != "$ref"));
        *value = definition;
    }
    match value {
        Value::Object(object) => object.values_mut().try_for_each(|inner| replace(inner, definitions, left)),
        Value::Array(array) => array.iter_mut().try_for_each(|inner| replace(inner, definitions, left)),
        _ => Ok(()),
    }
}

/// Compiles one schema.
pub(super) fn node(schema: &Value) -> Result<Node, String> {
    compile(schema, DEPTH_MAX)
}

fn compile(schema: &Value, left: u32) -> Result<Node, String> {
    let left = left.checked_sub(1).ok_or("schemas nest too deep")?;
    let object = match schema {
        Value::Bool(always) => return Ok(Node { always: Some(*always), ..Node::default() }),
        Value::Object(object) => object,
        Value::Array(array) if array.is_empty() => return Ok(Node::default()),
        _ => return Err("a schema is an object or a boolean".into()),
    };
    let mut node = Node::default();
    types(object, &mut node)?;
    objects(object, &mut node, left)?;
    scalars(object, &mut node)?;
    node.all_of = list(object, "allOf", left)?;
    node.any_of = list(object, "anyOf", left)?;
    node.any_requires = requires(object);
    node.one_of = list(object, "oneOf", left)?;
    node.not = object.get("not").map(|inner| compile(inner, left).map(Box::new)).transpose()?;
    if let Some(test) = object.get("if") {
        let branch = |name: &str| object.get(name).map(|inner| compile(inner, left)).transpose();
        let condition =
            Condition { test: compile(test, left)?, then: branch("then")?, otherwise: branch("else")? };
        node.condition = Some(Box::new(condition));
    }
    node.has_defaults = node.properties.iter().any(|p| p.default.is_some() || p.node.has_defaults)
        || node.items.as_ref().is_some_and(|items| items.has_defaults)
        || node.patterns.iter().any(|(_, _, inner)| inner.has_defaults)
        || [&node.all_of, &node.any_of, &node.one_of].into_iter().flatten().any(|inner| inner.has_defaults)
        || node.condition.as_ref().is_some_and(|condition| {
            [&condition.then, &condition.otherwise].into_iter().flatten().any(|inner| inner.has_defaults)
        });
    Ok(node)
}

fn types(object: &Map<String, Value>, node: &mut Node) -> Result<(), String> {
    let read = |name: &Value| {
        Ok(match name.as_str().unwrap_or_default() {
            "object" | "table" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "number" => Type::Number,
            "integer" => Type::Integer,
            "boolean" => Type::Boolean,
            "null" => Type::Null,
            other => return Err(format!("unknown type \"{other}\"")),
        })
    };
    match object.get("type") {
        None => {}
        Some(Value::Array(names)) => {
            node.types = names.iter().map(read).collect::<Result<_, String>>()?;
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            node.types_text = names.join(", ");
        }
        Some(name) => {
            node.types = vec![read(name)?];
            node.one_type = true;
            node.types_text = name.as_str().unwrap_or_default().to_owned();
        }
    }
    Ok(())
}

fn objects(object: &Map<String, Value>, node: &mut Node, left: u32) -> Result<(), String> {
    if let Some(Value::Object(properties)) = object.get("properties") {
        for (name, inner) in properties {
            let default = inner.get("default").filter(|default| !default.is_null()).cloned();
            node.properties.push(Property { name: name.clone(), node: compile(inner, left)?, default });
        }
    }
    node.required = strings(object.get("required"));
    if let Some(Value::Object(dependencies)) = object.get("dependencies") {
        for (name, dependency) in dependencies {
            let dependency = match dependency {
                Value::Array(_) => Dependency::Names(strings(Some(dependency))),
                schema => Dependency::Schema(Box::new(compile(schema, left)?)),
            };
            node.dependencies.push((name.clone(), dependency));
        }
    }
    if let Some(Value::Object(patterns)) = object.get("patternProperties") {
        for (text, inner) in patterns {
            node.patterns.push((text.clone(), pattern(text)?, compile(inner, left)?));
        }
    }
    node.additional = match object.get("additionalProperties") {
        None | Some(Value::Bool(true)) => Additional::Allowed,
        Some(Value::Bool(false)) => Additional::Forbidden,
        Some(schema) => Additional::Schema(Box::new(compile(schema, left)?)),
    };
    node.items = object.get("items").map(|items| compile(items, left).map(Box::new)).transpose()?;
    Ok(())
}

fn scalars(object: &Map<String, Value>, node: &mut Node) -> Result<(), String> {
    let count = |name: &str| object.get(name).and_then(Value::as_u64);
    let number = |name: &str| object.get(name).and_then(Value::as_f64);
    node.min_properties = count("minProperties");
    node.max_properties = count("maxProperties");
    node.min_items = count("minItems");
    node.max_items = count("maxItems");
    node.unique = object.get("uniqueItems") == Some(&Value::Bool(true));
    node.min_length = count("minLength");
    node.max_length = count("maxLength");
    if let Some(Value::String(text)) = object.get("pattern") {
        node.pattern = Some((text.clone(), pattern(text)?));
    }
    node.minimum = number("minimum");
    node.maximum = number("maximum");
    node.exclusive_minimum = number("exclusiveMinimum");
    node.exclusive_maximum = number("exclusiveMaximum");
    node.multiple_of = number("multipleOf");
    node.choices = object.get("enum").and_then(Value::as_array).cloned();
    node.constant = object.get("const").cloned();
    node.format = match object.get("format").and_then(Value::as_str) {
        Some("email") => Some(Format::Email),
        Some("ipv4") => Some(Format::Ipv4),
        Some("ipv6") => Some(Format::Ipv6),
        Some("hostname") => Some(Format::Hostname),
        _ => None,
    };
    Ok(())
}

fn list(object: &Map<String, Value>, name: &str, left: u32) -> Result<Vec<Node>, String> {
    match object.get(name) {
        Some(Value::Array(schemas)) => schemas.iter().map(|schema| compile(schema, left)).collect(),
        _ => Ok(Vec::new()),
    }
}

/// What the branches of `anyOf` require, as the message lists it.
fn requires(object: &Map<String, Value>) -> String {
    let Some(Value::Array(branches)) = object.get("anyOf") else { return String::new() };
    let lists: Vec<String> =
        branches.iter().filter_map(|branch| branch.get("required")).map(Value::to_string).collect();
    lists.join(" or ")
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let array = value.and_then(Value::as_array);
    array.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn pattern(text: &str) -> Result<Pattern, String> {
    pcre2::bytes::RegexBuilder::new()
        .jit_if_available(true)
        .build(text)
        .map_err(|error| format!("bad pattern \"{text}\": {error}"))
}
