//! From the URI to a file name: `root` and `alias`.

use std::rc::Rc;

use super::Request;
use crate::modules::http::{self, Root};

impl Request {
    /// The file `uri` stands for under the location's `root` or `alias`.
    pub fn map_uri_to_path(&mut self) -> Vec<u8> {
        let uri = std::mem::take(&mut self.uri);
        let path = self.map_to_path(&uri);
        self.uri = uri;
        path
    }

    /// The file another path of this location stands for (`try_files`).
    pub fn map_to_path(&mut self, uri: &[u8]) -> Vec<u8> {
        let location = Rc::clone(&self.location);
        let conf = location.confs.get(&http::LOCATION);
        let mut path = Vec::with_capacity(conf.prefix.len() + uri.len() + 32);
        match &*conf.root {
            Root::Root(root) => {
                append_base(self, conf, root, &mut path);
                path.extend_from_slice(uri);
            }
            // a pattern's alias names the whole file; a prefix's replaces the prefix
            Root::AliasWhole(alias) => {
                append_base(self, conf, alias, &mut path);
                if self.alias_takes_uri {
                    path.extend_from_slice(uri);
                }
            }
            Root::Alias(alias, prefix) => {
                append_base(self, conf, alias, &mut path);
                path.extend_from_slice(uri.get(*prefix..).unwrap_or_default());
            }
        }
        path
    }

    /// `$document_root`: the directory alone.
    pub fn document_root(&mut self) -> Vec<u8> {
        let location = Rc::clone(&self.location);
        let conf = location.confs.get(&http::LOCATION);
        let mut path = Vec::new();
        let (Root::Root(template) | Root::AliasWhole(template) | Root::Alias(template, _)) = &*conf.root;
        append_base(self, conf, template, &mut path);
        path
    }
}

fn append_base(
    req: &mut Request,
    conf: &http::LocationConf,
    template: &crate::script::Template,
    path: &mut Vec<u8>,
) {
    let start = path.len();
    template.append(req, path);
    if path.get(start) != Some(&b'/') {
        path.splice(start..start, conf.prefix.iter().copied());
    }
}
