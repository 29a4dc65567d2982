//! Taking over descriptors that came through exec by number.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Numbers taken over already.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes over descriptor `fd`, which the process was started with, and keeps it from further programs. A number can be
/// taken over once.
///
/// # Errors
/// `EBADF` when there is no such descriptor, `AlreadyExists` when it was taken over before.
pub fn inherit(fd: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: F_SETFD only looks the number up.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if !taken.insert(fd) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("descriptor {fd} was taken over before"),
        ));
    }
    // SAFETY: the descriptor is open, and the set above makes this its only owner: numbers passed here come from the
    // process's start and belong to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Owns a descriptor that the kernel just made for this process (SCM_RIGHTS).
pub(crate) fn inherit_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the number comes straight from recvmsg, which gave it to this call and nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
