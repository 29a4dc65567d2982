//! The gateway: routes that change while requests are served, through the Admin API and in every worker.

mod admin;
mod plugins;
mod safety;
mod serving;
mod stores;

use std::net::SocketAddr;

use kit::{Answer, Client, Gateway};
use serde_json::Value;

/// A gateway of two workers: `@0` serves, `@1` is the Admin API. Answers say which worker gave them.
const CONF: &str = "
daemon off; worker_processes 2; user root; pid logs/test.pid;
error_log logs/error.log info;
events { worker_connections 1024; }
http {
    gateway { store embedded data/gateway.redb; admin @1 key_file=data/admin.key; }
    server {
        listen @0;
        add_header X-Pid $pid always;
        location / { gateway_pass; }
        location /static { return 200 static; }
    }
}
";

/// See [`CONF`].
struct Gw {
    gateway: Gateway,
    key: String,
}

impl Gw {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Origins' addresses replace `%0`, … in the bodies of [`Gw::admin`].
    fn start_with(origins: &[SocketAddr]) -> Self {
        let gateway = Gateway::start_with(CONF, origins, |_| {});
        let key = key(&gateway, "admin");
        Self { gateway, key }
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.addr(0)
    }

    fn admin_addr(&self) -> SocketAddr {
        self.gateway.addr(1)
    }

    /// An Admin API request with our key.
    fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        self.admin_as(&self.key, method, path, body)
    }

    fn admin_as(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let path = if path.starts_with("/uresty") { path.to_owned() } else { format!("/apisix/admin{path}") };
        let length = body.len();
        kit::request(
            self.admin_addr(),
            &format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    }

    /// Writes a resource, which must succeed in every worker.
    fn put(&self, path: &str, body: &str) -> Value {
        let answer = self.admin("PUT", path, body);
        assert!(matches!(answer.status, 200 | 201), "{path}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("X-Config-Applied"), Some("2/2"), "{path}");
        json(&answer)
    }

    fn get(&self, target: &str) -> Answer {
        kit::get(self.addr(), target)
    }

    /// A request with more fields; each ends with CRLF.
    fn request(&self, method: &str, target: &str, fields: &str) -> Answer {
        kit::request(
            self.addr(),
            &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"),
        )
    }

    /// A kept connection to each worker.
    fn to_each_worker(&self) -> Vec<Client> {
        let mut clients: Vec<(String, Client)> = Vec::new();
        for _ in 0..1000 {
            let mut client = Client::connect(self.addr());
            let answer = ask(&mut client, "/static");
            let pid = answer.header("X-Pid").expect("every answer says who gave it").to_owned();
            if !clients.iter().any(|(known, _)| *known == pid) {
                clients.push((pid, client));
            }
            if clients.len() == 2 {
                return clients.into_iter().map(|(_, client)| client).collect();
            }
        }
        panic!("one worker never accepted");
    }
}

/// A GET over a kept connection.
fn ask(client: &mut Client, target: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer().expect("an answer")
}

/// The key of a role.
fn key(gateway: &Gateway, role: &str) -> String {
    let text = gateway.read("data/admin.key");
    let line = text.lines().find(|line| line.starts_with(role)).expect("a key for each role");
    line.split_whitespace().nth(1).expect("role and key").to_owned()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// An answer of an origin.
fn answer_of(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
