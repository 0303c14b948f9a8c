//! Why a model was refused.
//!
//! Translations return an [`Error`] that says what is wrong; the driver adds the file and the node, which makes it a
//! [`TranslateError`].

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
}

/// What a translation returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The model breaks a rule; `message` says which, and what to do when that is not obvious.
pub fn invalid(message: impl Into<String>) -> Error {
    Error { kind: ErrorKind::Invalid, message: message.into(), place: None }
}

/// The compiler lacks something; `message` says what, and how to do without.
pub fn unsupported(message: impl Into<String>) -> Error {
    Error { kind: ErrorKind::Unsupported, message: message.into(), place: None }
}

impl From<nnc_ir::infer::TypeError> for Error {
    fn from(error: nnc_ir::infer::TypeError) -> Error {
        invalid(error.to_string())
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
