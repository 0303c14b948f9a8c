//! The types of operations' attributes.
//!
//! Invariant: attributes are equal when their texts are, so floats are compared bit by bit.

use super::named::named;
#[cfg(doc)]
use crate::Op;
use std::hash::{Hash, Hasher};

/// For an enum of functions with numbers in them: how text forms spell them, `name(number, ...)`, and what makes two equal.
macro_rules! calls {
    ($ty:ident of $number:ident { $($variant:ident = $name:literal($($field:ident),*)),* $(,)? }) => {
        impl $ty {
            /// The name in text forms, and the numbers.
            pub(crate) fn call(self) -> (&'static str, Vec<$number>) {
                match self { $($ty::$variant { $($field),* } => ($name, vec![$($field),*])),* }
            }

            /// What is called so with these numbers.
            pub(crate) fn from_call(name: &str, numbers: &[$number]) -> Option<$ty> {
                match (name, numbers) {
                    $(($name, &[$($field),*]) => Some($ty::$variant { $($field),* }),)*
                    _ => None,
                }
            }

            fn key(self) -> impl Eq + Hash {
                let (name, numbers) = self.call();
                (name, numbers.into_iter().map($number::to_bits).collect::<Vec<_>>())
            }
        }

        by_key!($ty);
    };
}

/// Equality and hashing by the method `key`.
macro_rules! by_key {
    ($ty:ident) => {
        impl PartialEq for $ty {
            fn eq(&self, other: &$ty) -> bool {
                self.key() == other.key()
            }
        }
        impl Eq for $ty {}
        impl Hash for $ty {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.key().hash(state);
            }
        }
    };
}

named! {
    /// What [`Op::Pad`] writes outside its operand.
    PadMode {
        /// The second operand, a scalar.
        Constant = "constant",
        /// The nearest element.
        Edge = "edge",
        /// Mirrored without repeating the border element.
        Reflect = "reflect",
        /// Periodic.
        Wrap = "wrap",
    }
}

named! {
    /// How [`Op::ScatterNd`] and [`Op::ScatterElements`] combine an update with what is there.
    #[allow(missing_docs, reason = "the variants are named after the functions they are")]
    ScatterOp {
        Replace = "replace",
        Add = "add",
        Mul = "mul",
        Max = "max",
        Min = "min",
    }
}

/// Spatial geometry of [`Op::Conv`] and [`Op::Pool`]; every vector has one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Kernel sizes.
    pub size: Vec<usize>,
    /// Steps between windows.
    pub strides: Vec<usize>,
    /// Steps between elements of one window.
    pub dilations: Vec<usize>,
    /// Implicit border before the first element.
    pub pad_low: Vec<usize>,
    /// Implicit border after the last element.
    pub pad_high: Vec<usize>,
}

named! {
    /// What [`Op::Require`] demands of two sizes.
    Relation {
        /// They are equal.
        Equal = "equal",
        /// The left one is not greater.
        AtMost = "at_most",
    }
}

impl Relation {
    /// Whether two numbers are so related.
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Relation::Equal => left == right,
            Relation::AtMost => left <= right,
        }
    }
}

/// Kinds of recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// Gates in ONNX order i, o, f, c.
    Lstm,
    /// Gates in ONNX order z, r, h; `linear_before_reset` as in ONNX.
    Gru {
        /// Apply the recurrent bias and matrix before the reset gate.
        linear_before_reset: bool,
    },
    /// One gate.
    Rnn,
}

/// Activation of a recurrent cell.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants are named after the functions they are")]
pub enum Activation {
    Sigmoid,
    Tanh,
    Relu,
    /// alpha * x + beta.
    Affine {
        alpha: f32,
        beta: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    ThresholdedRelu {
        alpha: f32,
    },
    /// alpha * tanh(beta * x).
    ScaledTanh {
        alpha: f32,
        beta: f32,
    },
    /// clamp(alpha * x + beta, 0, 1).
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    Elu {
        alpha: f32,
    },
    Softsign,
    Softplus,
}

calls!(Activation of f32 {
    Sigmoid = "sigmoid"(),
    Tanh = "tanh"(),
    Relu = "relu"(),
    Affine = "affine"(alpha, beta),
    LeakyRelu = "leaky_relu"(alpha),
    ThresholdedRelu = "thresholded_relu"(alpha),
    ScaledTanh = "scaled_tanh"(alpha, beta),
    HardSigmoid = "hard_sigmoid"(alpha, beta),
    Elu = "elu"(alpha),
    Softsign = "softsign"(),
    Softplus = "softplus"(),
});

/// A recurrent layer of one direction.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The cell.
    pub kind: CellKind,
    /// Run from the last step to the first; outputs stay in input order.
    pub reverse: bool,
    /// Activations f, g, h in ONNX order (LSTM three, GRU two, RNN one).
    pub activations: Vec<Activation>,
    /// Clip of the gate inputs, if any.
    pub clip: Option<f32>,
    /// LSTM only: the forget gate is 1 - input gate.
    pub input_forget: bool,
    /// LSTM only: operand 5 holds peephole weights `[3 * hidden]` in ONNX order i, o, f.
    pub peepholes: bool,
    /// The last operand holds sequence lengths, `i64[batch]`.
    pub sequence_lengths: bool,
}

impl Recurrent {
    fn key(&self) -> impl Eq + Hash {
        let Recurrent { kind, reverse, activations, clip, input_forget, peepholes, sequence_lengths } = self.clone();
        (kind, reverse, activations, clip.map(f32::to_bits), input_forget, peepholes, sequence_lengths)
    }
}

by_key!(Recurrent);

/// Kinds of [`Op::Random`].
#[derive(Clone, Copy, Debug)]
pub enum Distribution {
    /// Uniform in `[low, high)`.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
}

calls!(Distribution of f64 { Uniform = "uniform"(low, high), Normal = "normal"(mean, std) });
