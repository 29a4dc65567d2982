//! Upstreams that fail.
