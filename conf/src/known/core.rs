//! Directives of the outermost level, of `events` and of the operating-system modules.

use super::Module;
use crate::directive::Contexts;

pub(super) static MODULES: &[Module] = &[
    Module {
        name: "ngx_core_module",
        directives: &[(
            Contexts::MAIN,
            &[
                "daemon",
                "master_process",
                "timer_resolution",
                "pid",
                "lock_file",
                "worker_processes",
                "debug_points",
                "user",
                "worker_priority",
                "worker_cpu_affinity",
                "worker_rlimit_nofile",
                "worker_rlimit_core",
                "worker_shutdown_timeout",
                "working_directory",
                "env",
                "load_module",
            ],
        )],
    },
    Module {
        name: "ngx_epoll_module",
        directives: &[(Contexts::EVENTS, &["epoll_events", "worker_aio_requests"])],
    },
    Module { name: "ngx_errlog_module", directives: &[(Contexts::MAIN, &["error_log"])] },
    Module {
        name: "ngx_event_core_module",
        directives: &[(
            Contexts::EVENTS,
            &[
                "worker_connections",
                "use",
                "multi_accept",
                "accept_mutex",
                "accept_mutex_delay",
                "debug_connection",
            ],
        )],
    },
    Module { name: "ngx_events_module", directives: &[(Contexts::MAIN, &["events"])] },
    Module {
        name: "ngx_google_perftools_module",
        directives: &[(Contexts::MAIN, &["google_perftools_profiles"])],
    },
    Module {
        name: "ngx_openssl_cache_module",
        directives: &[(Contexts::MAIN, &["ssl_object_cache_inheritable"])],
    },
    Module { name: "ngx_openssl_module", directives: &[(Contexts::MAIN, &["ssl_engine"])] },
    Module { name: "ngx_quic_bpf_module", directives: &[(Contexts::MAIN, &["quic_bpf"])] },
    Module { name: "ngx_regex_module", directives: &[(Contexts::MAIN, &["pcre_jit"])] },
    Module { name: "ngx_thread_pool_module", directives: &[(Contexts::MAIN, &["thread_pool"])] },
];
