//! Conditions over variables: the arrays of lua-resty-expr, `[["arg_x", "==", "y"], ["OR", […], […]]]`.
//!
//! Parsed once; patterns are compiled and networks read then. Values of variables are texts or absent, as nginx has
//! them; a comparison with a number reads the text as one.

use std::net::IpAddr;

use pcre2::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use crate::Networks;

/// What expressions are evaluated over.
pub trait Vars {
    /// Appends the value of variable `name` to `out`; `false`: it has none.
    fn append(&mut self, name: &str, out: &mut Vec<u8>) -> bool;
}

/// How deep expressions may nest.
const DEPTH_MAX: u32 = 32;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expr(Node);

#[derive(Debug, Clone)]
enum Node {
    /// All of them (`AND`, also a plain list), or one of them (`OR`); `negated`: `!AND`, `!OR`.
    Logic {
        or: bool,
        negated: bool,
        parts: Vec<Node>,
    },
    Compare {
        name: Box<str>,
        negated: bool,
        test: Test,
    },
}

#[derive(Debug, Clone)]
enum Test {
    Equal(Literal),
    NotEqual(Literal),
    Order(Order, Option<f64>),
    Matches(Regex),
    In(Vec<Box<str>>),
    /// No variable here is a list.
    Has,
    IpMatch(Networks),
}

#[derive(Debug, Clone)]
enum Literal {
    Text(Box<str>),
    Number(f64),
    /// Equal to a variable without a value.
    Absent,
    /// A boolean or table: equal to no variable.
    Other,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Expr {
    /// Reads an expression. The error is lua-resty-expr's.
    pub fn parse(rule: &Value) -> Result<Self, String> {
        let rules = match rule {
            Value::Array(rules) => rules,
            // an empty table
            Value::Object(object) if object.is_empty() => return Ok(Self(always())),
            _ => return Err("missing argument rule".into()),
        };
        match rules.first() {
            None => return Ok(Self(always())),
            Some(Value::Array(_)) => {}
            Some(Value::String(word)) if logic(word).is_some() => {}
            Some(_) => return Err("rule should be wrapped inside brackets".into()),
        }
        compile(rules, DEPTH_MAX).map(Self)
    }

    /// Whether the expression holds.
    pub fn eval(&self, vars: &mut dyn Vars) -> bool {
        let mut value = Vec::new();
        self.0.eval(vars, &mut value)
    }

    /// The variables it looks at.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.names(&mut names);
        names
    }
}

fn always() -> Node {
    Node::Logic { or: false, negated: false, parts: Vec::new() }
}

/// Reads `OR`, `!OR`, `AND`, `!AND`: whether it is an or, and whether it is negated.
fn logic(word: &str) -> Option<(bool, bool)> {
    let upper = word.to_ascii_uppercase();
    let (negated, word) = match upper.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, &*upper),
    };
    match word {
        "OR" => Some((true, negated)),
        "AND" => Some((false, negated)),
        _ => None,
    }
}

fn compile(rules: &[Value], left: u32) -> Result<Node, String> {
    let left = left.checked_sub(1).ok_or("expression nests too deep")?;
    let inner = |rule: &Value| match rule {
        Value::Array(rules) => compile(rules, left),
        _ => Err("invalid expression".to_owned()),
    };
    match rules.first() {
        None => Err("rule too short".into()),
        Some(Value::Array(_)) => {
            let parts = rules.iter().map(inner).collect::<Result<_, _>>()?;
            Ok(Node::Logic { or: false, negated: false, parts })
        }
        Some(Value::String(word)) => match logic(word) {
            Some(_) if rules.len() <= 2 => Err("rule too short".into()),
            Some((or, negated)) => {
                let parts = rules[1..].iter().map(inner).collect::<Result<_, _>>()?;
                Ok(Node::Logic { or, negated, parts })
            }
            None => compare(word, rules),
        },
        Some(_) => Err("invalid expression".into()),
    }
}

fn compare(name: &str, rules: &[Value]) -> Result<Node, String> {
    let (negated, op, value) = match rules {
        [_, Value::String(not), op, value] => {
            if not != "!" {
                return Err("bad 'not' expression".into());
            }
            (true, op, Some(value))
        }
        [_, _, _, _] => return Err("bad 'not' expression".into()),
        [_, op, value, ..] => (false, op, Some(value)),
        [_, op] => (false, op, None),
        _ => return Err("invalid expression".into()),
    };
    let lower = match op {
        Value::String(op) => op.to_ascii_lowercase(),
        _ if value.is_none() => return equal(name, negated, op),
        _ => return Err("invalid expression".into()),
    };
    match value {
        None if !OPERATORS.contains(&&*lower) => equal(name, negated, op),
        value => {
            let test = test(&lower, value.unwrap_or(&Value::Null))?;
            Ok(Node::Compare { name: name.into(), negated, test })
        }
    }
}

/// `["name", "value"]`, the short form of `==`. The value is read in lower case, as the library does.
fn equal(name: &str, negated: bool, value: &Value) -> Result<Node, String> {
    let value = match value {
        Value::String(text) => Value::String(text.to_ascii_lowercase()),
        other => other.clone(),
    };
    Ok(Node::Compare { name: name.into(), negated, test: Test::Equal(literal(&value)) })
}

const OPERATORS: [&str; 11] = ["==", "~=", ">", ">=", "<", "<=", "~~", "~*", "in", "has", "ipmatch"];

fn test(op: &str, value: &Value) -> Result<Test, String> {
    let order = |order| Ok(Test::Order(order, number_of(value)));
    match op {
        "==" => Ok(Test::Equal(literal(value))),
        "~=" => Ok(Test::NotEqual(literal(value))),
        ">" => order(Order::Greater),
        ">=" => order(Order::GreaterOrEqual),
        "<" => order(Order::Less),
        "<=" => order(Order::LessOrEqual),
        "~~" => pattern(value, false),
        "~*" => pattern(value, true),
        "in" => Ok(Test::In(texts(value).into_iter().map(Into::into).collect())),
        "has" => Ok(Test::Has),
        "ipmatch" => {
            let list = match value {
                Value::String(one) => vec![&**one],
                other => texts(other),
            };
            Networks::parse(list).map(Test::IpMatch).map_err(|bad| format!("invalid ip address: {bad}"))
        }
        other => Err(format!("invalid operator '{other}'")),
    }
}

fn literal(value: &Value) -> Literal {
    match value {
        Value::String(text) => Literal::Text((&**text).into()),
        Value::Number(number) => Literal::Number(number.as_f64().unwrap_or_default()),
        Value::Null => Literal::Absent,
        _ => Literal::Other,
    }
}

fn pattern(value: &Value, caseless: bool) -> Result<Test, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("invalid expression".into()),
    };
    let built = RegexBuilder::new().caseless(caseless).jit_if_available(true).build(&text);
    built.map(Test::Matches).map_err(|error| format!("invalid pattern '{text}': {error}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What `tonumber` makes of a literal.
fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => number(text.as_bytes()),
        _ => None,
    }
}

/// What `tonumber` makes of a text.
fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if negative { -value } else { value });
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    text.parse().ok()
}

impl Node {
    fn eval(&self, vars: &mut dyn Vars, value: &mut Vec<u8>) -> bool {
        match self {
            Node::Logic { or: true, negated, parts } => {
                parts.iter().any(|part| part.eval(vars, value)) != *negated
            }
            Node::Logic { or: false, negated, parts } => {
                parts.iter().all(|part| part.eval(vars, value)) != *negated
            }
            Node::Compare { name, negated, test } => {
                value.clear();
                let found = vars.append(name, value);
                test.holds(found.then_some(&value[..])) != *negated
            }
        }
    }

    fn names<'e>(&'e self, names: &mut Vec<&'e str>) {
        match self {
            Node::Logic { parts, .. } => parts.iter().for_each(|part| part.names(names)),
            Node::Compare { name, .. } => names.push(name),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Test::Equal(literal) => literal.equals(value),
            Test::NotEqual(literal) => !literal.equals(value),
            Test::Order(order, limit) => {
                let (Some(value), Some(limit)) = (value.and_then(number), *limit) else { return false };
                match order {
                    Order::Greater => value > limit,
                    Order::GreaterOrEqual => value >= limit,
                    Order::Less => value < limit,
                    Order::LessOrEqual => value <= limit,
                }
            }
            Test::Matches(pattern) => value.is_some_and(|value| pattern.is_match(value).unwrap_or(false)),
            Test::In(list) => value.is_some_and(|value| list.iter().any(|item| item.as_bytes() == value)),
            Test::Has => false,
            Test::IpMatch(networks) => value
                .and_then(|value| std::str::from_utf8(value).ok()?.parse::<IpAddr>().ok())
                .is_some_and(|address| networks.contains(address)),
        }
    }
}

impl Literal {
    fn equals(&self, value: Option<&[u8]>) -> bool {
        match self {
            Literal::Text(text) => value == Some(text.as_bytes()),
            Literal::Number(wanted) => value.and_then(number) == Some(*wanted),
            Literal::Absent => value.is_none(),
            Literal::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Some3;

    impl Vars for Some3 {
        fn append(&mut self, name: &str, out: &mut Vec<u8>) -> bool {
            let value = match name {
                "arg_name" => "json",
                "arg_age" => "18",
                "remote_addr" => "10.1.2.3",
                "empty" => "",
                _ => return false,
            };
            out.extend_from_slice(value.as_bytes());
            true
        }
    }

    #[test]
    fn operators() {
        for (rule, holds) in [
            (json!([]), true),
            (json!([["arg_name", "==", "json"]]), true),
            (json!([["arg_name", "json"]]), true),
            (json!([["arg_name", "~=", "json"]]), false),
            (json!([["arg_age", ">", 17], ["arg_age", "<=", "18"]]), true),
            (json!([["arg_age", "==", 18]]), true),
            (json!([["arg_age", "in", ["17", "18"]]]), true),
            (json!([["arg_age", "!", "in", ["17", "18"]]]), false),
            (json!([["arg_name", "~~", "^j[a-z]+$"]]), true),
            (json!([["arg_name", "~~", "^J"]]), false),
            (json!([["arg_name", "~*", "^J"]]), true),
            (json!([["arg_none", "==", null]]), true),
            (json!([["arg_none", "~~", "x"]]), false),
            (json!([["arg_none", ">", 1]]), false),
            (json!([["arg_none", "~=", "x"]]), true),
            (json!([["empty", "==", ""]]), true),
            (json!([["remote_addr", "ipmatch", ["10.0.0.0/8"]]]), true),
            (json!([["remote_addr", "!", "ipmatch", ["10.0.0.0/8"]]]), false),
            (json!(["OR", ["arg_age", "==", "1"], ["arg_name", "==", "json"]]), true),
            (json!(["!OR", ["arg_age", "==", "1"], ["arg_name", "==", "json"]]), false),
            (json!(["!AND", ["arg_age", "==", "1"], ["arg_name", "==", "json"]]), true),
            (
                json!([["arg_age", "==", "18"], ["OR", ["arg_name", "==", "a"], ["arg_name", "==", "json"]]]),
                true,
            ),
        ] {
            assert_eq!(Expr::parse(&rule).unwrap().eval(&mut Some3), holds, "{rule}");
        }
    }

    #[test]
    fn refused_in_the_library_s_words() {
        for (rule, text) in [
            (json!([["arg_name", "=", "x"]]), "invalid operator '='"),
            (json!(["arg_name", "==", "x"]), "rule should be wrapped inside brackets"),
            (json!([[]]), "rule too short"),
            (json!(["OR", ["a", "==", "b"]]), "rule too short"),
            (json!([["a"]]), "invalid expression"),
            (json!([["a", "x", "==", "b"]]), "bad 'not' expression"),
        ] {
            assert_eq!(Expr::parse(&rule).err().as_deref(), Some(text), "{rule}");
        }
        let mut deep = json!(["a", "==", "b"]);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(Expr::parse(&deep).is_err());
    }
}
