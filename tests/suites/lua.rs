//! Lua handlers, seen from outside.

use kit::{Gateway, get, request};

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
