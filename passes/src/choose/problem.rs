//! Sums of products over strided memory, the one form of matrix products and convolutions.
//!
//! A [`Problem`] says what is summed and how its operands come to be read; no buffer exists for what is copied or packed yet.

use super::Shape;
use super::axes::{Axis, AxisRoles, count};
use super::stored::Stored;
use crate::layout::{Border, View, ordered_strides};
use nnc_ir::{ConstId, DType, Dim, ValueId};

/// What is summed. Strides are elements of the left operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What the kernel is called.
    pub(crate) name: &'static str,
    /// Axes of independent products.
    pub(crate) batch: Vec<Axis>,
    /// Row axes outside of `rows`.
    pub(crate) outer: Vec<Axis>,
    /// Rows that one stride walks.
    pub(crate) rows: Axis,
    /// Columns.
    pub(crate) columns: Dim,
    /// Summed axes around `k`, of constant size.
    pub(crate) taps: Vec<Axis>,
    /// Contiguous summed elements.
    pub(crate) k: Dim,
    /// How the left operand is read.
    pub(crate) left: LeftForm,
    /// How the right operand is read.
    pub(crate) right: RightForm,
    /// Type of the sums.
    pub(crate) accumulator: DType,
    /// The value that the sums are.
    pub(crate) anchor: ValueId,
    /// The value that is stored.
    pub(crate) root: ValueId,
    /// Where in the value a sum stands.
    pub(crate) index: ResultIndex,
    /// Whether each channel is summed over a window of its own, of few taps.
    pub(crate) depthwise: bool,
}

/// How a left operand is made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeftForm {
    /// Read where it lies.
    InPlace(View),
    /// Copied by a step.
    Copied(Copied),
}

/// A copy of a value in memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The value.
    pub value: ValueId,
    /// Its axes, the outermost first.
    pub order: Vec<usize>,
    /// What is around it, with axes in their own order; nothing where none is asked for.
    pub border: Option<Border>,
    /// The type it is copied to.
    pub dtype: DType,
}

impl Copied {
    /// Elements between neighbours, per axis of the value of some shape.
    pub fn strides(&self, shape: &[Dim]) -> Vec<Dim> {
        let padded = self.border.as_ref().map_or(shape, |border| &border.padded);
        ordered_strides(padded, &self.order)
    }
}

/// How a right operand is made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RightForm {
    /// A constant, packed into panels when the model is compiled.
    Constant(Constant),
    /// Rows read where they lie.
    Rows {
        /// What they lie in.
        base: ValueId,
        offset: Dim,
        batch: Vec<Axis>,
        row_stride: Dim,
    },
    /// Packed into panels by a step.
    Packed {
        value: ValueId,
        roles: AxisRoles,
        /// Independent products that the columns are of, one after the other, besides the batch axes.
        groups: usize,
    },
    /// Copied into rows by a step: with a symbolic number of columns the last panel has no constant width.
    Copied(ValueId, AxisRoles),
    /// Weights of a window that is written out, read by their index; not for panels.
    Written,
}

/// Axes of a constant by job, as (size, stride in elements).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    pub constant: ConstId,
    pub batch: Vec<(usize, usize)>,
    pub sum: Vec<(usize, usize)>,
    pub columns: (usize, usize),
    /// How its numbers lie in panels.
    pub stored: Stored,
}

impl RightForm {
    /// Whether it is read as panels.
    pub const fn is_packed(&self) -> bool {
        matches!(self, RightForm::Constant(_) | RightForm::Packed { .. })
    }
}

/// How a sum's position becomes an index into the value that the sums are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResultIndex {
    /// The batch axes, and those that outer axes and rows together and that columns are made of.
    Product { rows: Vec<Dim>, columns: Vec<Dim> },
    /// The outer axes, those that rows are made of, and channels, so many of each product of the batch.
    Window { rows: Vec<Dim>, columns: Dim },
}

impl Problem {
    /// Its sizes.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            batch: count(&self.batch),
            outer: count(&self.outer),
            rows: self.rows.size.clone(),
            row_stride: self.rows.stride.clone(),
            columns: self.columns.clone(),
            depth: &count(&self.taps) * &self.k,
            runs: count(&self.taps),
            element_bytes: self.accumulator.size() as u64,
            stored: match &self.right {
                RightForm::Constant(constant) if !self.depthwise => constant.stored,
                _ => Stored::plain(self.accumulator),
            },
            packed: self.right.is_packed() || self.depthwise,
            panels: self.right != RightForm::Written,
            depthwise: self.depthwise,
        }
    }
}
