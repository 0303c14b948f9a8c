//! `nonzero`, `non_max_suppression`, `bind_dims`: operations that define symbols from data.
//!
//! Source: the ONNX operators `NonZero` and `NonMaxSuppression`,
//! <https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>; areas and overlap as ONNX Runtime's
//! `SuppressByIOU` computes them, in `f32`.

use crate::env::Env;
use crate::error::{Eval, unfit};
use crate::values::{Values, advance, allocatable, floats, ints, load, scalar_float, scalar_int, typed};
use nnc_ir::{DType, Symbol, Tensor};

pub(super) fn nonzero(x: &Tensor, symbol: Symbol, env: &mut Env) -> Eval<Tensor> {
    let set: Vec<bool> = match load(x) {
        Values::Float(v) => v.into_iter().map(|v| v != 0.0).collect(),
        Values::Int(v) => v.into_iter().map(|v| v != 0).collect(),
    };
    let found = set.iter().filter(|&&s| s).count();
    env.define(symbol, found as i64)?;
    let shape = vec![found, x.shape.len()];
    allocatable(DType::I64, &shape)?;
    let mut at = vec![0; x.shape.len()];
    let mut out: Vec<i64> = vec![];
    for s in set {
        if s {
            out.extend(at.iter().map(|&i| i as i64));
        }
        advance(&mut at, &x.shape);
    }
    Ok(typed(DType::I64, shape, out))
}

pub(super) fn bind_dims(sizes: &Tensor, symbols: &[Symbol], env: &mut Env) -> Eval<()> {
    let values = ints(sizes);
    if !sizes.dtype.is_int() || sizes.shape.len() > 1 || values.len() != symbols.len() {
        return Err(unfit(format!("{} {:?} for {} dimensions", sizes.dtype, sizes.shape, symbols.len())));
    }
    symbols.iter().zip(values).try_for_each(|(&symbol, value)| env.define(symbol, value))
}

/// Two corners, lower before upper.
#[derive(Clone, Copy)]
struct Rect {
    y: (f32, f32),
    x: (f32, f32),
}

impl Rect {
    fn new(v: &[f64], center: bool) -> Rect {
        let v: [f32; 4] = std::array::from_fn(|i| v[i] as f32);
        let ordered = |a: f32, b: f32| (a.min(b), a.max(b));
        let around = |center: f32, size: f32| (center - size / 2.0, center + size / 2.0);
        if center {
            Rect { y: around(v[1], v[3]), x: around(v[0], v[2]) }
        } else {
            Rect { y: ordered(v[0], v[2]), x: ordered(v[1], v[3]) }
        }
    }

    fn area(self) -> f32 {
        (self.y.1 - self.y.0) * (self.x.1 - self.x.0)
    }

    /// Whether intersection over union exceeds the threshold; boxes without area overlap nothing.
    fn overlaps(self, other: Rect, threshold: f32) -> bool {
        let height = self.y.1.min(other.y.1) - self.y.0.max(other.y.0);
        let width = self.x.1.min(other.x.1) - self.x.0.max(other.x.0);
        if height <= 0.0 || width <= 0.0 {
            return false;
        }
        let intersection = height * width;
        let union = self.area() + other.area() - intersection;
        self.area() > 0.0 && other.area() > 0.0 && union > 0.0 && intersection / union > threshold
    }
}

pub(super) fn non_max_suppression(
    [boxes, scores, max_per_class, iou, score]: [&Tensor; 5],
    center: bool,
    symbol: Symbol,
    env: &mut Env,
) -> Eval<Tensor> {
    let (&[batches, n, 4], &[score_batches, classes, score_n]) = (boxes.shape.as_slice(), scores.shape.as_slice())
    else {
        return Err(unfit(format!("boxes {:?} with scores {:?}", boxes.shape, scores.shape)));
    };
    if batches != score_batches || n != score_n || !boxes.dtype.is_float() || !scores.dtype.is_float() {
        return Err(unfit(format!("boxes {:?} with scores {:?}", boxes.shape, scores.shape)));
    }
    let limit = usize::try_from(scalar_int(max_per_class)?).unwrap_or(0);
    let (iou, threshold) = (scalar_float(iou)?, scalar_float(score)?);
    let (boxes, scores) = (floats(boxes), floats(scores));
    let mut selected: Vec<i64> = vec![];
    // Without a box a class is empty, however many there are.
    let lists = if n == 0 { 0 } else { batches * classes };
    for list in 0..lists {
        let (batch, class) = (list / classes, list % classes);
        let scores = &scores[list * n..(list + 1) * n];
        let rect = |i: usize| Rect::new(&boxes[(batch * n + i) * 4..][..4], center);
        let mut candidates: Vec<usize> = (0..n).filter(|&i| scores[i] > threshold).collect();
        // Stable: of equal scores the lower index comes first. None is NaN, having passed the filter.
        candidates.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(std::cmp::Ordering::Equal));
        let mut kept: Vec<usize> = vec![];
        for i in candidates {
            if kept.len() >= limit {
                break;
            }
            if !kept.iter().any(|&k| rect(i).overlaps(rect(k), iou as f32)) {
                kept.push(i);
                selected.extend([batch as i64, class as i64, i as i64]);
            }
        }
    }
    let count = selected.len() / 3;
    env.define(symbol, count as i64)?;
    Ok(typed(DType::I64, vec![count, 3], selected))
}
