//! Connections of the Admin API.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::Plane;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::keys::{Keys, Role};
use crate::reply::{Reply, Result};
use crate::request::{BODY_BYTES_MAX, Request, read_args, unescape};
use crate::route;

/// Connections at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take to send a head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Pause when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Server {
    plane: Rc<Plane>,
    keys: Keys,
}

/// Serves the Admin API on `listener` with the keys in `key_file`.
pub fn serve(
    plane: Rc<Plane>,
    listener: TcpListener,
    key_file: PathBuf,
) -> Pin<Box<dyn Future<Output = io::Result<()>>>> {
    Box::pin(async move {
        let keys = Keys::open(&key_file)
            .map_err(|error| io::Error::new(error.kind(), format!("\"{}\": {error}", key_file.display())))?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let server = Rc::new(Server { plane, keys });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    server.plane.log().error(format_args!("accept() on the Admin API failed: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let server = Rc::clone(&server);
            tokio::task::spawn_local(async move {
                let handle = service_fn(move |request| {
                    let server = Rc::clone(&server);
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
                // a client that breaks off has nobody to tell
                let _ = http.serve_connection(TokioIo::new(stream), handle).await;
                drop(permit);
            });
        }
    })
}

impl Server {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let head = request.method() == hyper::Method::HEAD;
        let reply = self.handle(request).await.unwrap_or_else(|reply| reply);
        let mut response = reply.with("X-API-VERSION", "v3").into_response();
        if head {
            *response.body_mut() = Full::new(Bytes::new());
        }
        response
    }

    async fn handle(&self, request: hyper::Request<Incoming>) -> Result {
        let (head, body) = request.into_parts();
        let args = read_args(head.uri.query().unwrap_or_default());
        let method = head.method.as_str().to_ascii_lowercase();
        if method == "head" && head.uri.path() == "/apisix/admin" {
            return Ok(Reply::empty(200));
        }
        let role = self.role(&head.headers, args.get("api_key"), &method)?;
        let path = head.uri.path().split('/').filter(|segment| !segment.is_empty());
        let path = path.map(|segment| unescape(segment, false)).collect();
        let body = self.body(body).await?;
        route::answer(&self.plane, Request { method, path, args, body, role }).await
    }

    /// Whether the request may be made, and in which role.
    fn role(&self, headers: &HeaderMap, argument: Option<&String>, method: &str) -> Result<&'static str> {
        let refuse = |why: &str| {
            self.plane.log().warn(format_args!("failed to check token: {why}"));
            Reply::json(401, json!({ "error_msg": "failed to check token", "description": why }))
        };
        let field = headers.get("X-API-KEY").map(|value| value.as_bytes().to_vec());
        let cookie = || {
            let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs =
                cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| *name == "x_api_key").map(|(_, value)| value.as_bytes().to_vec())
        };
        let given = argument.map(|key| key.as_bytes().to_vec()).or(field).or_else(cookie);
        let given = given.ok_or_else(|| refuse("missing apikey"))?;
        match self.keys.role(&given) {
            None => Err(refuse("wrong apikey")),
            Some(Role::Viewer) if method != "get" => Err(refuse("invalid method for role viewer")),
            Some(Role::Viewer) => Ok("viewer"),
            Some(Role::Admin) => Ok("admin"),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Vec<u8>> {
        let invalid = |text: String| Reply::error(400, format!("invalid request body: {text}"));
        let declared = hyper::body::Body::size_hint(&body).lower();
        if declared > BODY_BYTES_MAX as u64 {
            return Err(invalid(format!(
                "request size {declared} is greater than the maximum size {BODY_BYTES_MAX} allowed"
            )));
        }
        let collected = tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        match collected {
            Err(_) => Err(Reply::error(408, "the request body did not come in time")),
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(invalid(format!(
                "request size is greater than the maximum size {BODY_BYTES_MAX} allowed"
            ))),
            Ok(Err(error)) => Err(invalid(error.to_string())),
        }
    }
}
