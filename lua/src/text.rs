//! Texts of system errors as C programs print them.

use std::io;

/// `No such file or directory`: the system's text alone.
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
