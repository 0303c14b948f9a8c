//! Why a file is not taken.

use std::borrow::Cow;

/// Why a file is not an artifact, or not one that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not an artifact; the text says what is wrong.
    NotAModel(Cow<'static, str>),
    /// An artifact for a processor that nnc does not know.
    WrongArch(String),
}

/// Not an artifact, for a reason.
pub(super) fn not_a_model(why: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::NotAModel(why.into())
}

/// A table that does not lie within the file.
pub(super) fn damaged(_: object::Error) -> Refusal {
    not_a_model("the ELF file is truncated or damaged")
}
