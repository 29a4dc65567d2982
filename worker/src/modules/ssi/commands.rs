//! What commands do to the state of a page.

use std::rc::Rc;

use bytes::Bytes;

use super::expand::{append_variable, expand};
use super::parser::Param;
use super::shared::{Shared, TooMuch};
use super::time::TimeFormat;
use crate::log::Level;
use crate::regex::{Captures, Regex};
use crate::request::Request;

/// Where between `if` and `endif` a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditional {
    Outside,
    /// Behind `if` or `elif`.
    If,
    /// Behind `else`.
    Else,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    None,
    Url,
    Entity,
}

/// The state of one page or included part.
pub(super) struct Interpreter {
    pub(super) page: Shared,
    /// Text is sent, and commands are carried out.
    output: bool,
    /// Text is kept in a block.
    block: bool,
    conditional: Conditional,
    /// A branch of the `if` was taken.
    chosen: bool,
    encoding: Encoding,
    error_text: Bytes,
    silent: bool,
}

/// What a command gives.
pub(super) enum Effect {
    /// Nothing to send.
    Nothing,
    /// Bytes to send.
    Text(Bytes),
    /// Another location's response.
    Include(Include),
}

/// An `include`.
pub(super) struct Include {
    pub(super) uri: Vec<u8>,
    pub(super) args: Vec<u8>,
    /// Nothing goes on before it is complete.
    pub(super) wait: bool,
    /// The response becomes the value of this variable.
    pub(super) set: Option<Vec<u8>>,
    /// Shown in place of an empty or failed response.
    pub(super) stub: Option<Bytes>,
}

/// The line for the log.
type Outcome = Result<Effect, String>;

/// A command's name, its parameters with whether each must be there.
struct Syntax {
    name: &'static [u8],
    params: &'static [(&'static str, bool)],
}

const fn syntax(name: &'static [u8], params: &'static [(&'static str, bool)]) -> Syntax {
    Syntax { name, params }
}

static COMMANDS: [Syntax; 10] = [
    syntax(
        b"include",
        &[("virtual", false), ("file", false), ("wait", false), ("set", false), ("stub", false)],
    ),
    syntax(b"echo", &[("var", true), ("default", false), ("encoding", false)]),
    syntax(b"config", &[("timefmt", false), ("errmsg", false)]),
    syntax(b"set", &[("var", true), ("value", true)]),
    syntax(b"if", &[("expr", true)]),
    syntax(b"elif", &[("expr", true)]),
    syntax(b"else", &[]),
    syntax(b"endif", &[]),
    syntax(b"block", &[("name", true)]),
    syntax(b"endblock", &[]),
];

impl Interpreter {
    pub(super) fn new(page: Shared, silent: bool) -> Self {
        Self {
            page,
            output: true,
            block: false,
            conditional: Conditional::Outside,
            chosen: false,
            encoding: Encoding::Entity,
            error_text: Bytes::from_static(b"[an error occurred while processing the directive]"),
            silent,
        }
    }

    /// Text between commands.
    pub(super) fn text(&mut self, text: Bytes) -> Outcome {
        if self.output {
            return Ok(Effect::Text(text));
        }
        if self.block {
            self.page.borrow_mut().extend_block(&text).map_err(too_much)?;
        }
        Ok(Effect::Nothing)
    }

    /// Something is wrong: what is shown in its place.
    pub(super) fn error(&self, req: &Request, text: &str) -> Option<Bytes> {
        req.log_error(format_args!("{text}"));
        (self.output && !self.silent).then(|| self.error_text.clone())
    }

    /// Carries out a command.
    pub(super) fn command(&mut self, req: &mut Request, name: &[u8], params: Vec<Param>) -> Outcome {
        let shown = name.escape_ascii();
        let Some(syntax) = COMMANDS.iter().find(|syntax| syntax.name == name) else {
            return if self.output || self.block {
                Err(format!("invalid SSI command: \"{shown}\""))
            } else {
                Ok(Effect::Nothing)
            };
        };
        if self.block && name != b"endblock" {
            self.page.borrow_mut().extend_block(&written(name, &params)).map_err(too_much)?;
            return Ok(Effect::Nothing);
        }
        let conditional = matches!(name, b"elif" | b"else" | b"endif");
        if !self.output && !conditional && !self.block {
            return Ok(Effect::Nothing);
        }
        let fits = match name {
            b"elif" | b"else" => self.conditional == Conditional::If,
            b"endif" => self.conditional != Conditional::Outside,
            b"endblock" => self.block,
            _ => true,
        };
        if !fits {
            return Err(format!("invalid context of SSI command: \"{shown}\""));
        }
        let params = Params::check(syntax, params)?;
        match name {
            b"include" => self.include(req, params),
            b"echo" => self.echo(req, &params),
            b"config" => self.config(req, params),
            b"set" => self.set(req, &params),
            b"if" | b"elif" => self.condition(req, name == b"if", &params),
            b"else" => {
                self.output = !self.chosen;
                self.conditional = Conditional::Else;
                Ok(Effect::Nothing)
            }
            b"endif" => {
                (self.output, self.chosen, self.conditional) = (true, false, Conditional::Outside);
                Ok(Effect::Nothing)
            }
            b"block" => {
                self.page.borrow_mut().begin_block(params.get("name")).map_err(too_much)?;
                (self.output, self.block) = (false, true);
                Ok(Effect::Nothing)
            }
            _ => {
                (self.output, self.block) = (true, false);
                Ok(Effect::Nothing)
            }
        }
    }

    fn include(&mut self, req: &mut Request, params: Params) -> Outcome {
        let (uri, file) = (params.find("virtual"), params.find("file"));
        let (set, stub) = (params.find("set"), params.find("stub"));
        let mut wait = false;
        if let Some(value) = params.find("wait") {
            if uri.is_none() {
                return Err("\"wait\" cannot be used with \"file\"".to_owned());
            }
            wait = match value {
                _ if value.eq_ignore_ascii_case(b"yes") => true,
                _ if value.eq_ignore_ascii_case(b"no") => false,
                _ => {
                    let value = value.escape_ascii();
                    return Err(format!("invalid value \"{value}\" in the \"wait\" parameter"));
                }
            };
        }
        let target = match (uri, file) {
            (Some(_), Some(_)) => {
                return Err("inclusion may be either \"virtual\" or \"file\"".to_owned());
            }
            (None, None) => return Err("no parameter in \"include\" SSI command".to_owned()),
            (Some(uri), None) => uri,
            (None, Some(file)) => {
                wait = true;
                file
            }
        };
        if set.is_some() && stub.is_some() {
            return Err("\"set\" and \"stub\" cannot be used together in \"include\" SSI command".to_owned());
        }
        let mut text = expand(req, &self.page, target)?;
        if text.first() != Some(&b'/') {
            let directory = memchr::memrchr(b'/', &req.uri).map_or(0, |slash| slash + 1);
            text.splice(0..0, req.uri[..directory].iter().copied());
        }
        let Some((uri, args)) = crate::upstream::parse_unsafe_uri(&text) else {
            return Err(format!("unsafe URI \"{}\" was detected", text.escape_ascii()));
        };
        let stub =
            match stub {
                None => None,
                Some(name) => Some(self.page.borrow().block(name).ok_or_else(|| {
                    format!("\"stub\"=\"{}\" for \"include\" not found", name.escape_ascii())
                })?),
            };
        Ok(Effect::Include(Include { uri, args, wait, set: set.map(<[u8]>::to_vec), stub }))
    }

    fn echo(&mut self, req: &mut Request, params: &Params) -> Outcome {
        let mut value = Vec::new();
        if !append_variable(req, &self.page, params.get("var"), &mut value) {
            value.extend_from_slice(params.find("default").unwrap_or(b"(none)"));
        }
        if value.is_empty() {
            return Ok(Effect::Nothing);
        }
        match params.find("encoding") {
            None => {}
            Some(b"none") => self.encoding = Encoding::None,
            Some(b"url") => self.encoding = Encoding::Url,
            Some(b"entity") => self.encoding = Encoding::Entity,
            Some(other) => {
                let other = other.escape_ascii();
                req.log_error(format_args!("unknown encoding \"{other}\" in the \"echo\" command"));
            }
        }
        let mut out = Vec::with_capacity(value.len());
        match self.encoding {
            Encoding::None => out = value,
            Encoding::Url => http1::escape_uri(&mut out, &value, http1::Escape::Html),
            Encoding::Entity => http1::escape_html(&mut out, &value),
        }
        Ok(Effect::Text(out.into()))
    }

    fn config(&mut self, req: &mut Request, params: Params) -> Outcome {
        if let Some(format) = params.find("timefmt") {
            req.context.set(TimeFormat(Rc::from(String::from_utf8_lossy(format))));
        }
        if let Some(text) = params.find("errmsg") {
            self.error_text = Bytes::copy_from_slice(text);
        }
        Ok(Effect::Nothing)
    }

    fn set(&mut self, req: &mut Request, params: &Params) -> Outcome {
        let value = expand(req, &self.page, params.get("value"))?;
        self.page.borrow_mut().assign(params.get("var"), value.into()).map_err(too_much)?;
        Ok(Effect::Nothing)
    }

    fn condition(&mut self, req: &mut Request, is_if: bool, params: &Params) -> Outcome {
        if is_if && self.conditional != Conditional::Outside {
            return Err("the \"if\" command inside the \"if\" command".to_owned());
        }
        if self.chosen {
            self.output = false;
            return Ok(Effect::Nothing);
        }
        let holds = self.holds(req, params.get("expr"))?;
        (self.output, self.chosen, self.conditional) = (holds, holds, Conditional::If);
        Ok(Effect::Nothing)
    }

    /// Whether an expression holds: `text`, `text = text`, `text != text`, `text = /pattern/`, `text != /pattern/`.
    fn holds(&mut self, req: &mut Request, expr: &[u8]) -> Result<bool, String> {
        let invalid = || format!("invalid expression in \"{}\"", expr.escape_ascii());
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"${}_\"'".contains(byte);
        let length = expr.iter().take_while(|byte| word(byte)).count();
        let left = expand(req, &self.page, &expr[..length].to_ascii_lowercase())?;
        let rest = skip_blanks(&expr[length..]);
        if rest.is_empty() {
            return Ok(!left.is_empty());
        }
        let (negated, rest) = match rest {
            [b'=', rest @ ..] => (false, rest),
            [b'!', b'=', rest @ ..] => (true, rest),
            _ => return Err(invalid()),
        };
        let equal = match skip_blanks(rest) {
            [b'/', pattern @ .., b'/'] => {
                let pattern = expand(req, &self.page, pattern)?;
                self.matches(req, &pattern, &left)?
            }
            [b'/', _, ..] => return Err(invalid()),
            [b'\\', right @ ..] if right.len() > 1 && right[0] == b'/' => {
                expand(req, &self.page, right)? == left
            }
            right => expand(req, &self.page, right)? == left,
        };
        Ok(equal != negated)
    }

    /// Whether a pattern matches; its groups are kept.
    fn matches(&mut self, req: &Request, pattern: &[u8], text: &[u8]) -> Result<bool, String> {
        let pattern = std::str::from_utf8(pattern).map_err(|error| error.to_string())?;
        let regex = Regex::new(pattern, false)?;
        let mut captures = Captures::default();
        match regex.captures(text, &mut captures) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                let text = text.escape_ascii();
                req.log(
                    Level::Alert,
                    format_args!("pcre2_match() failed: {error} on \"{text}\" using \"{pattern}\""),
                );
                return Err(format!("\"{pattern}\" could not be run"));
            }
        }
        let mut page = self.page.borrow_mut();
        for (name, group) in regex.names() {
            let value = Bytes::copy_from_slice(captures.get(*group).unwrap_or_default());
            page.assign(name.as_bytes(), value).map_err(too_much)?;
        }
        page.captures = captures;
        Ok(true)
    }
}

fn too_much(_: TooMuch) -> String {
    "SSI variables and blocks take too much memory".to_owned()
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    &text[blanks..]
}

/// A command as it is written, for blocks.
fn written(name: &[u8], params: &[Param]) -> Vec<u8> {
    let mut out = [b"<!--#", name].concat();
    for (name, value) in params {
        // the kind of quote that is not inside; one that is inside has its backslash still
        let quote = if memchr::memchr(b'"', value).is_some() { b'\'' } else { b'"' };
        out.push(b' ');
        out.extend_from_slice(name);
        out.extend_from_slice(&[b'=', quote]);
        out.extend_from_slice(value);
        out.push(quote);
    }
    out.extend_from_slice(b" -->");
    out
}

/// Parameters that fit their command.
struct Params(Vec<Param>);

impl Params {
    fn check(syntax: &Syntax, params: Vec<Param>) -> Result<Self, String> {
        let command = syntax.name.escape_ascii();
        for (at, (name, _)) in params.iter().enumerate() {
            let shown = name.escape_ascii();
            if !syntax.params.iter().any(|(known, _)| known.as_bytes() == name) {
                return Err(format!("invalid parameter name: \"{shown}\" in \"{command}\" SSI command"));
            }
            if params[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("duplicate \"{shown}\" parameter in \"{command}\" SSI command"));
            }
        }
        let absent = |(known, needed): &&(&str, bool)| {
            *needed && !params.iter().any(|(name, _)| known.as_bytes() == name)
        };
        if let Some((name, _)) = syntax.params.iter().find(absent) {
            return Err(format!("mandatory \"{name}\" parameter is absent in \"{command}\" SSI command"));
        }
        Ok(Self(params))
    }

    fn find(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// A parameter that must be there.
    fn get(&self, name: &str) -> &[u8] {
        self.find(name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fit_their_command() {
        let check = |names: &[&str]| {
            let params = names.iter().map(|name| (name.as_bytes().to_vec(), b"v".to_vec())).collect();
            Params::check(&COMMANDS[1], params).map(|_| ())
        };
        assert_eq!(check(&["var", "default"]), Ok(()));
        for (names, text) in [
            (&["default"][..], "mandatory \"var\" parameter is absent in \"echo\" SSI command"),
            (&["var", "var"], "duplicate \"var\" parameter in \"echo\" SSI command"),
            (&["var", "vax"], "invalid parameter name: \"vax\" in \"echo\" SSI command"),
        ] {
            assert_eq!(check(names), Err(text.to_owned()));
        }
    }

    #[test]
    fn commands_in_blocks_read_as_they_were() {
        let params = vec![(b"a".to_vec(), b"x y".to_vec()), (b"b".to_vec(), b"say \"x\"".to_vec())];
        assert_eq!(written(b"set", &params), b"<!--#set a=\"x y\" b='say \"x\"' -->");
    }
}
