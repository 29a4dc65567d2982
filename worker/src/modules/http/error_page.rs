//! `error_page`.

use std::rc::Rc;

use conf::{Node, Result};

use super::LOCATION;
use crate::build::Builder;
use crate::script::Template;

/// One `error_page` directive.
#[derive(Clone)]
pub struct ErrorPage {
    /// The statuses it applies to.
    pub statuses: Rc<[u16]>,
    /// `=code`: the status to answer with; `Some(0)`: `=`, whatever serving the page gives.
    pub answer: Option<u16>,
    /// Where to go.
    pub target: ErrorPageTarget,
    /// The target had no question mark as written: one that a variable brings in belongs to the path.
    pub keeps_question_mark: bool,
}

/// Where an `error_page` leads.
#[derive(Clone)]
pub enum ErrorPageTarget {
    /// `@name`.
    Named(Box<[u8]>),
    /// A URI or an absolute URL.
    Template(Template),
}

/// `error_page 404 500 … [=[code]] uri`.
pub(super) fn apply(cx: &mut Builder, node: &Node) -> Result<()> {
    let count = node.len();
    let before_last = node.arg(count - 2).filter(|text| text.starts_with('='));
    let (codes, answer) = match before_last {
        Some(_) if count < 3 => return Err(node.invalid_value(count - 2)),
        Some("=") => (count - 2, Some(0)),
        Some(text) => {
            let code = text[1..].parse().map_err(|_| node.invalid_value(count - 2))?;
            (count - 2, Some(code))
        }
        None => (count - 1, None),
    };
    let mut statuses = Vec::with_capacity(codes);
    for i in 0..codes {
        let text = node.arg(i).unwrap_or_default();
        let code: u16 = text.parse().map_err(|_| node.error(format!("invalid value \"{text}\"")))?;
        if code == 499 {
            return Err(node.error("value \"499\" must be between 300 and 599"));
        }
        if !(300..=599).contains(&code) {
            return Err(node.error(format!("value \"{text}\" must be between 300 and 599")));
        }
        statuses.push(code);
    }
    let text = node.arg(count - 1).unwrap_or_default();
    let target = match text.strip_prefix('@') {
        Some(_) => ErrorPageTarget::Named(text.as_bytes().into()),
        None => ErrorPageTarget::Template(Template::parse(cx, node, text)?),
    };
    let keeps_question_mark = !text.contains('?') && text.contains('$');
    let page = ErrorPage { statuses: statuses.into(), answer, target, keeps_question_mark };
    let pages = cx.conf(&LOCATION).set.error_pages.or_insert_with(|| Rc::from([]));
    *pages = pages.iter().cloned().chain([page]).collect();
    Ok(())
}
