//! What is counted for: a variable, a text with variables, or the client's address where that is empty.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use worker::plugin::Prepare;
use worker::request::Request;

use crate::template::Template;

/// A key, compiled.
pub(crate) struct LimitKey {
    prefix: Vec<u8>,
    source: Source,
}

enum Source {
    Variable(String),
    Combination(Template),
    Constant(Vec<u8>),
}

impl LimitKey {
    /// Compiles `key`. A configuration that changes counts anew; a group counts for all that name it.
    pub(crate) fn new(cx: &Prepare<'_>, kind: &str, key: &str, group: Option<&str>) -> Self {
        let prefix = match group {
            Some(group) => format!("{group}:"),
            None => {
                // with fixed keys: every worker must count under the same name
                let mut hasher = DefaultHasher::new();
                cx.conf.to_string().hash(&mut hasher);
                format!("{}:{:x}:", cx.parent, hasher.finish())
            }
        };
        let source = match kind {
            "constant" => Source::Constant(key.as_bytes().to_vec()),
            "var_combination" => Source::Combination(Template::new(key)),
            _ => Source::Variable(key.to_owned()),
        };
        Self { prefix: prefix.into_bytes(), source }
    }

    /// The key of a request.
    pub(crate) fn of(&self, req: &mut Request) -> Vec<u8> {
        let mut key = self.prefix.clone();
        let found = match &self.source {
            Source::Constant(text) => {
                key.extend_from_slice(text);
                true
            }
            Source::Variable(name) => req.append_variable_by_name(name.as_bytes(), &mut key) == Some(true),
            Source::Combination(template) => {
                let (text, resolved) = template.eval(req, &[]);
                if resolved > 0 {
                    key.extend_from_slice(&text);
                }
                resolved > 0
            }
        };
        if !found {
            key.truncate(self.prefix.len());
            key.extend_from_slice(req.client.text.as_bytes());
        }
        if key.len() > KEY_BYTES_MAX {
            // long ones are told apart by their hash
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            key.truncate(KEY_BYTES_MAX - 16);
            key.extend_from_slice(format!("{:016x}", hasher.finish()).as_bytes());
        }
        key
    }
}

/// The longest key as it is.
const KEY_BYTES_MAX: usize = 255;
