//! From JSON to values.

use super::{Config, DEPTH_MAX, strings};
use crate::ffi::State;

/// Pushes the value of `text`.
///
/// # Errors
/// lua-cjson's message; what was pushed is left on the stack.
pub(super) fn value(lua: State<'_>, text: &[u8], config: &Config) -> Result<(), String> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".into());
    }
    let mut decoder = Decoder { lua, config, text, at: 0, depth: 0, string: Vec::new() };
    let token = decoder.token();
    decoder.value(token)?;
    match decoder.token() {
        Token { kind: Kind::End, .. } => Ok(()),
        other => Err(expected("the end", &other)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

/// A piece of the text and where it begins. A string's text is in the decoder.
#[derive(Clone, Copy)]
struct Token {
    kind: Kind,
    at: usize,
}

fn expected(what: &str, found: &Token) -> String {
    let name = match found.kind {
        Kind::ObjectBegin => "T_OBJ_BEGIN",
        Kind::ObjectEnd => "T_OBJ_END",
        Kind::ArrayBegin => "T_ARR_BEGIN",
        Kind::ArrayEnd => "T_ARR_END",
        Kind::String => "T_STRING",
        Kind::Number(_) => "T_NUMBER",
        Kind::Boolean(_) => "T_BOOLEAN",
        Kind::Null => "T_NULL",
        Kind::Colon => "T_COLON",
        Kind::Comma => "T_COMMA",
        Kind::End => "T_END",
        Kind::Error(message) => message,
    };
    format!("Expected {what} but found {name} at character {}", found.at + 1)
}

struct Decoder<'l, 'c, 't> {
    lua: State<'l>,
    config: &'c Config,
    text: &'t [u8],
    at: usize,
    depth: i64,
    /// The last string.
    string: Vec<u8>,
}

impl Decoder<'_, '_, '_> {
    fn token(&mut self) -> Token {
        if let Err(token) = self.skip_space() {
            return token;
        }
        let at = self.at;
        let single = |this: &mut Self, kind| {
            this.at += 1;
            kind
        };
        let kind = match self.text.get(at) {
            None => Kind::End,
            // a zero ends the text only where it ends
            Some(0) => Kind::Error("invalid token"),
            Some(b'{') => single(self, Kind::ObjectBegin),
            Some(b'}') => single(self, Kind::ObjectEnd),
            Some(b'[') => single(self, Kind::ArrayBegin),
            Some(b']') => single(self, Kind::ArrayEnd),
            Some(b':') => single(self, Kind::Colon),
            Some(b',') => single(self, Kind::Comma),
            Some(b'"') => return self.quoted(),
            Some(b'-' | b'0'..=b'9') => {
                if !self.config.decode_invalid.get() && is_invalid_number(&self.text[at..]) {
                    Kind::Error("invalid number")
                } else {
                    self.number()
                }
            }
            Some(_) => self.word(),
        };
        Token { kind, at }
    }

    fn skip_space(&mut self) -> Result<(), Token> {
        loop {
            let rest = &self.text[self.at..];
            let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
            self.at += space;
            let rest = &rest[space..];
            if !self.config.allow_comment.get() || !rest.starts_with(b"/") {
                return Ok(());
            }
            let at = self.at;
            match rest.get(1) {
                Some(b'/') => self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
                Some(b'*') => match memchr::memmem::find(&rest[2..], b"*/") {
                    Some(end) => self.at += end + 4,
                    None => return Err(Token { kind: Kind::Error("unclosed multi-line comment"), at }),
                },
                _ => return Err(Token { kind: Kind::Error("invalid token"), at }),
            }
        }
    }

    fn quoted(&mut self) -> Token {
        let at = self.at;
        self.string.clear();
        match strings::unquote(&self.text[at + 1..], &mut self.string) {
            Ok(taken) => {
                self.at += 1 + taken;
                Token { kind: Kind::String, at }
            }
            Err((message, place)) => Token { kind: Kind::Error(message), at: at + 1 + place },
        }
    }

    fn word(&mut self) -> Kind {
        let rest = &self.text[self.at..];
        for (word, kind) in
            [(&b"true"[..], Kind::Boolean(true)), (b"false", Kind::Boolean(false)), (b"null", Kind::Null)]
        {
            if rest.starts_with(word) {
                self.at += word.len();
                return kind;
            }
        }
        if self.config.decode_invalid.get() && is_invalid_number(rest) {
            return self.number();
        }
        Kind::Error("invalid token")
    }

    fn number(&mut self) -> Kind {
        match leading_number(&self.text[self.at..]) {
            Some((number, taken)) => {
                self.at += taken;
                Kind::Number(number)
            }
            None => Kind::Error("invalid number"),
        }
    }

    fn value(&mut self, token: Token) -> Result<(), String> {
        let lua = self.lua;
        match token.kind {
            Kind::String => lua.push_bytes(&self.string),
            Kind::Number(number) => lua.push_number(number),
            Kind::Boolean(value) => lua.push_bool(value),
            Kind::Null => lua.push_light(0),
            Kind::ObjectBegin => self.object()?,
            Kind::ArrayBegin => self.array()?,
            _ => return Err(expected("value", &token)),
        }
        Ok(())
    }

    fn descend(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > self.config.decode_max_depth.get().min(DEPTH_MAX) || !self.lua.check_stack(8) {
            let (depth, at) = (self.depth, self.at);
            return Err(format!("Found too many nested data structures ({depth}) at character {at}"));
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), String> {
        self.descend()?;
        let lua = self.lua;
        lua.push_table(0, 4);
        let mut token = self.token();
        if token.kind == Kind::ObjectEnd {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            if token.kind != Kind::String {
                return Err(expected("object key string", &token));
            }
            lua.push_bytes(&self.string);
            token = self.token();
            if token.kind != Kind::Colon {
                return Err(expected("colon", &token));
            }
            token = self.token();
            self.value(token)?;
            lua.raw_set(-3);
            token = self.token();
            match token.kind {
                Kind::ObjectEnd => {
                    self.depth -= 1;
                    return Ok(());
                }
                Kind::Comma => token = self.token(),
                _ => return Err(expected("comma or object end", &token)),
            }
        }
    }

    fn array(&mut self) -> Result<(), String> {
        self.descend()?;
        let lua = self.lua;
        lua.push_table(4, 0);
        if self.config.decode_array_mt.get() {
            lua.raw_get_field(State::REGISTRY, "cjson.array_mt");
            lua.set_metatable(-2);
        }
        let mut token = self.token();
        if token.kind == Kind::ArrayEnd {
            self.depth -= 1;
            return Ok(());
        }
        for i in 1.. {
            self.value(token)?;
            lua.raw_set_index(-2, i);
            token = self.token();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.token(),
                _ => return Err(expected("comma or array end", &token)),
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Whether `text` begins with a number that JSON does not have: infinity, not a number, leading zeros, hexadecimal.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', next, ..] => next.is_ascii_digit() || matches!(next, b'x' | b'X'),
        [b'0'..=b'9', ..] => false,
        _ => text
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
    }
}

/// The number `text` begins with, as C's `strtod` reads it, and its length.
fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let body = &text[sign..];
    let signed = |number: f64| if sign == 1 { -number } else { number };
    for (word, number) in [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if body.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
            return Some((signed(number), sign + word.len()));
        }
    }
    if let [b'0', b'x' | b'X', digits @ ..] = body
        && digits.first().is_some_and(u8::is_ascii_hexdigit)
    {
        let len = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = |digit: &u8| f64::from(char::from(*digit).to_digit(16).unwrap_or(0));
        let number = digits[..len].iter().fold(0.0, |number, digit| number * 16.0 + value(digit));
        return Some((signed(number), sign + 2 + len));
    }
    let digits = |from: usize| body[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if end == 0 {
        return None;
    }
    if body.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(body.get(end), Some(b'e' | b'E')) {
        let first = end + 1 + usize::from(matches!(body.get(end + 1), Some(b'+' | b'-')));
        let exponent = if first <= body.len() { digits(first) } else { 0 };
        if exponent > 0 {
            end = first + exponent;
        }
    }
    let number = std::str::from_utf8(&body[..end]).ok()?.parse().ok()?;
    Some((signed(number), sign + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_c_reads_them() {
        assert_eq!(leading_number(b"12]"), Some((12.0, 2)));
        assert_eq!(leading_number(b"-1.5e3,"), Some((-1500.0, 6)));
        assert_eq!(leading_number(b"1.e"), Some((1.0, 2)));
        assert_eq!(leading_number(b"1e+"), Some((1.0, 1)));
        assert_eq!(leading_number(b"0x1F "), Some((31.0, 4)));
        assert_eq!(leading_number(b"-Infinity"), Some((f64::NEG_INFINITY, 9)));
        assert!(leading_number(b"nan").unwrap().0.is_nan());
        assert_eq!(leading_number(b"-"), None);
        assert_eq!(leading_number(b"0x"), Some((0.0, 1)));
    }

    #[test]
    fn numbers_json_does_not_have() {
        for text in ["0x1", "01", "-00", "inf", "-NaN"] {
            assert!(is_invalid_number(text.as_bytes()), "{text}");
        }
        for text in ["0", "0.5", "-1", "nul", "0e1"] {
            assert!(!is_invalid_number(text.as_bytes()), "{text}");
        }
    }
}
