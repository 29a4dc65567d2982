//! Shared libraries whose functions Lua code calls by name.

use std::ffi::CStr;

/// Loads the library `name` so that its functions are found like those of the program; it stays for ever. `false`: it is not there.
pub(crate) fn open_for_all(name: &CStr) -> bool {
    // SAFETY: a C string; the constructors of the libraries asked for here (OpenSSL's) may run at any time.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !library.is_null()
}
