//! `satisfy`: whether all access checks must pass or one is enough.

/// `satisfy all | any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Satisfy {
    /// Every check must grant access.
    All,
    /// One is enough.
    Any,
}
