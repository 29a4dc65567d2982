//! The directives of `ngx_http_core_module`.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::location_conf::{IfModifiedSince, InFileOnly, LingeringClose};
use super::tokens::ServerTokens;
use super::{HTTP, LOCATION, SERVER, blocks, error_page, listen, log, root, types};
use crate::access::Satisfy;
use crate::build::Builder;
use crate::predicates::Predicates;
use crate::script::Template;
use crate::temp::TempPath;

const HTTP_SERVER: Contexts = Contexts::HTTP.or(Contexts::SERVER);
const HSL_IF: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LOCATION_IF);

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "http",
        contexts: Contexts::MAIN,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "Holds everything about HTTP.",
        apply: blocks::http,
    },
    Directive {
        name: "server",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "",
        doc: "A virtual server.",
        apply: blocks::server,
    },
    Directive {
        name: "location",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arity: Arity::Range(1, 2),
        shape: Shape::Block,
        default: "",
        doc: "Settings for requests whose URI matches.",
        apply: blocks::location,
    },
    Directive {
        name: "limit_except",
        contexts: Contexts::LOCATION,
        arity: Arity::AtLeast(1),
        shape: Shape::Block,
        default: "",
        doc: "Limits all other methods in a location.",
        apply: blocks::limit_except,
    },
    Directive {
        name: "listen",
        contexts: Contexts::SERVER,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "*:80",
        doc: "Address a server listens on. One SO_REUSEPORT socket per worker is opened for TCP addresses.",
        apply: listen::apply,
    },
    Directive {
        name: "server_name",
        contexts: Contexts::SERVER,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Names of a virtual server: exact, with a wildcard, or a pattern.",
        apply: blocks::server_name,
    },
    Directive {
        name: "error_log",
        contexts: Contexts::MAIN.or(Contexts::HTTP_SERVER_LOCATION),
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "logs/error.log error",
        doc: "Where errors are logged, and from which level on.",
        apply: log::apply,
    },
    Directive {
        name: "root",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "html",
        doc: "Directory of the files served.",
        apply: root::apply,
    },
    Directive {
        name: "alias",
        contexts: Contexts::LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Replaces the location's prefix in file names.",
        apply: root::apply,
    },
    Directive {
        name: "types",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(0),
        shape: Shape::Block,
        default: "text/html html; image/gif gif; image/jpeg jpg;",
        doc: "Media types by file extension.",
        apply: types::apply,
    },
    Directive {
        name: "default_type",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "text/plain",
        doc: "Media type of other extensions.",
        apply: |cx, node| cx.conf(&LOCATION).set.default_type.set(node.bytes(0).into()),
    },
    Directive {
        name: "error_page",
        contexts: HSL_IF,
        arity: Arity::AtLeast(2),
        shape: Shape::Simple,
        default: "",
        doc: "URI to serve instead of an error.",
        apply: error_page::apply,
    },
    Directive {
        name: "internal",
        contexts: Contexts::LOCATION,
        arity: Arity::Exactly(0),
        shape: Shape::Simple,
        default: "",
        doc: "The location serves internal requests only.",
        apply: |cx, _| cx.conf(&LOCATION).set.internal.set(true),
    },
    Directive {
        name: "satisfy",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "all",
        doc: "Whether all access checks must grant access, or one.",
        apply: |cx, node| {
            let value = node.choice(&[("all", Satisfy::All), ("any", Satisfy::Any)])?;
            cx.conf(&LOCATION).set.satisfy.set(value)
        },
    },
    Directive {
        name: "client_max_body_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1m",
        doc: "Largest request body accepted; larger ones get 413. 0: no limit.",
        apply: |cx, node| cx.conf(&LOCATION).set.client_max_body_size.set(node.offset()?),
    },
    Directive {
        name: "client_body_buffer_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "16k",
        doc: "Request bodies up to this size are kept in memory, larger ones in a temporary file.",
        apply: |cx, node| cx.conf(&LOCATION).set.client_body_buffer_size.set(node.size()?),
    },
    Directive {
        name: "client_body_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "Longest time between two reads of a request body.",
        apply: |cx, node| cx.conf(&LOCATION).set.client_body_timeout.set(node.time_ms()?),
    },
    Directive {
        name: "client_body_min_rate",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "100",
        doc: "Slowest rate in bytes per second, beyond client_body_timeout, of a request body that is read as a whole; slower ones get 408. 0: no limit. Uresty's own.",
        apply: |cx, node| cx.conf(&LOCATION).set.client_body_min_rate.set(node.offset()?),
    },
    Directive {
        name: "client_body_temp_path",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 4),
        shape: Shape::Simple,
        default: "client_body_temp",
        doc: "Directory for request bodies, with levels of subdirectories.",
        apply: temp_path,
    },
    Directive {
        name: "client_body_in_file_only",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Keeps every request body in a file.",
        apply: |cx, node| {
            let value = node.choice(&[
                ("off", InFileOnly::Off),
                ("on", InFileOnly::On),
                ("clean", InFileOnly::Clean),
            ])?;
            cx.conf(&LOCATION).set.client_body_in_file_only.set(value)
        },
    },
    Directive {
        name: "client_body_in_single_buffer",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "A body that is read into memory is in one piece anyway.",
        apply: |cx, node| cx.conf(&LOCATION).set.client_body_in_single_buffer.set(node.flag()?),
    },
    Directive {
        name: "keepalive_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "75s",
        doc: "How long an idle connection stays open; 0 disables keep-alive. The second value is sent as Keep-Alive field.",
        apply: keepalive_timeout,
    },
    Directive {
        name: "keepalive_requests",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1000",
        doc: "Requests served over one connection.",
        apply: |cx, node| cx.conf(&LOCATION).set.keepalive_requests.set(node.number()?),
    },
    Directive {
        name: "keepalive_time",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1h",
        doc: "Age from which a connection is closed after its current request.",
        apply: |cx, node| cx.conf(&LOCATION).set.keepalive_time.set(node.time_ms()?),
    },
    Directive {
        name: "keepalive_min_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "During a graceful shutdown, how long an idle connection stays readable. Uresty waits at least half a second.",
        apply: |cx, node| cx.conf(&LOCATION).set.keepalive_min_timeout.set(node.time_ms()?),
    },
    Directive {
        name: "keepalive_disable",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Range(1, 2),
        shape: Shape::Simple,
        default: "msie6",
        doc: "Browsers that get no keep-alive.",
        apply: keepalive_disable,
    },
    Directive {
        name: "send_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "Longest time between two writes of a response.",
        apply: |cx, node| cx.conf(&LOCATION).set.send_timeout.set(node.time_ms()?),
    },
    Directive {
        name: "send_lowat",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Accepted for compatibility: has an effect on other systems than Linux only.",
        apply: |cx, node| cx.conf(&LOCATION).set.send_lowat.set(node.size()?),
    },
    Directive {
        name: "lingering_close",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "on",
        doc: "Whether to read on behind the response before a connection is closed.",
        apply: |cx, node| {
            let value = node.choice(&[
                ("off", LingeringClose::Off),
                ("on", LingeringClose::On),
                ("always", LingeringClose::Always),
            ])?;
            cx.conf(&LOCATION).set.lingering_close.set(value)
        },
    },
    Directive {
        name: "lingering_time",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "30s",
        doc: "Longest time of a lingering close.",
        apply: |cx, node| cx.conf(&LOCATION).set.lingering_time.set(node.time_ms()?),
    },
    Directive {
        name: "lingering_timeout",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "5s",
        doc: "Longest wait for more data in a lingering close.",
        apply: |cx, node| cx.conf(&LOCATION).set.lingering_timeout.set(node.time_ms()?),
    },
    Directive {
        name: "reset_timedout_connection",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Resets connections that timed out.",
        apply: |cx, node| cx.conf(&LOCATION).set.reset_timedout_connection.set(node.flag()?),
    },
    Directive {
        name: "postpone_output",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1460",
        doc: "Bytes that wait for more before they are sent.",
        apply: |cx, node| cx.conf(&LOCATION).set.postpone_output.set(node.size()?),
    },
    Directive {
        name: "limit_rate",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Rate of a response in bytes per second; 0: no limit.",
        apply: |cx, node| rate(cx, node, false),
    },
    Directive {
        name: "limit_rate_after",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Bytes sent before limit_rate begins to hold.",
        apply: |cx, node| rate(cx, node, true),
    },
    Directive {
        name: "recursive_error_pages",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whether an error page may have an error page.",
        apply: |cx, node| cx.conf(&LOCATION).set.recursive_error_pages.set(node.flag()?),
    },
    Directive {
        name: "server_tokens",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "on",
        doc: "What responses say about the server software: on, off, build.",
        apply: |cx, node| {
            let value = node.choice(&[
                ("on", ServerTokens::on()),
                ("off", ServerTokens::off()),
                ("build", ServerTokens::build()),
            ])?;
            cx.conf(&LOCATION).set.server_tokens.set(value)
        },
    },
    Directive {
        name: "absolute_redirect",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Whether redirects name scheme and host.",
        apply: |cx, node| cx.conf(&LOCATION).set.absolute_redirect.set(node.flag()?),
    },
    Directive {
        name: "server_name_in_redirect",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Redirects use the server's first name instead of the client's Host.",
        apply: |cx, node| cx.conf(&LOCATION).set.server_name_in_redirect.set(node.flag()?),
    },
    Directive {
        name: "port_in_redirect",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Redirects name the port.",
        apply: |cx, node| cx.conf(&LOCATION).set.port_in_redirect.set(node.flag()?),
    },
    Directive {
        name: "msie_padding",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Pads error pages for old Internet Explorers.",
        apply: |cx, node| cx.conf(&LOCATION).set.msie_padding.set(node.flag()?),
    },
    Directive {
        name: "msie_refresh",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Sends refreshes instead of redirects to old Internet Explorers.",
        apply: |cx, node| cx.conf(&LOCATION).set.msie_refresh.set(node.flag()?),
    },
    Directive {
        name: "chunked_transfer_encoding",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Allows chunked responses.",
        apply: |cx, node| cx.conf(&LOCATION).set.chunked_transfer_encoding.set(node.flag()?),
    },
    Directive {
        name: "etag",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Sends ETag for static files.",
        apply: |cx, node| cx.conf(&LOCATION).set.etag.set(node.flag()?),
    },
    Directive {
        name: "if_modified_since",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "exact",
        doc: "How If-Modified-Since is compared.",
        apply: |cx, node| {
            let value = node.choice(&[
                ("off", IfModifiedSince::Off),
                ("exact", IfModifiedSince::Exact),
                ("before", IfModifiedSince::Before),
            ])?;
            cx.conf(&LOCATION).set.if_modified_since.set(value)
        },
    },
    Directive {
        name: "max_ranges",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "Most ranges served in one response; 0 disables ranges.",
        apply: |cx, node| cx.conf(&LOCATION).set.max_ranges.set(node.number()? as usize),
    },
    Directive {
        name: "log_not_found",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Logs files that are not found.",
        apply: |cx, node| cx.conf(&LOCATION).set.log_not_found.set(node.flag()?),
    },
    Directive {
        name: "log_subrequest",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Writes subrequests to the access log.",
        apply: |cx, node| cx.conf(&LOCATION).set.log_subrequest.set(node.flag()?),
    },
    Directive {
        name: "tcp_nodelay",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Sets TCP_NODELAY; responses are sent in one piece where possible, so it is always set on connections.",
        apply: |cx, node| cx.conf(&LOCATION).set.tcp_nodelay.set(node.flag()?),
    },
    Directive {
        name: "tcp_nopush",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Head and beginning of a file leave together anyway.",
        apply: |cx, node| cx.conf(&LOCATION).set.tcp_nopush.set(node.flag()?),
    },
    Directive {
        name: "sendfile",
        contexts: HSL_IF,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Files are read through the page cache into large buffers and sent from there, with or without sendfile.",
        apply: |cx, node| cx.conf(&LOCATION).set.sendfile.set(node.flag()?),
    },
    Directive {
        name: "sendfile_max_chunk",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "2m",
        doc: "Accepted for compatibility: pieces are 128 KB.",
        apply: |cx, node| cx.conf(&LOCATION).set.sendfile_max_chunk.set(node.size()?),
    },
    Directive {
        name: "subrequest_output_buffer_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "4k|8k",
        doc: "Buffer for responses of subrequests that are kept in memory.",
        apply: |cx, node| cx.conf(&LOCATION).set.subrequest_output_buffer_size.set(node.size()?),
    },
    Directive {
        name: "auth_delay",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0s",
        doc: "Delay of 401 responses.",
        apply: |cx, node| cx.conf(&LOCATION).set.auth_delay.set(node.time_ms()?),
    },
    Directive {
        name: "read_ahead",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0",
        doc: "Accepted for compatibility: the kernel reads ahead by itself.",
        apply: |cx, node| cx.conf(&LOCATION).set.read_ahead.set(node.size()?),
    },
    Directive {
        name: "output_buffers",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "2 32k",
        doc: "Accepted for compatibility: file buffers come from a pool.",
        apply: |cx, node| cx.conf(&LOCATION).set.output_buffers.set(node.buffers()?),
    },
    Directive {
        name: "aio",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "File reads never block a worker: they go through io_uring, or threads where that is refused.",
        apply: aio,
    },
    Directive {
        name: "aio_write",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Temporary files are always written asynchronously.",
        apply: |cx, node| cx.conf(&LOCATION).set.aio_write.set(node.flag()?),
    },
    Directive {
        name: "directio",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Accepted for compatibility: files are read through the page cache.",
        apply: directio,
    },
    Directive {
        name: "client_header_timeout",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "60s",
        doc: "Longest time to read a request head.",
        apply: |cx, node| cx.conf(&SERVER).set.client_header_timeout.set(node.time_ms()?),
    },
    Directive {
        name: "client_header_buffer_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1k",
        doc: "Size up to which a request head needs no large buffer.",
        apply: |cx, node| cx.conf(&SERVER).set.client_header_buffer_size.set(node.size()?),
    },
    Directive {
        name: "large_client_header_buffers",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(2),
        shape: Shape::Simple,
        default: "4 8k",
        doc: "Number and size of buffers for large request heads; a line must fit one.",
        apply: |cx, node| cx.conf(&SERVER).set.large_client_header_buffers.set(node.buffers()?),
    },
    Directive {
        name: "connection_pool_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "512",
        doc: "Accepted for compatibility: memory is not managed in pools.",
        apply: |cx, node| cx.conf(&SERVER).set.connection_pool_size.set(node.size()?),
    },
    Directive {
        name: "request_pool_size",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "4k",
        doc: "Accepted for compatibility: memory is not managed in pools.",
        apply: |cx, node| cx.conf(&SERVER).set.request_pool_size.set(node.size()?),
    },
    Directive {
        name: "ignore_invalid_headers",
        contexts: HTTP_SERVER,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Leaves out fields with invalid names instead of refusing the request.",
        apply: |cx, node| cx.conf(&SERVER).set.ignore_invalid_headers.set(node.flag()?),
    },
    Directive {
        name: "underscores_in_headers",
        contexts: HTTP_SERVER,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "off",
        doc: "Whether field names may have underscores.",
        apply: |cx, node| cx.conf(&SERVER).set.underscores_in_headers.set(node.flag()?),
    },
    Directive {
        name: "merge_slashes",
        contexts: HTTP_SERVER,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Merges runs of slashes in the path.",
        apply: |cx, node| cx.conf(&SERVER).set.merge_slashes.set(node.flag()?),
    },
    Directive {
        name: "max_headers",
        contexts: HTTP_SERVER,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1000",
        doc: "Most fields of a request.",
        apply: |cx, node| cx.conf(&SERVER).set.max_headers.set(node.number()?),
    },
    Directive {
        name: "client_body_early_read",
        contexts: HTTP_SERVER,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Reads the request body before anything else if one of the values is neither empty nor 0.",
        apply: |cx, node| {
            Predicates::parse(cx, node)?.add_to(&mut cx.conf(&SERVER).set.client_body_early_read);
            Ok(())
        },
    },
    Directive {
        name: "early_hints",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::AtLeast(1),
        shape: Shape::Simple,
        default: "",
        doc: "Passes 103 responses on if one of the values is neither empty nor 0.",
        apply: |cx, node| {
            Predicates::parse(cx, node)?.add_to(&mut cx.conf(&LOCATION).set.early_hints);
            Ok(())
        },
    },
    Directive {
        name: "post_action",
        contexts: HSL_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Where a request goes when its response is complete; what is answered there is dropped.",
        apply: post_action,
    },
    Directive {
        name: "directio_alignment",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "512",
        doc: "Accepted for compatibility: files are read through the page cache.",
        apply: |cx, node| cx.conf(&LOCATION).set.directio_alignment.set(node.offset()?),
    },
    Directive {
        name: "server_names_hash_bucket_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| cx.conf(&HTTP).set.server_names_hash_bucket_size.set(node.size()?),
    },
    Directive {
        name: "server_names_hash_max_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "512",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| cx.conf(&HTTP).set.server_names_hash_max_size.set(node.size()?),
    },
    Directive {
        name: "variables_hash_bucket_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| cx.conf(&HTTP).set.variables_hash_bucket_size.set(node.size()?),
    },
    Directive {
        name: "variables_hash_max_size",
        contexts: Contexts::HTTP,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1024",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| cx.conf(&HTTP).set.variables_hash_max_size.set(node.size()?),
    },
    Directive {
        name: "types_hash_bucket_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "64",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| {
            cx.http_conf(&HTTP).set.types_hash_bucket_size.replace(node.size()?).map_or(Ok(()), |_| Ok(()))
        },
    },
    Directive {
        name: "types_hash_max_size",
        contexts: Contexts::HTTP_SERVER_LOCATION,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "1024",
        doc: "Accepted for compatibility: hash tables size themselves.",
        apply: |cx, node| {
            cx.http_conf(&HTTP).set.types_hash_max_size.replace(node.size()?).map_or(Ok(()), |_| Ok(()))
        },
    },
];

/// `post_action uri | @name | off`.
fn post_action(cx: &mut Builder, node: &Node) -> Result<()> {
    let target: Rc<[u8]> = node.bytes(0).into();
    cx.conf(&LOCATION).set.post_action.set((*target != *b"off").then_some(target))
}

fn keepalive_timeout(cx: &mut Builder, node: &Node) -> Result<()> {
    let timeout = node.time_ms()?;
    let header = match node.arg(1) {
        None => None,
        Some(text) => Some(conf::value::time::parse_sec(text).ok_or_else(|| node.invalid_value(1))?),
    };
    let set = &mut cx.conf(&LOCATION).set;
    set.keepalive_timeout.set(timeout)?;
    set.keepalive_header.set(header.filter(|seconds| *seconds > 0))
}

fn keepalive_disable(cx: &mut Builder, node: &Node) -> Result<()> {
    let mut disabled = (false, false);
    for i in 0..node.len() {
        match node.arg(i).unwrap_or_default() {
            "none" => {}
            "msie6" => disabled.0 = true,
            "safari" => disabled.1 = true,
            _ => return Err(node.invalid_value(i)),
        }
    }
    cx.conf(&LOCATION).set.keepalive_disable.set(disabled)
}

fn rate(cx: &mut Builder, node: &Node, after: bool) -> Result<()> {
    let text = node.first();
    if !text.contains('$') {
        node.size()?;
    }
    let template = Rc::new(Template::parse(cx, node, text)?);
    let set = &mut cx.conf(&LOCATION).set;
    if after { set.limit_rate_after.set(template) } else { set.limit_rate.set(template) }
}

fn temp_path(cx: &mut Builder, node: &Node) -> Result<()> {
    let path = parse_temp_path(cx, node)?;
    cx.conf(&LOCATION).set.client_body_temp_path.set(Rc::new(path))
}

/// Reads `path [level1 [level2 [level3]]]`, as every `*_temp_path` directive has it.
pub fn parse_temp_path(cx: &mut Builder, node: &Node) -> Result<TempPath> {
    let dir = cx.paths.full(node.first());
    let mut levels = Vec::new();
    for i in 1..node.len() {
        let width = node.arg(i).and_then(|text| text.parse().ok()).filter(|width| (1..=3).contains(width));
        levels.push(width.ok_or_else(|| node.invalid_value(i))?);
    }
    cx.temp_paths.push(dir.clone());
    Ok(TempPath { dir, levels })
}

fn aio(cx: &mut Builder, node: &Node) -> Result<()> {
    let on = match node.first() {
        "on" | "threads" => true,
        "off" => false,
        text if text.starts_with("threads=") => true,
        _ => return Err(node.invalid_value(0)),
    };
    cx.conf(&LOCATION).set.aio.set(on)
}

fn directio(cx: &mut Builder, node: &Node) -> Result<()> {
    let size = if node.first() == "off" { None } else { Some(node.offset()?) };
    cx.conf(&LOCATION).set.directio.set(size)
}
