//! The table.

/// Texts that are refused, and how.
pub const FATAL: &[(&str, &str)] = &[
    // Names and places.
    ("foo;", "unknown directive \"foo\" in /n.conf:1"),
    ("\n\nfoo {\n}\n", "unknown directive \"foo\" in /n.conf:3"),
    ("foo\nbar\n;\n", "unknown directive \"foo\" in /n.conf:3"),
    ("'foo bar' x;", "unknown directive \"foo bar\" in /n.conf:1"),
    ("'' x;", "unknown directive \"\" in /n.conf:1"),
    ("Events { }", "unknown directive \"Events\" in /n.conf:1"),
    ("http { server { location / {\n lokation /; } } }", "unknown directive \"lokation\" in /n.conf:2"),
    ("\u{feff}events { }", "unknown directive \"\u{feff}events\" in /n.conf:1"),
    ("root x;", "\"root\" directive is not allowed here in /n.conf:1"),
    ("events {\n root x;\n}", "\"root\" directive is not allowed here in /n.conf:2"),
    ("http { listen 80; }", "\"listen\" directive is not allowed here in /n.conf:1"),
    ("http { http { } }", "\"http\" directive is not allowed here in /n.conf:1"),
    ("http { server { events { } } }", "\"events\" directive is not allowed here in /n.conf:1"),
    ("http { server { server { } } }", "\"server\" directive is not allowed here in /n.conf:1"),
    ("http { location / { } }", "\"location\" directive is not allowed here in /n.conf:1"),
    ("http { server { proxy_pass http://a; } }", "\"proxy_pass\" directive is not allowed here in /n.conf:1"),
    ("http { daemon on; }", "\"daemon\" directive is not allowed here in /n.conf:1"),
    // Endings; these come before the number of arguments.
    ("events;", "directive \"events\" has no opening \"{\" in /n.conf:1"),
    ("events\n;", "directive \"events\" has no opening \"{\" in /n.conf:2"),
    ("events a b;", "directive \"events\" has no opening \"{\" in /n.conf:1"),
    ("http { root { } }", "directive \"root\" is not terminated by \";\" in /n.conf:1"),
    ("http { root a\n{ } }", "directive \"root\" is not terminated by \";\" in /n.conf:2"),
    ("include a { }", "directive \"include\" is not terminated by \";\" in /n.conf:1"),
    (
        "http { server { location / {\n content_by_lua_block; } } }",
        "directive \"content_by_lua_block\" has no opening \"{\" in /n.conf:2",
    ),
    // Numbers of arguments.
    ("events a { }", "invalid number of arguments in \"events\" directive in /n.conf:1"),
    ("http { root; }", "invalid number of arguments in \"root\" directive in /n.conf:1"),
    ("http { root a b; }", "invalid number of arguments in \"root\" directive in /n.conf:1"),
    ("http { root a\nb\n; }", "invalid number of arguments in \"root\" directive in /n.conf:3"),
    ("http { sendfile; }", "invalid number of arguments in \"sendfile\" directive in /n.conf:1"),
    ("http { sendfile on on; }", "invalid number of arguments in \"sendfile\" directive in /n.conf:1"),
    ("http { server { listen; } }", "invalid number of arguments in \"listen\" directive in /n.conf:1"),
    (
        "http { server { location { } } }",
        "invalid number of arguments in \"location\" directive in /n.conf:1",
    ),
    (
        "http { server { location a b c { } } }",
        "invalid number of arguments in \"location\" directive in /n.conf:1",
    ),
    (
        "http { output_buffers 1; }",
        "invalid number of arguments in \"output_buffers\" directive in /n.conf:1",
    ),
    ("http { map $a { } }", "invalid number of arguments in \"map\" directive in /n.conf:1"),
    ("include;", "invalid number of arguments in \"include\" directive in /n.conf:1"),
    ("include a b;", "invalid number of arguments in \"include\" directive in /n.conf:1"),
    // A forgotten semicolon swallows the next directive.
    ("http {\n root a\n sendfile on;\n}", "invalid number of arguments in \"root\" directive in /n.conf:3"),
    // Duplicates.
    ("http { root a;\n root b; }", "\"root\" directive is duplicate in /n.conf:2"),
    ("http { sendfile on; sendfile on; }", "\"sendfile\" directive is duplicate in /n.conf:1"),
    (
        "events { worker_connections 1; worker_connections x; }",
        "\"worker_connections\" directive is duplicate in /n.conf:1",
    ),
    // Values.
    (
        "http { sendfile yes; }",
        "invalid value \"yes\" in \"sendfile\" directive, it must be \"on\" or \"off\" in /n.conf:1",
    ),
    (
        "http { sendfile ''; }",
        "invalid value \"\" in \"sendfile\" directive, it must be \"on\" or \"off\" in /n.conf:1",
    ),
    ("events { worker_connections x; }", "invalid number \"x\" in /n.conf:1"),
    ("http { keepalive_requests x; }", "\"keepalive_requests\" directive invalid number in /n.conf:1"),
    ("http { keepalive_requests -1; }", "\"keepalive_requests\" directive invalid number in /n.conf:1"),
    (
        "http { keepalive_requests 1;\n keepalive_requests x; }",
        "\"keepalive_requests\" directive is duplicate in /n.conf:2",
    ),
    ("http { send_timeout 1x; }", "\"send_timeout\" directive invalid value in /n.conf:1"),
    ("http { send_timeout 1s1m; }", "\"send_timeout\" directive invalid value in /n.conf:1"),
    ("http { client_max_body_size 1t; }", "\"client_max_body_size\" directive invalid value in /n.conf:1"),
    (
        "http { client_body_buffer_size 1g; }",
        "\"client_body_buffer_size\" directive invalid value in /n.conf:1",
    ),
    ("http { output_buffers 0 1k; }", "\"output_buffers\" directive invalid value in /n.conf:1"),
    ("http { output_buffers 1 0; }", "\"output_buffers\" directive invalid value in /n.conf:1"),
    ("http { satisfy most; }", "invalid value \"most\" in /n.conf:1"),
    ("http { server { listen 0; } }", "invalid port in \"0\" of the \"listen\" directive in /n.conf:1"),
    (
        "http { server { listen 9-8; } }",
        "invalid port range in \"9-8\" of the \"listen\" directive in /n.conf:1",
    ),
    ("http { server { listen :80; } }", "no host in \":80\" of the \"listen\" directive in /n.conf:1"),
    ("http { server { listen a/b; } }", "invalid host in \"a/b\" of the \"listen\" directive in /n.conf:1"),
    (
        "http { server { listen [::x]:80; } }",
        "invalid IPv6 address in \"[::x]:80\" of the \"listen\" directive in /n.conf:1",
    ),
    ("http { server { listen 80 deferrred; } }", "invalid parameter \"deferrred\" in /n.conf:1"),
    // Free-form blocks.
    ("http { map $a $b {\n x 1 2;\n} }", "invalid number of the map parameters in /n.conf:2"),
    ("http { map $a $b { x {", "unexpected \"{\" in /n.conf:1"),
    ("http { map $a $b {\n ~^a{2}$ 1;\n} }", "unexpected \"{\" in /n.conf:2"),
    // Text that is no configuration.
    (";", "unexpected \";\" in /n.conf:1"),
    ("\n{", "unexpected \"{\" in /n.conf:2"),
    ("}", "unexpected \"}\" in /n.conf:1"),
    ("events { } }", "unexpected \"}\" in /n.conf:1"),
    ("events { worker_connections 1 }", "unexpected \"}\" in /n.conf:1"),
    ("events { worker_connections '1'0; }", "unexpected \"0\" in /n.conf:1"),
    ("events {\n", "unexpected end of file, expecting \"}\" in /n.conf:2"),
    ("events { }\nhttp {\n server {\n }\n", "unexpected end of file, expecting \"}\" in /n.conf:5"),
    ("events", "unexpected end of file, expecting \";\" or \"}\" in /n.conf:1"),
    ("events { }\nhttp { root \"a; }\n", "unexpected end of file, expecting \";\" or \"}\" in /n.conf:3"),
    (
        "\ninclude /no/such/file;",
        "open() \"/no/such/file\" failed (2: No such file or directory) in /n.conf:2",
    ),
];

/// Texts that are taken.
pub const ACCEPTED: &[&str] = &[
    "events { }",
    "events{}",
    "# nothing\nevents { # inside }\n}",
    "events { worker_connections '16'; }",
    "events { } http { sendfile ON; server { sendfile off; location / { sendfile on; } } }",
    "events { } http { root ''; server { root \"a b\"; } }",
    "events { } http { send_timeout '1h 30m'; client_max_body_size 1G; output_buffers 2 32k; }",
    "events { } http { server { listen 127.0.0.1:8080 default_server; listen [::1]:8080; } }",
    "events { } http { map $uri $x { default 0; '~ a{2}' 1; \"~^/b\\.c\" 2; '' 3; } }",
    "events { } http { server { location ~ \\.php$ { } location = / { } } }",
    "events { } http { server { location ~ 'a{2}' { } location ${x} { } } }",
    "events { } http { satisfy Any; }",
];
