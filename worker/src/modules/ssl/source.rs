//! Where a certificate or key is: a file, the directive itself (`data:`), or either by way of variables.

use std::path::PathBuf;
use std::rc::Rc;

use conf::{Error, Node, Result, Span};

use crate::build::Builder;
use crate::request::Request;
use crate::script::Template;

/// A certificate or key as the configuration names it.
#[derive(Debug, Clone)]
pub struct Source {
    /// As written.
    pub text: Rc<str>,
    /// Where it is written.
    pub span: Span,
    template: Option<Rc<Template>>,
    conf_prefix: Rc<PathBuf>,
}

/// In front of the content itself.
const DATA: &str = "data:";
/// Keys held by engines and providers of OpenSSL.
const FOREIGN: [&str; 2] = ["engine:", "store:"];

impl Source {
    /// Reads the first argument of a directive.
    ///
    /// # Errors
    /// It names a key that is not a file, or a variable's name is broken.
    pub fn parse(cx: &mut Builder, node: &Node) -> Result<Self> {
        let text = node.first();
        if let Some(foreign) = FOREIGN.iter().find(|foreign| text.starts_with(**foreign)) {
            let text = format!("\"{foreign}\" in \"{}\" is not supported: keys are files", node.name.text());
            return Err(Error::unsupported(&node.span, text));
        }
        let template =
            if text.contains('$') { Some(Rc::new(Template::parse(cx, node, text)?)) } else { None };
        Ok(Self {
            text: text.into(),
            span: node.span.clone(),
            template,
            conf_prefix: Rc::new(cx.paths.conf_prefix.clone()),
        })
    }

    /// Whether it is only known for one connection.
    pub fn is_variable(&self) -> bool {
        self.template.is_some()
    }

    /// The name, or `data:` with the content, for one connection.
    pub fn eval(&self, req: &mut Request) -> String {
        match &self.template {
            Some(template) => String::from_utf8_lossy(&template.eval(req)).into_owned(),
            None => self.text.as_ref().into(),
        }
    }

    /// Reads what `name` stands for; blocks.
    ///
    /// # Errors
    /// The file cannot be read; the text is nginx's.
    pub fn read(name: &str, conf_prefix: &std::path::Path) -> std::result::Result<Vec<u8>, String> {
        if let Some(data) = name.strip_prefix(DATA) {
            return Ok(data.as_bytes().to_vec());
        }
        if name.is_empty() {
            return Err("no file is named".into());
        }
        let path = conf_prefix.join(name);
        std::fs::read(&path).map_err(|error| {
            let path = path.display();
            format!("\"{path}\": open() failed ({})", conf::error::errno(&error))
        })
    }

    /// The directory relative names are relative to.
    pub fn conf_prefix(&self) -> &std::path::Path {
        &self.conf_prefix
    }
}
