//! Built-in pages for redirects and errors, in the form nginx sends them.

use bytes::Bytes;

use crate::phase;
use crate::request::Request;

/// Close without an answer.
pub const CLOSE: u16 = 444;

/// Titles as nginx words them; note that some differ from the status line's text.
const TITLES: &[(u16, &str)] = &[
    (301, "301 Moved Permanently"),
    (302, "302 Found"),
    (303, "303 See Other"),
    (307, "307 Temporary Redirect"),
    (308, "308 Permanent Redirect"),
    (400, "400 Bad Request"),
    (401, "401 Authorization Required"),
    (402, "402 Payment Required"),
    (403, "403 Forbidden"),
    (404, "404 Not Found"),
    (405, "405 Not Allowed"),
    (406, "406 Not Acceptable"),
    (408, "408 Request Time-out"),
    (409, "409 Conflict"),
    (410, "410 Gone"),
    (411, "411 Length Required"),
    (412, "412 Precondition Failed"),
    (413, "413 Request Entity Too Large"),
    (414, "414 Request-URI Too Large"),
    (415, "415 Unsupported Media Type"),
    (416, "416 Requested Range Not Satisfiable"),
    (421, "421 Misdirected Request"),
    (429, "429 Too Many Requests"),
    (494, "400 Request Header Or Cookie Too Large"),
    (495, "400 The SSL certificate error"),
    (496, "400 No required SSL certificate was sent"),
    (497, "400 The plain HTTP request was sent to HTTPS port"),
    (500, "500 Internal Server Error"),
    (501, "501 Not Implemented"),
    (502, "502 Bad Gateway"),
    (503, "503 Service Temporarily Unavailable"),
    (504, "504 Gateway Time-out"),
    (505, "505 HTTP Version Not Supported"),
    (507, "507 Insufficient Storage"),
];

/// Codes below nginx's internal ones whose page has a heading of its own.
const HEADINGS: &[(u16, &str)] = &[
    (494, "Request Header Or Cookie Too Large"),
    (495, "The SSL certificate error"),
    (496, "No required SSL certificate was sent"),
    (497, "The plain HTTP request was sent to HTTPS port"),
];

/// What MSIE and Chrome need to show a page instead of their own: nginx sends six comment lines.
const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";
const PADDING_LINES: usize = 6;

/// Whether a response with `status` has no body at all (RFC 9110 section 6.4.1; 201 as nginx answers it).
pub fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// The page for `status`; `None` where nginx sends none (`return 402;` with a code it has no page for sends an empty body).
pub fn body(req: &Request, status: u16) -> Option<Bytes> {
    let title = TITLES.iter().find(|(code, _)| *code == status)?.1;
    let conf = req.http();
    let signature = conf.server_tokens.signature();
    let mut page = String::with_capacity(512);
    match HEADINGS.iter().find(|(code, _)| *code == status) {
        None => {
            page.push_str("<html>\r\n<head><title>");
            page.push_str(title);
            page.push_str("</title></head>\r\n<body>\r\n<center><h1>");
            page.push_str(title);
            page.push_str("</h1></center>\r\n");
        }
        Some((_, heading)) => {
            page.push_str("<html>\r\n<head><title>");
            page.push_str(title);
            page.push_str(
                "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>",
            );
            page.push_str(heading);
            page.push_str("</center>\r\n");
        }
    }
    if !signature.is_empty() {
        page.push_str("<hr><center>");
        page.push_str(signature);
        page.push_str("</center>\r\n");
    }
    page.push_str("</body>\r\n</html>\r\n");
    if status >= 400 && conf.msie_padding && phase::is_msie(req) {
        for _ in 0..PADDING_LINES {
            page.push_str(PADDING);
        }
    }
    Some(page.into())
}
