//! `server_tokens`: what responses say about this software.

/// The nginx release whose behaviour is followed.
pub const VERSION: &str = "1.31.5";

/// `server_tokens on | off | build`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTokens {
    header: &'static str,
    signature: &'static str,
}

impl ServerTokens {
    /// Name and version.
    pub const fn on() -> Self {
        Self { header: "Server: nginx/1.31.5\r\n", signature: "nginx/1.31.5" }
    }

    /// The name alone.
    pub const fn off() -> Self {
        Self { header: "Server: nginx\r\n", signature: "nginx" }
    }

    /// Name, version and what it was built as.
    pub const fn build() -> Self {
        Self { header: "Server: nginx/1.31.5 (uresty)\r\n", signature: "nginx/1.31.5 (uresty)" }
    }

    /// The whole `Server` field.
    pub fn header(&self) -> &'static [u8] {
        self.header.as_bytes()
    }

    /// What stands at the foot of built-in pages.
    pub fn signature(&self) -> &'static str {
        self.signature
    }

    /// The value of the `Server` field.
    pub fn value(&self) -> &'static str {
        self.signature
    }
}
