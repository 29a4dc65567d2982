//! A reader of HTTP/1 requests that follows RFC 9112 to the letter: the judge of what a gateway accepts and passes on.
//!
//! It is written without a look at the gateway's parser, slow and plain, so that the two do not share mistakes. Where the
//! RFC lets a recipient choose, a [`Leniency`] says what is taken.

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: Vec<u8>,
    /// Minor version.
    pub minor: u8,
    /// Names as sent, values without blanks around them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body without framing.
    pub body: Vec<u8>,
}

impl Message {
    /// The first value of the field `name`.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }
}

/// What the bytes at hand are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A request of so many bytes.
    Request(Message, usize),
    /// The beginning of one, as far as can be seen.
    Incomplete,
    /// No request, and why.
    Invalid(&'static str),
}

/// What a recipient may do (RFC 9112 sections 2.2 and 3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Leniency {
    /// Ignores empty lines before a request line, takes a bare LF for a line end of the head, and drops a fragment.
    pub may: bool,
    /// Lets bytes from 0x80 on stand in targets, as nginx does: some clients send UTF-8 unescaped.
    pub raw: bool,
}

/// Longest head that is looked at.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Reads one request.
pub fn read(bytes: &[u8], leniency: Leniency) -> Reading {
    match attempt(bytes, leniency) {
        Ok(reading) => reading,
        Err(why) => Reading::Invalid(why),
    }
}

fn attempt(bytes: &[u8], leniency: Leniency) -> Result<Reading, &'static str> {
    let mut at = 0;
    if leniency.may {
        while bytes[at..].starts_with(b"\r\n") || bytes[at..].starts_with(b"\n") {
            at += if bytes[at] == b'\r' { 2 } else { 1 };
        }
    }
    let Some(line) = line(bytes, &mut at, leniency)? else { return Ok(Reading::Incomplete) };
    let (method, target, minor) = request_line(line, leniency)?;
    let mut fields = Vec::new();
    loop {
        let Some(line) = self::line(bytes, &mut at, leniency)? else { return Ok(Reading::Incomplete) };
        if line.is_empty() {
            break;
        }
        fields.push(field(line)?);
    }
    let mut message = Message { method, target, minor, fields, body: Vec::new() };
    check_host(&message)?;
    let values = |name: &str| -> Vec<&[u8]> {
        let named = message.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &value[..]).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    if !codings.is_empty() {
        if !lengths.is_empty() {
            return Err("length and transfer coding");
        }
        if minor == 0 {
            return Err("transfer coding in HTTP/1.0");
        }
        if codings.len() > 1 || !codings[0].eq_ignore_ascii_case(b"chunked") {
            return Err("unknown transfer coding");
        }
        return Ok(match chunked(&bytes[at..])? {
            Some((body, used)) => {
                message.body = body;
                Reading::Request(message, at + used)
            }
            None => Reading::Incomplete,
        });
    }
    if lengths.len() > 1 {
        return Err("several lengths");
    }
    let length = match lengths.first() {
        Some(text) => number(text, 10, 18).ok_or("no length")?,
        None => 0,
    };
    if bytes.len() - at < length {
        return Ok(Reading::Incomplete);
    }
    message.body = bytes[at..at + length].to_vec();
    Ok(Reading::Request(message, at + length))
}

/// The next line of the head without its end; `None`: it has not ended.
fn line<'b>(bytes: &'b [u8], at: &mut usize, leniency: Leniency) -> Result<Option<&'b [u8]>, &'static str> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > HEAD_BYTES_MAX { Err("endless head") } else { Ok(None) };
    };
    *at += end + 1;
    match rest[..end].strip_suffix(b"\r") {
        Some(line) => Ok(Some(line)),
        None if leniency.may => Ok(Some(&rest[..end])),
        None => Err("bare LF"),
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn request_line(line: &[u8], leniency: Leniency) -> Result<(String, Vec<u8>, u8), &'static str> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("request line");
    };
    if method.is_empty() || !method.iter().copied().all(is_tchar) {
        return Err("method");
    }
    let method = String::from_utf8_lossy(method).into_owned();
    let in_target = |byte: &u8| {
        byte.is_ascii_graphic() && (leniency.may || *byte != b'#') || leniency.raw && *byte >= 0x80
    };
    let is_absolute = [&b"http://"[..], b"https://"]
        .iter()
        .any(|scheme| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme));
    let form = target.starts_with(b"/") || is_absolute || (target == b"*" && method == "OPTIONS");
    if !form || !target.iter().all(in_target) {
        return Err("target");
    }
    let minor = match version.strip_prefix(b"HTTP/1.") {
        Some([digit]) if digit.is_ascii_digit() => digit - b'0',
        _ => return Err("version"),
    };
    Ok((method, target.to_vec(), minor))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("field without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_tchar) {
        return Err("field name");
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    let value = &value[start..end];
    if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err("field value");
    }
    Ok((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
}

fn check_host(message: &Message) -> Result<(), &'static str> {
    let hosts: Vec<&[u8]> = message
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| &value[..])
        .collect();
    match hosts[..] {
        [] if message.minor == 0 => Ok(()),
        [] => Err("no host"),
        [host] if host.iter().any(|byte| b" \t/\\@?#\"<>^`{|}".contains(byte)) => Err("host"),
        [_] => Ok(()),
        _ => Err("several hosts"),
    }
}

/// A number of at most `digits` digits in base `radix`, and nothing else.
fn number(text: &[u8], radix: u32, digits: usize) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = !text.is_empty() && text.len() <= digits && text.chars().all(|c| c.is_digit(radix));
    plain.then(|| usize::from_str_radix(text, radix).ok()).flatten()
}

/// A chunked body and its length on the wire; `None`: it has not ended.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = crlf_line(bytes, &mut at)? else { return Ok(None) };
        let (size, extension) = match line.iter().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(end) => (&line[..end], &line[end..]),
            None => (line, &b""[..]),
        };
        let size = number(size, 16, 15).ok_or("chunk size")?;
        let extension_is_good = extension.is_empty()
            || extension.iter().find(|byte| !b" \t".contains(byte)) == Some(&b';')
                && !extension.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
        if !extension_is_good {
            return Err("chunk extension");
        }
        if size == 0 {
            break;
        }
        if bytes.len() < at + size + 2 {
            let end = &bytes[bytes.len().min(at + size)..];
            return if b"\r\n".starts_with(end) { Ok(None) } else { Err("chunk end") };
        }
        body.extend_from_slice(&bytes[at..at + size]);
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Err("chunk end");
        }
        at += size + 2;
    }
    loop {
        let Some(line) = crlf_line(bytes, &mut at)? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
        field(line)?;
    }
}

/// The next line, which ends with CRLF and holds neither of the two.
fn crlf_line<'b>(bytes: &'b [u8], at: &mut usize) -> Result<Option<&'b [u8]>, &'static str> {
    let rest = &bytes[(*at).min(bytes.len())..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else { return Ok(None) };
    match &rest[end..] {
        [b'\r', b'\n', ..] => {
            *at += end + 2;
            Ok(Some(&rest[..end]))
        }
        [b'\r'] => Ok(None),
        _ => Err("line end"),
    }
}
