//! From values to JSON.

use super::{Config, DEPTH_MAX, Invalid, empty_array, strings};
use crate::ffi::{State, Type};

/// Longest array, however sparse ones are allowed to be.
const ARRAY_MAX: f64 = 67_108_864.0;

/// How a value ended.
#[derive(PartialEq, Eq)]
enum Done {
    Written,
    /// It has no form in JSON and is left out.
    Skipped,
}

/// Appends the JSON text of the value at `index`.
///
/// # Errors
/// lua-cjson's message.
pub(super) fn value(lua: State<'_>, index: i32, config: &Config, out: &mut Vec<u8>) -> Result<(), String> {
    let top = lua.top();
    lua.push_value(index);
    let encoder = Encoder { lua, config, indent: config.indent.borrow().clone() };
    let done = encoder.value(0, out);
    lua.set_top(top);
    done.map(drop)
}

struct Encoder<'l, 'c> {
    lua: State<'l>,
    config: &'c Config,
    indent: Vec<u8>,
}

fn unserialisable(kind: &str, reason: &str) -> String {
    format!("Cannot serialise {kind}: {reason}")
}

impl Encoder<'_, '_> {
    /// Appends the value on top, `depth` tables deep.
    fn value(&self, depth: i64, out: &mut Vec<u8>) -> Result<Done, String> {
        let lua = self.lua;
        match lua.type_of(-1) {
            Type::String => {
                let text = lua.to_bytes(-1).unwrap_or_default();
                strings::push_quoted(out, text, self.config.escape_slash.get());
            }
            Type::Number => self.number(lua.to_number(-1).unwrap_or_default(), out)?,
            Type::Boolean => out.extend_from_slice(if lua.to_bool(-1) { b"true" } else { b"false" }),
            Type::Nil => out.extend_from_slice(b"null"),
            Type::Table => self.table(depth + 1, out)?,
            Type::LightUserdata if lua.to_light(-1) == Some(0) => out.extend_from_slice(b"null"),
            Type::LightUserdata if lua.to_light(-1) == Some(empty_array()) => out.extend_from_slice(b"[]"),
            _ if self.config.skip_unsupported.get() => return Ok(Done::Skipped),
            other => return Err(unserialisable(other.name(), "type not supported")),
        }
        Ok(Done::Written)
    }

    fn number(&self, number: f64, out: &mut Vec<u8>) -> Result<(), String> {
        if !number.is_finite() {
            match self.config.encode_invalid.get() {
                Invalid::Refused => return Err(unserialisable("number", "must not be NaN or Infinity")),
                Invalid::Null => out.extend_from_slice(b"null"),
                Invalid::Allowed if number.is_nan() => out.extend_from_slice(b"NaN"),
                Invalid::Allowed => {
                    out.extend_from_slice(if number < 0.0 { b"-Infinity" } else { &b"Infinity"[..] });
                }
            }
            return Ok(());
        }
        push_number(out, number, self.config.precision.get());
        Ok(())
    }

    fn table(&self, depth: i64, out: &mut Vec<u8>) -> Result<(), String> {
        let (lua, config) = (self.lua, self.config);
        if depth > config.encode_max_depth.get().min(DEPTH_MAX) || !lua.check_stack(8) {
            return Err(format!("Cannot serialise, excessive nesting ({depth})"));
        }
        let mut metatable = 0;
        if lua.metatable(-1) {
            metatable = lua.to_pointer(-1).addr();
            lua.pop(1);
        }
        if metatable != 0 && metatable == config.array_mt {
            return self.array(lua.len(-1), depth, out);
        }
        if metatable != 0
            && let Some(len) = self.own_length()?
        {
            return self.array(len, depth, out);
        }
        match self.array_length()? {
            Some(0) if metatable != 0 && metatable == config.empty_array_mt => self.array(0, depth, out),
            Some(0) if config.empty_as_object.get() => self.object(depth, out),
            Some(len) => self.array(len, depth, out),
            None => self.object(depth, out),
        }
    }

    /// What the metamethod `__len` of the table on top says.
    fn own_length(&self) -> Result<Option<usize>, String> {
        let lua = self.lua;
        lua.metatable(-1);
        lua.raw_get_field(-1, "__len");
        lua.remove(-2);
        if lua.is_none_or_nil(-1) {
            lua.pop(1);
            return Ok(None);
        }
        lua.push_value(-2);
        if lua.protected_call(1, 1).is_err() {
            return Err(String::from_utf8_lossy(lua.to_bytes(-1).unwrap_or_default()).into_owned());
        }
        let len = lua.to_int(-1).unwrap_or(0);
        lua.pop(1);
        Ok(Some(usize::try_from(len).unwrap_or(0)))
    }

    /// The length of the array on top; `None`: it is an object.
    fn array_length(&self) -> Result<Option<usize>, String> {
        let (lua, config) = (self.lua, self.config);
        let (mut max, mut items) = (0.0f64, 0.0);
        lua.push_nil();
        while lua.next(-2) {
            lua.pop(1);
            let key = if lua.type_of(-1) == Type::Number { lua.to_number(-1) } else { None };
            match key.filter(|key| key.fract() == 0.0 && *key >= 1.0) {
                Some(key) => {
                    max = max.max(key);
                    items += 1.0;
                }
                None => {
                    lua.pop(1);
                    return Ok(None);
                }
            }
        }
        if max > ARRAY_MAX {
            return Err(unserialisable("table", "excessively sparse array"));
        }
        let (ratio, safe) = (config.sparse_ratio.get() as f64, config.sparse_safe.get() as f64);
        if ratio > 0.0 && max > items * ratio && max > safe {
            if config.sparse_convert.get() {
                return Ok(None);
            }
            return Err(unserialisable("table", "excessively sparse array"));
        }
        Ok(Some(max as usize))
    }

    fn new_line(&self, depth: i64, out: &mut Vec<u8>) {
        if self.indent.is_empty() {
            return;
        }
        out.push(b'\n');
        for _ in 0..depth {
            out.extend_from_slice(&self.indent);
        }
    }

    fn array(&self, len: usize, depth: i64, out: &mut Vec<u8>) -> Result<(), String> {
        let lua = self.lua;
        out.push(b'[');
        let mut is_first = true;
        for i in 1..=len {
            let before = out.len();
            if !is_first {
                out.push(b',');
            }
            self.new_line(depth, out);
            lua.raw_get_index(-1, i32::try_from(i).map_err(|_| "array too long")?);
            if self.value(depth, out)? == Done::Skipped {
                out.truncate(before);
            } else {
                is_first = false;
            }
            lua.pop(1);
        }
        if len > 0 {
            self.new_line(depth - 1, out);
        }
        out.push(b']');
        Ok(())
    }

    fn object(&self, depth: i64, out: &mut Vec<u8>) -> Result<(), String> {
        let lua = self.lua;
        out.push(b'{');
        let (mut is_first, mut has_items) = (true, false);
        lua.push_nil();
        while lua.next(-2) {
            has_items = true;
            let before = out.len();
            if !is_first {
                out.push(b',');
            }
            self.new_line(depth, out);
            match lua.type_of(-2) {
                Type::Number => {
                    out.push(b'"');
                    self.number(lua.to_number(-2).unwrap_or_default(), out)?;
                    out.push(b'"');
                }
                Type::String => {
                    let key = lua.to_bytes(-2).unwrap_or_default();
                    strings::push_quoted(out, key, self.config.escape_slash.get());
                }
                other => return Err(unserialisable(other.name(), "table key must be a number or string")),
            }
            out.push(b':');
            if !self.indent.is_empty() {
                out.push(b' ');
            }
            if self.value(depth, out)? == Done::Skipped {
                out.truncate(before);
            } else {
                is_first = false;
            }
            lua.pop(1);
        }
        if has_items {
            self.new_line(depth - 1, out);
        }
        out.push(b'}');
        Ok(())
    }
}

/// A number with so many significant digits, as C's `%.14g` writes it.
fn push_number(out: &mut Vec<u8>, number: f64, precision: i64) {
    let exact = 10f64.powi(precision as i32);
    if number.fract() == 0.0 && number.abs() < exact && !(number == 0.0 && number.is_sign_negative()) {
        if number < 0.0 {
            out.push(b'-');
        }
        return http1::push_decimal(out, number.abs() as u64);
    }
    out.extend_from_slice(&crate::number::general(number, precision as usize));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_c_writes_them() {
        let text = |number: f64, precision| {
            let mut out = Vec::new();
            push_number(&mut out, number, precision);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0.1, 14), "0.1");
        assert_eq!(text(1e14, 14), "1e+14");
        assert_eq!(text(99_999_999_999_999.0, 14), "99999999999999");
        assert_eq!(text(-12.0, 14), "-12");
        assert_eq!(text(1.0 / 3.0, 3), "0.333");
        assert_eq!(text(12_345.0, 3), "1.23e+04");
        assert_eq!(text(9_007_199_254_740_992.0, 16), "9007199254740992");
    }
}
