//! The name the program goes by, and what `ps` shows for its processes.
//!
//! The program follows the name it is called by: a symbolic link `nginx` or `openresty` makes it look for
//! `conf/nginx.conf` and title its processes as nginx does, because tools (`pgrep`, monitoring, tests) look for them.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::rc::Rc;

use worker::module::Module;
use worker::worker::Worker;

use crate::spawn::TitleMemory;

/// Who the program is, by its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Itself.
    Uresty,
    /// Called `nginx`.
    Nginx,
    /// Called `openresty`.
    OpenResty,
}

impl Program {
    /// The program called as `argv0`.
    pub fn of(argv0: &OsStr) -> Self {
        match Path::new(argv0).file_name().and_then(OsStr::to_str) {
            Some("nginx") => Self::Nginx,
            Some("openresty") => Self::OpenResty,
            _ => Self::Uresty,
        }
    }

    /// The name: `uresty`, `nginx` or `openresty`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uresty => "uresty",
            Self::Nginx => "nginx",
            Self::OpenResty => "openresty",
        }
    }

    /// What titles and default file names begin with. OpenResty's program is nginx by another name, and its processes
    /// and files are called so.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Uresty => "uresty",
            Self::Nginx | Self::OpenResty => "nginx",
        }
    }

    /// The default configuration file below the prefix.
    pub fn conf(self) -> String {
        format!("conf/{}.conf", self.stem())
    }

    /// The default pid file below the prefix.
    pub fn pid(self) -> String {
        format!("logs/{}.pid", self.stem())
    }

    /// The title of a master that was started with `argv`.
    pub fn master_title(self, argv: &[OsString]) -> OsString {
        let mut title = OsString::from(format!("{}: master process", self.stem()));
        for word in argv {
            title.push(" ");
            title.push(word);
        }
        title
    }

    /// The title of a worker.
    pub fn worker_title(self) -> String {
        format!("{}: worker process", self.stem())
    }

    /// The title of a worker that was told to quit.
    pub fn draining_title(self) -> String {
        format!("{} is shutting down", self.worker_title())
    }
}

thread_local! {
    /// Where a worker's title stands, and the title for when it shuts down.
    static LATER: RefCell<Option<(TitleMemory, String)>> = const { RefCell::new(None) };
}

/// Prepares the title a worker gets when it shuts down. Called at its very beginning.
pub fn prepare(program: Program) {
    LATER.set(TitleMemory::claim().map(|memory| (memory, program.draining_title())));
}

/// Shows in `ps` that a worker shuts down: those who wait for the end of a reload look for it.
pub struct Draining;

impl Module for Draining {
    fn name(&self) -> &'static str {
        "uresty_title_module"
    }

    fn start(&self, worker: &Rc<Worker>) {
        let Some((memory, title)) = LATER.take() else { return };
        let worker = Rc::clone(worker);
        net::spawn(async move {
            while !worker.is_draining() {
                worker.changed.notified().await;
            }
            memory.set(OsStr::new(&title));
        });
    }
}

/// Default error log below the prefix.
pub const ERROR_LOG: &str = "logs/error.log";

/// Whether `title` is that of a freshly started worker, of whatever name.
pub fn is_worker(title: &OsStr) -> bool {
    [Program::Uresty, Program::Nginx].iter().any(|program| title == OsStr::new(&program.worker_title()))
}

/// Whether `title` is that of a master, of whatever name.
pub fn is_master(title: &[u8]) -> bool {
    [Program::Uresty, Program::Nginx]
        .iter()
        .any(|program| title.starts_with(format!("{}: master process", program.stem()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_first_argument() {
        for (argv0, name, stem) in [
            ("/usr/sbin/nginx", "nginx", "nginx"),
            ("openresty", "openresty", "nginx"),
            ("./target/debug/uresty", "uresty", "uresty"),
            ("/opt/gateway", "uresty", "uresty"),
            ("", "uresty", "uresty"),
        ] {
            let program = Program::of(OsStr::new(argv0));
            assert_eq!((program.name(), program.stem()), (name, stem), "{argv0}");
        }
        assert_eq!(Program::Nginx.conf(), "conf/nginx.conf");
        assert_eq!(Program::Uresty.pid(), "logs/uresty.pid");
    }

    #[test]
    fn titles_are_nginx_s() {
        let argv = ["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf"].map(OsString::from);
        assert_eq!(
            Program::Nginx.master_title(&argv),
            "nginx: master process /usr/sbin/nginx -c /etc/nginx/nginx.conf"
        );
        assert_eq!(Program::OpenResty.worker_title(), "nginx: worker process");
        assert!(is_worker(OsStr::new("nginx: worker process")));
        assert!(is_worker(OsStr::new("uresty: worker process")));
        assert!(!is_worker(OsStr::new("/usr/sbin/nginx")));
        assert!(is_master(b"nginx: master process /usr/sbin/nginx") && !is_master(b"nginx: worker process"));
    }
}
