//! Parameter values: variables and backslashes.

use super::shared::Shared;
use crate::request::Request;

/// Expands the variables in `text` and takes backslashes before quotes, dollars and backslashes away.
///
/// # Errors
/// The line for the log.
pub(super) fn expand(req: &mut Request, page: &Shared, text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'$' => at = variable(req, page, text, at + 1, &mut out)?,
            b'\\' => {
                let next = text.get(at + 1).copied();
                if !matches!(next, Some(b'\\' | b'\'' | b'"' | b'$') | None) {
                    out.push(b'\\');
                }
                out.extend(next);
                at += 2;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// Expands the variable whose name (or opening bracket) begins at `at`; returns where it ends.
fn variable(
    req: &mut Request,
    page: &Shared,
    text: &[u8],
    at: usize,
    out: &mut Vec<u8>,
) -> Result<usize, String> {
    let bracket = text.get(at) == Some(&b'{');
    let start = at + usize::from(bracket);
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let name = &rest[..length];
    if bracket && rest.get(length) != Some(&b'}') {
        let name = name.escape_ascii();
        return Err(format!("the closing bracket in \"{name}\" variable is missing"));
    }
    if name.is_empty() {
        return Err(format!("invalid variable name in \"{}\"", text.escape_ascii()));
    }
    append_variable(req, page, name, out);
    Ok(start + length + usize::from(bracket))
}

/// Appends the value of a variable of the page or of the server; `false`: it has none.
pub(super) fn append_variable(req: &mut Request, page: &Shared, name: &[u8], out: &mut Vec<u8>) -> bool {
    if let Some(value) = page.borrow().variable(name) {
        out.extend_from_slice(&value);
        return true;
    }
    let start = out.len();
    let found = req.append_variable_by_name(&name.to_ascii_lowercase(), out).unwrap_or(false);
    if !found {
        out.truncate(start);
    }
    found
}
