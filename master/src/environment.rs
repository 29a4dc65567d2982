//! The environment of workers and new binaries: `env`.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::spawn::c_string;

/// A variable to keep (`None`) or to set.
pub type Variable = (String, Option<String>);

/// What a child gets of `own`: the named variables, TZ, and those the dynamic loader needs to start it.
pub fn of_child(named: &[Variable], own: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<CString> {
    let own: Vec<(OsString, OsString)> = own.into_iter().collect();
    let inherited = |name: &str| {
        let found = own.iter().find(|(own, _)| own.as_bytes() == name.as_bytes());
        found.map(|(name, value)| pair(name, value))
    };
    let always = ["TZ"].into_iter().chain(LOADER);
    let always = always.filter(|name| !named.iter().any(|(named, _)| named == name));
    let mut variables: Vec<CString> = always.filter_map(inherited).collect();
    variables.extend(named.iter().filter_map(|(name, value)| match value {
        Some(value) => Some(pair(name.as_ref(), value.as_ref())),
        None => inherited(name),
    }));
    variables
}

/// `name=value`.
pub fn pair(name: &OsStr, value: &OsStr) -> CString {
    let mut text = name.to_owned();
    text.push("=");
    text.push(value);
    c_string(text)
}

/// nginx forks its workers, so its own libraries are simply there; a program that is started needs to find them again.
const LOADER: [&str; 2] = ["LD_LIBRARY_PATH", "LD_PRELOAD"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_passes() {
        let own = [("TZ", "UTC"), ("PATH", "/bin"), ("HOME", "/root"), ("LD_PRELOAD", "x.so"), ("A", "1")];
        let own = || own.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let named = |list: &[(&str, Option<&str>)]| -> Vec<Variable> {
            list.iter().map(|(name, value)| (name.to_string(), value.map(str::to_owned))).collect()
        };
        let text = |list: &[(&str, Option<&str>)]| -> Vec<String> {
            of_child(&named(list), own()).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(text(&[]), ["TZ=UTC", "LD_PRELOAD=x.so"]);
        assert_eq!(text(&[("PATH", None), ("NONE", None)]), ["TZ=UTC", "LD_PRELOAD=x.so", "PATH=/bin"]);
        assert_eq!(text(&[("TZ", Some("CET")), ("A", Some("b=c"))]), ["LD_PRELOAD=x.so", "TZ=CET", "A=b=c"]);
    }
}
