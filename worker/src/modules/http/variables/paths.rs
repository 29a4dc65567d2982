//! The URI as it is now, and the files it stands for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::found;
use crate::log::Level;
use crate::request::Request;
use crate::variables::Variable;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("uri", "Decoded, normalised path; changes with rewrites and redirects.", uri),
    Variable::new("document_uri", "The same as uri.", uri),
    Variable::new("document_root", "The directory of root or alias.", |req, _, out| {
        found(out, &req.document_root())
    }),
    Variable::new("realpath_root", "The same with all links resolved.", |req, _, out| {
        let root = req.document_root();
        match std::fs::canonicalize(Path::new(OsStr::from_bytes(&root))) {
            Ok(real) => found(out, real.as_os_str().as_bytes()),
            Err(error) => {
                let (root, error) = (root.escape_ascii(), conf::error::errno(&error));
                req.log(Level::Crit, format_args!("realpath() \"{root}\" failed ({error})"));
                false
            }
        }
    }),
    Variable::new("request_filename", "The file of the URI.", |req, _, out| {
        found(out, &req.map_uri_to_path())
    }),
];

fn uri(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    // a request line that could not be read has none; a URI that could not be is empty
    found(out, &req.uri) && !(req.uri.is_empty() && req.head.target().is_empty())
}
