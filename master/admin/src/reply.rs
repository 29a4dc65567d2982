//! Answers.

use bytes::Bytes;
use control::Applied;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// An answer before it is sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `None`: no body.
    pub(crate) body: Option<Body>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Value),
    Text(String),
}

/// Either an answer, or the answer that ends the way to it.
pub(crate) type Result<T = Reply> = std::result::Result<T, Reply>;

impl Reply {
    /// JSON.
    pub(crate) fn json(status: u16, value: Value) -> Self {
        Self { status, body: Some(Body::Json(value)), headers: Vec::new() }
    }

    /// Nothing but a status.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    /// `{"error_msg": …}`
    pub(crate) fn error(status: u16, text: impl Into<String>) -> Self {
        Self::json(status, json!({ "error_msg": text.into() }))
    }

    /// A text.
    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self { status, body: Some(Body::Text(text.to_owned())), headers: Vec::new() }
    }

    /// What etcd answers to a key it does not have.
    pub(crate) fn key_not_found() -> Self {
        Self::json(404, json!({ "message": "Key not found" }))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Says how far a change has come.
    pub(crate) fn applied(self, applied: Applied) -> Self {
        let Applied { revision, workers, of } = applied;
        self.with("X-Config-Revision", revision).with("X-Config-Applied", format!("{workers}/{of}"))
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let (content_type, body) = match self.body {
            Some(Body::Json(value)) => ("application/json", Bytes::from(format!("{value}\n"))),
            Some(Body::Text(text)) => ("text/plain", Bytes::from(text)),
            None => ("", Bytes::new()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(lower(name)), value);
            }
        }
        response
    }
}

/// The names there are, as the library wants them.
fn lower(name: &'static str) -> &'static str {
    match name {
        "X-API-VERSION" => "x-api-version",
        "X-Config-Revision" => "x-config-revision",
        "X-Config-Applied" => "x-config-applied",
        other => other,
    }
}
