//! Header fields as a Lua table.

use crate::ffi::{State, Type};

/// Where the metatable of such tables is kept in the registry.
const METATABLE: &str = "ngx.headers";

/// Finds `foo_bar` and `Foo-Bar` under `foo-bar`.
const INDEX: &[u8] = br#"
local rawget, lower, gsub, type = rawget, string.lower, string.gsub, type
return function(tb, key)
    if type(key) ~= "string" then
        return nil
    end
    key = lower(key)
    local value = rawget(tb, key)
    if value == nil then
        value = rawget(tb, (gsub(key, "_", "-")))
    end
    return value
end
"#;

/// Makes the metatable.
pub(super) fn setup(lua: State<'_>) {
    lua.push_table(0, 1);
    super::run_text(lua, INDEX, c"=headers", 1);
    lua.raw_set_field(1, "__index");
    lua.raw_set_field(State::REGISTRY, METATABLE);
}

/// Pushes `fields` as a table: names in lower case (unless `raw`), several values as a table. At most `max` fields (0: all;
/// negative: 100); whether there were more.
pub(crate) fn push<'f>(
    lua: State<'_>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    max: i64,
    raw: bool,
) -> bool {
    let max = match max {
        0 => usize::MAX,
        max if max < 0 => 100,
        max => max as usize,
    };
    let mut truncated = false;
    lua.push_table(0, 16);
    for (n, (name, value)) in fields.enumerate() {
        if n >= max {
            truncated = true;
            break;
        }
        if raw { add(lua, name, value) } else { add(lua, &name.to_ascii_lowercase(), value) }
    }
    if !raw {
        lua.raw_get_field(State::REGISTRY, METATABLE);
        lua.set_metatable(-2);
    }
    truncated
}

/// Adds a value under `name` to the table on top.
pub(crate) fn add(lua: State<'_>, name: &[u8], value: &[u8]) {
    lua.push_bytes(value);
    add_top(lua, name);
}

/// Adds the value on top under `name` to the table below it, and pops it. Several values of a name become a table.
pub(crate) fn add_top(lua: State<'_>, name: &[u8]) {
    lua.raw_get_field(-2, name);
    match lua.type_of(-1) {
        Type::Nil => {
            lua.pop(1);
            lua.raw_set_field(-2, name);
        }
        Type::Table => {
            let next = lua.len(-1) as i32 + 1;
            lua.insert(-2);
            lua.raw_set_index(-2, next);
            lua.pop(1);
        }
        _ => {
            // table, new, old
            lua.push_table(2, 0);
            lua.insert(-2);
            lua.raw_set_index(-2, 1);
            lua.insert(-2);
            lua.raw_set_index(-2, 2);
            lua.raw_set_field(-2, name);
        }
    }
}

/// Gives the table on top the metatable under which names are found in any spelling.
pub(crate) fn mark(lua: State<'_>) {
    lua.raw_get_field(State::REGISTRY, METATABLE);
    lua.set_metatable(-2);
}
