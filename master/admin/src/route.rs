//! Which resource a path means.

use std::rc::Rc;

use control::Plane;
use schemas::Kind;

use crate::reply::{Reply, Result};
use crate::request::Request;
use crate::resource::{self, Place};
use crate::{describe, uresty};

/// Answers a request that may be made.
pub(crate) async fn answer(plane: &Rc<Plane>, request: Request) -> Result {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match &path[..] {
        ["apisix", "admin", rest @ ..] => resource_of(plane, &request, rest).await,
        ["uresty", "admin", rest @ ..] => uresty::answer(plane, &request, rest).await,
        _ => Err(Reply::json(404, serde_json::json!({ "error_msg": "404 Route Not Found" }))),
    }
}

async fn resource_of(plane: &Rc<Plane>, request: &Request, path: &[&str]) -> Result {
    match path {
        ["schema", rest @ ..] => return describe::schema(plane, request, rest),
        ["plugins", rest @ ..] => return describe::plugins(plane, request, rest),
        ["stream_routes", ..] => {
            return Err(Reply::error(400, "stream mode is disabled, can not add stream routes"));
        }
        _ => {}
    }
    let (name, rest) = path.split_first().ok_or_else(|| Reply::error(404, "not found"))?;
    let unsupported = || Reply::error(404, format!("Unsupported resource type: {name}"));
    let kind = Kind::of_directory(name).ok_or_else(unsupported)?;
    let place = match (kind, rest) {
        (Kind::Consumer, [consumer, "credentials", rest @ ..]) => Place {
            kind: Kind::Credential,
            parent: Some((*consumer).to_owned()),
            id: rest.first().map(|id| (*id).to_owned()),
            sub_path: Vec::new(),
        },
        (Kind::Secret, rest) => Place {
            kind,
            parent: rest.first().map(|manager| (*manager).to_owned()),
            id: rest.get(1).map(|id| (*id).to_owned()),
            sub_path: rest.iter().skip(2).map(|segment| (*segment).to_owned()).collect(),
        },
        (_, rest) => Place {
            kind,
            parent: None,
            id: rest.first().map(|id| (*id).to_owned()),
            sub_path: rest.iter().skip(1).map(|segment| (*segment).to_owned()).collect(),
        },
    };
    resource::answer(plane, request, &place).await
}
