//! Lua handlers, seen from outside.

use kit::{Gateway, Origin, get, request};

fn gateway(locations: &str) -> Gateway {
    Gateway::start(&format!("http {{ server {{ listen @0; {locations} }} }}"))
}

#[test]
fn a_handler_answers() {
    let gateway = gateway(r#"location / { content_by_lua_block { ngx.say("hello") } }"#);
    let answer = get(gateway.addr(0), "/");
    assert_eq!((answer.status, &*answer.body), (200, &b"hello\n"[..]));
    gateway.quit();
}

#[test]
fn an_error_is_a_500_with_a_traceback_in_the_log() {
    let gateway = gateway(
        r#"location / { content_by_lua_block {
            local function f() error("boom") end
            f()
        } }"#,
    );
    assert_eq!(get(gateway.addr(0), "/").status, 500);
    let log = gateway.error_log();
    assert!(log.contains("lua entry thread aborted: runtime error: content_by_lua("), "{log}");
    assert!(log.contains("stack traceback:\ncoroutine 0:\n"), "{log}");
    gateway.quit();
}

#[test]
fn threads_and_coroutines_wait_on_their_own() {
    let gateway = gateway(
        r#"location / { content_by_lua_block {
            local function slow(n) ngx.sleep(0.01 * n); return n end
            local a, b = ngx.thread.spawn(slow, 2), ngx.thread.spawn(slow, 1)
            ngx.say(select(2, ngx.thread.wait(a, b)), " ", select(2, ngx.thread.wait(a)))
            local f = coroutine.wrap(function() for n = 1, 3 do ngx.sleep(0.001); coroutine.yield(n) end end)
            ngx.say(f(), f(), f())
            ngx.say(pcall(coroutine.wrap(function() ngx.sleep(0.001); error("oops", 0) end)))
        } }"#,
    );
    let answer = get(gateway.addr(0), "/");
    assert_eq!(String::from_utf8_lossy(&answer.body), "1 2\n123\nfalseoops\n");
    gateway.quit();
}

#[test]
fn an_exit_in_the_access_phase_answers() {
    let gateway = gateway(
        r#"location / { access_by_lua_block { if ngx.sleep then ngx.exit(403) end } return 200 "no"; }
           location /in { access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.print("in") } }"#,
    );
    assert_eq!(
        request(gateway.addr(0), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").status,
        200,
        "return comes first"
    );
    assert_eq!(&*get(gateway.addr(0), "/in").body, b"in");
    gateway.quit();
}

#[test]
fn the_request_and_the_response_are_at_hand() {
    let gateway = gateway(
        r#"location / { set $x ""; content_by_lua_block {
            ngx.var.x = "set"
            ngx.status = 201
            ngx.header["X-Two"] = { "1", "2" }
            ngx.req.read_body()
            ngx.say(ngx.var.x, " ", ngx.req.get_method(), " ", ngx.req.get_uri_args().a, " ", ngx.req.get_body_data())
            ngx.say(ngx.encode_args { b = "1 2" }, " ", ngx.md5("hello"), " ", ngx.decode_base64(ngx.encode_base64("x")))
        } }"#,
    );
    let answer = request(gateway.addr(0), "POST /?a=7 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(answer.status, 201);
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(body, "set POST 7 body\nb=1%202 5d41402abc4b2a76b9719d911017c592 x\n");
    gateway.quit();
}

#[test]
fn a_handler_requests_other_locations_and_servers() {
    let gateway = gateway(
        r#"location /sub { content_by_lua_block { ngx.sleep(0.001); ngx.print("sub ", ngx.var.args) } }
        location / { content_by_lua_block {
            local a, b = ngx.location.capture_multi { { "/sub?n=1" }, { "/sub?n=2" } }
            ngx.say(a.body, " ", b.body)
            local sock = ngx.socket.tcp()
            assert(sock:connect(ngx.var.server_addr, ngx.var.server_port))
            assert(sock:send("GET /sub?n=3 HTTP/1.0\r\n\r\n"))
            assert(sock:receiveuntil("\r\n\r\n")())
            ngx.say(sock:receive("*a"))
        } }"#,
    );
    let answer = get(gateway.addr(0), "/");
    assert_eq!(String::from_utf8_lossy(&answer.body), "sub n=1 sub n=2\nsub n=3\n");
    gateway.quit();
}

#[test]
fn filters_and_the_log_phase_run_lua() {
    let gateway = gateway(
        r#"location / {
            header_filter_by_lua_block { ngx.header["X-Filter"] = "seen" }
            body_filter_by_lua_block { ngx.arg[1] = string.upper(ngx.arg[1]) }
            log_by_lua_block { ngx.log(ngx.ERR, "logged ", ngx.status) }
            set_by_lua_block $text { return "text" }
            return 200 $text;
        }"#,
    );
    let answer = get(gateway.addr(0), "/");
    assert_eq!(&*answer.body, b"TEXT");
    assert_eq!(answer.header("X-Filter"), Some("seen"));
    gateway.quit();
}

#[test]
fn code_that_never_ends_is_interrupted() {
    let gateway = Gateway::start(
        r#"http { lua_time_limit 200ms; lua_memory_limit 64m; server { listen @0;
            location /loop { content_by_lua_block { while true do end } }
            location /pcall { content_by_lua_block { while true do pcall(function() while true do end end) end } }
            location /memory { content_by_lua_block { local t = {} for n = 1, 1e9 do t[n] = "x" .. n end } }
            location /bomb { content_by_lua_block { local s = string.rep("x", 2^30) } }
            location /deep { content_by_lua_block { local function f() return 1 + f() end f() } }
            location / { content_by_lua_block { ngx.say("alive") } }
        } }"#,
    );
    for path in ["/loop", "/pcall", "/memory", "/bomb", "/deep"] {
        assert_eq!(get(gateway.addr(0), path).status, 500, "{path}");
        assert_eq!(&*get(gateway.addr(0), "/").body, b"alive\n", "after {path}");
    }
    gateway.quit();
}

#[test]
fn code_chooses_the_server() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nchosen");
    let port = origin.addr.port();
    let ip = origin.addr.ip();
    let nobody = kit::Places::address();
    let gateway = Gateway::start(&format!(
        r#"http {{
            upstream u {{ server {nobody}; balancer_by_lua_block {{
                local balancer = require "ngx.balancer"
                if not balancer.get_last_failure() then
                    balancer.set_more_tries(1)
                    assert(balancer.set_current_peer("{}", {}))
                else
                    assert(balancer.set_current_peer("{ip}", {port}))
                end
            }} }}
            server {{ listen @0; location / {{ proxy_pass http://u; }} }}
        }}"#,
        nobody.ip(),
        nobody.port(),
    ));
    let answer = get(gateway.addr(0), "/");
    assert_eq!((answer.status, &*answer.body), (200, &b"chosen"[..]));
    gateway.quit();
}

#[test]
fn the_connection_itself_is_a_socket() {
    let gateway = gateway(
        r#"location /body { content_by_lua_block {
            local sock = assert(ngx.req.socket())
            ngx.say(sock:receive(3), " ", sock:receive("*a"))
        } }
        location /raw { content_by_lua_block {
            local sock = assert(ngx.req.socket(true))
            assert(sock:send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"))
            assert(sock:send(sock:receive(3)))
        } }"#,
    );
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcdef");
    assert_eq!(&*request(gateway.addr(0), &post("/body")).body, b"abc def\n");
    assert_eq!(&*request(gateway.addr(0), &post("/raw")).body, b"abc");
    gateway.quit();
}

#[test]
fn scripts_run_from_the_command_line() {
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(kit::binary()).args(arguments).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, out) =
        run(&["resty", "-e", "ngx.sleep(0.001) ngx.say('hello ', ngx.md5('x'):sub(1, 4)) print(1, 2)"]);
    assert_eq!((code, &*out), (Some(0), "hello 9dd4\n1\t2\n"));
    assert_eq!(run(&["resty", "-e", "error('no')"]).0, Some(1));
    assert_eq!(run(&["resty", "-e", "os.exit(3)"]).0, Some(3));
}
