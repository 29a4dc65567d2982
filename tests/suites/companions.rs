//! The modules of OpenResty's bundle besides Lua: echo, headers-more, set-misc, array-var, encrypted-session.

use kit::{Gateway, get, request};

fn gateway(server: &str) -> Gateway {
    Gateway::start(&format!("http {{ server {{ listen @0; {server} }} }}"))
}

fn text(gateway: &Gateway, target: &str) -> String {
    get(gateway.addr(0), target).text()
}

#[test]
fn echo_runs_its_commands_in_order() {
    let gateway = gateway(
        r#"location /a { echo -n "a "; echo b $arg_x; echo_duplicate 2 z; echo; echo_location /sub "y=1";
               echo_location_async /sub "y=2"; echo_flush; echo last; }
           location /sub { set $v $arg_y; echo_sleep 0.005; echo "sub $v"; }
           location /loop { echo_foreach_split ',' $arg_list; echo "<$echo_it>"; echo_end; echo done; }
           location /exec { echo_exec /sub?y=3; }
           location /unknown { echo_status 404; echo nothing; }
           location /body { echo_read_request_body; echo_request_body; echo; echo $echo_request_method; }"#,
    );
    assert_eq!(text(&gateway, "/a?x=1"), "a b 1\nzz\nsub 1\nsub 2\nlast\n");
    assert_eq!(text(&gateway, "/loop?list=1,2,,3"), "<1>\n<2>\n<3>\ndone\n");
    assert_eq!(text(&gateway, "/exec"), "sub 3\n");
    assert_eq!(get(gateway.addr(0), "/unknown").status, 404);
    let post = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz";
    assert_eq!(request(gateway.addr(0), post).text(), "xyz\nPOST\n");
    gateway.quit();
}

#[test]
fn echo_around_what_others_answer() {
    let gateway = gateway(
        r#"location / { echo_before_body before; echo_after_body -n "after $echo_response_status"; return 200 "x"; }"#,
    );
    let answer = get(gateway.addr(0), "/");
    assert_eq!(answer.text(), "before\nxafter 200");
    assert_eq!(answer.header("content-length"), None);
    gateway.quit();
}

#[test]
fn any_field_is_set_and_cleared() {
    let gateway = gateway(
        r#"more_set_headers 'Server: mine' 'X-Outer: 1';
           location /a { more_set_headers -s '404 200' -t text/plain 'X-A: $arg_a'; more_clear_headers 'X-Hid*' X-Outer;
               add_header X-Late 1; default_type text/plain; echo $http_x_in $host; 
               more_set_input_headers 'X-In: set' 'Host: other'; }
           location /b { more_set_headers -s 500 'X-B: 1'; more_clear_input_headers User-Agent;
               more_set_input_headers -r 'X-In: replaced'; echo "[$http_user_agent][$http_x_in]"; }"#,
    );
    let answer = get(gateway.addr(0), "/a?a=v");
    assert_eq!((answer.header("server"), answer.header("x-a")), (Some("mine"), Some("v")));
    assert_eq!((answer.header("x-outer"), answer.header("x-late")), (None, Some("1")));
    assert_eq!(answer.text(), "set other\n");
    let with = "GET /b HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\nX-In: in\r\n\r\n";
    let answer = request(gateway.addr(0), with);
    assert_eq!((answer.text(), answer.header("x-b")), ("[][replaced]\n".into(), None));
    let without = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(request(gateway.addr(0), without).text(), "[][]\n");
    gateway.quit();
}

#[test]
fn values_are_computed_among_the_instructions() {
    let gateway = gateway(
        r#"location /a { set_unescape_uri $a $arg_a; set_md5 $m $a; set_encode_base64 $b $a; set_quote_sql_str $q $a;
               set_if_empty $e none; set_encode_hex $h $a; set_decode_hex $h; set_sha1 $s ""; 
               echo $a; echo $m; echo $b; echo $q; echo $e; echo $h; echo $s; }
           location /rotate { set_rotate $r 1 3; echo $r; }
           location /bad { set_decode_base64 $x "!"; echo $x; }
           location /list { array_split ',' $arg_list to=$list; array_map "[$array_it]" $list;
               array_map_op set_encode_base64 $list to=$other; array_join '+' $list; array_join ' ' $other; echo "$list $other"; }"#,
    );
    assert_eq!(
        text(&gateway, "/a?a=it%27s+me"),
        "it's me\nefcd8d462ca9d9039917c525be655e84\naXQncyBtZQ==\n'it\\'s me'\nnone\nit's me\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n"
    );
    let turns: Vec<String> = (0..4).map(|_| text(&gateway, "/rotate")).collect();
    assert_eq!(turns, ["1\n", "2\n", "3\n", "1\n"]);
    assert_eq!(get(gateway.addr(0), "/bad").status, 500);
    assert!(gateway.error_log().contains("set_decode_base64: invalid value"));
    assert_eq!(text(&gateway, "/list?list=a,b"), "[a]+[b] W2Fd W2Jd\n");
    gateway.quit();
}

#[test]
fn a_session_is_read_back_and_nothing_else_is() {
    let gateway = gateway(
        r#"encrypted_session_key "abcdefghijklmnopqrstuvwxyz123456";
           location /make { set_encrypt_session $s $arg_text; set_encode_base64url $s; echo -n $s; }
           location /read { set_decode_base64url $s $arg_s; set_decrypt_session $s; echo "[$s]"; }"#,
    );
    let sealed = text(&gateway, "/make?text=hello");
    assert_eq!(text(&gateway, &format!("/read?s={sealed}")), "[hello]\n");
    assert_eq!(text(&gateway, &format!("/read?s=A{}", &sealed[1..])), "[]\n");
    gateway.quit();
}
