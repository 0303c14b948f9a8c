//! Why code is not wide: the one list of what the wide generator cannot do.
//!
//! A reason stands either for a whole kernel, which Cranelift then compiles with 128-bit vectors, or for one vector
//! loop of a wide kernel, which then runs one element at a time. `nnc compile` tells both.

use std::fmt;

/// What a kernel or loop has that the wide generator has no code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The target lacks BMI2 or F16C, which wide code uses everywhere.
    Features,
    /// Task-local memory beyond 2 GiB.
    Scratch,
    /// `While`, mutable variables, and failing: one element depends on the one before.
    Sequential,
    /// A vector loop inside a vector loop.
    NestedLanes,
    /// A branch that differs between lanes.
    BranchPerLane,
    /// Arithmetic in `f64`.
    F64,
    /// One 64-bit integer per lane.
    Lanes64,
    /// An index used as a number in lanes.
    IndexInLanes,
    /// Arithmetic on half floats that was not widened.
    HalfArithmetic,
    /// An integer division in lanes, or by what may be 0 or negative.
    Division,
    /// An integer function in lanes, or a shift by a variable.
    IntegerFunction,
    /// An operation on bools in lanes beyond logic.
    BoolFunction,
    /// A floating function without code.
    FloatFunction,
    /// A conversion to or from an unsigned type that the instruction set lacks.
    UnsignedConversion,
    /// A reinterpretation of bits between types of other widths.
    Bitcast,
    /// A reduction of such elements in lanes.
    Reduction,
    /// A product of such elements.
    ProductType,
    /// The elements of a vector lie at distances without a pattern.
    Gather,
    /// The elements of a vector lie at a distance known only at run time.
    RunTimeStride,
    /// Elements of 8, 16 or 64 bits at a distance from each other.
    NarrowGather,
    /// A load under a condition whose elements are narrow or at a distance.
    GuardedGather,
    /// A store whose elements are not neighbours.
    Scatter,
    /// A product whose narrow results end within a vector: AVX2 masks 32-bit elements only.
    NarrowTail,
    /// An index beyond what a dimension's expression may hold once it is written out for a lane.
    LongIndex,
}

impl Reason {
    /// What the code has, as a noun phrase.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Features => "a processor without BMI2 or F16C",
            Reason::Scratch => "more than 2 GiB of task memory",
            Reason::Sequential => "sequential control flow",
            Reason::NestedLanes => "nested vector loops",
            Reason::BranchPerLane => "a branch per element",
            Reason::F64 => "f64 arithmetic",
            Reason::Lanes64 => "64-bit elements",
            Reason::IndexInLanes => "index arithmetic per element",
            Reason::HalfArithmetic => "half-precision arithmetic",
            Reason::Division => "integer division",
            Reason::IntegerFunction => "an integer function",
            Reason::BoolFunction => "a function of bools",
            Reason::FloatFunction => "a floating-point function",
            Reason::UnsignedConversion => "a conversion between floats and unsigned integers",
            Reason::Bitcast => "a reinterpretation of bits",
            Reason::Reduction => "a reduction of this type",
            Reason::ProductType => "a matrix product of this type",
            Reason::Gather => "elements without a common distance",
            Reason::RunTimeStride => "elements at a distance known at run time",
            Reason::NarrowGather => "8-, 16- or 64-bit elements at a distance",
            Reason::GuardedGather => "padding of elements at a distance",
            Reason::Scatter => "stores at a distance",
            Reason::NarrowTail => "a matrix product with narrow results on AVX2",
            Reason::LongIndex => "an index of too many terms",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
