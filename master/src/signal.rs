//! Signals: which there are, what they mean to a master, and how they arrive.
//!
//! All of them are blocked and read from a descriptor, so nothing ever runs inside a signal handler.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks the master to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// TERM, INT, `-s stop`: end at once.
    Stop,
    /// QUIT, `-s quit`: end when all requests are done.
    Quit,
    /// HUP, `-s reload`: read the configuration again.
    Reload,
    /// USR1, `-s reopen`: open log files again.
    Reopen,
    /// USR2: start a new binary beside this one.
    ChangeBinary,
    /// WINCH: workers quit, the master stays.
    NoAccept,
    /// CHLD: a child has ended.
    Reap,
}

/// Signals with a meaning. SIGALRM and SIGIO, which nginx's master uses for itself, are not needed.
const TABLE: [(Signal, Order); 8] = [
    (Signal::SIGHUP, Order::Reload),
    (Signal::SIGUSR1, Order::Reopen),
    (Signal::SIGWINCH, Order::NoAccept),
    (Signal::SIGTERM, Order::Stop),
    (Signal::SIGINT, Order::Stop),
    (Signal::SIGQUIT, Order::Quit),
    (Signal::SIGUSR2, Order::ChangeBinary),
    (Signal::SIGCHLD, Order::Reap),
];

impl Order {
    /// The argument of `-s`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "stop" => Some(Self::Stop),
            "quit" => Some(Self::Quit),
            "reload" => Some(Self::Reload),
            "reopen" => Some(Self::Reopen),
            _ => None,
        }
    }

    /// The signal that carries the order.
    pub fn signal(self) -> Signal {
        TABLE
            .iter()
            .find(|(_, order)| *order == self)
            .map(|(signal, _)| *signal)
            .expect("every order is in the table")
    }

    /// What nginx appends to `signal N (NAME) received from PID`.
    pub fn action(self) -> &'static str {
        match self {
            Self::Stop => ", exiting",
            Self::Quit => ", shutting down",
            Self::Reload => ", reconfiguring",
            Self::Reopen => ", reopening logs",
            Self::ChangeBinary => ", changing binary",
            Self::NoAccept => ", stop accepting connections",
            Self::Reap => "",
        }
    }
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// What it means.
    pub order: Order,
    /// The process that sent it; 0: the kernel.
    pub from: u32,
}

/// The descriptor all signals come from.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals of the table and opens the descriptor.
    pub fn open() -> nix::Result<Self> {
        let set = all();
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map(Self)
    }

    /// The next signal, if one has arrived.
    pub fn next(&self) -> Option<Received> {
        let info = self.0.read_signal().ok()??;
        let signal = Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?;
        let order = TABLE.iter().find(|(known, _)| *known == signal).map(|(_, order)| *order)?;
        Some(Received { signal, order, from: info.ssi_pid })
    }

    /// For polling.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signals of the table.
pub fn all() -> SigSet {
    TABLE.iter().map(|(signal, _)| *signal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_signals_belong_together() {
        for (name, signal) in [
            ("stop", Signal::SIGTERM),
            ("quit", Signal::SIGQUIT),
            ("reload", Signal::SIGHUP),
            ("reopen", Signal::SIGUSR1),
        ] {
            assert_eq!(Order::parse(name).unwrap().signal(), signal);
        }
        assert_eq!(Order::parse("restart"), None);
        assert_eq!(Order::ChangeBinary.signal(), Signal::SIGUSR2);
        assert_eq!(Order::NoAccept.signal(), Signal::SIGWINCH);
    }

    #[test]
    fn signals_arrive_with_their_sender() {
        let signals = Signals::open().unwrap();
        assert_eq!(signals.next(), None);
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        let received = signals.next().unwrap();
        assert_eq!((received.signal, received.order), (Signal::SIGUSR1, Order::Reopen));
        assert_eq!(received.from, std::process::id());
        assert_eq!(signals.next(), None);
    }
}
