//! What modules remember about a request, by type.

use std::any::Any;

/// One value per type. A request has few of them: a list is faster than a map.
#[derive(Default)]
pub struct Context(Vec<Box<dyn Any>>);

impl Context {
    /// The remembered `T`.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.iter().find_map(|value| value.downcast_ref())
    }

    /// The remembered `T`, to change it.
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().find_map(|value| value.downcast_mut())
    }

    /// Remembers `value` in place of an earlier one of its type.
    pub fn set<T: 'static>(&mut self, value: T) {
        match self.get_mut::<T>() {
            Some(old) => *old = value,
            None => self.0.push(Box::new(value)),
        }
    }

    /// Takes the remembered `T` out.
    pub fn take<T: 'static>(&mut self) -> Option<T> {
        let index = self.0.iter().position(|value| value.is::<T>())?;
        self.0.swap_remove(index).downcast().ok().map(|value| *value)
    }

    /// The remembered `T`, made on first use.
    pub fn entry<T: Default + 'static>(&mut self) -> &mut T {
        if self.get::<T>().is_none() {
            self.0.push(Box::<T>::default());
        }
        self.get_mut().expect("made above")
    }

    /// Forgets everything: an internal redirect starts modules afresh.
    pub fn clear(&mut self) {
        self.0.retain(|value| value.is::<Lasting>());
    }

    /// Forgets everything without exception.
    pub fn reset(&mut self) {
        self.0.clear();
    }

    /// Remembers something an internal redirect does not forget: what must be undone when the request ends
    /// (a connection counted by `limit_conn`). Dropped with the request.
    pub fn keep_until_end(&mut self, guard: Box<dyn Any>) {
        self.entry::<Lasting>().0.push(guard);
    }
}

#[derive(Default)]
struct Lasting(Vec<Box<dyn Any>>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_per_type_and_guards_outlive_redirects() {
        let mut context = Context::default();
        context.set(1u8);
        context.set(2u8);
        context.set("text");
        context.keep_until_end(Box::new(7u64));
        assert_eq!(context.get::<u8>(), Some(&2));
        context.clear();
        assert_eq!(context.get::<u8>(), None);
        assert_eq!(context.get::<Lasting>().unwrap().0.len(), 1);
        assert_eq!(context.take::<Lasting>().unwrap().0.len(), 1);
    }
}
