//! TLS: handshakes, sessions, certificates of both sides, and servers behind TLS.

use std::io::Write;
use std::path::Path;

use kit::{Certificate, Client, Gateway, Origin, SecureClient, request};
use tls::{ClientContext, ClientSettings};

fn context(settings: ClientSettings) -> ClientContext {
    ClientContext::new(&settings).expect("valid settings")
}

fn any() -> ClientContext {
    context(ClientSettings::default())
}

fn ask(gateway: &Gateway, n: usize, context: &ClientContext, name: &str, path: &str) -> String {
    match SecureClient::connect(gateway.addr(n), context, name) {
        Ok(client) => client.get(name, path),
        Err(error) => error,
    }
}

/// Puts a certificate for `localhost` and its authority into the directory of the configuration.
fn certificates(prefix: &Path) {
    let authority = Certificate::authority("authority");
    let dir = prefix.join("conf");
    authority.write(&dir, "authority");
    authority.issue("localhost").write(&dir, "localhost");
    authority.issue("other.example").write(&dir, "other");
    authority.issue("client").write(&dir, "client");
    Certificate::authority("stranger").issue("client").write(&dir, "stranger");
}

fn identity(gateway: &Gateway, name: &str) -> tls::Identity {
    let read = |kind: &str| gateway.read(&format!("conf/{name}.{kind}"));
    tls::Identity::from_pem(read("crt").as_bytes(), read("key").as_bytes(), &[]).expect("written by the test")
}

#[test]
fn versions_names_and_bodies() {
    let conf = r#"
        http {
            ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            server { listen @0 ssl; server_name localhost;
                location / { return 200 "$ssl_protocol $ssl_server_name $scheme $ssl_alpn_protocol."; }
                location /echo { client_body_buffer_size 1m; proxy_pass http://%0; } }
            server { listen @0 ssl; server_name other.example; ssl_protocols TLSv1.2;
                ssl_certificate other.crt; ssl_certificate_key other.key; return 200 "other $ssl_protocol"; }
            server { listen @0 ssl; server_name nobody; ssl_reject_handshake on; }
        }"#;
    let body = vec![b'x'; 300_000];
    let large = [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n".as_slice(), &body].concat();
    let origin = Origin::fixed(large);
    let gateway = Gateway::start_with(conf, &[origin.addr], certificates);
    assert!(ask(&gateway, 0, &any(), "localhost", "/").ends_with("TLSv1.3 localhost https ."));
    let old = context(ClientSettings { tls13: false, ..ClientSettings::default() });
    assert!(ask(&gateway, 0, &old, "localhost", "/").ends_with("TLSv1.2 localhost https ."));
    assert!(ask(&gateway, 0, &any(), "other.example", "/").ends_with("other TLSv1.2"));
    let http1 =
        context(ClientSettings { protocols: vec![b"http/1.1".to_vec()], ..ClientSettings::default() });
    assert!(ask(&gateway, 0, &http1, "localhost", "/").ends_with("https http/1.1."));
    let refused = ask(&gateway, 0, &any(), "nobody", "/");
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let answer = ask(&gateway, 0, &any(), "localhost", "/echo");
    assert!(answer.ends_with(std::str::from_utf8(&body).expect("ASCII")), "{} bytes", answer.len());
    let mut client = SecureClient::connect(gateway.addr(0), &any(), "localhost").expect("a handshake");
    client.send(
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n",
    );
    client.send(&body);
    assert!(client.read_to_end().0.ends_with(&body));
    assert!(origin.seen.all()[1].ends_with(std::str::from_utf8(&body).expect("ASCII")));
}

#[test]
fn plain_http_on_a_tls_port() {
    let conf = r#"
        http { ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            server { listen @0 ssl; location / { return 200 "served"; } }
            server { listen @1 ssl; error_page 497 =302 https://$host/; } }"#;
    let gateway = Gateway::start_with(conf, &[], certificates);
    let answer = request(gateway.addr(0), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("The plain HTTP request was sent to HTTPS port"));
    let answer = request(gateway.addr(1), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("Location")), (302, Some("https://a/")));
    // what is neither ends at once, and the next one is served
    let mut client = Client::connect(gateway.addr(0));
    client.send([0x16, 3, 1, 0xff, 0xff, 1, 2, 3]).finish();
    assert!(client.answer().is_none());
    assert!(ask(&gateway, 0, &any(), "localhost", "/").ends_with("served"));
}

#[test]
fn sessions_are_resumed_by_all_workers() {
    let conf = r#"
        worker_processes 3; error_log logs/error.log info; pid logs/test.pid; daemon off; events { }
        http {
            access_log off; ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            server { listen @0 ssl; return 200 "$ssl_session_reused"; }
            server { listen @1 ssl; ssl_session_tickets off; ssl_session_cache shared:s:1m;
                return 200 "$ssl_session_reused"; }
            server { listen @2 ssl; ssl_session_tickets off; return 200 "$ssl_session_reused"; }
        }"#;
    let gateway = Gateway::start_with(conf, &[], certificates);
    for tls13 in [true, false] {
        for (n, reused) in [(0, "r"), (1, "r"), (2, ".")] {
            let same = context(ClientSettings { tls13, ..ClientSettings::default() });
            assert!(ask(&gateway, n, &same, "localhost", "/").ends_with("\r\n\r\n."), "first of {n}");
            for _ in 0..6 {
                let answer = ask(&gateway, n, &same, "localhost", "/");
                assert!(answer.ends_with(&format!("\r\n\r\n{reused}")), "{n}, TLS 1.3 {tls13}: {answer}");
            }
        }
    }
}

#[test]
fn certificates_of_clients() {
    let conf = r#"
        http {
            ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            ssl_client_certificate authority.crt;
            server { listen @0 ssl; server_name localhost; ssl_verify_client on;
                return 200 "$ssl_client_verify $ssl_client_s_dn $ssl_client_i_dn"; }
            server { listen @0 ssl; server_name optional; ssl_verify_client optional; return 200 "$ssl_client_verify"; }
            server { listen @0 ssl; server_name lax; ssl_verify_client optional_no_ca; return 200 "$ssl_client_verify"; }
            server { listen @0 ssl; server_name off; return 200 "$ssl_client_verify"; }
        }"#;
    let gateway = Gateway::start_with(conf, &[], certificates);
    let with = |name: &str| {
        let identity = Some(identity(&gateway, name));
        context(ClientSettings { identity, session_reuse: false, ..ClientSettings::default() })
    };
    let (known, stranger) = (with("client"), with("stranger"));
    let get = |context: &ClientContext, name: &str| ask(&gateway, 0, context, name, "/");
    assert!(get(&known, "localhost").ends_with("SUCCESS CN=client CN=authority"));
    assert!(get(&any(), "localhost").contains("No required SSL certificate was sent"));
    assert!(get(&stranger, "localhost").contains("The SSL certificate error"));
    assert!(get(&any(), "optional").ends_with("NONE"));
    assert!(get(&stranger, "optional").contains("The SSL certificate error"));
    assert!(get(&stranger, "lax").ends_with("FAILED:unable to verify the first certificate"));
    assert!(get(&known, "off").ends_with("NONE"));
    // whoever shook hands with one server does not get what another one guards
    let client = SecureClient::connect(gateway.addr(0), &any(), "off").expect("a handshake");
    assert!(client.get("localhost", "/").starts_with("HTTP/1.1 421 "));
}

#[test]
fn resumption_does_not_skip_a_certificate() {
    let conf = r#"
        http {
            ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            ssl_session_cache shared:s:1m; ssl_session_tickets TICKETS;
            server { listen @0 ssl; server_name localhost; return 200 "$ssl_session_reused"; }
            server { listen @1 ssl; server_name localhost; ssl_client_certificate authority.crt;
                ssl_verify_client optional; return 200 "$ssl_session_reused$ssl_client_verify"; }
        }"#;
    for tickets in ["on", "off"] {
        let conf = conf.replace("TICKETS", tickets);
        let gateway = Gateway::start_with(&conf, &[], certificates);
        for tls13 in [true, false] {
            let same = context(ClientSettings { tls13, ..ClientSettings::default() });
            assert!(ask(&gateway, 0, &same, "localhost", "/").ends_with("\r\n."));
            assert!(ask(&gateway, 1, &same, "localhost", "/").ends_with("\r\n.NONE"), "tickets {tickets}");
        }
    }
}

#[test]
fn servers_behind_tls() {
    let conf = r#"
        http {
            upstream kept { server @1; keepalive 4; }
            server { listen @0;
                proxy_ssl_trusted_certificate authority.crt; proxy_ssl_name localhost; proxy_ssl_server_name on;
                location /verified { proxy_ssl_verify on; proxy_pass https://@1; }
                location /kept { proxy_ssl_verify on; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_pass https://kept; }
                location /named { proxy_ssl_verify on; proxy_ssl_name other.example; proxy_pass https://@1; }
                location /distrusted { proxy_ssl_verify on; proxy_ssl_trusted_certificate stranger.crt;
                    proxy_pass https://@1; }
                location /client { proxy_ssl_certificate client.crt; proxy_ssl_certificate_key client.key;
                    proxy_pass https://@1; }
                location /plain { proxy_pass https://%0; }
            }
            server { listen @1 ssl; server_name localhost; ssl_certificate localhost.crt;
                ssl_certificate_key localhost.key; ssl_client_certificate authority.crt; ssl_verify_client optional;
                return 200 "$ssl_server_name $ssl_client_verify $connection_requests"; }
        }"#;
    let talker = Origin::script(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        kit::read_request(stream);
    });
    let gateway = Gateway::start_with(conf, &[talker.addr], certificates);
    let get = |path: &str| kit::get(gateway.addr(0), path);
    assert_eq!(get("/verified").text(), "localhost NONE 1");
    assert_eq!(get("/client").text(), "localhost SUCCESS 1");
    assert_eq!(get("/kept").text(), "localhost NONE 1");
    assert_eq!(get("/kept").text(), "localhost NONE 2");
    for path in ["/named", "/distrusted", "/plain"] {
        assert_eq!(get(path).status, 502, "{path}");
    }
    let log = gateway.error_log();
    assert!(log.contains(
        "upstream SSL certificate does not match \"other.example\" while SSL handshaking to upstream"
    ));
    assert!(
        log.contains("upstream SSL certificate verify error: (21:unable to verify the first certificate)")
    );
}
