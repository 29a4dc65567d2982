//! `disable_symlinks`: which symbolic links may stand in a file's name.

use conf::{Node, Result};

use crate::build::Builder;
use crate::request::Request;
use crate::script::Template;

/// What is done about links on the way to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// They are followed.
    Follow,
    /// Behind the first `from` bytes of the name there must be none.
    Refuse {
        /// Where checking begins.
        from: usize,
    },
    /// Behind the first `from` bytes they must belong to the owner of what they lead to.
    SameOwner {
        /// Where checking begins.
        from: usize,
    },
}

/// `disable_symlinks off | on | if_not_owner [from=part]`.
#[derive(Clone, Default)]
pub struct SymlinkRule {
    mode: Mode,
    from: Option<Template>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Off,
    On,
    IfNotOwner,
}

impl SymlinkRule {
    pub(super) fn read(cx: &mut Builder, node: &Node) -> Result<Self> {
        let (mut mode, mut from) = (None, None);
        for (at, text) in node.str_args().enumerate() {
            match text {
                "off" => mode = Some(Mode::Off),
                "on" => mode = Some(Mode::On),
                "if_not_owner" => mode = Some(Mode::IfNotOwner),
                _ => match text.strip_prefix("from=") {
                    Some(text) => from = Some(Template::parse(cx, node, text)?),
                    None => return Err(node.invalid_parameter(at)),
                },
            }
        }
        let Some(mode) = mode else {
            let text = "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter";
            return Err(node.error(text));
        };
        if node.len() == 2 {
            if from.is_none() {
                let text = format!("duplicate parameters \"{} {}\"", node.first(), node.second());
                return Err(node.error(text));
            }
            if mode == Mode::Off {
                return Err(node.error("\"from=\" cannot be used with \"off\" parameter"));
            }
        }
        Ok(Self { mode, from })
    }

    /// What the rule says about `path`.
    pub(super) fn for_path(&self, req: &mut Request, path: &[u8]) -> Symlinks {
        let with = |from: usize| match self.mode {
            Mode::Off => Symlinks::Follow,
            Mode::On => Symlinks::Refuse { from },
            Mode::IfNotOwner => Symlinks::SameOwner { from },
        };
        let Some(template) = self.from.as_ref().filter(|_| self.mode != Mode::Off) else { return with(0) };
        let from = template.eval(req);
        match path.strip_prefix(&from[..]) {
            Some(_) if from.is_empty() => with(0),
            Some([]) => Symlinks::Follow,
            Some([b'/', ..]) => with(from.len()),
            Some(_) if from.ends_with(b"/") => with(from.len() - 1),
            Some(_) | None => with(0),
        }
    }
}
