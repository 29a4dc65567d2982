//! What can go wrong.

/// Result with [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A PEM file holds nothing of the kind, or is damaged.
    #[error("{0}")]
    Pem(&'static str),
    /// A certificate cannot be read.
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    /// A private key cannot be read or is of a kind that is not supported.
    #[error("cannot use the private key: {0}")]
    Key(String),
    /// The key does not belong to the certificate.
    #[error("key values mismatch")]
    Mismatch,
    /// A cipher name that OpenSSL does not know, or a list that leaves nothing.
    #[error("no cipher match")]
    NoCipher,
    /// A curve that is not supported.
    #[error("group \"{0}\" is not supported")]
    Curve(String),
    /// The handshake failed or the peer broke the protocol.
    #[error("{0}")]
    Protocol(rustls::Error),
    /// The system's random generator failed.
    #[error("no random numbers")]
    Random,
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Protocol(error)
    }
}

impl Error {
    /// Whether the peer sent an alert that says it went away on purpose.
    pub fn is_peer_alert(&self) -> bool {
        matches!(self, Self::Protocol(rustls::Error::AlertReceived(_)))
    }
}
