//! One configurable value with nginx's two rules: it may be given once per block, and a block that does not
//! give it takes it from the block around.

use crate::error::{Error, Result};

/// A value that is unset until a directive gives it or a merge fills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T>(Option<T>);

impl<T> Default for Setting<T> {
    fn default() -> Setting<T> {
        Setting::unset()
    }
}

impl<T> Setting<T> {
    /// A setting without a value.
    pub const fn unset() -> Setting<T> {
        Setting(None)
    }

    /// A setting that has a value already.
    pub const fn of(value: T) -> Setting<T> {
        Setting(Some(value))
    }

    /// Gives the value.
    ///
    /// # Errors
    /// `is duplicate` when the value has been given before in this block.
    pub fn set(&mut self, value: T) -> Result<()> {
        self.check_unset()?;
        self.0 = Some(value);
        Ok(())
    }

    /// Gives the value, whatever was there before.
    pub fn replace(&mut self, value: T) -> Option<T> {
        self.0.replace(value)
    }

    /// For directives that read their arguments after the check, as nginx does.
    ///
    /// # Errors
    /// `is duplicate` when the value has been given before in this block.
    pub fn check_unset(&self) -> Result<()> {
        if self.is_set() { Err(Error::predicate("is duplicate")) } else { Ok(()) }
    }

    /// Whether a value has been given or merged.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// The value, if set.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// The value for changing in place, if set.
    pub fn as_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// The value for collecting directives (`add_header`): made with `empty` when still unset.
    pub fn or_insert_with(&mut self, empty: impl FnOnce() -> T) -> &mut T {
        self.0.get_or_insert_with(empty)
    }

    /// The value after merging.
    ///
    /// # Panics
    /// When the setting was neither given nor merged, which is a mistake in this program and not in the
    /// configuration.
    pub fn get(&self) -> &T {
        self.0.as_ref().expect("setting read before it was merged")
    }

    /// Takes the value of the block around, or `default` when that has none either.
    pub fn merge(&mut self, outer: &Setting<T>, default: T)
    where
        T: Clone,
    {
        self.merge_with(outer, || default);
    }

    /// Like [`Setting::merge`], with a default that is made only when needed.
    pub fn merge_with(&mut self, outer: &Setting<T>, default: impl FnOnce() -> T)
    where
        T: Clone,
    {
        if self.0.is_none() {
            self.0 = Some(outer.0.clone().unwrap_or_else(default));
        }
    }

    /// Takes the value of the block around and stays unset when that has none.
    pub fn inherit(&mut self, outer: &Setting<T>)
    where
        T: Clone,
    {
        if self.0.is_none() {
            self.0.clone_from(&outer.0);
        }
    }

    /// Fills in `default` when unset; for values of the outermost block.
    pub fn init(&mut self, default: T) {
        self.0.get_or_insert(default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_set_is_duplicate() {
        let mut setting = Setting::default();
        setting.set(1).unwrap();
        let error = setting.set(2).unwrap_err().in_directive("root");
        assert_eq!(error.to_string(), "\"root\" directive is duplicate");
        assert_eq!(setting.get(), &1);
    }

    #[test]
    fn merge_takes_own_then_outer_then_default() {
        let cases: [(Setting<i32>, Setting<i32>, i32); 3] = [
            (Setting::of(1), Setting::of(2), 1),
            (Setting::unset(), Setting::of(2), 2),
            (Setting::unset(), Setting::unset(), 3),
        ];
        for (mut own, outer, expected) in cases {
            own.merge(&outer, 3);
            assert_eq!(own.get(), &expected);
        }
    }

    #[test]
    fn inherit_keeps_unset() {
        let mut setting: Setting<i32> = Setting::unset();
        setting.inherit(&Setting::unset());
        assert!(!setting.is_set());
        setting.init(7);
        assert_eq!(setting.as_ref(), Some(&7));
    }

    #[test]
    #[should_panic(expected = "before it was merged")]
    fn get_before_merge_panics() {
        Setting::<i32>::unset().get();
    }
}
