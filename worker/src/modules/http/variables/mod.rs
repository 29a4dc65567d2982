//! The core's variables.
//!
//! By what they speak of: the [`request`], its URI and [`paths`], the [`connection`] it came over, the [`response`], and
//! this [`process`].

mod connection;
mod paths;
mod process;
mod request;
mod response;

use crate::variables::Variable;

/// All variables of `ngx_http_core_module`.
pub(super) static VARIABLES: &[Variable] = &join_tables::<{ count(TABLES) }>(TABLES);

const TABLES: &[&[Variable]] =
    &[request::VARIABLES, paths::VARIABLES, connection::VARIABLES, response::VARIABLES, process::VARIABLES];

const fn count(tables: &[&[Variable]]) -> usize {
    let (mut count, mut table) = (0, 0);
    while table < tables.len() {
        count += tables[table].len();
        table += 1;
    }
    count
}

const fn join_tables<const COUNT: usize>(tables: &[&[Variable]]) -> [Variable; COUNT] {
    let mut joined = [tables[0][0]; COUNT];
    let (mut filled, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            joined[filled] = tables[table][row];
            filled += 1;
            row += 1;
        }
        table += 1;
    }
    joined
}

/// Appends `value`: there is one.
fn found(out: &mut Vec<u8>, value: &[u8]) -> bool {
    out.extend_from_slice(value);
    true
}

/// Appends `value` unless it is empty, which means that there is none.
fn found_unless_empty(out: &mut Vec<u8>, value: &[u8]) -> bool {
    out.extend_from_slice(value);
    !value.is_empty()
}

/// Appends a number.
fn number(out: &mut Vec<u8>, value: u64) -> bool {
    http1::push_decimal(out, value);
    true
}

/// Appends a port; 0 is the empty text.
fn port(out: &mut Vec<u8>, value: u16) -> bool {
    if value != 0 {
        http1::push_decimal(out, value.into());
    }
    true
}

/// Appends milliseconds as seconds with three decimals.
fn seconds(out: &mut Vec<u8>, ms: u64) -> bool {
    http1::push_decimal(out, ms / 1000);
    let rest = ms % 1000;
    out.push(b'.');
    out.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
    true
}

/// Appends values with `separator` between them; `false`: there are none.
fn join<'v>(out: &mut Vec<u8>, values: impl Iterator<Item = &'v [u8]>, separator: &[u8]) -> bool {
    let mut any = false;
    for value in values {
        if any {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = |write: &dyn Fn(&mut Vec<u8>) -> bool| {
            let mut out = Vec::new();
            let found = write(&mut out);
            (String::from_utf8(out).unwrap(), found)
        };
        for (ms, expected) in [(0, "0.000"), (7, "0.007"), (1_234, "1.234"), (60_050, "60.050")] {
            assert_eq!(text(&|out| seconds(out, ms)), (expected.to_owned(), true));
        }
        assert_eq!(text(&|out| port(out, 0)), (String::new(), true));
        assert_eq!(text(&|out| port(out, 8080)), ("8080".to_owned(), true));
        let values: [&[u8]; 3] = [b"a", b"", b"c"];
        assert_eq!(text(&|out| join(out, values.into_iter(), b", ")), ("a, , c".to_owned(), true));
        assert_eq!(text(&|out| join(out, [].into_iter(), b", ")), (String::new(), false));
    }
}
