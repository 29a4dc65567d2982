//! Merging: what PATCH does.

use serde_json::{Map, Value};

/// How deep patches may nest.
const DEPTH_MAX: u32 = 64;

/// Merges `patch` into `value`: objects are merged, `null` removes, everything else replaces.
pub(crate) fn merge(value: &mut Map<String, Value>, patch: Map<String, Value>) {
    merge_at(value, patch, DEPTH_MAX);
}

fn merge_at(value: &mut Map<String, Value>, patch: Map<String, Value>, left: u32) {
    for (name, new) in patch {
        match (value.get_mut(&name), new) {
            (_, Value::Null) => drop(value.shift_remove(&name)),
            (Some(Value::Object(old)), Value::Object(new)) if left > 0 => merge_at(old, new, left - 1),
            (_, new) => drop(value.insert(name, new)),
        }
    }
}

/// Replaces what stands at `path` by `new`. The error is APISIX's.
pub(crate) fn replace(value: &mut Value, path: &[String], new: Value) -> Result<(), String> {
    let Some((last, way)) = path.split_last() else {
        *value = new;
        return Ok(());
    };
    let mut at = value;
    for (depth, name) in way.iter().enumerate() {
        at = match at {
            Value::Object(object) => object.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new())),
            Value::Array(array) => item(array, name).ok_or_else(|| wrong(&path[..=depth]))?,
            _ => return Err(wrong(&path[..depth])),
        };
        if !at.is_object() && !at.is_array() {
            return Err(wrong(&path[..=depth]));
        }
    }
    match at {
        Value::Object(object) => drop(object.insert(last.clone(), new)),
        Value::Array(array) => *item(array, last).ok_or_else(|| wrong(path))? = new,
        _ => return Err(wrong(path)),
    }
    Ok(())
}

/// Items of arrays are counted from 0.
fn item<'a>(array: &'a mut [Value], name: &str) -> Option<&'a mut Value> {
    array.get_mut(name.parse::<usize>().ok()?)
}

fn wrong(path: &[String]) -> String {
    format!("invalid sub-path: /{}", path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merging() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 1});
        let patch = json!({"a": {"b": null, "x": 3}, "d": [3], "e": {"f": 1}});
        let (Some(object), Value::Object(patch)) = (value.as_object_mut(), patch) else { panic!() };
        merge(object, patch);
        assert_eq!(value, json!({"a": {"c": 2, "x": 3}, "d": [3], "e": {"f": 1}}));
    }

    #[test]
    fn replacing() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut value = json!({"a": {"b": 1}, "l": [{"x": 1}]});
        replace(&mut value, &path("a/b"), json!(2)).unwrap();
        replace(&mut value, &path("n/m"), json!("new")).unwrap();
        replace(&mut value, &path("l/0/x"), json!(5)).unwrap();
        assert_eq!(value, json!({"a": {"b": 2}, "l": [{"x": 5}], "n": {"m": "new"}}));
        assert_eq!(replace(&mut value, &path("a/b/c"), json!(1)), Err("invalid sub-path: /a/b".to_owned()));
        assert_eq!(replace(&mut value, &path("l/9/x"), json!(1)), Err("invalid sub-path: /l/9".to_owned()));
    }
}
