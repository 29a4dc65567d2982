//! HTTP/1 without sockets and without a clock: request and response heads, body framing, URI normalisation.
//!
//! Everything here takes bytes and gives structures, or the other way round; reading and writing is the caller's. A message is
//! refused whenever two readers could disagree about where it ends or what it asks for (RFC 9110, RFC 9112), even where nginx
//! lets it pass.
#![forbid(unsafe_code)]

pub mod body;
pub mod chunked;
pub mod date;
pub mod encode;
pub mod escape;
pub mod framing;
#[doc(hidden)]
pub mod fuzz;
pub mod headers;
pub mod host;
pub mod known;
pub mod method;
pub mod params;
pub mod request;
mod request_error;
mod request_line;
pub mod response;
pub mod syntax;
pub mod uri;

pub use body::{BodyDecoder, BodyState, Decoded, LengthDecoder, Truncated};
pub use chunked::{CHUNK_END, ChunkedDecoder, ChunkedError, LAST_CHUNK, chunk_head};
pub use date::{http_time, parse_http_time, push_cookie_time};
pub use encode::{push_decimal, status_line, status_text};
pub use escape::{Escape, Unescape, escape_html, escape_uri, unescape_uri};
pub use framing::{Framing, Persistence, connection_options, list_items};
pub use headers::Headers;
pub use host::{InvalidHost, validate_host};
pub use known::Known;
pub use method::Method;
pub use request::{Progress, RequestHead, RequestOptions, RequestParser};
pub use request_error::{Duplicate, RequestError, STATUS_HEADER_TOO_LARGE};
pub use request_line::{TargetForm, Version};
pub use response::{ResponseError, ResponseHead, ResponseOptions, ResponseParser};
pub use uri::{InvalidUri, Uri};
