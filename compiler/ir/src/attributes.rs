//! The text of operations' attributes, both ways, derived from one table of their fields.
//!
//! `name operand, operand key=value key=value : result types`. Constants and elementwise functions are written by
//! [`crate::print`] and [`crate::parse`] themselves; every other operation is a row of [`operations!`] below.

use crate::graph::Graph;
use crate::op::{Activation, CellKind, Distribution, Op, PadMode, Recurrent, ReduceOp, Relation, ScatterOp, Window};
use crate::parse::{ParseError, Parser};
use crate::print::Printer;
use crate::{DType, Dim, Symbol};

/// A value with a text form.
pub(crate) trait Attribute: Sized {
    fn write(&self, p: &mut Printer<'_>);
    fn read(p: &mut Parser<'_>) -> Result<Self, ParseError>;
}

macro_rules! operations {
    ($($name:literal => $variant:ident $({ $($field:ident),* })? $(( $($position:ident),* ))?;)*) => {
        /// Every operation that is a row.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];

        /// Writes ` key=value` for each attribute.
        pub(crate) fn write(op: &Op, p: &mut Printer<'_>) {
            match op {
                Op::Constant(_) | Op::Unary(_) | Op::Binary(_) => {}
                $(Op::$variant $({ $($field),* })? $(( $($position),* ))? => {
                    $($(p.attribute(stringify!($field), $field);)*)?
                    $($(p.attribute(stringify!($position), $position);)*)?
                })*
            }
        }

        /// Reads the attributes of the operation called `name`; `None` when there is no such operation.
        pub(crate) fn read(name: &str, p: &mut Parser<'_>) -> Result<Option<Op>, ParseError> {
            Ok(Some(match name {
                $($name => {
                    $($(let $field = p.attribute(stringify!($field))?;)*)?
                    $($(let $position = p.attribute(stringify!($position))?;)*)?
                    Op::$variant $({ $($field),* })? $(( $($position),* ))?
                })*
                _ => return Ok(None),
            }))
        }
    };
}

operations! {
    "dims" => Dims { dims, scalar };
    "iota" => Iota { dtype, shape, axis };
    "select" => Select;
    "convert" => Convert(to);
    "bitcast" => Bitcast(to);
    "broadcast" => Broadcast { shape, axes };
    "reshape" => Reshape { shape };
    "transpose" => Transpose { perm };
    "slice" => Slice { starts, sizes, steps };
    "pad" => Pad { low, high, mode };
    "concat" => Concat { axis };
    "reduce" => Reduce { op, axes };
    "arg_reduce" => ArgReduce { axis, max, last };
    "contract" => Contract { batch, contract, out };
    "conv" => Conv { window, groups, out };
    "pool" => Pool { op, window };
    "pool_index" => PoolIndex { window };
    "gather" => Gather { axis, batch };
    "gather_elements" => GatherElements { axis };
    "gather_nd" => GatherNd { batch };
    "scatter_nd" => ScatterNd(op);
    "scatter_elements" => ScatterElements { axis, op };
    "cumulative" => Cumulative { op, axis, exclusive, reverse };
    "top_k" => TopK { axis, k, largest };
    "non_zero" => NonZero { count };
    "unique" => Unique { sorted, count };
    "non_max_suppression" => NonMaxSuppression { center, count };
    "bind_dims" => BindDims { symbols };
    "require" => Require { left, relation, right, what };
    "recurrent" => Recurrent(cell);
    "random" => Random { distribution, dtype, shape, seed };
    "if" => If { varying, sizes, then, otherwise };
    "loop" => Loop { carried, trips, body };
}

macro_rules! structs {
    ($($ty:ident { $($field:ident),* })*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                p.text("{");
                $(p.attribute(stringify!($field), &self.$field);)*
                p.text(" }");
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                p.expect("{")?;
                $(let $field = p.attribute(stringify!($field))?;)*
                p.expect("}")?;
                Ok($ty { $($field),* })
            }
        }
    )* };
}
structs! {
    Window { size, strides, dilations, pad_low, pad_high }
    Recurrent { kind, reverse, activations, clip, input_forget, peepholes, sequence_lengths }
}

macro_rules! named {
    ($($ty:ty: $what:literal),*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                p.text(self.name());
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                let word = p.word($what)?;
                <$ty>::from_name(word).ok_or_else(|| p.error(format!("`{word}` is not {}", $what)))
            }
        }
    )* };
}
named!(DType: "an element type", ReduceOp: "a reduction", PadMode: "a padding mode", ScatterOp: "a scatter function",
    Relation: "a relation");

macro_rules! numbers {
    ($($ty:ty: $what:literal),*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                // `Debug` of floats is the shortest text that reads back as the same value.
                p.text(&format!("{self:?}"));
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                let token = p.number()?;
                token.parse().map_err(|_| p.error(format!("`{token}` is not {}", $what)))
            }
        }
    )* };
}
numbers!(usize: "a count", i64: "an integer", u64: "an unsigned integer", f32: "a number", f64: "a number",
    bool: "true or false");

impl<T: Attribute> Attribute for Vec<T> {
    fn write(&self, p: &mut Printer<'_>) {
        p.text("[");
        for (i, item) in self.iter().enumerate() {
            p.text(if i == 0 { "" } else { ", " });
            item.write(p);
        }
        p.text("]");
    }
    fn read(p: &mut Parser<'_>) -> Result<Vec<T>, ParseError> {
        p.expect("[")?;
        p.list("]", T::read)
    }
}

impl Attribute for (usize, usize) {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(&format!("({}, {})", self.0, self.1));
    }
    fn read(p: &mut Parser<'_>) -> Result<(usize, usize), ParseError> {
        p.expect("(")?;
        let first = usize::read(p)?;
        p.expect(",")?;
        let second = usize::read(p)?;
        p.expect(")")?;
        Ok((first, second))
    }
}

impl Attribute for Dim {
    fn write(&self, p: &mut Printer<'_>) {
        p.dim(self);
    }
    fn read(p: &mut Parser<'_>) -> Result<Dim, ParseError> {
        p.dim()
    }
}

impl Attribute for String {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(&format!("{self:?}"));
    }
    fn read(p: &mut Parser<'_>) -> Result<String, ParseError> {
        p.name()
    }
}

impl Attribute for Symbol {
    fn write(&self, p: &mut Printer<'_>) {
        p.dim(&Dim::sym(*self));
    }
    fn read(p: &mut Parser<'_>) -> Result<Symbol, ParseError> {
        let dim = p.dim()?;
        dim.as_symbol().ok_or_else(|| p.error("expected the name of a dimension".into()))
    }
}

impl Attribute for Box<Graph> {
    fn write(&self, p: &mut Printer<'_>) {
        p.graph(self);
    }
    fn read(p: &mut Parser<'_>) -> Result<Box<Graph>, ParseError> {
        p.graph().map(Box::new)
    }
}

impl Attribute for Option<f32> {
    fn write(&self, p: &mut Printer<'_>) {
        match self {
            Some(value) => value.write(p),
            None => p.text("none"),
        }
    }
    fn read(p: &mut Parser<'_>) -> Result<Option<f32>, ParseError> {
        if p.eat("none") { Ok(None) } else { f32::read(p).map(Some) }
    }
}

impl Attribute for CellKind {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(match self {
            CellKind::Lstm => "lstm",
            CellKind::Gru { linear_before_reset: false } => "gru",
            CellKind::Gru { linear_before_reset: true } => "gru_linear_before_reset",
            CellKind::Rnn => "rnn",
        });
    }
    fn read(p: &mut Parser<'_>) -> Result<CellKind, ParseError> {
        Ok(match p.word("a cell")? {
            "lstm" => CellKind::Lstm,
            "gru" => CellKind::Gru { linear_before_reset: false },
            "gru_linear_before_reset" => CellKind::Gru { linear_before_reset: true },
            "rnn" => CellKind::Rnn,
            word => return Err(p.error(format!("`{word}` is not a cell"))),
        })
    }
}

fn write_call<T: Attribute>(p: &mut Printer<'_>, name: &str, arguments: &[T]) {
    p.text(name);
    for (i, argument) in arguments.iter().enumerate() {
        p.text(if i == 0 { "(" } else { ", " });
        argument.write(p);
    }
    p.text(if arguments.is_empty() { "" } else { ")" });
}

fn read_arguments<T: Attribute>(p: &mut Parser<'_>) -> Result<Vec<T>, ParseError> {
    if p.eat("(") { p.list(")", T::read) } else { Ok(vec![]) }
}

impl Attribute for Activation {
    fn write(&self, p: &mut Printer<'_>) {
        use Activation::*;
        match *self {
            Sigmoid => p.text("sigmoid"),
            Tanh => p.text("tanh"),
            Relu => p.text("relu"),
            Softsign => p.text("softsign"),
            Softplus => p.text("softplus"),
            Affine { alpha, beta } => write_call(p, "affine", &[alpha, beta]),
            LeakyRelu { alpha } => write_call(p, "leaky_relu", &[alpha]),
            ThresholdedRelu { alpha } => write_call(p, "thresholded_relu", &[alpha]),
            ScaledTanh { alpha, beta } => write_call(p, "scaled_tanh", &[alpha, beta]),
            HardSigmoid { alpha, beta } => write_call(p, "hard_sigmoid", &[alpha, beta]),
            Elu { alpha } => write_call(p, "elu", &[alpha]),
        }
    }
    fn read(p: &mut Parser<'_>) -> Result<Activation, ParseError> {
        use Activation::*;
        let word = p.word("an activation")?;
        let arguments = read_arguments::<f32>(p)?;
        Ok(match (word, arguments.as_slice()) {
            ("sigmoid", []) => Sigmoid,
            ("tanh", []) => Tanh,
            ("relu", []) => Relu,
            ("softsign", []) => Softsign,
            ("softplus", []) => Softplus,
            ("affine", &[alpha, beta]) => Affine { alpha, beta },
            ("leaky_relu", &[alpha]) => LeakyRelu { alpha },
            ("thresholded_relu", &[alpha]) => ThresholdedRelu { alpha },
            ("scaled_tanh", &[alpha, beta]) => ScaledTanh { alpha, beta },
            ("hard_sigmoid", &[alpha, beta]) => HardSigmoid { alpha, beta },
            ("elu", &[alpha]) => Elu { alpha },
            _ => return Err(p.error(format!("`{word}` with {} numbers is not an activation", arguments.len()))),
        })
    }
}

impl Attribute for Distribution {
    fn write(&self, p: &mut Printer<'_>) {
        match *self {
            Distribution::Uniform { low, high } => write_call(p, "uniform", &[low, high]),
            Distribution::Normal { mean, std } => write_call(p, "normal", &[mean, std]),
        }
    }
    fn read(p: &mut Parser<'_>) -> Result<Distribution, ParseError> {
        let word = p.word("a distribution")?;
        let arguments = read_arguments::<f64>(p)?;
        match (word, arguments.as_slice()) {
            ("uniform", &[low, high]) => Ok(Distribution::Uniform { low, high }),
            ("normal", &[mean, std]) => Ok(Distribution::Normal { mean, std }),
            _ => Err(p.error(format!("`{word}` with {} numbers is not a distribution", arguments.len()))),
        }
    }
}
