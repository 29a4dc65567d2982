//! `ngx_http_core_module`: the blocks, what listens, how locations match, and the settings everything else relies on.

mod blocks;
pub mod directives;
mod error_page;
mod listen;
mod location_conf;
mod log;
mod root;
mod server_conf;
mod tokens;
mod type_set;
mod types;
mod variables;

use conf::{Directive, Result};

pub use error_page::{ErrorPage, ErrorPageTarget};
pub use listen::{HttpConf, listening};
pub use location_conf::{IfModifiedSince, InFileOnly, LingeringClose, LocationConf, LocationSettings};
pub use root::Root;
pub use server_conf::{ServerConf, ServerSettings};
pub use tokens::{ServerTokens, VERSION};
pub use type_set::TypeSet;
pub use types::Types;

use crate::build::{Builder, Slot};
use crate::module::Module;
use crate::variables::Variable;

/// The module.
pub const MODULE: HttpCore = HttpCore;

/// Settings of locations (and their defaults in servers and `http`).
pub static LOCATION: Slot<LocationConf> = Slot::new();
/// Settings of servers.
pub static SERVER: Slot<ServerConf> = Slot::new();
/// Settings of the `http` block as a whole.
pub static HTTP: Slot<HttpConf> = Slot::new();

/// See the module's documentation.
pub struct HttpCore;

impl Module for HttpCore {
    fn name(&self) -> &'static str {
        "ngx_http_core_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        directives::DIRECTIVES
    }

    fn variables(&self) -> &'static [Variable] {
        variables::VARIABLES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&HTTP);
        cx.register(&SERVER);
        cx.register(&LOCATION);
    }

    fn declare(&self, cx: &mut Builder) -> Result<()> {
        cx.zones.check()
    }
}
