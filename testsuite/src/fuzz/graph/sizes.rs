//! Operations whose result sizes are found in data, and what is made of such sizes.

use nnc_ir::op::ScatterOp;
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use crate::fuzz::onnx::range::Range;

const INDEX: Range = Range::exact(0.0, 5000.0, 0);

/// A value whose elements are the same bits everywhere.
fn exact(b: &mut Builder, dtypes: &[DType], ranks: (usize, usize)) -> Option<ValueId> {
    let x = b.get(dtypes, ranks);
    b.range_of(x).bits.map(|_| x)
}

fn found(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let all = b.graph.ty(x).count();
    let count = b.count(&all);
    b.push(Op::NonZero { count }, &[x], INDEX)
}

pub(super) fn non_zero(b: &mut Builder) -> Option<ValueId> {
    let x = exact(b, &[DType::F32, DType::I64, DType::Bool, DType::U8], (0, 3))?;
    found(b, x)
}

/// The slices for which a condition holds.
pub(super) fn compress(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(1, 3);
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    let c = super::elementwise::condition(b, &dims[axis..=axis])?;
    let found = found(b, c)?;
    let count = b.dims(found)[0].clone();
    let index = b.push(Op::Reshape { shape: vec![count] }, &[found], INDEX)?;
    let range = b.range_of(x);
    b.push(Op::Gather { axis, batch: 0 }, &[x, index], range)
}

pub(super) fn unique(b: &mut Builder) -> Option<ValueId> {
    let x = exact(b, &[DType::F32, DType::I64, DType::I32], (1, 2))?;
    let all = b.graph.ty(x).count();
    let range = b.range_of(x);
    let flat = match b.dims(x).len() {
        1 => x,
        _ => b.push(Op::Reshape { shape: vec![all.clone()] }, &[x], range)?,
    };
    let count = b.count(&all);
    let sorted = b.random.percent(50);
    b.push_all(Op::Unique { sorted, count }, &[flat], &[range, INDEX])?.first().copied()
}

/// Boxes on a grid of integers: their overlaps are ratios of small integers, and far from the threshold.
pub(super) fn non_max_suppression(b: &mut Builder) -> Option<ValueId> {
    let (batch, n, class) = (b.dim(), b.dim(), b.dim());
    let boxes = b.input(DType::F32, vec![batch.clone(), n.clone(), Dim::from(4)], Range::exact(0.0, 8.0, 0));
    let scores = b.input(DType::F32, vec![batch.clone(), class.clone(), n.clone()], Range::exact(-4.0, 4.0, 3));
    let limit = *b.random.of(&[0, 1, 2, 5, 100]);
    let (iou, score) = (*b.random.of(&[0.381_966, 0.618_034]), *b.random.of(&[-8.0, 0.0, 1.0]));
    let upper = &batch * &class * Dim::min(&n, &Dim::from(limit));
    let limit = b.constant(Tensor::scalar_of(DType::I64, limit as f64));
    let thresholds = [iou, score].map(|value| b.constant(Tensor::scalar_of(DType::F32, value)));
    let count = b.count(&upper);
    let center = b.random.percent(50);
    b.push(Op::NonMaxSuppression { center, count }, &[boxes, scores, limit, thresholds[0], thresholds[1]], INDEX)
}

/// Sizes given as data: a symbol of its own, and a value that has it.
pub(super) fn bind(b: &mut Builder) -> Option<ValueId> {
    let (least, most) = *b.random.of(&[(0, 9), (1, 9), (2, 6), (4, 4)]);
    let several = b.random.percent(40);
    let shape = if several { vec![Dim::from(2)] } else { vec![] };
    let sizes = b.input(DType::I64, shape, Range::exact(least as f64, most as f64, 0));
    let most = if b.random.percent(85) { most } else { i64::MAX };
    let upper = (most < i64::MAX && b.random.percent(50)).then(|| Dim::from(most));
    let symbols: Vec<_> =
        (0..1 + usize::from(several)).map(|_| b.unknown("size", (least, most), upper.clone(), 9)).collect();
    let shape: Vec<Dim> = symbols.iter().map(|&s| Dim::sym(s)).collect();
    b.push_all(Op::BindDims { symbols }, &[sizes], &[])?;
    let dtype = *b.random.of(&[DType::F32, DType::I64]);
    let axis = b.random.below(shape.len());
    b.push(Op::Iota { dtype, shape, axis }, &[], Range::exact(0.0, 9.0, 0))
}

/// Elements read and written where an operand is not zero.
pub(super) fn scatter_found(b: &mut Builder) -> Option<ValueId> {
    let c = exact(b, &[DType::F32, DType::I64, DType::Bool], (1, 3))?;
    let dims = b.dims(c);
    let like = |b: &Builder, v: ValueId| b.dtype(v) == b.float && b.graph.shape(v) == dims;
    let (x, y) = (b.pick(like)?, b.pick(like)?);
    let index = found(b, c)?;
    let range = b.range_of(y);
    let updates = b.push(Op::GatherNd { batch: 0 }, &[y, index], range)?;
    let op = *b.random.of(&[ScatterOp::Replace, ScatterOp::Add, ScatterOp::Mul, ScatterOp::Max, ScatterOp::Min]);
    let old = b.range_of(x);
    let range = match op {
        ScatterOp::Add => old.plus(range).or(old),
        ScatterOp::Mul => old.times(range).or(old),
        _ => old.or(range),
    };
    b.push(Op::ScatterNd(op), &[x, index, updates], range)
}
