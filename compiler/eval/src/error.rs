//! What an evaluation can fail with.

use nnc_ir::Symbol;
use nnc_ir::op::Relation;
use std::fmt;

/// A failed evaluation: which operation, where it came from, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// The operation, e.g. `gather`; `graph` when the graph's own inputs are at fault.
    pub op: &'static str,
    /// The ONNX node it came from, e.g. `Gather "embedding"`; empty when not known.
    pub origin: String,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin.as_str() {
            "" => write!(f, "{}: {}", self.op, self.cause),
            origin => write!(f, "{} ({origin}): {}", self.op, self.cause),
        }
    }
}

impl std::error::Error for EvalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Inner(inner) => Some(inner),
            _ => None,
        }
    }
}

/// Why an operation could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Wrong number, types or shapes of operands, or attributes that do not fit them.
    #[error("{0}")]
    Operands(String),
    /// An index tensor, or a slice, points outside what it indexes.
    #[error("index {index} is out of range for axis {axis} of size {size}")]
    IndexOutOfRange {
        /// The index.
        index: i64,
        /// The axis indexed.
        axis: usize,
        /// Its size.
        size: usize,
    },
    /// A dimension mentions a symbol without a value.
    #[error("dimension `{dim}` mentions `{symbol}`, which has no value")]
    UnboundSymbol {
        /// The dimension.
        dim: String,
        /// The symbol.
        symbol: Symbol,
    },
    /// A dimension divides by zero or overflows.
    #[error("dimension `{dim}` divides by zero or overflows")]
    Undefined {
        /// The dimension.
        dim: String,
    },
    /// A dimension that must be a size has a negative value.
    #[error("dimension `{dim}` is {value}; a size may not be negative")]
    NegativeSize {
        /// The dimension.
        dim: String,
        /// Its value.
        value: i64,
    },
    /// A tensor that the interpreter refuses to allocate.
    #[error("a tensor of shape {shape:?} is too large")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A symbol would get a value outside its bounds.
    #[error("`{symbol}` would be {value}, outside its bounds {min}..={max}")]
    OutOfBounds {
        /// Name of the symbol.
        symbol: String,
        /// The value.
        value: i64,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// An `Op::Require` does not hold.
    #[error("{what}: {left} is to be {} {right}", relation.name())]
    Required {
        /// What the left size is of.
        what: String,
        /// What it must be to the other.
        relation: Relation,
        /// One size.
        left: i64,
        /// The other.
        right: i64,
    },
    /// A tensor does not have the type its value is declared to have.
    #[error("`{value}` should be {declared}, but is {found}")]
    WrongType {
        /// The value's name or id.
        value: String,
        /// Its declared type.
        declared: String,
        /// The type found.
        found: String,
    },
    /// Subgraphs within subgraphs beyond the limit.
    #[error("subgraphs are nested too deeply")]
    TooDeep,
    /// The graph breaks an invariant of graphs.
    #[error("malformed graph: {0}")]
    Malformed(&'static str),
    /// A node of a subgraph failed.
    #[error("{0}")]
    Inner(Box<EvalError>),
}

/// Result of evaluating one operation; the caller knows which.
pub(super) type Eval<T> = Result<T, Cause>;

/// Operands or attributes that do not fit.
pub(super) fn unfit(message: impl Into<String>) -> Cause {
    Cause::Operands(message.into())
}
