//! What Lua code finds besides the request: shared dictionaries, patterns, JSON, the modules of the bundle.

use kit::{Gateway, get};
use nix::sys::signal::Signal;

fn gateway(http: &str, code: &str) -> Gateway {
    let server = format!("server {{ listen @0; location / {{ content_by_lua_block {{ {code} }} }} }}");
    Gateway::start(&format!("http {{ {http} {server} }}"))
}

fn said(code: &str) -> String {
    let gateway = gateway("lua_shared_dict d 1m;", code);
    let answer = get(gateway.addr(0), "/");
    let text = answer.text();
    assert_eq!(answer.status, 200, "{}", gateway.error_log());
    gateway.quit();
    text
}

#[test]
fn a_dictionary_keeps_values() {
    let said = said(
        r#"local d = ngx.shared.d
           ngx.say(d:set("s", "text", 10, 7)); ngx.say(d:get("s"))
           ngx.say(d:get_stale("s")); ngx.say(d:add("s", 1)); ngx.say(d:replace("none", 1))
           ngx.say(d:incr("n", 1)); ngx.say(d:incr("n", 1, 5)); ngx.say(d:incr("s", 1))
           ngx.say(d:get("none")); ngx.say(d:get("")); ngx.say(d:set(nil, 1)); ngx.say(d:set("f", print))
           ngx.say(d:lpush("l", 1), d:rpush("l", "two"), d:llen("l"), " ", d:rpop("l"), d:lpop("l"), d:lpop("l"))
           ngx.say(d:lpush("s", 1)); ngx.say(d:ttl("s") > 9, d:ttl("n"), d:ttl("none")); ngx.say(d:expire("n", 1), d:ttl("n") <= 1)
           d:delete("s"); ngx.say(#d:get_keys(), " ", d:capacity(), " ", d:free_space() < d:capacity())
           d:flush_all(); ngx.say(#d:get_keys(), " ", d:flush_expired())
           ngx.say(pcall(d.get, "x", 1)); ngx.say(pcall(d.set, d, "k", 1, -1))"#,
    );
    let want = "truenilfalse\ntext7\ntext7false\nfalseexistsfalse\nfalsenot foundfalse\nnilnot found\n6nilfalse\nnilnot a number\n\
        nil\nnilempty key\nnilnil key\nnilbad value type\n122 two1nil\nnilvalue not a list\ntrue0nilnot found\ntruetrue\n\
        1 1048576 true\n0 1\nfalsebad \"zone\" argument\nfalsebad \"exptime\" argument\n";
    assert_eq!(said, want);
}

#[test]
fn a_dictionary_survives_a_reload() {
    let mut gateway = gateway("lua_shared_dict d 1m;", "ngx.say((ngx.shared.d:incr('n', 1, 0)))");
    assert_eq!(get(gateway.addr(0), "/").text(), "1\n");
    let workers = gateway.workers();
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("the new workers", |gateway| {
        let now = gateway.workers();
        !now.is_empty() && now.iter().all(|pid| !workers.contains(pid))
    });
    assert_eq!(get(gateway.addr(0), "/").text(), "2\n");
    gateway.quit();
}

#[test]
fn patterns() {
    let said = said(
        r#"local m = ngx.re.match("hello, 1234", "([a-z]+)(x)?, (?<n>[0-9]+)", "jo")
           ngx.say(m[0], "|", m[1], "|", m[2], "|", m[3], "|", m.n)
           ngx.say(ngx.re.find("hello, 1234", "[0-9]+", "jo")); ngx.say(ngx.re.match("a", "b"))
           ngx.say(ngx.re.match("a", "(")); ngx.say(pcall(ngx.re.match, "a", "a", "z"))
           local ctx = { pos = 3 }; ngx.say(ngx.re.match("abab", "a", "", ctx)[0], ctx.pos)
           for m, err in ngx.re.gmatch("a1b22", "([a-z])([0-9]+)", "i") do ngx.print(m[1], m[2], ";") end
           ngx.say(); ngx.say(ngx.re.gsub("hello world", "(o)", "[$1$$${0}]", "jo"))
           ngx.say(ngx.re.sub("abc", "b", function(m) return "<" .. m[0] .. ">" end))
           ngx.say(ngx.re.gsub("abc", "", "-")); ngx.say(ngx.re.sub("a", "a", "$x"))
           ngx.say(table.concat(require("ngx.re").split("a, b,c,,", ", ?"), "|"))
           ngx.say(ngx.re.match("abcd", "a|ab|abc", "d")[0])
           ngx.say(ngx.re.match("ab", "(?<x>a)|(?<x>b)", "D").x[1])
           ngx.say(pcall(ngx.re.sub, "a", "a", function() error("oops", 0) end))
           ngx.say(ngx.re.find(("a"):rep(50) .. "b", "(a+)+$", ""))"#,
    );
    let want = "hello, 1234|hello|false|1234|1234\n811\nnil\nnilpcre2_compile() failed: missing closing parenthesis in \"(\"\n\
        falseunknown flag \"z\" (flags \"z\")\na4\na1;b22;\nhell[o$o] w[o$o]rld2\na<b>c1\n-a-b-c-4\n\
        nilnilfailed to compile the replacement template\na|b|c\nabc\na\nfalseoops\nnilnilpcre_exec() failed: -47\n";
    assert_eq!(said, want);
}

#[test]
fn json() {
    let said = said(
        r#"local cjson, safe = require "cjson", require "cjson.safe"
           ngx.say(cjson.encode({ 1, "a/b", true, cjson.null, 0.1, {}, cjson.empty_array, { a = 1 } }))
           local v = cjson.decode('{"a":[1,2.5e1,"\\u00e4",null,false],"b":{}}')
           ngx.say(v.a[1], v.a[2], v.a[3], v.a[4] == ngx.null, v.a[5], type(v.b))
           ngx.say(safe.decode("{1}")); ngx.say(safe.decode("[1,2")); ngx.say(safe.decode("[1] x")); ngx.say(safe.encode(print))
           ngx.say(safe.encode({ [100] = 1 })); ngx.say(safe.encode({ 1, nil, 3 })); ngx.say(safe.encode(0/0))
           local deep = {}; deep[1] = deep; ngx.say(safe.encode(deep)); ngx.say(safe.decode(("["):rep(2000)))
           ngx.say(pcall(cjson.decode, "nope") == false, cjson.encode_number_precision(3), cjson.encode(1 / 3))
           ngx.say(cjson.encode(setmetatable({}, cjson.array_mt)), cjson.new() ~= cjson)"#,
    );
    let want = "[1,\"a\\/b\",true,null,0.1,{},[],{\"a\":1}]\n125ätruefalsetable\n\
        nilExpected object key string but found T_NUMBER at character 2\nnilExpected comma or array end but found T_END at character 5\n\
        nilExpected the end but found invalid token at character 5\nnilCannot serialise function: type not supported\n\
        nilCannot serialise table: excessively sparse array\n[1,null,3]\nnilCannot serialise number: must not be NaN or Infinity\n\
        nilCannot serialise, excessive nesting (1001)\nnilFound too many nested data structures (1001) at character 1001\n\
        true30.333\n[]true\n";
    assert_eq!(said, want);
}

#[test]
fn modules_of_the_bundle() {
    let said = said(
        r#"local lru = require("resty.lrucache").new(2)
           lru:set("a", 1); lru:set("b", 2); lru:get("a"); lru:set("c", 3)
           ngx.say(lru:get("a"), lru:get("b"), lru:get("c"), lru:count(), lru:capacity())
           local pool = require "tablepool"; local t = pool.fetch("x", 0, 1); t.y = 1; pool.release("x", t)
           ngx.say(pool.fetch("x", 0, 1) == t, t.y)
           local b64 = require "ngx.base64"; ngx.say(b64.encode_base64url("a?>~"), b64.decode_base64url("YT8-fg"))
           ngx.say(b64.decode_base64url("!")); ngx.say(ndk.set_var.set_escape_uri(" /")); ngx.say(pcall(function() return ndk.set_var.no end))"#,
    );
    let want = "1nil322\ntruenil\nYT8-fga?>~\nnilinvalid input\n%20%2F\nfalse";
    assert!(said.starts_with(want), "{said}");
    assert!(
        said.ends_with("ndk.set_var: directive \"no\" not found or does not use ndk_set_var_value\n"),
        "{said}"
    );
}
