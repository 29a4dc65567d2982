//! A radix tree over bytes whose entries stand for one text or for everything that begins with it.

/// See the module's documentation.
#[derive(Debug)]
pub struct Radix<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    label: Box<[u8]>,
    /// By first byte of their labels, which all differ.
    children: Vec<Node<T>>,
    exact: Option<T>,
    prefix: Option<T>,
}

impl<T> Default for Radix<T> {
    fn default() -> Self {
        Self { root: Node::new(&[]) }
    }
}

impl<T> Node<T> {
    fn new(label: &[u8]) -> Self {
        Self { label: label.into(), children: Vec::new(), exact: None, prefix: None }
    }

    fn child(&self, byte: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&byte, |child| child.label[0])
    }

    fn is_empty(&self) -> bool {
        self.exact.is_none() && self.prefix.is_none()
    }

    fn slot(&mut self, wildcard: bool) -> &mut Option<T> {
        if wildcard { &mut self.prefix } else { &mut self.exact }
    }

    /// Splits the label behind `at` bytes: what follows becomes a child.
    fn split(&mut self, at: usize) {
        let rest = Node {
            label: self.label[at..].into(),
            children: std::mem::take(&mut self.children),
            exact: self.exact.take(),
            prefix: self.prefix.take(),
        };
        self.label = self.label[..at].into();
        self.children.push(rest);
    }

    /// Joins a node that says nothing with its only child.
    fn join(&mut self) {
        if self.is_empty() && self.children.len() == 1 {
            let only = self.children.remove(0);
            self.label = [&*self.label, &*only.label].concat().into();
            self.children = only.children;
            self.exact = only.exact;
            self.prefix = only.prefix;
        }
    }
}

impl<T> Radix<T> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty() && self.root.children.is_empty()
    }

    /// The entry for `text` alone, or (`wildcard`) for everything that begins with it; made if need be.
    pub fn entry(&mut self, text: &[u8], wildcard: bool) -> &mut T
    where
        T: Default,
    {
        let mut node = &mut self.root;
        let mut rest = text;
        loop {
            if rest.is_empty() {
                return node.slot(wildcard).get_or_insert_with(T::default);
            }
            let at = match node.child(rest[0]) {
                Ok(at) => at,
                Err(at) => {
                    node.children.insert(at, Node::new(rest));
                    at
                }
            };
            node = &mut node.children[at];
            let common = node.label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < node.label.len() {
                node.split(common);
            }
            rest = &rest[common..];
        }
    }

    /// Changes the entry for `text` with `change`, and removes it when that says it is empty.
    pub fn edit(&mut self, text: &[u8], wildcard: bool, change: impl FnOnce(&mut T) -> bool) {
        let mut change = Some(change);
        edit(&mut self.root, text, wildcard, &mut change);
    }

    /// Shows the entries that fit `text` to `found`, the best first: the one for `text` alone, then prefixes from long to
    /// short; ends with the first result.
    pub fn find<'t, R>(&'t self, text: &[u8], mut found: impl FnMut(&'t T) -> Option<R>) -> Option<R> {
        let mut prefixes: smallvec::SmallVec<[&'t T; 8]> = smallvec::SmallVec::new();
        let mut node = &self.root;
        let mut rest = text;
        loop {
            prefixes.extend(&node.prefix);
            if rest.is_empty() {
                if let Some(result) = node.exact.as_ref().and_then(&mut found) {
                    return Some(result);
                }
                break;
            }
            let Ok(at) = node.child(rest[0]) else { break };
            node = &node.children[at];
            match rest.strip_prefix(&*node.label) {
                Some(left) => rest = left,
                None => break,
            }
        }
        prefixes.into_iter().rev().find_map(found)
    }
}

fn edit<T, F: FnOnce(&mut T) -> bool>(
    node: &mut Node<T>,
    rest: &[u8],
    wildcard: bool,
    change: &mut Option<F>,
) {
    if rest.is_empty() {
        let slot = node.slot(wildcard);
        if let (Some(value), Some(change)) = (slot.as_mut(), change.take())
            && change(value)
        {
            *slot = None;
        }
        return;
    }
    let Ok(at) = node.child(rest[0]) else { return };
    let child = &mut node.children[at];
    let Some(left) = rest.strip_prefix(&*child.label) else { return };
    edit(child, left, wildcard, change);
    if child.is_empty() && child.children.is_empty() {
        node.children.remove(at);
    } else {
        child.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn all<'t>(tree: &'t Radix<Vec<u32>>, text: &[u8]) -> Vec<&'t [u32]> {
        let mut found = Vec::new();
        tree.find(text, |value| {
            found.push(&value[..]);
            None::<()>
        });
        found
    }

    #[test]
    fn the_longest_comes_first() {
        let mut tree = Radix::<Vec<u32>>::default();
        tree.entry(b"/foo/", true).push(1);
        tree.entry(b"/foo/bar", false).push(2);
        tree.entry(b"/", true).push(3);
        tree.entry(b"/foo/b", true).push(4);
        tree.entry(b"", true).push(5);
        assert_eq!(all(&tree, b"/foo/bar"), [&[2][..], &[4], &[1], &[3], &[5]]);
        assert_eq!(all(&tree, b"/foo/x"), [&[1][..], &[3], &[5]]);
        assert_eq!(all(&tree, b"/fo"), [&[3][..], &[5]]);
        tree.edit(b"/foo/b", true, |_| true);
        assert_eq!(all(&tree, b"/foo/bar"), [&[2][..], &[1], &[3], &[5]]);
    }

    proptest! {
        /// The tree against a plain list.
        #[test]
        fn as_a_list(
            steps in proptest::collection::vec(("[ab/]{0,5}", any::<bool>(), any::<bool>()), 1..60),
            text in "[ab/]{0,6}",
        ) {
            let mut tree = Radix::<Vec<u32>>::default();
            let mut list: BTreeMap<(String, bool), u32> = BTreeMap::new();
            for (n, (path, wildcard, add)) in steps.into_iter().enumerate() {
                if add {
                    *tree.entry(path.as_bytes(), wildcard) = vec![n as u32];
                    list.insert((path, wildcard), n as u32);
                } else {
                    tree.edit(path.as_bytes(), wildcard, |_| true);
                    list.remove(&(path, wildcard));
                }
            }
            let mut expected: Vec<_> = list
                .iter()
                .filter(|((path, wildcard), _)| if *wildcard { text.starts_with(path.as_str()) } else { text == *path })
                .map(|((path, wildcard), n)| (*wildcard, std::cmp::Reverse(path.len()), *n))
                .collect();
            expected.sort();
            let expected: Vec<u32> = expected.into_iter().map(|(_, _, n)| n).collect();
            let found: Vec<u32> = all(&tree, text.as_bytes()).into_iter().map(|value| value[0]).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(tree.is_empty(), list.is_empty());
        }
    }
}
