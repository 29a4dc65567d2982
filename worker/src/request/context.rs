//! What modules remember about a request, by type.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// One value per type. A request has few of them: a list is faster than a map.
#[derive(Default)]
pub struct Context {
    own: Vec<Box<dyn Any>>,
    /// What the client's request and all its subrequests have in common.
    tree: OnceCell<Rc<Tree>>,
}

#[derive(Default)]
struct Tree(RefCell<Vec<Box<dyn Any>>>);

/// Remembered for good by a request that holds something others wait for, such as a place under `limit_conn`: its client is
/// watched for a hang-up from the beginning, and not only when the request takes long.
#[derive(Debug, Clone, Copy)]
pub struct HoldsPlace;

impl Context {
    /// The remembered `T`.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.own.iter().find_map(|value| value.downcast_ref())
    }

    /// The remembered `T`, to change it.
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.own.iter_mut().find_map(|value| value.downcast_mut())
    }

    /// Remembers `value` in place of an earlier one of its type.
    pub fn set<T: 'static>(&mut self, value: T) {
        match self.get_mut::<T>() {
            Some(old) => *old = value,
            None => self.own.push(Box::new(value)),
        }
    }

    /// Takes the remembered `T` out.
    pub fn take<T: 'static>(&mut self) -> Option<T> {
        let index = self.own.iter().position(|value| value.is::<T>())?;
        self.own.swap_remove(index).downcast().ok().map(|value| *value)
    }

    /// The remembered `T`, made on first use.
    pub fn entry<T: Default + 'static>(&mut self) -> &mut T {
        if self.get::<T>().is_none() {
            self.own.push(Box::<T>::default());
        }
        self.get_mut().expect("made above")
    }

    /// Forgets what an internal redirect forgets: modules start afresh, what is lasting stays.
    pub fn clear(&mut self) {
        self.own.clear();
    }

    /// Forgets everything without exception.
    pub fn reset(&mut self) {
        self.own.clear();
        self.tree.take();
    }

    /// Makes this the context of a subrequest of the request with the context `parent`.
    pub(crate) fn join(&mut self, parent: &Context) {
        self.tree = OnceCell::from(Rc::clone(parent.tree.get_or_init(Rc::default)));
    }

    /// The lasting `T`.
    pub fn lasting<T: Clone + 'static>(&self) -> Option<T> {
        self.tree.get()?.0.borrow().iter().find_map(|value| value.downcast_ref::<T>().cloned())
    }

    /// Remembers `value`, in place of an earlier one of its type, for the client's request and all its subrequests,
    /// whatever redirects there are (nginx keeps such things in `r->main`).
    pub fn keep_lasting<T: 'static>(&self, value: T) {
        let mut values = self.tree.get_or_init(Rc::default).0.borrow_mut();
        match values.iter_mut().find_map(|value| value.downcast_mut::<T>()) {
            Some(old) => *old = value,
            None => values.push(Box::new(value)),
        }
    }

    /// Keeps something that must be undone when the request and its subrequests have ended
    /// (a connection counted by `limit_conn`).
    pub fn keep_until_end(&self, guard: Box<dyn Any>) {
        self.tree.get_or_init(Rc::default).0.borrow_mut().push(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_per_type_and_guards_outlive_redirects() {
        let mut context = Context::default();
        context.set(1u8);
        context.set(2u8);
        context.set("text");
        let guard = Rc::new(());
        context.keep_until_end(Box::new(Rc::clone(&guard)));
        context.keep_lasting(5u16);
        assert_eq!(context.get::<u8>(), Some(&2));
        context.clear();
        assert_eq!(context.get::<u8>(), None);
        assert_eq!(context.lasting::<u16>(), Some(5));
        assert_eq!(context.lasting::<u8>(), None);
        let mut sub = Context::default();
        sub.join(&context);
        sub.keep_lasting(6u16);
        assert_eq!(context.lasting::<u16>(), Some(6), "one value for the tree");
        context.reset();
        assert_eq!(context.lasting::<u16>(), None);
        assert_eq!(Rc::strong_count(&guard), 2, "the subrequest still runs");
        drop(sub);
        assert_eq!(Rc::strong_count(&guard), 1);
    }
}
