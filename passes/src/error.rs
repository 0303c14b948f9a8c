//! Why a graph does not become a program.

/// An operation, or a size, that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct LowerError {
    /// The node it came from.
    pub origin: String,
    /// What is wrong and what to do.
    pub problem: String,
}
