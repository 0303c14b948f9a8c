//! Enums whose variants have names in the text form.
//!
//! Invariant: within one enum names are distinct.

/// Declares an enum with, for each variant, the name that text forms give it.
macro_rules! named {
    ($(#[$doc:meta])* $ty:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $ty {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $ty {
            /// Every variant.
            pub const ALL: &[$ty] = &[$($ty::$variant),*];

            /// The name in text forms.
            pub const fn name(self) -> &'static str {
                match self { $($ty::$variant => $name),* }
            }

            /// The variant called `name`.
            pub fn from_name(name: &str) -> Option<$ty> {
                match name { $($name => Some($ty::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use named;
