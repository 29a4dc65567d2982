//! Random bytes as a configuration: the parser never panics, and what it read prints and reads back the same.
#![no_main]

use std::io;
use std::path::{Path, PathBuf};

struct One<'a>(&'a [u8]);

impl conf::Files for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/x.conf") { Ok(self.0.to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn glob(&self, _pattern: &str) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let options = conf::Options {
        prefix: Path::new("/"),
        conf_prefix: Path::new("/"),
        globals: None,
        raw_block: &|name| name.ends_with("_by_lua_block"),
    };
    let Ok((nodes, _)) = conf::parse(Path::new("/x.conf"), &One(data), &options) else { return };
    let printed = conf::print::to_bytes(&nodes);
    let (again, _) = conf::parse(Path::new("/x.conf"), &One(&printed), &options).expect("what was printed can be read");
    assert_eq!(nodes, again);
});
