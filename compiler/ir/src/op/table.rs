//! The core operations, a row each: what it does, its name in the text form, its attributes in the text's order.
//!
//! From a row follow the variant of [`Op`], printer and parser, and which dimensions, symbols and graphs an operation
//! mentions (see `derive.rs`). What an operation means is not said here but in matches that name every operation: result
//! types in [`crate::infer`], values in the crate `nnc-eval`, fusion and lowering in `nnc-passes`.
//!
//! Invariants: no operation is called like an elementwise function; a [`Symbol`] among the attributes is one that the
//! operation defines.

use super::derive::operations;
use super::{BinaryOp, Distribution, PadMode, Recurrent, ReduceOp, Relation, ScatterOp, UnaryOp, Window};
use crate::graph::{ConstId, Graph};
use crate::{DType, Dim, Symbol};

operations! {
    // The printer and the parser write and read these themselves.
    by hand {
        /// `() -> T`: a constant of the graph's pool.
        Constant(ConstId) called |_| "constant";
        /// `(x) -> f(x)`, elementwise.
        Unary(UnaryOp) called |f| f.name();
        /// `(x, y) -> f(x, y)`, elementwise, same shapes and types.
        Binary(BinaryOp) called |f| f.name();
    }
    rows {
        /// `() -> i64[dims.len()]` (or a scalar, when `scalar`, of the one dim): dimension values as data.
        Dims = "dims" {
            /// The values.
            dims: Vec<Dim>,
            /// Yield rank 0; `dims` has one entry.
            scalar: bool,
        };
        /// `() -> dtype[shape]`: the index along `axis` of each element.
        Iota = "iota" {
            /// Result element type (an integer or float type).
            dtype: DType,
            /// Result shape.
            shape: Vec<Dim>,
            /// The counted axis.
            axis: usize,
        };
        /// `(condition: bool, x, y) -> condition ? x : y`, elementwise.
        Select = "select";
        /// `(x) -> x` in another type. Float to integer truncates and saturates, NaN becomes 0; to bool is `x != 0`;
        /// integer to narrower integer wraps.
        Convert = "convert"(to: DType);
        /// `(x) -> x` bits seen as another type of the same size.
        Bitcast = "bitcast"(to: DType);
        /// `(x) -> dtype[shape]`: operand axis `i` becomes result axis `axes[i]` (strictly increasing); its size is the
        /// result's or 1. Result axes not named are new.
        Broadcast = "broadcast" {
            /// Result shape.
            shape: Vec<Dim>,
            /// For each operand axis the result axis.
            axes: Vec<usize>,
        };
        /// `(x) -> x` with the same elements in row-major order.
        Reshape = "reshape" {
            /// Result shape; its product equals the operand's.
            shape: Vec<Dim>,
        };
        /// `(x) -> x` with result axis `i` being operand axis `perm[i]`.
        Transpose = "transpose" {
            /// A permutation.
            perm: Vec<usize>,
        };
        /// `(x) -> x[starts + i * steps]` for `i < sizes`. Steps may be negative; every index read is in range.
        Slice = "slice" {
            /// First index read, per axis.
            starts: Vec<Dim>,
            /// Result shape.
            sizes: Vec<Dim>,
            /// Nonzero, per axis.
            steps: Vec<i64>,
        };
        /// `(x, value: scalar) -> x` with a border. `low`/`high` may not be negative (import slices first).
        Pad = "pad" {
            /// Elements before, per axis.
            low: Vec<Dim>,
            /// Elements after, per axis.
            high: Vec<Dim>,
            /// What is written there.
            mode: PadMode,
        };
        /// `(x0, x1, ...) -> ` the operands one after the other along `axis`; at least one operand.
        Concat = "concat" {
            /// The axis.
            axis: usize,
        };
        /// `(x) -> ` one element per set over `axes`, which vanish.
        Reduce = "reduce" {
            /// The function.
            op: ReduceOp,
            /// Sorted, not empty.
            axes: Vec<usize>,
        };
        /// `(x) -> i64`: index along `axis` (which vanishes) of the largest or smallest element.
        ArgReduce = "arg_reduce" {
            /// The axis.
            axis: usize,
            /// Largest rather than smallest.
            max: bool,
            /// The last of equal elements rather than the first.
            last: bool,
        };
        /// `(lhs, rhs) -> out`: sum over the contracted axes; result axes are the batch axes (in the order given), then
        /// lhs's remaining axes, then rhs's, each in their order. Operand types are equal, or `u8`/`i8` mixed.
        Contract = "contract" {
            /// Pairs (lhs axis, rhs axis) that are paired and kept.
            batch: Vec<(usize, usize)>,
            /// Pairs (lhs axis, rhs axis) that are paired and summed.
            contract: Vec<(usize, usize)>,
            /// Accumulator and result type: the operands' type, or `i32` for 8-bit operands.
            out: DType,
        };
        /// `(x: [N, spatial.., C], w: [kernel.., C / groups, O]) -> [N, spatial.., O]`. The border reads as 0.
        Conv = "conv" {
            /// Geometry; `window.size` are the kernel axes of `w`.
            window: Window,
            /// C and O are split into this many independent parts.
            groups: usize,
            /// Accumulator and result type as in `Contract`.
            out: DType,
        };
        /// `(x: [N, spatial.., C]) -> [N, spatial.., C]`: reduction over windows; the border is `op`'s empty value.
        Pool = "pool" {
            /// `Sum` or `Max` or `Min`.
            op: ReduceOp,
            /// Geometry.
            window: Window,
        };
        /// `(x: [N, spatial.., C]) -> i64[N, spatial.., C]`: for each window, where its first largest element lies, as a
        /// row-major index over x's spatial axes alone (import turns it into ONNX's numbering).
        PoolIndex = "pool_index" {
            /// Geometry.
            window: Window,
        };
        /// `(x, index) -> x[..batch.., ..before axis.., index[..batch.., rest], ..after axis..]` (ONNX Gather with
        /// `batch` leading axes shared by x and index). An index out of range stops the run with an error.
        Gather = "gather" {
            /// Axis of x that is indexed; at least `batch`.
            axis: usize,
            /// Leading axes paired between x and index.
            batch: usize,
        };
        /// `(x, index) -> out` of index's shape: like ONNX GatherElements.
        GatherElements = "gather_elements" {
            /// Axis of x that is indexed.
            axis: usize,
        };
        /// `(x, index) -> out`: like ONNX GatherND; index's last axis (a constant size) holds coordinates.
        GatherNd = "gather_nd" {
            /// Leading axes paired between x and index.
            batch: usize,
        };
        /// `(x, index, updates) -> x` with slices replaced: like ONNX ScatterND.
        ScatterNd = "scatter_nd"(op: ScatterOp);
        /// `(x, index, updates) -> x` with elements replaced: like ONNX ScatterElements.
        ScatterElements = "scatter_elements" {
            /// Axis of x that is indexed.
            axis: usize,
            /// How an update is combined.
            op: ScatterOp,
        };
        /// `(x) -> x`: running `Sum` or `Prod` along `axis`.
        Cumulative = "cumulative" {
            /// `Sum`, `Prod`, `Max` or `Min`.
            op: ReduceOp,
            /// The axis.
            axis: usize,
            /// Element i leaves itself out.
            exclusive: bool,
            /// From the end.
            reverse: bool,
        };
        /// `(x) -> (values, indices: i64)`: the `k` largest or smallest along `axis`, sorted, ties by lower index.
        /// A full sort has `k` equal to the axis's size.
        TopK = "top_k" {
            /// The axis.
            axis: usize,
            /// Result size along the axis.
            k: Dim,
            /// Largest first rather than smallest first.
            largest: bool,
        };
        /// `(x) -> i64[count, rank]`: coordinates of the nonzero elements in row-major order; defines `count`.
        NonZero = "non_zero" {
            /// The number found.
            count: Symbol,
        };
        /// `(x: [n]) -> (values [count], first: i64[count], inverse: i64[n], counts: i64[count])`; defines `count`.
        Unique = "unique" {
            /// Ascending by value rather than by first occurrence.
            sorted: bool,
            /// The number of distinct values.
            count: Symbol,
        };
        /// `(boxes: f32[batch, n, 4], scores: f32[batch, class, n], max_per_class: i64, iou: f32, score: f32) ->
        /// i64[count, 3]`: ONNX NonMaxSuppression (the three scalars have rank 0); defines `count`.
        NonMaxSuppression = "non_max_suppression" {
            /// Boxes are (x_center, y_center, width, height) rather than two corners (y, x, y, x).
            center: bool,
            /// The number selected.
            count: Symbol,
        };
        /// `(x: [n, features], thresholds: [nodes], nodes: i32[nodes, 4], roots: i32[trees]) -> i64[n, trees]`: the leaf in
        /// which each tree puts each row. A row of `nodes` is a feature, and the node to go on with where that feature is
        /// at most the threshold, where it is more, and where it is NaN; leaves lead to themselves and stand after all
        /// other nodes, each of which stands before those it leads to. Leaves are numbered from 0. Thresholds have the
        /// type of `x`, f32 or f64; the last three operands are constants.
        TreeLeaf = "tree_leaf" {
            /// Features may be NaN and lead elsewhere than those that are more than the threshold.
            missing: bool,
        };
        /// `(x, keys: [k]) -> i64` of x's shape: how many keys come before the first that is not less than the element.
        /// The keys have the type of `x` and ascend; where they do not, what is found is some number up to `k`.
        LowerBound = "lower_bound";
        /// `(offsets: i64[n + 1], bytes: u8[m], key_offsets: i64[k + 1], key_bytes: u8[j]) -> i64[n]`: which key each
        /// string is, the first of equal ones, or `k`. A string is the bytes from its offset to before the next; one that is
        /// not within `bytes` stops the run with an error. The keys are constants.
        FindString = "find_string";
        /// `(offsets: i64[n + 1], bytes: u8[m], classes: u8[256], next: i64[states, c]) -> i64[n]`: the state in which each
        /// string leaves an automaton that begins in state 0 and goes on to `next[state, classes[byte]]` with every byte.
        /// The tables are constants; a string is as for `find_string`.
        RunAutomaton = "run_automaton";
        /// `(offsets: i64[n + 1], bytes: u8[m], left: i64, right: i64) -> i64` of the shape of `left` and `right`, which are
        /// numbers of strings: -1, 0 or 1 as the left one is less than, equal to or greater than the right one, byte by
        /// byte. A number or string that is not there stops the run with an error.
        CompareStrings = "compare_strings";
        /// `(offsets: i64[n + 1], bytes: u8[m]) -> (spans: i64[count, 2], first: i64[n + 1])`: the pieces of all strings, one
        /// after the other, from where to where, and for each string the number of its first piece; the last one of
        /// `first` is their number. Defines `count`. A string is as for `find_string`.
        SplitStrings = "split_strings" {
            /// What is between two pieces; if empty, ASCII's white space, of which any amount parts, and none begins or
            /// ends a string.
            delimiter: String,
            /// Most splits of one string: what is left is the last piece.
            most: i64,
            /// The number of pieces.
            count: Symbol,
        };
        /// `(sizes: i64[symbols.len()] or scalar) -> ()`: defines symbols from data; a value outside the symbol's bounds
        /// stops the run with an error.
        BindDims = "bind_dims" {
            /// The symbols defined, one per element.
            symbols: Vec<Symbol>,
        };
        /// `() -> ()`: what sizes must be for the nodes after it to make sense; where it does not hold, the run (or already
        /// its plan, when only sizes of inputs are mentioned) stops with an error that says so.
        Require = "require" {
            /// One size.
            left: Dim,
            /// What it must be to the other.
            relation: Relation,
            /// The other size.
            right: Dim,
            /// What the left size is of, for the message, e.g. `the window on axis 2`.
            what: String,
        };
        /// `(gates: [time, batch, G * hidden], r: [hidden, G * hidden], bias_r: [G * hidden], h0: [batch, hidden],
        /// (LSTM: c0: [batch, hidden]), (peepholes: [3 * hidden]), (lengths: i64[batch])) ->
        /// (y: [time, batch, hidden], h: [batch, hidden], (LSTM: c: [batch, hidden]))`.
        /// `gates` is the input projection with the input bias already added; G is 4, 3 or 1.
        Recurrent = "recurrent"(cell: Recurrent);
        /// `(counter: i64 scalar) -> dtype[shape]`: counter-based pseudo-random numbers (Philox 4x32-10).
        Random = "random" {
            /// What is drawn.
            distribution: Distribution,
            /// Result element type.
            dtype: DType,
            /// Result shape.
            shape: Vec<Dim>,
            /// Key.
            seed: u64,
        };
        /// `(condition: bool scalar, captures..) -> results`: one of two graphs, whose inputs are the captures. Both
        /// have the results' types, except that some sizes may differ: this node defines those.
        If = "if" {
            /// The sizes that may differ: result and axis.
            varying: Vec<(usize, usize)>,
            /// The symbols of those sizes.
            sizes: Vec<Symbol>,
            /// Evaluated when the condition holds.
            then: Box<Graph>,
            /// Evaluated otherwise.
            otherwise: Box<Graph>,
        };
        /// `(trip: i64 scalar, condition: bool scalar, carried.., captures..) -> (carried.., scanned..)`: ONNX Loop.
        /// The body's inputs are (iteration: i64, condition: bool, carried.., captures..), its outputs (condition,
        /// carried.., scanned elements..). Scanned results have a new leading axis `trips`, which this node defines. So it
        /// does the sizes of carried values that may change: within the body what they enter an iteration with, after the
        /// loop what the last one left.
        Loop = "loop" {
            /// Number of carried values.
            carried: usize,
            /// The sizes that may change: carried value and axis.
            varying: Vec<(usize, usize)>,
            /// The symbols of those sizes.
            sizes: Vec<Symbol>,
            /// The number of iterations done.
            trips: Symbol,
            /// One iteration.
            body: Box<Graph>,
        };
    }
}
