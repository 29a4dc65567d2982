//! The raw messages, by class. `@@` stands for the path.

use super::*;

/// What must become of a message.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Answered with an error; the connection ends, and the origin has seen nothing.
    Refused,
    /// The body is broken: refused where it is wanted; elsewhere the answer may be out already, but the connection ends.
    Broken,
    /// So many requests, all answered with 200; what follows on the connection is answered too.
    Kept(usize),
    /// Answered with 200, and the connection ends.
    Last,
    /// Answered with 200, and what follows with this status and the end of the connection.
    Then(u16),
    /// Answered with this status; the origin has seen nothing.
    Status(u16),
}
use Fate::{Broken, Kept, Last, Refused, Status, Then};

/// A message; in byte strings, because not all of them are text.
type Case = (&'static str, &'static [u8], Fate);

const MESSAGES: &[Case] = &[
    // === what is right ===
    ("get", b"GET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("get with a body", b"GET @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Kept(1)),
    ("get with a chunked body", b"GET @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Kept(1)),
    ("head", b"HEAD @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("head with a body", b"HEAD @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Kept(1)),
    ("post of nothing", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Kept(1)),
    ("post", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Kept(1)),
    ("a length with zeroes before", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", Kept(1)),
    ("blanks around a length", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \t\r\n\r\nhello", Kept(1)),
    ("a length in capitals", b"POST @@ HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 5\r\n\r\nhello", Kept(1)),
    ("a body that looks like a request", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: host.a\r\n\r\n", Kept(1)),
    ("chunked", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Kept(1)),
    ("chunked in capitals", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Kept(1)),
    ("chunked with trailers", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n", Kept(1)),
    ("a trailer called like a framing field", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\n\r\n", Kept(1)),
    ("chunks with extensions", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n", Kept(1)),
    ("a chunk size with zeroes before", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", Kept(1)),
    ("chunk sizes in both cases", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Kept(1)),
    ("two at once", b"GET @@ HTTP/1.1\r\nHost: a\r\n\r\nGET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(2)),
    ("a body and a request at once", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(2)),
    ("chunks and a request at once", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(2)),
    ("an empty line before", b"\r\nGET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("an empty line between", b"GET @@ HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(2)),
    ("an absolute target", b"GET http://a@@ HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("an absolute target with a port", b"GET http://a:80@@ HTTP/1.1\r\nHost: a:80\r\n\r\n", Kept(1)),
    ("an absolute target and another host", b"GET http://a@@ HTTP/1.1\r\nHost: b\r\n\r\n", Kept(1)),
    ("close", b"GET @@ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Last),
    ("close among others", b"GET @@ HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n", Last),
    ("version 1.0", b"GET @@ HTTP/1.0\r\n\r\n", Last),
    ("version 1.0 with a body", b"POST @@ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", Last),
    ("version 1.0 that keeps", b"GET @@ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Kept(1)),
    ("unknown fields", b"GET @@ HTTP/1.1\r\nHost: a\r\nX-One:\r\nX-Two: \t\r\nX-Three: a\tb\r\nX-Four: \xe9\xff\r\n\r\n", Kept(1)),
    ("an upgrade nobody makes", b"GET @@ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Kept(1)),
    ("h2c that is not offered", b"GET @@ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", Kept(1)),
    ("an expectation", b"POST @@ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Kept(1)),

    // === lengths and codings together ===
    ("length and coding", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("coding and length", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", Refused),
    ("coding and length of nothing", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", Refused),
    ("coding and an empty length", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length:\r\n\r\n0\r\n\r\n", Refused),
    ("coding in version 1.0", b"POST @@ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("coding in version 1.0 that keeps", b"POST @@ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("coding in two fields", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("coding in two fields, one unknown", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", Refused),
    ("two lengths, a field between", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\nhello!", Refused),
    ("two equal lengths", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Refused),
    ("get with two lengths", b"GET @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello", Refused),
    ("head with length and coding", b"HEAD @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),

    // === hosts ===
    ("no host", b"GET @@ HTTP/1.1\r\n\r\n", Refused),
    ("two hosts", b"GET @@ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused),
    ("two equal hosts", b"GET @@ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refused),
    ("an absolute target and no host", b"GET http://a@@ HTTP/1.1\r\n\r\n", Refused),
    ("an absolute target and two hosts", b"GET http://a@@ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused),
    ("an absolute target and a bad host", b"GET http://a@@ HTTP/1.1\r\nHost: a b\r\n\r\n", Refused),
    ("a target with user information", b"GET http://user@a@@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a target without an authority", b"GET http://@@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a target of another scheme", b"GET ftp://a@@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a target with a port that is none", b"GET http://a:b@@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),

    // === methods ===
    ("connect", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nX: @@\r\n\r\n", Refused),
    ("connect to a path", b"CONNECT @@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("trace", b"TRACE @@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("everything, but not options", b"GET * HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("the preface of version 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n@@", Refused),
    ("a method in small letters", b"get @@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),

    // === lines ===
    ("two blanks behind the method", b"GET  @@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("two blanks behind the target", b"GET @@  HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a blank at the end", b"GET @@ HTTP/1.1 \r\nHost: a\r\n\r\n", Refused),
    ("a blank before", b" GET @@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a tab behind the method", b"GET\t@@ HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a tab behind the target", b"GET @@\tHTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a blank in the target", b"GET @@x y HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("a carriage return for a line end", b"GET @@ HTTP/1.1\rHost: a\r\n\r\n", Refused),
    ("two carriage returns", b"GET @@ HTTP/1.1\r\r\nHost: a\r\n\r\n", Refused),
    ("two carriage returns behind a field", b"GET @@ HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused),
    ("a carriage return alone before the end", b"GET @@ HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", Refused),
    ("a folded line", b"GET @@ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", Refused),
    ("a folded line with a tab", b"GET @@ HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", Refused),
    ("a folded host", b"GET @@ HTTP/1.1\r\nHost:\r\n a\r\n\r\n", Refused),
    ("a folded coding", b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused),
    ("a blank before the first field", b"GET @@ HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", Refused),
    ("a field without a colon", b"GET @@ HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refused),
    ("a field without a name", b"GET @@ HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", Refused),
    ("a blank before a colon", b"GET @@ HTTP/1.1\r\nHost : a\r\n\r\n", Refused),
    ("a tab before a colon", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\nhello", Refused),
    ("a carriage return in a name", b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-\rLength: 5\r\n\r\nhello", Refused),
    ("a request behind a carriage return", b"GET @@ HTTP/1.1\r\nHost: a\r\nX: y\r\rGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused),

    // === targets ===
    ("a broken escape", b"GET @@%zz HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("half an escape", b"GET @@%4 HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("an escaped NUL", b"GET @@%00 HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("above the root", b"GET /.. HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("above the root, escaped", b"GET /%2e%2e/ HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("above the root behind a step down", b"GET /a/../../b HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("a relative target", b"GET index.html HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("no target", b"GET  HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n", Refused),
    ("a fragment", b"GET @@#frag HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("escapes", b"GET @@?%41%2f%2e%00 HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),
    ("a question", b"GET @@?a?b=/../c HTTP/1.1\r\nHost: a\r\n\r\n", Kept(1)),

    // === versions ===
    ("version 2.0", b"GET @@ HTTP/2.0\r\nHost: a\r\n\r\n", Status(505)),
    ("no version", b"GET @@\r\nHost: a\r\n\r\n", Refused),
    ("no version and a line feed", b"GET @@\nHost: a\r\n\r\n", Refused),
    ("no version behind a request", b"GET @@ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET @@\r\n\r\n", Then(400)),
    ("version 0.9 by name", b"GET @@ HTTP/0.9\r\nHost: a\r\n\r\n", Refused),
    ("version 1", b"GET @@ HTTP/1\r\nHost: a\r\n\r\n", Refused),
    ("version 1.", b"GET @@ HTTP/1.\r\nHost: a\r\n\r\n", Refused),
    ("version 1.1.1", b"GET @@ HTTP/1.1.1\r\nHost: a\r\n\r\n", Refused),
    ("version 01.1", b"GET @@ HTTP/01.1\r\nHost: a\r\n\r\n", Refused),
    ("a version in small letters", b"GET @@ http/1.1\r\nHost: a\r\n\r\n", Refused),
    ("another protocol", b"GET @@ HTTPS/1.1\r\nHost: a\r\n\r\n", Refused),

    // === expectations ===
    ("an unknown expectation", b"POST @@ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello", Refused),
];

/// Values of `Content-Length` that are none.
const BAD_LENGTHS: &[&[u8]] = &[
    b"",
    b" ",
    b"+5",
    b"-5",
    b"0x5",
    b"5_0",
    b"5,",
    b"5,5",
    b"5, 5",
    b",5",
    b"5 5",
    b"5;",
    b"5.0",
    b"5e0",
    b"\"5\"",
    b"five",
    b"5\x0b",
    b"\x0c5",
    b"5\x00",
    b"\xa05",
    b"18446744073709551621",
    b"9223372036854775808",
    b"99999999999999999999999999",
    b"\xef\xbc\x95",
    b"0 5",
    b"0\t5",
    b"05 ;",
    b"(5)",
];

/// Values of `Transfer-Encoding` that are not exactly `chunked`.
const BAD_CODINGS: &[&[u8]] = &[
    b"",
    b" ",
    b"identity",
    b"gzip",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b"chunked,",
    b",chunked",
    b"chunked;",
    b"chunked;q=1",
    b"x chunked",
    b"chunked x",
    b"\"chunked\"",
    b"'chunked'",
    b"xchunked",
    b"chunkedx",
    b"chunke",
    b"cow",
    b"\x0bchunked",
    b"chunked\x0c",
    b"chunked\x00",
    b"\xa0chunked",
    b"chunked\xff",
    b"identity, chunked",
    b"chunked identity",
    b"chunk\xc3\xa9d",
    b"[chunked]",
];

/// Names that are nearly those of framing fields.
const BAD_NAMES: &[&[u8]] = &[
    b"Content-Length ",
    b"Content-Length\t",
    b" Content-Length",
    b"Content-Length\x00",
    b"\x00Content-Length",
    b"Content Length",
    b"Content-Length\x0b",
    b"Content-Length,",
    b"(Content-Length)",
    b"Content-Length\xa0",
    b"\"Content-Length\"",
    b"Content-Length/",
    b"Content-Length=",
    b"Content-Length;",
    b"Transfer-Encoding ",
    b" Transfer-Encoding",
    b"Transfer-Encoding\x0c",
    b"Transfer Encoding",
    b"{Transfer-Encoding}",
    b"Transfer-Encoding@",
    b"Content-Length\r",
    b"Content-Length\n X",
    b"\xef\xbb\xbfContent-Length",
];

/// Hosts that are none.
const BAD_HOSTS: &[&[u8]] = &[
    b"", b"a b", b"a/b", b"a\\b", b"a?b", b"a#b", b"u@a", b"a:b", b"a:80:80", b"a:-1", b"a:99999", b"[::1",
    b"::1]", b"[zz]", b"a\x00", b"a\tb", b"a,b", b"a..b", b"[::1]x", b"<a>", b"a|b", b"a%", b"a%2", b"a%zz",
    b"\"a\"", b"a^b", b"`a`", b"{a}", b".", b"a:80a", b"\xe9",
];

/// Chunked bodies that are none.
const BAD_CHUNKS: &[&[u8]] = &[
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"x5\r\nhello\r\n0\r\n\r\n",
    b"5x\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"5_0\r\nhello\r\n0\r\n\r\n",
    b"5.\r\nhello\r\n0\r\n\r\n",
    b"5,\r\nhello\r\n0\r\n\r\n",
    b"5 5\r\nhello\r\n0\r\n\r\n",
    b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b";a\r\n5\r\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rhello\r\n0\r\n\r\n",
    b"5;a\r\r\nhello\r\n0\r\n\r\n",
    b"5;\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"\x00\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"8000000000000000\r\nhello\r\n0\r\n\r\n",
    b"00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\n\r\r\n",
    b"5\r\nhello\r\n0\r\nX-One\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-One : 1\r\n\r\n",
    b"5\r\nhello\r\n0\r\n: 1\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-One: 1\r\n folded\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: 1\n\r\n",
    b"5\r\nhello\r\n00x\r\n\r\n",
    b"5\r\nhello\r\n0 ;\x0b\r\n\r\n",
    b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
];

/// Runs one message and says what is wrong, if anything.
fn judge(
    gateway: &Gateway,
    origin: &Origin,
    place: (&str, bool),
    message: &[u8],
    fate: Fate,
) -> Result<(), String> {
    let mut bytes = Vec::new();
    let mut rest = message;
    while let Some(at) = rest.windows(2).position(|window| window == b"@@") {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(place.0.as_bytes());
        rest = &rest[at + 2..];
    }
    bytes.extend_from_slice(rest);
    judge_bytes(gateway, origin, place.1, &bytes, fate)
}

fn judge_bytes(
    gateway: &Gateway,
    origin: &Origin,
    proxied: bool,
    bytes: &[u8],
    fate: Fate,
) -> Result<(), String> {
    let before = origin.seen.count();
    let head = bytes.starts_with(b"HEAD");
    let whole = [bytes, AFTER.as_bytes()].concat();
    let outcome = exchange(gateway.addr(0), &whole, &[head]);
    let seen: Vec<Vec<u8>> = origin.seen.since(before);
    let told = || {
        format!(
            "{outcome:?}; the origin saw {:?}",
            seen.iter().map(|s| String::from_utf8_lossy(s)).collect::<Vec<_>>()
        )
    };
    let statuses = &outcome.statuses[..];
    let (good, wanted) = match fate {
        Refused => (matches!(statuses, [400..=599]), 0),
        Broken => (matches!(statuses, [400..=599]) || !proxied && statuses == [200], 0),
        Status(status) => (statuses == [status], 0),
        Last => (statuses == [200], 1),
        Then(status) => (statuses == [200, status], 1),
        Kept(count) => {
            let (last, first) = statuses.split_last().ok_or_else(told)?;
            (
                *last == AFTER_STATUS && first.len() == count && first.iter().all(|status| *status == 200),
                count,
            )
        }
    };
    let wanted = if proxied { wanted } else { 0 };
    if !good
        || !outcome.garbage.is_empty()
        || seen.len() != wanted
        || seen.iter().any(|s| s.starts_with(UNREADABLE.as_bytes()))
    {
        return Err(told());
    }
    // what was passed on says what was sent
    let (sent, _) = requests(bytes);
    for (sent, seen) in sent.iter().zip(&seen) {
        let Reading::Request(passed, _) = strict::read(seen, PASSED) else { return Err(told()) };
        if (&passed.method, &passed.body) != (&sent.method, &sent.body) {
            return Err(told());
        }
    }
    Ok(())
}

/// All messages of the tables, made out of their parts.
fn all() -> Vec<(String, Vec<u8>, Fate)> {
    let mut all: Vec<(String, Vec<u8>, Fate)> =
        MESSAGES.iter().map(|(name, bytes, fate)| ((*name).to_owned(), bytes.to_vec(), *fate)).collect();
    let mut add = |class: &str, part: &[u8], parts: &[&[u8]], fate: Fate| {
        all.push((format!("{class} {:?}", String::from_utf8_lossy(part)), parts.concat(), fate));
    };
    for length in BAD_LENGTHS {
        add(
            "length",
            length,
            &[b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: ", length, b"\r\n\r\nhello"],
            Refused,
        );
    }
    for coding in BAD_CODINGS {
        add(
            "coding",
            coding,
            &[b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ", coding, b"\r\n\r\n0\r\n\r\n"],
            Refused,
        );
        let parts: &[&[u8]] = &[
            b"POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: ",
            coding,
            b"\r\n\r\nhello",
        ];
        add("length and coding", coding, parts, Refused);
    }
    for name in BAD_NAMES {
        add("name", name, &[b"POST @@ HTTP/1.1\r\nHost: a\r\n", name, b": 5\r\n\r\nhello"], Refused);
    }
    for host in BAD_HOSTS {
        // an escaped or a listed host is one to RFC 3986
        let fate = if matches!(*host, b"a,b") { Kept(1) } else { Refused };
        add("host", host, &[b"GET @@ HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"], fate);
    }
    for chunks in BAD_CHUNKS {
        add(
            "chunks",
            chunks,
            &[b"POST @@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", chunks],
            Broken,
        );
    }
    for byte in 0..=255u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if byte != b':' && byte != b'\n' {
            let fate = if token { Kept(1) } else { Refused };
            add(
                "byte in a name",
                &[byte],
                &[b"GET @@ HTTP/1.1\r\nHost: a\r\nX", &[byte], b"Y: 1\r\n\r\n"],
                fate,
            );
        }
        if byte != b'\n' {
            let text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let fate = if text { Kept(1) } else { Refused };
            add(
                "byte in a value",
                &[byte],
                &[b"GET @@ HTTP/1.1\r\nHost: a\r\nX: 1", &[byte], b"1\r\n\r\n"],
                fate,
            );
        }
        if !byte.is_ascii_uppercase() && !matches!(byte, b'-' | b'_') {
            add("byte in a method", &[byte], &[b"GE", &[byte], b"T @@ HTTP/1.1\r\nHost: a\r\n\r\n"], Refused);
        }
        if byte != b'\n' && (byte <= b' ' || byte == 0x7f) {
            add(
                "byte in a target",
                &[byte],
                &[b"GET @@x", &[byte], b"y HTTP/1.1\r\nHost: a\r\n\r\n"],
                Refused,
            );
        }
        if !byte.is_ascii_digit() && byte != b'\r' {
            add(
                "byte behind the version",
                &[byte],
                &[b"GET @@ HTTP/1.1", &[byte], b"\r\nHost: a\r\n\r\n"],
                Refused,
            );
        }
    }
    all
}

#[test]
fn every_message_has_its_fate_in_every_place() {
    let origin = strict_origin();
    let gateway = start(&origin);
    let mut wrong = Vec::new();
    for (name, bytes, fate) in all() {
        // what a single byte does is the parser's affair, and that is the same everywhere
        let places = if name.starts_with("byte ") { &PLACES[..1] } else { PLACES };
        for place in places {
            if let Err(told) = judge(&gateway, &origin, *place, &bytes, fate) {
                wrong.push(format!("{name} at {}: {fate:?} wanted, got {told}", place.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    gateway.quit();
}
