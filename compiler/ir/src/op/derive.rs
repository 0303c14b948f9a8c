//! What follows from a row of the [table of operations](super::table), and the type [`Op`] itself.

/// Declares [`Op`](super::Op) with all that depends on names and attributes alone.
///
/// A row is `Variant = "name" { field: Type, ... };`, or `Variant = "name"(key: Type);`, or `Variant = "name";`. Each
/// type is an [`Attribute`](crate::attributes::Attribute).
macro_rules! operations {
    (
        by hand { $($(#[$hand_doc:meta])* $hand:ident($held:ty) called $called:expr;)* }
        rows {
            $($(#[$doc:meta])* $variant:ident = $name:literal
                $({ $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? })?
                $(( $key:ident: $only:ty ))?;)*
        }
    ) => {
        /// A core operation.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            $($(#[$hand_doc])* $hand($held),)*
            $($(#[$doc])* $variant $({ $($(#[$field_doc])* $field: $ty),* })? $(( $only ))?,)*
        }

        /// The names of all rows.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];

        impl Op {
            /// The name in text forms; elementwise operations go by their function.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Op::$hand(held) => {
                        let called: fn(&$held) -> &'static str = $called;
                        called(held)
                    })*
                    $(Op::$variant { .. } => $name,)*
                }
            }

            /// Hands out the attributes with their keys, in the order of the text form.
            pub(crate) fn attributes<'a>(
                &'a self,
                visit: &mut dyn FnMut(&'static str, &'a dyn $crate::attributes::Attribute),
            ) {
                match self {
                    $(Op::$hand(_) => {})*
                    $(Op::$variant $({ $($field),* })? $(( $key ))? => {
                        $($(visit(stringify!($field), $field);)*)?
                        $(visit(stringify!($key), $key);)?
                    })*
                }
            }

            /// [`Op::attributes`] for rewriting.
            pub(crate) fn attributes_mut<'a>(
                &'a mut self,
                visit: &mut dyn FnMut(&'a mut dyn $crate::attributes::Attribute),
            ) {
                match self {
                    $(Op::$hand(_) => {})*
                    $(Op::$variant $({ $($field),* })? $(( $key ))? => {
                        $($(visit($field);)*)?
                        $(visit($key);)?
                    })*
                }
            }

            /// Reads the attributes of the operation called `name`; `None` when no row is.
            pub(crate) fn read(
                name: &str,
                p: &mut $crate::parse::Parser<'_>,
            ) -> Result<Option<Op>, $crate::parse::ParseError> {
                Ok(Some(match name {
                    $($name => {
                        $($(let $field = p.attribute(stringify!($field))?;)*)?
                        $(let $key = p.attribute(stringify!($key))?;)?
                        Op::$variant $({ $($field),* })? $(( $key ))?
                    })*
                    _ => return Ok(None),
                }))
            }
        }
    };
}
pub(super) use operations;
