//! The uresty binary.
fn main() {}
