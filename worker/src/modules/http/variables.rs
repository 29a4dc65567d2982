//! The core's variables.

use crate::request::Request;
use crate::variables::Variable;

pub(super) static VARIABLES: &[Variable] = &[
    Variable::new("uri", "Decoded, normalised path.", |req, _, out| {
        out.extend_from_slice(&req.uri);
        true
    }),
    Variable::new("args", "Arguments.", args).assignable(|req, value| req.args = value.to_vec()),
];

fn args(req: &mut Request, _: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&req.args);
    !req.args.is_empty()
}
