//! TLS for tests: certificates made on the spot, and a client that shows what a handshake came to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use net::Buf;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tls::{ClientContext, Progress, Session};

use crate::places::WAIT_MAX;

/// A certificate with its key, as PEM.
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// Its key.
    pub key: String,
    params: CertificateParams,
    pair: KeyPair,
}

impl Certificate {
    /// An authority called `name`.
    pub fn authority(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pair = KeyPair::generate().expect("keys can be made");
        let made = params.self_signed(&pair).expect("valid parameters");
        Self { pem: made.pem(), key: pair.serialize_pem(), params, pair }
    }

    /// A certificate for the host `name`, signed by this authority.
    pub fn issue(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        params.distinguished_name.push(DnType::CommonName, name);
        let pair = KeyPair::generate().expect("keys can be made");
        let issuer = Issuer::from_params(&self.params, &self.pair);
        let made = params.signed_by(&pair, &issuer).expect("valid parameters");
        Self { pem: made.pem(), key: pair.serialize_pem(), params, pair }
    }

    /// Writes `NAME.crt` and `NAME.key` into `dir`.
    pub fn write(&self, dir: &std::path::Path, name: &str) {
        std::fs::write(dir.join(format!("{name}.crt")), &self.pem).expect("a fresh file");
        std::fs::write(dir.join(format!("{name}.key")), &self.key).expect("a fresh file");
    }

    /// The same for [`tls`].
    pub fn identity(&self) -> tls::Identity {
        tls::Identity::from_pem(self.pem.as_bytes(), self.key.as_bytes(), &[]).expect("made above")
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A client's end of a TLS connection.
pub struct SecureClient {
    stream: TcpStream,
    session: Session,
    input: Buf,
}

impl SecureClient {
    /// Shakes hands; `Err`: what went wrong.
    pub fn connect(addr: SocketAddr, context: &ClientContext, name: &str) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&addr, WAIT_MAX).expect("the gateway listens");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a valid timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        let session = context.connect(Some(name), None).map_err(|error| error.to_string())?;
        let mut this = Self { stream, session, input: Buf::new() };
        loop {
            let progress = this.session.handshake(&mut this.input);
            this.flush();
            if progress.map_err(|error| error.to_string())? == Progress::Done {
                return Ok(this);
            }
            if !this.fill() {
                return Err("closed".into());
            }
        }
    }

    fn flush(&mut self) {
        let mut output = Buf::new();
        self.session.output(&mut output);
        // the answer tells what became of it
        let _ = self.stream.write_all(&output);
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer within {WAIT_MAX:?}: {error}"),
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut output = Buf::new();
        self.session.encrypt([bytes.as_ref()], &mut output);
        let _ = self.stream.write_all(&output);
    }

    /// Reads until the peer ends; whether it said so in TLS.
    pub fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            let mut out = Buf::with_capacity(16 * 1024);
            match self.session.decrypt(&mut self.input, &mut out) {
                Ok(0) if self.session.has_ended() => return (all, true),
                Ok(0) => {
                    if !self.fill() {
                        return (all, false);
                    }
                }
                Ok(_) => all.extend_from_slice(&out),
                Err(error) => panic!("the peer broke the protocol: {error}"),
            }
        }
    }

    /// Asks for `path` with a request that ends the connection; the whole answer as text.
    pub fn get(mut self, host: &str, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        let (answer, said) = self.read_to_end();
        assert!(said, "the connection ended without close_notify");
        String::from_utf8_lossy(&answer).into_owned()
    }
}
