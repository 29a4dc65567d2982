//! Finds the end of inline Lua (`content_by_lua_block { … }`).
//!
//! Braces are counted outside of strings, long brackets and comments, with the patterns and the read-buffer
//! limits of OpenResty: a long bracket must close within the buffer, a quoted string must close on its line
//! (otherwise its quote is an ordinary byte). Lines are counted everywhere; OpenResty loses count of those in a
//! stretch of more than half a buffer without any brace, bracket, quote or comment.

use crate::lex::{BUFFER_BYTES, LexError, Lexer};

/// Something in Lua text that matters for finding the end.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Open,
    Close,
    /// `[==[` or `--[==[`; the closing bracket is to be found.
    LongBracket,
    /// A comment, a quoted string or a stray closing long bracket.
    Skip,
}

/// Reads to the `}` matching the `{` before the lexer's position and returns the text between.
pub(crate) fn block<'a>(lexer: &mut Lexer<'a>) -> Result<&'a [u8], LexError> {
    let begin = lexer.pos;
    let mut depth = 1_usize;
    let mut brace_line = lexer.line;
    loop {
        match token(lexer, brace_line)? {
            Mark::Open => {
                depth += 1;
                brace_line = lexer.line;
            }
            Mark::Close => {
                depth -= 1;
                if depth == 0 {
                    return Ok(&lexer.text[begin..lexer.pos - 1]);
                }
            }
            Mark::LongBracket | Mark::Skip => {}
        }
    }
}

/// Reads up to and including the next mark.
fn token(lexer: &mut Lexer<'_>, brace_line: u32) -> Result<Mark, LexError> {
    let mut start = lexer.pos;
    let total = lexer.text.len();
    let start_line = lexer.line;
    loop {
        let end = lexer.window_end;
        if lexer.pos >= end || (end - lexer.pos < BUFFER_BYTES / 2 && end < total) {
            if end >= total {
                return Err(end_of_file(brace_line));
            }
            if end.saturating_sub(start) == BUFFER_BYTES {
                return Err(too_long(start_line));
            }
            lexer.window_end = total.min(start + BUFFER_BYTES);
        }
        match next_mark(&lexer.text[..lexer.window_end], lexer.pos) {
            Some((Mark::LongBracket, from, to)) => return long_bracket(lexer, from, to),
            Some((mark, _, to)) => {
                advance(lexer, to);
                return Ok(mark);
            }
            None if lexer.window_end >= total => return Err(end_of_file(brace_line)),
            None if lexer.window_end - lexer.pos == BUFFER_BYTES => return Err(too_long(start_line)),
            None => {
                start = lexer.pos;
                advance(lexer, lexer.window_end);
                lexer.window_end = total.min(start + BUFFER_BYTES);
            }
        }
    }
}

/// Skips a long bracket whose opening part is `from..to`.
fn long_bracket(lexer: &mut Lexer<'_>, from: usize, to: usize) -> Result<Mark, LexError> {
    advance(lexer, from);
    let window = &lexer.text[..lexer.window_end];
    let level = window[from..to].iter().filter(|&&byte| byte == b'=').count();
    let closing = format!("]{}]", "=".repeat(level));
    let found = window[to..].windows(closing.len()).position(|bytes| bytes == closing.as_bytes());
    match found {
        Some(offset) => {
            advance(lexer, to + offset + closing.len());
            Ok(Mark::LongBracket)
        }
        None => Err(LexError {
            message: format!(
                "Lua code block missing the closing long bracket \"{closing}\", \
                 the inlined Lua code may be too long"
            ),
            line: lexer.line,
        }),
    }
}

fn too_long(line: u32) -> LexError {
    LexError { message: "too long lua code block, probably missing terminating characters".to_owned(), line }
}

fn end_of_file(line: u32) -> LexError {
    LexError {
        message: "unexpected end of file, expecting terminating characters for lua code block".to_owned(),
        line,
    }
}

/// Moves to `to`, counting lines.
fn advance(lexer: &mut Lexer<'_>, to: usize) {
    let lines = lexer.text[lexer.pos..to].iter().filter(|&&byte| byte == b'\n').count();
    lexer.line = lexer.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
    lexer.pos = to;
}

/// The first mark at or after `from`, with its begin and end.
fn next_mark(text: &[u8], from: usize) -> Option<(Mark, usize, usize)> {
    (from..text.len()).find_map(|at| mark_at(&text[at..]).map(|(mark, length)| (mark, at, at + length)))
}

/// The mark that begins `text`, with its length.
fn mark_at(text: &[u8]) -> Option<(Mark, usize)> {
    match text[0] {
        b'{' => Some((Mark::Open, 1)),
        b'}' => Some((Mark::Close, 1)),
        b'[' => bracket(text, b'[').map(|length| (Mark::LongBracket, length)),
        b']' => bracket(text, b']').map(|length| (Mark::Skip, length)),
        b'-' if text.get(1) == Some(&b'-') => Some(match bracket(&text[2..], b'[') {
            Some(length) => (Mark::LongBracket, 2 + length),
            None => (Mark::Skip, text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())),
        }),
        quote @ (b'"' | b'\'') => quoted(text, quote).map(|length| (Mark::Skip, length)),
        _ => None,
    }
}

/// Length of `[==[` (or with `]`) at the beginning of `text`.
fn bracket(text: &[u8], side: u8) -> Option<usize> {
    if text.first() != Some(&side) {
        return None;
    }
    let level = text[1..].iter().take_while(|&&byte| byte == b'=').count();
    (text.get(1 + level) == Some(&side)).then_some(level + 2)
}

/// Length of the quoted string at the beginning of `text`, if it ends on the same line.
fn quoted(text: &[u8], quote: u8) -> Option<usize> {
    let mut i = 1;
    loop {
        match *text.get(i)? {
            b'\n' => return None,
            b'\\' => {
                if *text.get(i + 1)? == b'\n' {
                    return None;
                }
                i += 2;
            }
            byte if byte == quote => return Some(i + 1),
            _ => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block's text, or the message and line; `text` begins behind the `{`.
    fn raw(text: &str) -> Result<&str, (String, u32)> {
        let mut lexer = Lexer::for_file(text.as_bytes());
        match lexer.raw_block() {
            Ok(bytes) => Ok(std::str::from_utf8(bytes).unwrap()),
            Err(error) => Err((error.message, error.line)),
        }
    }

    #[test]
    fn ends_at_the_matching_brace() {
        let cases = [
            ("}", ""),
            (" a() } b }", " a() "),
            ("{ {} }{} } x", "{ {} }{} "),
            ("say(\"}\") }", "say(\"}\") "),
            ("say('}', \"\\\"}\") }", "say('}', \"\\\"}\") "),
            ("-- }\n }", "-- }\n "),
            ("--[[ } \n } ]] }", "--[[ } \n } ]] "),
            ("--[==[ ]] } ]==] }", "--[==[ ]] } ]==] "),
            ("say([[ok--]]) }", "say([[ok--]]) "),
            ("x = [==[ ]] } ' \" ]==] }", "x = [==[ ]] } ' \" ]==] "),
            ("t1[t2[1]] }", "t1[t2[1]] "),
            ("]=] }", "]=] "),
            ("it's } x", "it's "),
            ("\"open \n } \"", "\"open \n "),
            ("\"a\\\n } \"", "\"a\\\n "),
            ("a[b] } ", "a[b] "),
            ("[= } ", "[= "),
            ("a - b }", "a - b "),
        ];
        for (text, expected) in cases {
            assert_eq!(raw(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn messages() {
        let end = "unexpected end of file, expecting terminating characters for lua code block";
        let long = "too long lua code block, probably missing terminating characters";
        let bracket = |closing: &str| {
            format!(
                "Lua code block missing the closing long bracket \"{closing}\", \
                 the inlined Lua code may be too long"
            )
        };
        let cases = [
            ("", end.to_owned(), 1),
            ("\n a", end.to_owned(), 1),
            ("\n {\n {}\n x", end.to_owned(), 3),
            ("\n\n \"}\"", end.to_owned(), 1),
            ("\nsay([[x\")\n}", bracket("]]"), 2),
            ("\nsay([==[x]]\n}", bracket("]==]"), 2),
            ("--[=[ }", bracket("]=]"), 1),
            (&format!("\n{}", "x".repeat(5000)), long.to_owned(), 1),
            (&format!("\nx = [[{}]] }}", "x".repeat(5000)), bracket("]]"), 2),
        ];
        for (text, message, line) in cases {
            assert_eq!(raw(text), Err((message, line)), "{text:?}");
        }
    }

    #[test]
    fn many_short_marks_may_be_longer_than_the_buffer() {
        let text = format!("{} }}", "say(\"}\")\n".repeat(4000));
        assert_eq!(raw(&text).unwrap().len(), text.len() - 1);
    }
}
