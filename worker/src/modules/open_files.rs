//! The part of `ngx_http_core_module` that is about opening files: `open_file_cache` and `disable_symlinks`.

use conf::Directive;

use crate::build::Builder;
use crate::files;
use crate::module::Module;

/// The module.
pub const MODULE: OpenFiles = OpenFiles;

/// See the module's documentation.
pub struct OpenFiles;

impl Module for OpenFiles {
    fn name(&self) -> &'static str {
        "ngx_http_core_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        files::DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&files::CONF);
    }
}
