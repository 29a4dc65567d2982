//! HTTP/1 without sockets and without a clock: request and response heads, body framing, URI normalisation.
