//! Cuts configuration text into directives, byte for byte where nginx cuts it.
//!
//! The rules, none of which is written down anywhere but in the behaviour of the original:
//! * a word ends at white space, `;` or `{`; a `}` ends nothing, it is special only where a directive may start;
//! * a word is quoted only when its *first* byte is a quote; after the closing quote must come white space,
//!   `;`, `{` or `)`;
//! * a backslash protects the next byte from all of this; afterwards `\"`, `\'`, `\\`, `\t`, `\r`, `\n` are
//!   replaced and every other backslash stays in the word;
//! * `{` after `$` belongs to the word (`${name}`);
//! * `#` starts a comment only where a word may start;
//! * no word, comment or quoted string is longer than the read buffer of [`BUFFER_BYTES`].

use crate::ast::Word;
use crate::lua_lex;

/// Size of nginx's configuration read buffer, which is also its limit on one parameter.
pub const BUFFER_BYTES: usize = 4096;

/// What one step of the lexer found.
#[derive(Debug, PartialEq, Eq)]
pub enum Token {
    /// Words ended by `;`.
    Simple(Vec<Word>),
    /// Words ended by `{`.
    BlockStart(Vec<Word>),
    /// `}` where a directive may start.
    BlockEnd,
    /// The text is used up.
    End,
}

/// Why no token could be read.
#[derive(Debug, PartialEq, Eq)]
pub struct LexError {
    /// nginx's message, without a place.
    pub message: String,
    /// Line nginx reports.
    pub line: u32,
}

/// A position in configuration text.
pub struct Lexer<'a> {
    pub(crate) text: &'a [u8],
    /// Next byte to read.
    pub(crate) pos: usize,
    /// Line of the byte at `pos`, from 1.
    pub(crate) line: u32,
    /// End of what nginx would have in its read buffer now; decides where its length limits strike.
    pub(crate) window_end: usize,
    /// Text of `-g`: no length limit, another message at its end.
    parameter: bool,
}

impl<'a> Lexer<'a> {
    /// A lexer over the contents of a file.
    pub fn for_file(text: &'a [u8]) -> Lexer<'a> {
        Lexer { text, pos: 0, line: 1, window_end: 0, parameter: false }
    }

    /// A lexer over the text of `-g`.
    pub fn for_parameter(text: &'a [u8]) -> Lexer<'a> {
        Lexer { text, pos: 0, line: 0, window_end: text.len(), parameter: true }
    }

    /// Line of the byte that will be read next.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Reads the next directive up to its `;` or `{`, or a `}`, or the end.
    ///
    /// # Errors
    /// When the text breaks nginx's rules; the lexer must not be used afterwards.
    pub fn token(&mut self) -> Result<Token, LexError> {
        let mut scan = Scan::new(self.pos, self.line);
        loop {
            if self.pos >= self.window_end {
                if self.pos >= self.text.len() {
                    return scan.end_of_text(self);
                }
                if self.pos - scan.start == BUFFER_BYTES {
                    return Err(scan.too_long(self.text));
                }
                self.window_end = self.text.len().min(scan.start + BUFFER_BYTES);
            }
            let byte = self.text[self.pos];
            self.pos += 1;
            if byte == b'\n' {
                self.line += 1;
                scan.comment = false;
            }
            if let Some(token) = scan.step(byte, self)? {
                return Ok(token);
            }
        }
    }

    /// Reads inline Lua up to the `}` that closes the block, whose `{` has been read. Returns the text between.
    ///
    /// # Errors
    /// When the closing brace or a long bracket's end is missing.
    pub fn raw_block(&mut self) -> Result<&'a [u8], LexError> {
        lua_lex::block(self)
    }

    fn error(&self, message: impl Into<String>) -> LexError {
        LexError { message: message.into(), line: self.line }
    }
}

/// The state inside one directive.
struct Scan {
    words: Vec<Word>,
    /// Where the current word starts, and its line; kept as nginx keeps them, since the length limit counts
    /// from there.
    start: usize,
    start_line: u32,
    /// A word may start here.
    between: bool,
    /// A quoted word has just ended.
    need_space: bool,
    comment: bool,
    escaped: bool,
    /// The last byte was `$`.
    variable: bool,
    quote: Option<u8>,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Scan {
    fn new(start: usize, start_line: u32) -> Scan {
        Scan {
            words: Vec::new(),
            start,
            start_line,
            between: true,
            need_space: false,
            comment: false,
            escaped: false,
            variable: false,
            quote: None,
        }
    }

    /// Takes one byte, which has been counted by the lexer already.
    fn step(&mut self, byte: u8, lexer: &Lexer<'_>) -> Result<Option<Token>, LexError> {
        if self.comment {
            return Ok(None);
        }
        if self.escaped {
            self.escaped = false;
            return Ok(None);
        }
        if self.need_space {
            match byte {
                b';' => return Ok(Some(self.simple())),
                b'{' => return Ok(Some(self.block_start())),
                b')' => {}
                _ if is_space(byte) => {
                    self.between = true;
                    self.need_space = false;
                    return Ok(None);
                }
                _ => return Err(lexer.error(unexpected(byte))),
            }
            self.between = true;
            self.need_space = false;
        }
        if self.between { self.step_between(byte, lexer) } else { Ok(self.step_inside(byte, lexer)) }
    }

    /// A byte where a word may start.
    fn step_between(&mut self, byte: u8, lexer: &Lexer<'_>) -> Result<Option<Token>, LexError> {
        self.start = lexer.pos - 1;
        self.start_line = lexer.line;
        match byte {
            _ if is_space(byte) => return Ok(None),
            b';' | b'{' if self.words.is_empty() => return Err(lexer.error(unexpected(byte))),
            b';' => return Ok(Some(self.simple())),
            b'{' => return Ok(Some(self.block_start())),
            b'}' if self.words.is_empty() => return Ok(Some(Token::BlockEnd)),
            b'}' => return Err(lexer.error(unexpected(byte))),
            b'#' => {
                self.comment = true;
                return Ok(None);
            }
            b'\\' => self.escaped = true,
            b'"' | b'\'' => {
                self.start += 1;
                self.quote = Some(byte);
            }
            b'$' => self.variable = true,
            _ => {}
        }
        self.between = false;
        Ok(None)
    }

    /// A byte inside a word.
    fn step_inside(&mut self, byte: u8, lexer: &Lexer<'_>) -> Option<Token> {
        if byte == b'{' && self.variable {
            return None;
        }
        self.variable = false;
        match byte {
            b'\\' => {
                self.escaped = true;
                return None;
            }
            b'$' => {
                self.variable = true;
                return None;
            }
            _ => {}
        }
        let quoted = self.quote.is_some();
        match self.quote {
            Some(quote) if byte == quote => {
                self.quote = None;
                self.need_space = true;
            }
            Some(_) => return None,
            None if is_space(byte) || byte == b';' || byte == b'{' => self.between = true,
            None => return None,
        }
        let text = unescape(&lexer.text[self.start..lexer.pos - 1]);
        self.words.push(Word::new(text, quoted, self.start_line));
        match byte {
            b';' => Some(self.simple()),
            b'{' => Some(self.block_start()),
            _ => None,
        }
    }

    fn simple(&mut self) -> Token {
        Token::Simple(std::mem::take(&mut self.words))
    }

    fn block_start(&mut self) -> Token {
        Token::BlockStart(std::mem::take(&mut self.words))
    }

    fn end_of_text(&self, lexer: &Lexer<'_>) -> Result<Token, LexError> {
        if self.words.is_empty() && self.between {
            return Ok(Token::End);
        }
        Err(lexer.error(if lexer.parameter {
            "unexpected end of parameter, expecting \";\""
        } else {
            "unexpected end of file, expecting \";\" or \"}\""
        }))
    }

    fn too_long(&self, text: &[u8]) -> LexError {
        let message = match self.quote {
            Some(quote) => format!(
                "too long parameter, probably missing terminating \"{}\" character",
                char::from(quote)
            ),
            None => {
                let head = String::from_utf8_lossy(&text[self.start..self.start + 10]);
                format!("too long parameter \"{head}...\" started")
            }
        };
        LexError { message, line: self.start_line }
    }
}

fn unexpected(byte: u8) -> String {
    format!("unexpected \"{}\"", String::from_utf8_lossy(&[byte]))
}

/// Replaces the six escapes nginx knows; any other backslash stays.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while i < raw.len() {
        let (byte, used) = match (raw[i], raw.get(i + 1)) {
            (b'\\', Some(&next @ (b'"' | b'\'' | b'\\'))) => (next, 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (byte, _) => (byte, 1),
        };
        out.push(byte);
        i += used;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All tokens as text: words joined by `|`, then how the directive ended.
    fn tokens(text: &[u8]) -> Result<Vec<String>, (String, u32)> {
        let mut lexer = Lexer::for_file(text);
        let mut out = Vec::new();
        let join = |words: Vec<Word>| words.iter().map(Word::text).collect::<Vec<_>>().join("|");
        loop {
            match lexer.token().map_err(|error| (error.message, error.line))? {
                Token::Simple(words) => out.push(join(words) + ";"),
                Token::BlockStart(words) => out.push(join(words) + "{"),
                Token::BlockEnd => out.push("}".to_owned()),
                Token::End => return Ok(out),
            }
        }
    }

    #[test]
    fn words() {
        let cases: [(&str, &[&str]); 33] = [
            ("", &[]),
            (" \t\r\n", &[]),
            ("a;", &["a;"]),
            ("a b\tc\r\nd;", &["a|b|c|d;"]),
            ("a{b;}", &["a{", "b;", "}"]),
            ("a { } b { }", &["a{", "}", "b{", "}"]),
            ("a}b;", &["a}b;"]),
            ("# a;\nb; # c\n#d", &["b;"]),
            ("a#b;", &["a#b;"]),
            ("a #b\nc;", &["a|c;"]),
            ("a 'b c';", &["a|b c;"]),
            ("a \"b;{}#'\";", &["a|b;{}#';"]),
            ("a 'b\nc';", &["a|b\nc;"]),
            ("a '';", &["a|;"]),
            ("'a';", &["a;"]),
            ("a b'c';", &["a|b'c';"]),
            ("a b\"c d\";", &["a|b\"c|d\";"]),
            ("a 'b'{", &["a|b{"]),
            ("if ($x = \"y\") {", &["if|($x|=|y|){"]),
            ("if ('a'){", &["if|('a'){"]),
            ("a 'b')c;", &["a|b|)c;"]),
            ("a ${b}c;", &["a|${b}c;"]),
            ("a x${b}{", &["a|x${b}{"]),
            ("a ${{b;", &["a|${{b;"]),
            ("a $b{", &["a|$b{"]),
            ("a b\\ c;", &["a|b\\ c;"]),
            ("a b\\;c;", &["a|b\\;c;"]),
            ("a \\{b;", &["a|\\{b;"]),
            ("a '\\'\\\"\\\\\\t\\r\\n\\d';", &["a|'\"\\\t\r\n\\d;"]),
            ("a \\.php\\d+$;", &["a|\\.php\\d+$;"]),
            ("a \\#b;", &["a|\\#b;"]),
            ("a $;", &["a|$;"]),
            ("a \u{e4}\u{4e16};", &["a|\u{e4}\u{4e16};"]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&token| token.to_owned()).collect();
            assert_eq!(tokens(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn messages() {
        let semicolon = "unexpected end of file, expecting \";\" or \"}\"";
        let cases = [
            (";", "unexpected \";\"", 1),
            ("a;\n;", "unexpected \";\"", 2),
            ("\n{", "unexpected \"{\"", 2),
            ("a }", "unexpected \"}\"", 1),
            ("a 'b'c;", "unexpected \"c\"", 1),
            ("a 'b'\"c\";", "unexpected \"\"\"", 1),
            ("a\n'b'}", "unexpected \"}\"", 2),
            ("a", semicolon, 1),
            ("a\n", semicolon, 2),
            ("a b\n\n# c", semicolon, 3),
            ("a 'b;\n\n", semicolon, 3),
            ("a 'b'", semicolon, 1),
            ("a b\\", semicolon, 1),
        ];
        for (text, message, line) in cases {
            assert_eq!(tokens(text.as_bytes()), Err((message.to_owned(), line)), "{text:?}");
        }
    }

    #[test]
    fn length_limits() {
        let fill = |n: usize| "x".repeat(n);
        let started = |head: &str| format!("too long parameter \"{head}...\" started");
        let unterminated =
            |quote: &str| format!("too long parameter, probably missing terminating \"{quote}\" character");
        let fits = [
            fill(4095) + ";",
            format!("a {};", fill(4095)),
            format!("a '{}';", fill(4094)),
            // Nothing follows, so nginx never tries to read more.
            format!("a '{}", fill(4096)),
            format!("a #{}", fill(9000).replace("xxxx", "xxx\n")),
        ];
        for text in fits {
            let result = tokens(text.as_bytes());
            assert!(!matches!(&result, Err((message, _)) if message.starts_with("too long")), "{result:?}");
        }
        let cases = [
            (fill(4096) + ";", started("xxxxxxxxxx"), 1),
            (format!("a\n  b {};", fill(5000)), started("xxxxxxxxxx"), 2),
            (format!("a\n\n'y\n{}';", fill(5000)), unterminated("'"), 3),
            (format!("a \"{}", fill(5000)), unterminated("\""), 1),
            (format!("\n# {}\n;", fill(5000)), started("# xxxxxxxx"), 2),
            (format!("a '{}' ;", fill(4095)), started("xxxxxxxxxx"), 1),
        ];
        for (text, message, line) in cases {
            assert_eq!(tokens(text.as_bytes()), Err((message, line)), "{} bytes", text.len());
        }
    }

    #[test]
    fn words_know_their_line_and_quotes() {
        let mut lexer = Lexer::for_file(b"a\n 'b\nc'\n d\n;");
        let Ok(Token::Simple(words)) = lexer.token() else { panic!("not simple") };
        let seen: Vec<_> = words.iter().map(|word| (word.text(), word.quoted, word.line)).collect();
        assert_eq!(seen, [("a", false, 1), ("b\nc", true, 2), ("d", false, 4)]);
        assert_eq!(lexer.line(), 5);
    }

    #[test]
    fn any_byte_passes() {
        let mut lexer = Lexer::for_file(b"a \xff\x00b;");
        let Ok(Token::Simple(words)) = lexer.token() else { panic!("not simple") };
        assert_eq!(words[1].bytes(), b"\xff\x00b");
        assert!(words[1].as_str().is_err());
        assert_eq!(words[1].text(), "\u{fffd}\0b");
    }

    #[test]
    fn parameters_end_differently() {
        let mut lexer = Lexer::for_parameter(b"daemon off");
        let error = lexer.token().unwrap_err();
        assert_eq!(error.message, "unexpected end of parameter, expecting \";\"");
        let long = "x".repeat(9000) + ";";
        assert!(Lexer::for_parameter(long.as_bytes()).token().is_ok());
    }
}
