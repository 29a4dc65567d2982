//! Which server and which location a request belongs to.

mod location;
mod server_name;

use std::rc::Rc;

use smallvec::SmallVec;

pub use location::{LocationTree, Matched};
pub use server_name::{NameTable, ServerName};

use crate::config::Location;
use crate::regex::CannotRun;
use crate::request::Request;

/// What [`find`] found.
pub enum Found {
    /// A location.
    Location(Rc<Location>),
    /// None: the server's own level serves.
    Server,
    /// The URI lacks the slash of a location that proxies: redirect there.
    AddSlash(Vec<u8>),
    /// A pattern failed to run.
    Failed,
}

/// Finds the location for `req.uri` in its server: longest prefix, then patterns in order, as nginx does. Patterns of a
/// nested block are tried before those around it.
pub fn find(req: &mut Request) -> Found {
    let root = Rc::clone(&req.server.root);
    let mut best: Option<Rc<Location>> = None;
    let mut current = root;
    // walk down: a matched prefix location may hold nested ones
    let mut levels: SmallVec<[Rc<Location>; 4]> = SmallVec::new();
    loop {
        let matched = current.tree.find_static(&req.uri);
        levels.push(Rc::clone(&current));
        match matched {
            Matched::Exact(location) => return Found::Location(location),
            Matched::AddSlash(location) => {
                return Found::AddSlash(location.name().to_vec());
            }
            Matched::Prefix(location) => {
                best = Some(Rc::clone(&location));
                if location.tree.is_empty() {
                    break;
                }
                current = location;
            }
            Matched::None => break,
        }
    }
    if best.as_ref().is_some_and(|location| location.is_noregex()) {
        return best.map_or(Found::Server, Found::Location);
    }
    if let Some(last) = &best
        && !levels.iter().any(|level| Rc::ptr_eq(level, last))
    {
        levels.push(Rc::clone(last));
    }
    for level in levels.iter().rev() {
        match find_pattern(req, level) {
            Ok(Some(location)) => return Found::Location(location),
            Ok(None) => {}
            Err(CannotRun) => return Found::Failed,
        }
        if level.is_noregex() {
            break;
        }
    }
    best.map_or(Found::Server, Found::Location)
}

/// Tries the patterns of one level; inside a matched one, its nested locations.
fn find_pattern(req: &mut Request, level: &Rc<Location>) -> Result<Option<Rc<Location>>, CannotRun> {
    for (regex, location) in level.tree.patterns() {
        let uri = std::mem::take(&mut req.uri);
        let matched = regex.exec(req, &uri);
        req.uri = uri;
        if matched? {
            let inner = find_inside(req, location)?;
            return Ok(Some(inner.unwrap_or_else(|| Rc::clone(location))));
        }
    }
    Ok(None)
}

fn find_inside(req: &mut Request, location: &Rc<Location>) -> Result<Option<Rc<Location>>, CannotRun> {
    if location.tree.is_empty() {
        return Ok(None);
    }
    let best = match location.tree.find_static(&req.uri) {
        Matched::Exact(inner) => return Ok(Some(inner)),
        Matched::Prefix(inner) => Some(inner),
        Matched::AddSlash(_) | Matched::None => None,
    };
    if best.as_ref().is_some_and(|inner| inner.is_noregex()) {
        return Ok(best);
    }
    if let Some(inner) = &best
        && let Some(found) = find_inside(req, inner)?
    {
        return Ok(Some(found));
    }
    Ok(find_pattern(req, location)?.or(best))
}
