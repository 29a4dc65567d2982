//! Finding commands in a stream: `<!--#command name="value" name='value' -->`.
//!
//! ```text
//!  Text ─ "<!--#" ─► BeforeCommand ─► Command ─► BeforeName ─► Name ─► AfterName ─ "=" ─► BeforeValue ─► Value ─► AfterValue
//!    ▲                                  │            │                                                            │
//!    └──────────────── "-->" ───────────┴────────────┴────────────────────────────────────────────────────────────┘
//!  anything that does not fit ─► Broken ─ "-->" ─► Text
//! ```
//!
//! What comes in pieces is kept in copies of limited length: a command never points into a piece that is gone.

use bytes::Bytes;

/// What a command begins with.
const OPENING: &[u8] = b"<!--#";
/// Limits of nginx: bytes of a command's and a parameter's name, and parameters of one command.
const NAME_BYTES_MAX: usize = 32;
const PARAMS_MAX: usize = 16;

/// A parameter's name and value.
pub(super) type Param = (Vec<u8>, Vec<u8>);

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Text between commands.
    Text(Bytes),
    /// A command.
    Command { name: Vec<u8>, params: Vec<Param> },
    /// A command that cannot be read, and why.
    Broken(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    BeforeCommand,
    Command,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    /// Inside quotes of this kind; behind a backslash.
    Value {
        quote: u8,
        escaped: bool,
    },
    AfterValue,
    /// Behind so many hyphens.
    End(u8),
    /// The same in a command that cannot be read.
    Broken(u8),
}

/// Reads one response.
pub(super) struct Parser {
    state: State,
    /// The beginning of [`OPENING`] at the end of the last piece.
    held: Vec<u8>,
    name: Vec<u8>,
    params: Vec<Param>,
    error: String,
    /// `ssi_value_length`.
    value_max: usize,
}

impl Parser {
    pub(super) fn new(value_max: usize) -> Self {
        Self {
            state: State::Text,
            held: Vec::new(),
            name: Vec::new(),
            params: Vec::new(),
            error: String::new(),
            value_max,
        }
    }

    /// Reads a piece.
    pub(super) fn feed(&mut self, piece: Bytes, events: &mut Vec<Event>) {
        let piece = if self.held.is_empty() {
            piece
        } else {
            [&std::mem::take(&mut self.held)[..], &piece].concat().into()
        };
        let mut at = 0;
        while at < piece.len() {
            if self.state == State::Text {
                at = self.text(&piece, at, events);
                continue;
            }
            self.step(piece[at], events);
            at += 1;
        }
    }

    /// The body is over: what looked like the beginning of a command is text.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) {
        if !self.held.is_empty() {
            events.push(Event::Text(std::mem::take(&mut self.held).into()));
        }
    }

    /// Reads text from `at` on; returns where to go on.
    fn text(&mut self, piece: &Bytes, at: usize, events: &mut Vec<Event>) -> usize {
        let found = memchr::memmem::find(&piece[at..], OPENING).map(|found| at + found);
        let end = found.unwrap_or_else(|| piece.len() - opening_at_end(&piece[at..]));
        if end > at {
            events.push(Event::Text(piece.slice(at..end)));
        }
        if found.is_none() {
            self.held.extend_from_slice(&piece[end..]);
            return piece.len();
        }
        self.state = State::BeforeCommand;
        self.name.clear();
        self.params.clear();
        end + OPENING.len()
    }

    fn step(&mut self, byte: u8, events: &mut Vec<Event>) {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.state = match self.state {
            State::Text => State::Text,
            State::BeforeCommand if blank => State::BeforeCommand,
            State::BeforeCommand | State::Command => self.command(byte, blank),
            State::BeforeName if blank => State::BeforeName,
            State::BeforeName if byte == b'-' => State::End(1),
            State::BeforeName => self.first_of_name(byte),
            State::Name => self.param_name(byte, blank),
            State::AfterName | State::BeforeValue if blank => self.state,
            State::AfterName if byte == b'=' => State::BeforeValue,
            State::AfterName => self.unexpected(byte, "after"),
            State::BeforeValue if matches!(byte, b'"' | b'\'') => {
                State::Value { quote: byte, escaped: false }
            }
            State::BeforeValue => self.unexpected(byte, "before value of"),
            State::Value { quote, escaped } => self.value(byte, quote, escaped),
            State::AfterValue if blank => State::BeforeName,
            State::AfterValue if byte == b'-' => State::End(1),
            State::AfterValue => self.unexpected(byte, "after value of"),
            State::End(1) if byte == b'-' => State::End(2),
            State::End(2) if byte == b'>' => {
                let (name, params) = (std::mem::take(&mut self.name), std::mem::take(&mut self.params));
                events.push(Event::Command { name, params });
                State::Text
            }
            State::End(_) => {
                let name = self.name.escape_ascii();
                self.broken(
                    byte,
                    format!("unexpected \"{}\" symbol in \"{name}\" SSI command", byte.escape_ascii()),
                )
            }
            State::Broken(2..) if byte == b'>' => {
                events.push(Event::Broken(std::mem::take(&mut self.error)));
                State::Text
            }
            State::Broken(hyphens) if byte == b'-' => State::Broken(hyphens.saturating_add(1)),
            State::Broken(_) => State::Broken(0),
        };
    }

    fn command(&mut self, byte: u8, blank: bool) -> State {
        if blank {
            return State::BeforeName;
        }
        if byte == b'-' {
            return State::End(1);
        }
        if self.name.len() == NAME_BYTES_MAX {
            let name = self.name.escape_ascii();
            return self
                .broken(byte, format!("the \"{name}{}...\" SSI command is too long", byte.escape_ascii()));
        }
        self.name.push(byte);
        State::Command
    }

    fn first_of_name(&mut self, byte: u8) -> State {
        if self.params.len() == PARAMS_MAX {
            let name = self.name.escape_ascii();
            return self.broken(byte, format!("too many SSI command parameters: \"{name}\""));
        }
        self.params.push((vec![byte], Vec::new()));
        State::Name
    }

    fn param_name(&mut self, byte: u8, blank: bool) -> State {
        match byte {
            b'=' => return State::BeforeValue,
            b'-' => return self.unexpected(byte, "after"),
            _ if blank => return State::AfterName,
            _ => {}
        }
        let Some((name, _)) = self.params.last_mut().filter(|(name, _)| name.len() < NAME_BYTES_MAX) else {
            let text = format!("too long parameter name in \"{}\" SSI command", self.name.escape_ascii());
            return self.broken(byte, text);
        };
        name.push(byte);
        State::Name
    }

    fn value(&mut self, byte: u8, quote: u8, escaped: bool) -> State {
        if byte == quote && !escaped {
            return State::AfterValue;
        }
        let max = self.value_max;
        let Some((name, value)) = self.params.last_mut() else { return State::Broken(0) };
        if value.len() >= max {
            let text = format!(
                "too long value of \"{}\" parameter in \"{}\" SSI command",
                name.escape_ascii(),
                self.name.escape_ascii()
            );
            return self.broken(byte, text);
        }
        value.push(byte);
        State::Value { quote, escaped: byte == b'\\' && !escaped }
    }

    fn unexpected(&mut self, byte: u8, place: &str) -> State {
        let param = self.params.last().map(|(name, _)| name.as_slice()).unwrap_or_default();
        let text = format!(
            "unexpected \"{}\" symbol {place} \"{}\" parameter in \"{}\" SSI command",
            byte.escape_ascii(),
            param.escape_ascii(),
            self.name.escape_ascii()
        );
        self.broken(byte, text)
    }

    fn broken(&mut self, byte: u8, text: String) -> State {
        self.error = text;
        State::Broken(u8::from(byte == b'-'))
    }
}

/// How many bytes at the end of `text` may be the beginning of [`OPENING`].
fn opening_at_end(text: &[u8]) -> usize {
    let longest = (OPENING.len() - 1).min(text.len());
    (1..=longest).rev().find(|len| text.ends_with(&OPENING[..*len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Events of a text in pieces; neighbouring texts are joined.
    fn parse(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new(16);
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(Bytes::copy_from_slice(piece), &mut events);
        }
        parser.end(&mut events);
        let mut joined: Vec<Event> = Vec::new();
        for event in events {
            match (joined.last_mut(), event) {
                (Some(Event::Text(before)), Event::Text(text)) => {
                    *before = [&before[..], &text].concat().into();
                }
                (_, event) => joined.push(event),
            }
        }
        joined
    }

    fn text(text: &str) -> Event {
        Event::Text(text.as_bytes().to_vec().into())
    }

    fn command(name: &str, params: &[(&str, &str)]) -> Event {
        let params = params.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Event::Command { name: name.as_bytes().to_vec(), params: params.collect() }
    }

    #[test]
    fn commands() {
        let echo = |value: &str| command("echo", &[("var", value)]);
        assert_eq!(parse(&[b"a<!--#echo var=\"x\" -->b"]), [text("a"), echo("x"), text("b")]);
        assert_eq!(parse(&[b"<!--# echo  var = 'x'-->"]), [echo("x")]);
        assert_eq!(parse(&[b"<!--#endif-->"]), [command("endif", &[])]);
        assert_eq!(parse(&[br#"<!--#echo var="a\"b-->" -->"#]), [echo("a\\\"b-->")]);
        assert_eq!(parse(&[b"<!-- no --><!-"]), [text("<!-- no --><!-")]);
        assert_eq!(parse(&[b"<<!--#e-->"]), [text("<"), command("e", &[])]);
        assert_eq!(parse(&[b"x<!--#echo var="]), [text("x")], "a command without an end is left out");
    }

    #[test]
    fn what_does_not_fit_is_skipped() {
        for bad in [
            "<!--#echo var=x -->",
            "<!--#echo var -->",
            "<!--#echo var=\"x\"y=\"z\" -->",
            "<!--#echo - -->",
            "<!--#echo var=\"01234567890123456\" --->",
            "<!--#a23456789012345678901234567890123 -->",
            "<!--#e a23456789012345678901234567890123=\"\" -->",
        ] {
            let events = parse(&[bad.as_bytes(), b"after"]);
            assert!(matches!(&events[..], [Event::Broken(_), Event::Text(_)]), "{bad} {events:?}");
        }
        let many = "<!--#e".to_owned() + &" a=\"\"".repeat(17) + "-->";
        assert!(matches!(&parse(&[many.as_bytes()])[..], [Event::Broken(_)]));
    }

    proptest! {
        #[test]
        fn borders_do_not_matter(words in proptest::collection::vec("<!--#|<|!|-|#|-->|echo| |var|=|\"|'|x|\\\\", 0..24), cut in 0usize..80) {
            let all = words.concat().into_bytes();
            let (first, second) = all.split_at(cut.min(all.len()));
            let bytes: Vec<&[u8]> = all.chunks(1).collect();
            prop_assert_eq!(parse(&[first, second]), parse(&[&all]));
            prop_assert_eq!(parse(&bytes), parse(&[&all]));
        }
    }
}
