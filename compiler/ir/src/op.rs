//! The core operations: a closed set that passes and targets match exhaustively.
//!
//! Each variant documents its operands and results. Shapes are exact: elementwise operands have the result's shape
//! (use [`Op::Broadcast`] first), integer attributes never count from the end. Index tensors are `i64` and already
//! non-negative (import normalises ONNX's negative indices).

use crate::graph::{ConstId, Graph};
use crate::{DType, Dim, Symbol};

/// Scalar function of one operand. Result type is the operand's, except where said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are named after the functions they are")]
pub enum UnaryOp {
    Neg,
    Abs,
    /// -1, 0 or 1; NaN stays NaN.
    Sign,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Trunc,
    Sqrt,
    Rsqrt,
    Recip,
    Exp,
    /// exp(x) - 1, accurate near 0.
    Expm1,
    Log,
    /// log(1 + x), accurate near 0.
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// Logical not of a bool.
    Not,
    /// Bitwise complement of an integer.
    BitNot,
    /// Result is bool.
    IsNan,
    /// Either infinity; result is bool.
    IsInf,
}

/// Scalar function of two operands of one type. Comparisons yield bool, everything else the operands' type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are named after the functions they are")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// Integers truncate toward zero; division of an integer by zero yields 0 (and never traps).
    Div,
    /// Sign of the divisor (Python's `%`).
    Mod,
    /// Sign of the dividend (C's `fmod` and `%`).
    Rem,
    Pow,
    /// NaN if either operand is NaN.
    Max,
    /// NaN if either operand is NaN.
    Min,
    Atan2,
    And,
    Or,
    Xor,
    Shl,
    /// Logical for unsigned, arithmetic for signed types.
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl BinaryOp {
    /// Whether the result is bool whatever the operands are.
    pub const fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }
}

/// How a set of elements becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are named after the functions they are")]
pub enum ReduceOp {
    /// Empty set: 0. `f16` and `bf16` accumulate in `f32`.
    Sum,
    /// Empty set: 1.
    Prod,
    /// Empty set: the type's lowest value (-inf for floats). NaN wins.
    Max,
    /// Empty set: the type's highest value (inf for floats). NaN wins.
    Min,
}

/// What [`Op::Pad`] writes outside its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadMode {
    /// The second operand, a scalar.
    Constant,
    /// The nearest element.
    Edge,
    /// Mirrored without repeating the border element.
    Reflect,
    /// Periodic.
    Wrap,
}

/// How [`Op::ScatterNd`] and [`Op::ScatterElements`] combine an update with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are named after the functions they are")]
pub enum ScatterOp {
    Replace,
    Add,
    Mul,
    Max,
    Min,
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

/// What [`Op::Require`] demands of two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// They are equal.
    Equal,
    /// The left one is not greater.
    AtMost,
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
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// A recurrent layer of one direction.
#[derive(Clone, Debug, PartialEq)]
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

/// Kinds of [`Op::Random`].
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// A core operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// `() -> T`: a constant of the graph's pool.
    Constant(ConstId),
    /// `() -> i64[dims.len()]` (or a scalar, when `scalar`, of the one dim): dimension values as data.
    Dims {
        /// The values.
        dims: Vec<Dim>,
        /// Yield rank 0; `dims` has one entry.
        scalar: bool,
    },
    /// `() -> dtype[shape]`: the index along `axis` of each element.
    Iota {
        /// Result element type (an integer or float type).
        dtype: DType,
        /// Result shape.
        shape: Vec<Dim>,
        /// The counted axis.
        axis: usize,
    },
    /// `(x) -> f(x)`, elementwise.
    Unary(UnaryOp),
    /// `(x, y) -> f(x, y)`, elementwise, same shapes and types.
    Binary(BinaryOp),
    /// `(condition: bool, x, y) -> condition ? x : y`, elementwise.
    Select,
    /// `(x) -> x` in another type. Float to integer truncates and saturates, NaN becomes 0; to bool is `x != 0`;
    /// integer to narrower integer wraps.
    Convert(DType),
    /// `(x) -> x` bits seen as another type of the same size.
    Bitcast(DType),
    /// `(x) -> dtype[shape]`: operand axis `i` becomes result axis `axes[i]` (strictly increasing); its size is the
    /// result's or 1. Result axes not named are new.
    Broadcast {
        /// Result shape.
        shape: Vec<Dim>,
        /// For each operand axis the result axis.
        axes: Vec<usize>,
    },
    /// `(x) -> x` with the same elements in row-major order.
    Reshape {
        /// Result shape; its product equals the operand's.
        shape: Vec<Dim>,
    },
    /// `(x) -> x` with result axis `i` being operand axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// `(x) -> x[starts + i * steps]` for `i < sizes`. Steps may be negative; every index read is in range.
    Slice {
        /// First index read, per axis.
        starts: Vec<Dim>,
        /// Result shape.
        sizes: Vec<Dim>,
        /// Nonzero, per axis.
        steps: Vec<i64>,
    },
    /// `(x, value: scalar) -> x` with a border. `low`/`high` may not be negative (import slices first).
    Pad {
        /// Elements before, per axis.
        low: Vec<Dim>,
        /// Elements after, per axis.
        high: Vec<Dim>,
        /// What is written there.
        mode: PadMode,
    },
    /// `(x0, x1, ...) -> ` the operands one after the other along `axis`; at least one operand.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// `(x) -> ` one element per set over `axes`, which vanish.
    Reduce {
        /// The function.
        op: ReduceOp,
        /// Sorted, not empty.
        axes: Vec<usize>,
    },
    /// `(x) -> i64`: index along `axis` (which vanishes) of the largest or smallest element.
    ArgReduce {
        /// The axis.
        axis: usize,
        /// Largest rather than smallest.
        max: bool,
        /// The last of equal elements rather than the first.
        last: bool,
    },
    /// `(lhs, rhs) -> out`: sum over the contracted axes; result axes are the batch axes (in the order given), then
    /// lhs's remaining axes, then rhs's, each in their order. Operand types are equal, or `u8`/`i8` mixed.
    Contract {
        /// Pairs (lhs axis, rhs axis) that are paired and kept.
        batch: Vec<(usize, usize)>,
        /// Pairs (lhs axis, rhs axis) that are paired and summed.
        contract: Vec<(usize, usize)>,
        /// Accumulator and result type: the operands' type, or `i32` for 8-bit operands.
        out: DType,
    },
    /// `(x: [N, spatial.., C], w: [kernel.., C / groups, O]) -> [N, spatial.., O]`. The border reads as 0.
    Conv {
        /// Geometry; `window.size` are the kernel axes of `w`.
        window: Window,
        /// C and O are split into this many independent parts.
        groups: usize,
        /// Accumulator and result type as in `Contract`.
        out: DType,
    },
    /// `(x: [N, spatial.., C]) -> [N, spatial.., C]`: reduction over windows; the border is `op`'s empty value.
    Pool {
        /// `Sum` or `Max` or `Min`.
        op: ReduceOp,
        /// Geometry.
        window: Window,
    },
    /// `(x: [N, spatial.., C]) -> i64[N, spatial.., C]`: for each window, where its first largest element lies, as a
    /// row-major index over x's spatial axes alone (import turns it into ONNX's numbering).
    PoolIndex {
        /// Geometry.
        window: Window,
    },
    /// `(x, index) -> x[..batch.., ..before axis.., index[..batch.., rest], ..after axis..]` (ONNX Gather with
    /// `batch` leading axes shared by x and index). An index out of range stops the run with an error.
    Gather {
        /// Axis of x that is indexed; at least `batch`.
        axis: usize,
        /// Leading axes paired between x and index.
        batch: usize,
    },
    /// `(x, index) -> out` of index's shape: like ONNX GatherElements.
    GatherElements {
        /// Axis of x that is indexed.
        axis: usize,
    },
    /// `(x, index) -> out`: like ONNX GatherND; index's last axis (a constant size) holds coordinates.
    GatherNd {
        /// Leading axes paired between x and index.
        batch: usize,
    },
    /// `(x, index, updates) -> x` with slices replaced: like ONNX ScatterND.
    ScatterNd(ScatterOp),
    /// `(x, index, updates) -> x` with elements replaced: like ONNX ScatterElements.
    ScatterElements {
        /// Axis of x that is indexed.
        axis: usize,
        /// How an update is combined.
        op: ScatterOp,
    },
    /// `(x) -> x`: running `Sum` or `Prod` along `axis`.
    Cumulative {
        /// `Sum`, `Prod`, `Max` or `Min`.
        op: ReduceOp,
        /// The axis.
        axis: usize,
        /// Element i leaves itself out.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// `(x) -> (values, indices: i64)`: the `k` largest or smallest along `axis`, sorted, ties by lower index.
    /// A full sort has `k` equal to the axis's size.
    TopK {
        /// The axis.
        axis: usize,
        /// Result size along the axis.
        k: Dim,
        /// Largest first rather than smallest first.
        largest: bool,
    },
    /// `(x) -> i64[count, rank]`: coordinates of the nonzero elements in row-major order; defines `count`.
    NonZero {
        /// The number found.
        count: Symbol,
    },
    /// `(x: [n]) -> (values [count], first: i64[count], inverse: i64[n], counts: i64[count])`; defines `count`.
    Unique {
        /// Ascending by value rather than by first occurrence.
        sorted: bool,
        /// The number of distinct values.
        count: Symbol,
    },
    /// `(boxes: f32[batch, n, 4], scores: f32[batch, class, n], max_per_class: i64, iou: f32, score: f32) ->
    /// i64[count, 3]`: ONNX NonMaxSuppression (the three scalars have rank 0); defines `count`.
    NonMaxSuppression {
        /// Boxes are (x_center, y_center, width, height) rather than two corners (y, x, y, x).
        center: bool,
        /// The number selected.
        count: Symbol,
    },
    /// `(sizes: i64[symbols.len()] or scalar) -> ()`: defines symbols from data; a value outside the symbol's bounds
    /// stops the run with an error.
    BindDims {
        /// The symbols defined, one per element.
        symbols: Vec<Symbol>,
    },
    /// `() -> ()`: what sizes must be for the nodes after it to make sense; where it does not hold, the run (or already
    /// its plan, when only sizes of inputs are mentioned) stops with an error that says so.
    Require {
        /// One size.
        left: Dim,
        /// What it must be to the other.
        relation: Relation,
        /// The other size.
        right: Dim,
        /// What the left size is of, for the message, e.g. `the window on axis 2`.
        what: String,
    },
    /// `(gates: [time, batch, G * hidden], r: [hidden, G * hidden], bias_r: [G * hidden], h0: [batch, hidden],
    /// (LSTM: c0: [batch, hidden]), (peepholes: [3 * hidden]), (lengths: i64[batch])) ->
    /// (y: [time, batch, hidden], h: [batch, hidden], (LSTM: c: [batch, hidden]))`.
    /// `gates` is the input projection with the input bias already added; G is 4, 3 or 1.
    Recurrent(Recurrent),
    /// `(counter: i64 scalar) -> dtype[shape]`: counter-based pseudo-random numbers (Philox 4x32-10).
    Random {
        /// What is drawn.
        distribution: Distribution,
        /// Result element type.
        dtype: DType,
        /// Result shape.
        shape: Vec<Dim>,
        /// Key.
        seed: u64,
    },
    /// `(condition: bool scalar, captures..) -> results`: one of two graphs, whose inputs are the captures. Both
    /// have the results' types, except that some sizes may differ: this node defines those.
    If {
        /// The sizes that may differ: result and axis.
        varying: Vec<(usize, usize)>,
        /// The symbols of those sizes.
        sizes: Vec<Symbol>,
        /// Evaluated when the condition holds.
        then: Box<Graph>,
        /// Evaluated otherwise.
        otherwise: Box<Graph>,
    },
    /// `(trip: i64 scalar, condition: bool scalar, carried.., captures..) -> (carried.., scanned..)`: ONNX Loop.
    /// The body's inputs are (iteration: i64, condition: bool, carried.., captures..), its outputs (condition,
    /// carried.., scanned elements..). Scanned results have a new leading axis `trips`, which this node defines.
    Loop {
        /// One iteration.
        body: Box<Graph>,
        /// Number of carried values.
        carried: usize,
        /// The number of iterations done.
        trips: Symbol,
    },
}
