//! Configuration structs with defaults and inheritance, declared in one place.

/// Declares a configuration struct of plain values and the struct of [`conf::Setting`]s that directives fill.
///
/// `settings! { pub struct Foo, FooSettings { /// doc
///   timeout: u64 = 60_000 } }` makes `Foo { pub timeout: u64, pub set: FooSettings }` with a `merge_settings` that
/// inherits what is unset and fills in the default: what nginx's `ngx_conf_merge_*_value` do.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident, $settings:ident {
        $($(#[$field_meta:meta])* $field:ident : $type:ty = $default:expr),* $(,)?
    }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// What directives of this very level said.
            pub set: $settings,
        }

        /// Values as directives set them, before merging.
        #[derive(Default, Clone)]
        pub struct $settings {
            $($(#[$field_meta])* pub $field: ::conf::Setting<$type>,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* set: $settings::default() }
            }
        }

        impl $name {
            /// Takes what is unset from `outer`, fills in defaults and makes the values plain.
            pub fn merge_settings(&mut self, outer: &Self) {
                $(
                    self.set.$field.merge_with(&outer.set.$field, || $default);
                    self.$field = self.set.$field.get().clone();
                )*
            }
        }
    };
}
