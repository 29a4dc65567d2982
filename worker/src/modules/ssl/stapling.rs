//! `ssl_stapling`: each worker asks the authorities of its certificates whether they are still good, and staples the answers.
//!
//! A certificate is asked about when the worker starts and then once an hour, or before the answer expires; a failure is tried again
//! after five minutes, and an answer that is still good stays meanwhile. Handshakes never wait for any of this.

use std::io;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use conf::value::url::{self, Url};
use http1::{BodyDecoder, Progress, ResponseHead, ResponseOptions, ResponseParser};
use net::{Addr, Buf, ConnectOptions, Timeout};
use tls::ocsp::{ANSWER_BYTES_MAX, Answer, Question};
use tls::{Certificate, Identity, TrustStore};

use super::{Compiled, shared};
use crate::log::{self, Level};

/// What is asked about one certificate.
pub(super) struct Inquiry {
    /// Which of the server's certificates.
    pub(super) index: usize,
    question: Question,
    responder: Url,
    /// Who may have signed answers (`ssl_stapling_verify`); `None`: clients judge that.
    verify: Option<TrustStore>,
}

/// Pause between two answers, seconds.
const REFRESH_S: i64 = 3600;
/// Pause after a failure, seconds.
const RETRY_S: i64 = 300;
/// Limit of each step of an exchange with a responder.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

impl Inquiry {
    /// Prepares to ask about a certificate.
    ///
    /// # Errors
    /// Why it cannot be asked about, as nginx words it.
    pub(super) fn new(
        index: usize,
        identity: &Identity,
        name: &str,
        responder: Option<&str>,
        trust: &TrustStore,
        verify: bool,
    ) -> Result<Self, String> {
        let leaf = identity.leaf();
        let sent = identity.chain().nth(1).and_then(|issuer| Question::new(leaf, issuer));
        let known = || trust.find_issuer(leaf).and_then(|issuer| Question::new(leaf, &issuer));
        let Some(question) = sent.or_else(known) else {
            return Err(format!(
                "\"ssl_stapling\" ignored, issuer certificate not found for certificate \"{name}\""
            ));
        };
        let named = Certificate::read(leaf).and_then(|read| read.ocsp_responders().into_iter().next());
        let Some(text) = responder.map(str::to_owned).or(named) else {
            return Err(format!(
                "\"ssl_stapling\" ignored, no OCSP responder URL in the certificate \"{name}\""
            ));
        };
        let options =
            url::Options { default_port: 80, uri_part: true, no_resolve: true, ..url::Options::default() };
        let parsed = text.strip_prefix("http://").map(|rest| url::parse(rest, options));
        let Some(Ok(responder)) = parsed else {
            return Err(format!("\"ssl_stapling\" ignored, invalid URL prefix in OCSP responder \"{text}\""));
        };
        Ok(Self { index, question, responder, verify: verify.then(|| trust.clone()) })
    }

    /// Asks for as long as the worker lives.
    pub(super) async fn run(self, compiled: Rc<Compiled>) {
        loop {
            let now = i64::try_from(shared::now_s()).unwrap_or(i64::MAX);
            let wait_s = match self.ask(now).await {
                Ok((bytes, answer)) => {
                    compiled.staple(self.index, bytes);
                    let left = answer.next_update_s.map_or(REFRESH_S, |next| next - now - RETRY_S);
                    left.clamp(RETRY_S, REFRESH_S)
                }
                Err(text) => {
                    let host = &self.responder.host;
                    log::process(
                        Level::Error,
                        format_args!("{text} while requesting certificate status, responder: {host}"),
                    );
                    RETRY_S
                }
            };
            net::sleep(Duration::from_secs(wait_s.unsigned_abs())).await;
        }
    }

    async fn ask(&self, now_s: i64) -> Result<(Vec<u8>, Answer), String> {
        let bytes = self.exchange().await.map_err(|error| format!("OCSP responder failed ({error})"))?;
        let answer = self.question.check(&bytes, now_s, self.verify.as_ref())?;
        Ok((bytes, answer))
    }

    /// Sends the question and reads the answer.
    async fn exchange(&self) -> io::Result<Vec<u8>> {
        let (host, port) = (self.responder.host.clone(), self.responder.port);
        let found = net::blocking(move || {
            (host.as_str(), port).to_socket_addrs().map(|found| found.collect::<Vec<_>>())
        });
        let first = found.await?.into_iter().next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let options = ConnectOptions { timeout: Some(STEP_TIMEOUT), ..ConnectOptions::default() };
        let stream = net::connect(&Addr::from(first), &options).await?;
        let path = if self.responder.uri.is_empty() { "/" } else { &self.responder.uri };
        let request = &self.question.request;
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
            self.responder.host,
            request.len()
        );
        let message = [head.as_bytes(), request].concat();
        stream.send(Bytes::from(message), Timeout::after(STEP_TIMEOUT)).await?;
        let mut buf = Buf::with_capacity(ANSWER_BYTES_MAX);
        loop {
            let (result, back) = stream.recv(buf, Timeout::after(STEP_TIMEOUT)).await;
            buf = back;
            if result? == 0 {
                return body(&buf);
            }
            if buf.spare_len() == 0 {
                return Err(io::Error::other("response is too large"));
            }
        }
    }
}

/// The body of a complete response.
fn body(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let invalid = |text: &str| io::Error::other(text.to_owned());
    let mut head = ResponseHead::default();
    let parsed = ResponseParser::new().parse(bytes, &ResponseOptions::default(), &mut head);
    let Ok(Progress::Done { consumed }) = parsed else { return Err(invalid("invalid response")) };
    if head.status != 200 {
        return Err(io::Error::other(format!("status {}", head.status)));
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut rest = &bytes[consumed..];
    let mut body = Vec::new();
    while !rest.is_empty() && !decoder.is_end() {
        let decoded = decoder.decode(rest).map_err(|_| invalid("invalid response"))?;
        body.extend_from_slice(&rest[decoded.data.clone()]);
        rest = &rest[decoded.consumed..];
    }
    decoder.close().map_err(|_| invalid("response is cut off"))?;
    Ok(body)
}
