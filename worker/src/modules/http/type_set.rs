//! Media types a filter works on: `gzip_types`, `sub_filter_types`, `charset_types` and their like.

use std::rc::Rc;

use conf::{Node, Setting};

use crate::build::Builder;
use crate::request::ResponseHead;

/// A set of media types, or all of them (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeSet(Option<Rc<[Box<[u8]>]>>);

impl TypeSet {
    /// What most filters start with.
    pub fn html() -> Self {
        Self::new(&["text/html"])
    }

    /// The set of `types`, in lower case.
    pub fn new(types: &[&str]) -> Self {
        Self(Some(types.iter().map(|name| name.as_bytes().into()).collect()))
    }

    /// Whether the response's media type is in the set. A response without one is only in the set of all types.
    pub fn contains(&self, head: &ResponseHead) -> bool {
        let Some(types) = &self.0 else { return true };
        let media = head.content_type.get(..head.content_type_len).unwrap_or(&head.content_type);
        !media.is_empty() && types.iter().any(|name| name.eq_ignore_ascii_case(media))
    }

    /// Adds the arguments of a `*_types` directive to `setting`, behind `text/html`; `*` makes it the set of all types.
    pub fn extend(setting: &mut Setting<Self>, node: &Node, warnings: &mut Vec<conf::Error>) {
        let set = setting.or_insert_with(Self::html);
        let Some(known) = &set.0 else { return };
        let mut types: Vec<Box<[u8]>> = known.to_vec();
        for word in node.args.iter() {
            if word.bytes() == b"*" {
                set.0 = None;
                return;
            }
            let name = word.bytes().to_ascii_lowercase().into_boxed_slice();
            if types.contains(&name) {
                warnings.push(node.warning(format!("duplicate MIME type \"{}\"", name.escape_ascii())));
            } else {
                types.push(name);
            }
        }
        set.0 = Some(types.into());
    }
}

impl Builder {
    /// Applies a `*_types` directive: `setting` finds the set in the struct of the current level.
    pub fn extend_types(&mut self, node: &Node, setting: fn(&mut Self) -> &mut Setting<TypeSet>) {
        let mut warnings = Vec::new();
        TypeSet::extend(setting(self), node, &mut warnings);
        warnings.into_iter().for_each(|warning| self.warn(warning));
    }
}

#[cfg(test)]
mod tests {
    use conf::{Span, Word};

    use super::*;

    fn node(text: &str) -> Node {
        let mut words = text.split(' ').map(|word| Word::new(word.as_bytes().to_vec(), false, 1));
        let name = words.next().unwrap();
        Node { name, args: words.collect(), block: None, span: Span::new("f", 1), end_line: 1 }
    }

    fn head(content_type: &str) -> ResponseHead {
        let mut head = ResponseHead::default();
        head.set_content_type(content_type.as_bytes());
        head
    }

    #[test]
    fn html_is_always_there_and_case_does_not_matter() {
        let (mut setting, mut warnings) = (Setting::default(), Vec::new());
        TypeSet::extend(&mut setting, &node("gzip_types Text/Plain text/html"), &mut warnings);
        let set = setting.as_ref().unwrap();
        assert!(set.contains(&head("text/html")) && set.contains(&head("TEXT/plain")));
        assert!(!set.contains(&head("")) && !set.contains(&head("image/png")));
        assert_eq!(warnings.len(), 1);
        let mut cut = head("text/plain; q=1");
        assert!(!set.contains(&cut));
        cut.content_type_len = "text/plain".len();
        assert!(set.contains(&cut));
    }

    #[test]
    fn a_star_is_everything() {
        let (mut setting, mut warnings) = (Setting::default(), Vec::new());
        TypeSet::extend(&mut setting, &node("gzip_types a/b *"), &mut warnings);
        TypeSet::extend(&mut setting, &node("gzip_types c/d"), &mut warnings);
        assert!(setting.as_ref().unwrap().contains(&head("")));
    }
}
