//! Status lines with nginx's texts, and numbers in decimal.

/// nginx's text of a status; empty for the codes nginx has none for.
pub const fn status_text(code: u16) -> &'static str {
    match code {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Longest status line: `HTTP/1.1 ` with the longest text and CRLF.
const LINE_BYTES_MAX: usize = 48;
/// First and one past the last code that has a line.
const CODES: std::ops::Range<u16> = 100..1000;

#[derive(Clone, Copy)]
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    len: u8,
}

static LINES: [Line; (CODES.end - CODES.start) as usize] = lines();

const fn lines() -> [Line; (CODES.end - CODES.start) as usize] {
    let mut lines = [Line { bytes: [0; LINE_BYTES_MAX], len: 0 }; (CODES.end - CODES.start) as usize];
    let mut code = CODES.start;
    while code < CODES.end {
        lines[(code - CODES.start) as usize] = line(code);
        code += 1;
    }
    lines
}

const fn line(code: u16) -> Line {
    let mut bytes = [0; LINE_BYTES_MAX];
    let digits = [b'0' + (code / 100) as u8, b'0' + (code / 10 % 10) as u8, b'0' + (code % 10) as u8];
    let len = put(&mut bytes, 0, b"HTTP/1.1 ");
    let len = put(&mut bytes, len, &digits);
    let len = put(&mut bytes, len, b" ");
    let len = put(&mut bytes, len, status_text(code).as_bytes());
    let len = put(&mut bytes, len, b"\r\n");
    Line { bytes, len: len as u8 }
}

const fn put(bytes: &mut [u8; LINE_BYTES_MAX], mut at: usize, text: &[u8]) -> usize {
    let mut index = 0;
    while index < text.len() {
        bytes[at] = text[index];
        at += 1;
        index += 1;
    }
    at
}

/// The whole status line of `code`, CRLF included. A code without text gives `HTTP/1.1 NNN ` and CRLF, as in nginx; one that
/// does not have three digits gives that of 500.
pub fn status_line(code: u16) -> &'static [u8] {
    let code = if CODES.contains(&code) { code } else { 500 };
    let line = &LINES[usize::from(code - CODES.start)];
    &line.bytes[..usize::from(line.len)]
}

/// The digits of 0 to 99, two bytes each.
static PAIRS: [u8; 200] = pairs();

const fn pairs() -> [u8; 200] {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
}

/// Writes `number` in decimal into `room` and returns the digits.
pub fn decimal(number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    let mut rest = number;
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        at -= 2;
        let pair = rest as usize * 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        room[at] = b'0' + rest as u8;
    }
    &room[at..]
}

/// Appends `number` in decimal to `out`.
pub fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(decimal(number, &mut [0; 20]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_status() {
        let cases = [
            (200, "HTTP/1.1 200 OK\r\n"),
            (302, "HTTP/1.1 302 Moved Temporarily\r\n"),
            (408, "HTTP/1.1 408 Request Time-out\r\n"),
            (413, "HTTP/1.1 413 Request Entity Too Large\r\n"),
            (416, "HTTP/1.1 416 Requested Range Not Satisfiable\r\n"),
            (103, "HTTP/1.1 103 Early Hints\r\n"),
            (203, "HTTP/1.1 203 \r\n"),
            (599, "HTTP/1.1 599 \r\n"),
            (999, "HTTP/1.1 999 \r\n"),
            (0, "HTTP/1.1 500 Internal Server Error\r\n"),
            (1000, "HTTP/1.1 500 Internal Server Error\r\n"),
        ];
        for (code, line) in cases {
            assert_eq!(status_line(code), line.as_bytes());
        }
    }

    #[test]
    fn numbers() {
        for number in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12345, 1_000_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
        let mut out = b"n=".to_vec();
        push_decimal(&mut out, 42);
        assert_eq!(out, b"n=42");
    }
}
