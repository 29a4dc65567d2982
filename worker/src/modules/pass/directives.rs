//! Directives that modules which pass requests to servers have in common, each one item here whatever its prefix.

/// One common directive of a module: `pass_directive!(connect_timeout, "fastcgi", CONF)` is `fastcgi_connect_timeout`, kept in the
/// `pass` field of the struct of `CONF`.
macro_rules! pass_directive {
    (@item $name:literal, $arity:expr, $default:literal, $doc:literal, $apply:expr) => {
        ::conf::Directive {
            name: $name,
            contexts: ::conf::Contexts::HTTP_SERVER_LOCATION,
            arity: $arity,
            shape: ::conf::Shape::Simple,
            default: $default,
            doc: $doc,
            apply: $apply,
        }
    };
    (@flag $name:literal, $conf:ident, $field:ident, $default:literal, $doc:literal) => {
        pass_directive!(@item $name, ::conf::Arity::Flag, $default, $doc, |cx, node| {
            cx.conf(&$conf).pass.set.$field.set(node.flag()?)
        })
    };
    (@one $name:literal, $conf:ident, $field:ident, $read:ident, $default:literal, $doc:literal) => {
        pass_directive!(@item $name, ::conf::Arity::Exactly(1), $default, $doc, |cx, node| {
            cx.conf(&$conf).pass.set.$field.set(node.$read()?)
        })
    };
    (@list $name:literal, $conf:ident, $read:ident, $arity:expr, $default:literal, $doc:literal) => {
        pass_directive!(@item $name, $arity, $default, $doc, |cx, node| {
            $crate::modules::pass::arguments::$read(cx, node, |cx| &mut cx.conf(&$conf).pass.set)
        })
    };
    (buffering, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, buffering, "on",
            "Reads responses as fast as they come, or only as fast as clients take them.")
    };
    (request_buffering, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, request_buffering, "on",
            "Reads the whole request body before it is passed on, or passes it on as it comes.")
    };
    (ignore_client_abort, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, ignore_client_abort, "off",
            "Whether to go on when the client closes its connection.")
    };
    (bind, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, bind, ::conf::Arity::Range(1, 2), "",
            "Local address of connections to servers.")
    };
    (socket_keepalive, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, socket_keepalive, "off", "TCP keep-alive on connections to servers.")
    };
    (socket_rcvbuf, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, socket_rcvbuf, size, "0",
            "Receive buffer of connections to servers; 0: the system's.")
    };
    (socket_sndbuf, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, socket_sndbuf, size, "0",
            "Send buffer of connections to servers; 0: the system's.")
    };
    (connect_timeout, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, connect_timeout, time_ms, "60s", "Longest time to connect.")
    };
    (send_timeout, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, send_timeout, time_ms, "60s",
            "Longest time between two writes of a request.")
    };
    (read_timeout, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, read_timeout, time_ms, "60s",
            "Longest time to read a response head, and between two reads of a body.")
    };
    (send_lowat, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, send_lowat, size, "0",
            "Accepted for compatibility: has an effect on other systems than Linux only.")
    };
    (buffer_size, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, buffer_size, size, "4k", "Largest response head.")
    };
    (pass_request_headers, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, pass_request_headers, "on",
            "Whether fields of the request are passed on.")
    };
    (pass_request_body, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, pass_request_body, "on", "Whether the request body is passed on.")
    };
    (intercept_errors, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, intercept_errors, "off",
            "Whether responses of 300 and above get the error pages of error_page.")
    };
    (buffers, $name:literal, $conf:ident) => {
        pass_directive!(@item $name, ::conf::Arity::Exactly(2), "8 4k",
            "Response bytes kept in memory for a client that takes them slowly.",
            |cx, node| cx.conf(&$conf).pass.set.buffers.set(node.buffers()?))
    };
    (busy_buffers_size, $name:literal, $conf:ident) => {
        pass_directive!(@item $name, ::conf::Arity::Exactly(1), "8k",
            "Checked against the number and size of buffers: what is being sent is not counted apart.",
            |cx, node| cx.conf(&$conf).pass.set.busy_buffers_size.set(Some(node.size()?)))
    };
    (force_ranges, $name:literal, $conf:ident) => {
        pass_directive!(@flag $name, $conf, force_ranges, "off",
            "Serves ranges of responses whatever servers say of them.")
    };
    (limit_rate, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, limit_rate, ::conf::Arity::Exactly(1), "0",
            "Rate of reading responses in bytes per second; 0: no limit.")
    };
    (temp_path, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, temp_path, ::conf::Arity::Range(1, 4), "",
            "Directory for responses that clients take slowly, with levels of subdirectories.")
    };
    (max_temp_file_size, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, max_temp_file_size, offset, "1024m",
            "Largest temporary file of a response; 0: none is written.")
    };
    (temp_file_write_size, $name:literal, $conf:ident) => {
        pass_directive!(@item $name, ::conf::Arity::Exactly(1), "8k",
            "Checked against the size of buffers: temporary files are written in the pieces that were received.",
            |cx, node| cx.conf(&$conf).pass.set.temp_file_write_size.set(Some(node.size()?)))
    };
    (next_upstream, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, next_upstream, ::conf::Arity::AtLeast(1), "error timeout",
            "When a request goes on to another server.")
    };
    (next_upstream_tries, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, next_upstream_tries, number, "0",
            "The most tries; 0: as many as there are servers.")
    };
    (next_upstream_timeout, $name:literal, $conf:ident) => {
        pass_directive!(@one $name, $conf, next_upstream_timeout, time_ms, "0",
            "Time after which no further try begins; 0: none.")
    };
    (pass_header, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, pass_header, ::conf::Arity::Exactly(1), "",
            "A response field that is passed on although it is not by default.")
    };
    (hide_header, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, hide_header, ::conf::Arity::Exactly(1), "",
            "A response field that is not passed on.")
    };
    (ignore_headers, $name:literal, $conf:ident) => {
        pass_directive!(@list $name, $conf, ignore_headers, ::conf::Arity::AtLeast(1), "",
            "Response fields that have no effect here.")
    };
}

pub(in crate::modules) use pass_directive;
