//! Sequences of a length, or of sizes, that only the run knows.
//!
//! Such a sequence is its elements end to end, `T[total]`, and the shape of each, `dims: i64[n, r]`; all have the same
//! number of axes. Element `i` begins behind as many numbers as those before it have: the running sum of the products of
//! `dims`. What is known of an axis of all elements is kept beside, so that an element has the sizes it is known to have.
//!
//! `dims` may come from a caller. Every size is bound within bounds and every element lies in `T[total]`, or the run fails.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::item::{Item, Kind};
use crate::scope::Compound;
use crate::sequence::Sequence;
use crate::strings::{Runs, Strings};
use nnc_ir::op::{BinaryOp, ReduceOp, Relation};
use nnc_ir::{DType, Dim, Op, Tensor, TensorType, ValueId};

/// A packed sequence.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    /// The elements end to end, a tensor of rank 1.
    pub elements: Box<Item>,
    /// The shape of each: `i64[n, r]`.
    pub dims: ValueId,
    /// What is known of each axis of the elements.
    pub axes: Vec<Axis>,
}

/// What is known of the size of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// It is this.
    Same(Dim),
    /// It is at most this, where there is such a bound.
    UpTo(Option<Dim>),
}

impl Axis {
    /// The most it can be.
    pub(crate) fn most(&self) -> Option<&Dim> {
        match self {
            Axis::Same(size) => Some(size),
            Axis::UpTo(most) => most.as_ref(),
        }
    }

    /// What is known of an axis that is one or the other.
    pub(crate) fn merged(&self, other: &Axis) -> Axis {
        match self == other {
            true => self.clone(),
            false => Axis::UpTo(self.most().zip(other.most()).map(|(a, b)| a.max(b))),
        }
    }

    /// What is known of it outside of a subgraph.
    pub(crate) fn outside(&self, most: &impl Fn(&Dim) -> Axis) -> Axis {
        match self {
            Axis::Same(size) => most(size),
            Axis::UpTo(Some(size)) => Axis::UpTo(most(size).most().cloned()),
            Axis::UpTo(None) => Axis::UpTo(None),
        }
    }
}

impl Context<'_, '_> {
    /// How many elements a packed sequence has.
    pub(crate) fn packed_length(&self, packed: &Packed) -> Dim {
        self.dim(packed.dims, 0)
    }

    /// A sequence of tensors of `rank` axes, packed.
    pub(crate) fn pack(&mut self, sequence: &Sequence, kind: Kind, rank: usize) -> Result<Packed> {
        let items = match sequence {
            Sequence::Packed(packed) if packed.axes.len() == rank => return Ok(packed.clone()),
            // Files state scalars as the elements of sequences that begin empty.
            Sequence::Packed(packed) => {
                let length = self.packed_length(packed);
                let what = format!("the length of a sequence of elements of rank {}, not {rank},", packed.axes.len());
                self.require(length, Relation::Equal, Dim::ZERO, what)?;
                return self.packed_nothing(kind, rank);
            }
            Sequence::List(_, items) => items,
        };
        let mut axes: Vec<Axis> = vec![];
        for (i, item) in items.iter().enumerate() {
            let shape = self.shape(item.tensor()?);
            if shape.len() != rank {
                return Err(unsupported(format!(
                    "the elements of a sequence have {rank} and {} axes; only those of a sequence of a length known at \
                     compile time may differ in that",
                    shape.len()
                )));
            }
            let own: Vec<Axis> = shape.into_iter().map(Axis::Same).collect();
            axes = if i == 0 { own } else { axes.iter().zip(&own).map(|(a, b)| a.merged(b)).collect() };
        }
        let Some(elements) = self.end_to_end(items)? else {
            return self.packed_nothing(kind, rank);
        };
        let rows = items.iter().map(|item| self.shape_row(item)).collect::<Result<Vec<_>>>()?;
        Ok(Packed { elements: Box::new(elements), dims: self.concat(&rows, 0)?, axes })
    }

    /// A packed sequence of length 0.
    fn packed_nothing(&mut self, kind: Kind, rank: usize) -> Result<Packed> {
        let dtype = match kind {
            Kind::Numbers(dtype) => dtype,
            Kind::Narrow(_) | Kind::Strings => DType::I64,
        };
        let axes = vec![Axis::Same(Dim::ZERO); rank];
        let ty = TensorType::new(dtype, vec![Dim::ZERO]);
        let elements = Box::new(self.empty(&crate::item::Form::Tensor(kind, ty))?);
        Ok(Packed { elements, dims: self.constant(Tensor::from_slice::<i64>(&[0, rank], &[])), axes })
    }

    /// Tensors end to end, as one of rank 1; `None` if there is none.
    fn end_to_end(&mut self, items: &[Item]) -> Result<Option<Item>> {
        let Some(first) = items.first() else { return Ok(None) };
        let (values, like) = self.joined(items, first)?;
        let mut flat = vec![];
        for value in values {
            let count = self.ty(value).count();
            flat.push(self.reshape(value, &[count])?);
        }
        let all = self.concat(&flat, 0)?;
        Ok(Some(like.with_shaped(all)))
    }

    /// The values that say the elements of tensors of one type, and a tensor to put others into the place of.
    pub(crate) fn joined(&mut self, items: &[Item], first: &Item) -> Result<(Vec<ValueId>, Item)> {
        let kind = first.kind(self.graph());
        if items.iter().any(|item| item.kind(self.graph()) != kind) {
            return Err(invalid("the elements of a sequence must be of one type"));
        }
        let strings: Vec<Strings> = items
            .iter()
            .filter_map(|item| match item {
                Item::Compound(Compound::Strings(strings)) => Some(strings.clone()),
                _ => None,
            })
            .collect();
        if strings.is_empty() {
            let values = items.iter().map(Item::tensor).collect::<Result<_>>()?;
            return Ok((values, first.clone()));
        }
        let (numbers, [offsets, bytes]) = self.join_tables(&strings)?;
        let like = Strings { offsets, bytes, ..strings[0].clone() };
        Ok((numbers, Item::Compound(Compound::Strings(like))))
    }

    /// A tensor's shape as a row: `i64[1, r]`.
    fn shape_row(&mut self, item: &Item) -> Result<ValueId> {
        let shape = self.shape(item.tensor()?);
        let row = [Dim::ONE, Dim::from(shape.len())];
        if shape.is_empty() {
            return Ok(self.constant(Tensor::from_slice::<i64>(&[1, 0], &[])));
        }
        let dims = self.dims_vector(shape)?;
        self.reshape(dims, &row)
    }

    /// How many numbers each element has, `i64[n]`.
    fn counts(&mut self, packed: &Packed) -> Result<ValueId> {
        let length = [self.packed_length(packed)];
        if let Some(count) = same_count(&packed.axes) {
            let count = self.dim_scalar(count)?;
            return self.broadcast_to(count, &length);
        }
        self.reduce(ReduceOp::Prod, packed.dims, &[1], false)
    }

    /// Where each element begins, and where the last one ends: `i64[n + 1]`.
    fn starts(&mut self, packed: &Packed) -> Result<ValueId> {
        let counts = self.counts(packed)?;
        let sum = Op::Cumulative { op: ReduceOp::Sum, axis: 0, exclusive: false, reverse: false };
        let ends = self.one(sum, &[counts])?;
        let zero = self.ints_constant(&[0]);
        self.concat(&[zero, ends], 0)
    }

    /// Where the element at a position begins among the numbers; the position may be the length.
    fn start_of(&mut self, packed: &Packed, position: ValueId) -> Result<Dim> {
        if self.constant_scalar(position) == Some(0.0) {
            return Ok(Dim::ZERO);
        }
        let start = match same_count(&packed.axes) {
            Some(count) => {
                let count = self.dim_scalar(count)?;
                self.mul(position, count)?
            }
            None => {
                let starts = self.starts(packed)?;
                self.gather(starts, position)?
            }
        };
        let total = self.dim(packed.elements.tensor()?, 0);
        self.bind_dim(start, None, Some(total))
    }

    /// A position as a scalar, negative ones counted from the end.
    pub(crate) fn packed_position(&mut self, position: ValueId, packed: &Packed) -> Result<ValueId> {
        let position = self.reshape(position, &[])?;
        self.normalize_index(position, &self.packed_length(packed))
    }

    /// One element.
    pub(crate) fn packed_at(&mut self, packed: &Packed, position: ValueId) -> Result<Item> {
        let elements = packed.elements.tensor()?;
        let total = self.dim(elements, 0);
        // Fails where there is no such element.
        let row = self.gather(packed.dims, position)?;
        let mut shape = vec![];
        for (axis, known) in packed.axes.iter().enumerate() {
            shape.push(match known {
                Axis::Same(size) => size.clone(),
                Axis::UpTo(most) => {
                    let most = most.clone().or_else(|| most_of_total(&total, &packed.axes));
                    let size = self.slice_axis(row, 0, Dim::from(axis), Dim::ONE)?;
                    self.bind_dim(size, None, most)?
                }
            });
        }
        let start = self.start_of(packed, position)?;
        let count = shape.iter().fold(Dim::ONE, |n, d| &n * d);
        self.require(&start + &count, Relation::AtMost, total, "the end of an element of a sequence".to_owned())?;
        let part = self.slice_axis(elements, 0, start, count)?;
        let value = self.reshape(part, &shape)?;
        Ok(packed.elements.with_shaped(value))
    }

    /// With one element more, before the one at a position, or at the end.
    pub(crate) fn packed_insert(&mut self, packed: &Packed, item: &Item, position: Option<ValueId>) -> Result<Packed> {
        let shape = self.shape(item.tensor()?);
        let kind = item.kind(self.graph()).ok_or_else(|| invalid("the elements of a sequence must be tensors"))?;
        let packed = &self.pack(&Sequence::Packed(packed.clone()), kind, shape.len())?;
        let own: Vec<Axis> = shape.into_iter().map(Axis::Same).collect();
        let axes = match self.packed_length(packed).is_const(0) {
            true => own,
            false => packed.axes.iter().zip(&own).map(|(a, b)| a.merged(b)).collect(),
        };
        let row = self.shape_row(item)?;
        let Some(position) = position else {
            let elements = self.end_to_end(&[(*packed.elements).clone(), item.clone()])?;
            let elements = elements.map_or_else(|| packed.elements.clone(), Box::new);
            return Ok(Packed { elements, dims: self.concat(&[packed.dims, row], 0)?, axes });
        };
        let [before, after] = self.packed_parts(packed, position, Dim::ZERO)?;
        let elements = self.end_to_end(&[before.0, item.clone(), after.0])?;
        let elements = elements.map_or_else(|| packed.elements.clone(), Box::new);
        Ok(Packed { elements, dims: self.concat(&[before.1, row, after.1], 0)?, axes })
    }

    /// With one element less.
    pub(crate) fn packed_erase(&mut self, packed: &Packed, position: ValueId) -> Result<Packed> {
        let [before, after] = self.packed_parts(packed, position, Dim::ONE)?;
        let elements = self.end_to_end(&[before.0, after.0])?;
        let elements = elements.map_or_else(|| packed.elements.clone(), Box::new);
        Ok(Packed { elements, dims: self.concat(&[before.1, after.1], 0)?, axes: packed.axes.clone() })
    }

    /// Numbers and shapes of the elements before a position, and of those from `skipped` elements behind it on.
    fn packed_parts(&mut self, packed: &Packed, position: ValueId, skipped: Dim) -> Result<[(Item, ValueId); 2]> {
        let (length, elements) = (self.packed_length(packed), packed.elements.tensor()?);
        let total = self.dim(elements, 0);
        let at = self.bind_dim(position, None, Some(length.clone()))?;
        let next = &at + &skipped;
        self.require(next.clone(), Relation::AtMost, length.clone(), "the position in a sequence".to_owned())?;
        let begin = self.start_of(packed, position)?;
        let end = match skipped.is_const(0) {
            true => begin.clone(),
            false => {
                let behind = self.dim_scalar(next.clone())?;
                self.start_of(packed, behind)?
            }
        };
        let before = self.slice_axis(elements, 0, Dim::ZERO, begin)?;
        let after = self.slice_axis(elements, 0, end.clone(), &total - &end)?;
        let rows_before = self.slice_axis(packed.dims, 0, Dim::ZERO, at)?;
        let rows_after = self.slice_axis(packed.dims, 0, next.clone(), &length - &next)?;
        Ok([(packed.elements.with_shaped(before), rows_before), (packed.elements.with_shaped(after), rows_after)])
    }

    /// The sizes that all elements have on the axes that `needed` says; a run in which they differ fails.
    fn common_sizes(&mut self, packed: &Packed, needed: impl Fn(usize) -> bool) -> Result<Vec<Dim>> {
        let unknown = |(axis, known): (usize, &Axis)| needed(axis) && matches!(known, Axis::UpTo(_));
        let mut sizes: Vec<Dim> = packed.axes.iter().map(|axis| axis.most().cloned().unwrap_or(Dim::ZERO)).collect();
        if !packed.axes.iter().enumerate().any(unknown) {
            return Ok(sizes);
        }
        let total = self.dim(packed.elements.tensor()?, 0);
        let [least, greatest] = [ReduceOp::Min, ReduceOp::Max].map(|op| self.reduce(op, packed.dims, &[0], false));
        let (least, greatest) = (least?, greatest?);
        for (axis, known) in packed.axes.iter().enumerate().filter(|&(axis, known)| unknown((axis, known))) {
            let most = known.most().cloned().or_else(|| most_of_total(&total, &packed.axes));
            let [low, high] = [least, greatest].map(|row| self.slice_axis(row, 0, Dim::from(axis), Dim::ONE));
            let (low, high) = (low?, high?);
            let size = self.bind_dim(high, None, most)?;
            let other = self.bind_dim(low, None, Some(size.clone()))?;
            self.require(other, Relation::Equal, size.clone(), format!("axis {axis} of an element of a sequence"))?;
            sizes[axis] = size;
        }
        Ok(sizes)
    }

    /// The elements stacked along a new axis.
    pub(crate) fn packed_stack(&mut self, packed: &Packed, axis: usize) -> Result<Item> {
        let mut shape = self.common_sizes(packed, |_| true)?;
        shape.insert(0, self.packed_length(packed));
        let value = self.all_of(packed, &shape)?;
        let stacked = self.move_axis(value, 0, axis)?;
        Ok(packed.elements.with_shaped(stacked))
    }

    /// All numbers in a shape of as many.
    fn all_of(&mut self, packed: &Packed, shape: &[Dim]) -> Result<ValueId> {
        let elements = packed.elements.tensor()?;
        let count = shape.iter().fold(Dim::ONE, |n, d| &n * d);
        let total = self.dim(elements, 0);
        self.require(count.clone(), Relation::Equal, total, "the elements of a sequence together".to_owned())?;
        let all = self.slice_axis(elements, 0, Dim::ZERO, count)?;
        self.reshape(all, shape)
    }

    /// The elements one after the other along an axis.
    pub(crate) fn packed_concat(&mut self, packed: &Packed, axis: usize) -> Result<Item> {
        let mut shape = self.common_sizes(packed, |other| other != axis)?;
        let length = self.packed_length(packed);
        let total = self.dim(packed.elements.tensor()?, 0);
        let sizes = match &packed.axes[axis] {
            Axis::Same(size) => {
                let size = self.dim_scalar(size.clone())?;
                self.broadcast_to(size, std::slice::from_ref(&length))?
            }
            Axis::UpTo(_) => {
                let column = self.slice_axis(packed.dims, 1, Dim::from(axis), Dim::ONE)?;
                self.squeeze(column, &[1])?
            }
        };
        let most = match &packed.axes[axis] {
            Axis::Same(size) => size * &length,
            Axis::UpTo(most) => match most_of_total(&total, &packed.axes) {
                Some(most) => most,
                None => most.as_ref().map_or(Dim::from(i64::MAX), |most| most * &length),
            },
        };
        let runs = self.runs(sizes, most)?;
        shape[axis] = self.dim(runs.of, 0);
        if axis == 0 {
            let value = self.all_of(packed, &shape)?;
            return Ok(packed.elements.with_shaped(value));
        }
        let index = self.lay_end_to_end(&runs, &shape, axis)?;
        let value = self.gather(packed.elements.tensor()?, index)?;
        Ok(packed.elements.with_shaped(value))
    }

    /// For each element of a tensor of that shape, whose axis is cut into runs, where it lies among the parts end to end.
    fn lay_end_to_end(&mut self, runs: &Runs, shape: &[Dim], axis: usize) -> Result<ValueId> {
        let before = shape[..axis].iter().fold(Dim::ONE, |n, d| &n * d);
        let after = shape[axis + 1..].iter().fold(Dim::ONE, |n, d| &n * d);
        // Part `e` begins behind all of the parts before it, and has `before` times its size rows of `after`.
        let [begins, ends] = self.neighbours(runs.offsets)?;
        let sizes = self.sub(ends, begins)?;
        let (begin, size) = (self.gather(begins, runs.of)?, self.gather(sizes, runs.of)?);
        let [before_scalar, after_scalar] = [&before, &after].map(|size| self.dim_scalar(size.clone()));
        let (before_scalar, after_scalar) = (before_scalar?, after_scalar?);
        let behind = self.mul(begin, before_scalar)?;
        let place = self.add(behind, runs.within)?;
        let middle = [Dim::ONE, shape[axis].clone(), Dim::ONE];
        let (place, size) = (self.reshape(place, &middle)?, self.reshape(size, &middle)?);
        let wide = [before.clone(), shape[axis].clone(), after.clone()];
        let row = self.iota(DType::I64, &[before, Dim::ONE, Dim::ONE], 0)?;
        let column = self.iota(DType::I64, &[Dim::ONE, Dim::ONE, after], 2)?;
        let rows = self.mul(row, size)?;
        let line = self.add(rows, place)?;
        let line = self.mul(line, after_scalar)?;
        let index = self.add(line, column)?;
        let index = self.broadcast_to(index, &wide)?;
        self.reshape(index, shape)
    }

    /// The parts of a tensor along an axis, of these sizes, `i64[n]`, which together are all of it.
    pub(crate) fn packed_split(&mut self, x: &Item, axis: usize, sizes: ValueId) -> Result<Packed> {
        let value = x.tensor()?;
        let (shape, length) = (self.shape(value), self.dim(sizes, 0));
        let runs = self.runs(sizes, shape[axis].clone())?;
        let found = self.dim(runs.of, 0);
        self.require(found, Relation::Equal, shape[axis].clone(), "the sizes of the parts together".to_owned())?;
        let count = [self.ty(value).count()];
        let elements = match axis {
            0 => self.reshape(value, &count)?,
            _ => {
                // Where each number goes, turned into which one comes there.
                let target = self.lay_end_to_end(&runs, &shape, axis)?;
                let (target, numbers) = (self.reshape(target, &count)?, self.reshape(value, &count)?);
                let ends = self.unsqueeze(target, &[1])?;
                let op = nnc_ir::op::ScatterOp::Replace;
                self.one(Op::ScatterNd(op), &[numbers, ends, numbers])?
            }
        };
        let mut columns = vec![];
        for (other, size) in shape.iter().enumerate() {
            let size = if other == axis { sizes } else { self.dim_scalar(size.clone())? };
            let column = self.broadcast_to(size, std::slice::from_ref(&length))?;
            columns.push(self.unsqueeze(column, &[1])?);
        }
        let axes = shape.iter().enumerate().map(|(other, size)| match other == axis {
            true => Axis::UpTo(Some(size.clone())),
            false => Axis::Same(size.clone()),
        });
        let axes = axes.collect();
        let dims = self.concat(&columns, 1)?;
        Ok(Packed { elements: Box::new(x.with_shaped(elements)), dims, axes })
    }

    /// The slices of a tensor along an axis, which they do not have any more unless it is kept.
    pub(crate) fn packed_slices(&mut self, x: &Item, axis: usize, keep: bool) -> Result<Packed> {
        let value = x.tensor()?;
        let first = self.move_axis(value, axis, 0)?;
        let (mut shape, count) = (self.shape(value), self.ty(value).count());
        let elements = self.reshape(first, &[count])?;
        let length = shape.remove(axis);
        if keep {
            shape.insert(axis, Dim::ONE);
        }
        let row = self.dims_vector(shape.clone())?;
        let dims = self.broadcast_to(row, &[length, Dim::from(shape.len())])?;
        let axes = shape.into_iter().map(Axis::Same).collect();
        Ok(Packed { elements: Box::new(x.with_shaped(elements)), dims, axes })
    }

    /// The sizes of parts of `size` elements each, the last of which has what is left: `i64[n]`.
    pub(crate) fn even_parts(&mut self, total: &Dim, size: ValueId) -> Result<ValueId> {
        let size = self.convert(size, DType::I64)?;
        let size = self.reshape(size, &[])?;
        let known = self.bind_dim(size, None, None)?;
        self.require(Dim::ONE, Relation::AtMost, known.clone(), "the size of a part".to_owned())?;
        let whole = self.dim_scalar(total.clone())?;
        let all = self.add(whole, size)?;
        let all = self.binary_scalar(BinaryOp::Sub, all, 1.0)?;
        let count = self.div(all, size)?;
        let count = self.bind_dim(count, None, Some(total.clone()))?;
        let place = self.iota(DType::I64, &[count], 0)?;
        let begin = self.mul(place, size)?;
        let left = self.sub(whole, begin)?;
        self.binary(BinaryOp::Min, left, size)
    }
}

/// How many numbers each element has, where that is known.
pub(crate) fn same_count(axes: &[Axis]) -> Option<Dim> {
    axes.iter().try_fold(Dim::ONE, |count, axis| match axis {
        Axis::Same(size) => Some(&count * size),
        Axis::UpTo(_) => None,
    })
}

/// What the one axis whose size is not known can be at most in `total` numbers.
fn most_of_total(total: &Dim, axes: &[Axis]) -> Option<Dim> {
    let mut others = 1i64;
    let mut unknown = 0;
    for axis in axes {
        match axis {
            Axis::Same(size) => others = others.checked_mul(size.as_const()?)?,
            Axis::UpTo(_) => unknown += 1,
        }
    }
    (unknown == 1 && others > 0).then(|| total.floor_div(&Dim::from(others)))
}
