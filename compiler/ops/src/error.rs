//! Why a model was refused.
//!
//! Translations return an [`Error`] that says what is wrong; the driver adds the file and the node, which makes it a
//! [`TranslateError`].

use nnc_ir::infer::TypeError;
use nnc_ir::{Dim, DimTable};
use std::fmt;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The model breaks a rule of ONNX, or the options do not fit it.
    Invalid,
    /// The model is right but uses what nnc does not implement.
    Unsupported,
}

/// What is wrong with a node.
#[derive(Clone, Debug)]
pub struct Error {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// Set when the node at fault is an inner one (of a subgraph).
    pub(crate) place: Option<String>,
    /// Whether it follows from a refusal that is noted already.
    pub(crate) told: bool,
}

impl Error {
    /// The error as it leaves this crate.
    pub(crate) fn in_file(self, model: &nnc_onnx::Model) -> TranslateError {
        TranslateError { file: model.file.clone(), node: self.place, message: self.message, kind: self.kind }
    }
}

/// What a translation returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The model breaks a rule; `message` says which, and what to do when that is not obvious.
pub fn invalid(message: impl Into<String>) -> Error {
    Error { kind: ErrorKind::Invalid, message: message.into(), place: None, told: false }
}

/// The compiler lacks something; `message` says what, and how to do without.
pub fn unsupported(message: impl Into<String>) -> Error {
    Error { kind: ErrorKind::Unsupported, message: message.into(), place: None, told: false }
}

/// What reads the result of a refused node.
pub(crate) fn unknown(name: &str) -> Error {
    Error { told: true, ..unsupported(format!("the value `{name}` is not known")) }
}

/// Sizes that do not go together: the model's mistake where they are constants, else more than nnc can tell.
pub(crate) fn unfit<'d>(sizes: impl IntoIterator<Item = &'d Dim>, message: impl std::fmt::Display) -> Error {
    if sizes.into_iter().all(|size| size.as_const().is_some()) {
        invalid(message.to_string())
    } else {
        unsupported(format!("{message} for every size; fix a dimension with --dim NAME=N"))
    }
}

/// Operands that do not fit a core operation, likewise.
pub(crate) fn unfit_types(error: &TypeError, dims: &DimTable) -> Error {
    match error.named(dims) {
        (message, None) => invalid(message),
        (message, Some(name)) => unsupported(format!("{message}; fix a dimension, such as --dim {name}=N")),
    }
}

/// A model that cannot be translated: file, node, what is wrong and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub struct TranslateError {
    /// The model's file.
    pub file: String,
    /// The node at fault, e.g. `Conv "conv1"`; absent when it is the model as a whole.
    pub node: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// Whose fault it is.
    pub kind: ErrorKind,
}

impl fmt::Display for TranslateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(node) = &self.node {
            write!(f, "{node}: ")?;
        }
        f.write_str(&self.message)
    }
}
