//! NonMaxSuppression (<https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>), opsets 10 on.

use crate::context::Context;
use crate::error::Result;
use nnc_ir::{DType, Dim, Op, ValueId};

/// The boxes kept, as rows (batch, class, box).
pub fn non_max_suppression(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (boxes, scores) = (ctx.input(0)?, ctx.input(1)?);
    ctx.require_rank(boxes, 3, "the boxes")?;
    ctx.require_rank(scores, 3, "the scores")?;
    let center = ctx.flag("center_point_box", false)?;
    // Without a limit nothing is selected; without a score threshold no box is left out for its score.
    let limit = scalar(ctx, 2, DType::I64, 0.0)?;
    let iou = scalar(ctx, 3, DType::F32, 0.0)?;
    let score = scalar(ctx, 4, DType::F32, f64::NEG_INFINITY)?;
    let boxes = ctx.convert(boxes, DType::F32)?;
    let scores = ctx.convert(scores, DType::F32)?;
    let mut most = ctx.dim(scores, 2);
    if let Some(limit) = ctx.constant_scalar(limit) {
        most = Dim::min(&most, &Dim::from((limit as i64).max(0)));
    }
    let upper = (ctx.dim(scores, 0) * ctx.dim(scores, 1) * most).simplify(ctx.dims());
    let bound = upper.bounds(ctx.dims()).1;
    let count = ctx.fresh_dim("selected", (0, bound), Some(upper));
    Ok(vec![ctx.one(Op::NonMaxSuppression { center, count }, &[boxes, scores, limit, iou, score])?])
}

fn scalar(ctx: &mut Context, index: usize, dtype: DType, default: f64) -> Result<ValueId> {
    match ctx.optional_input(index)? {
        None => Ok(ctx.scalar(dtype, default)),
        Some(value) => {
            let value = ctx.reshape(value, &[])?;
            ctx.convert(value, dtype)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn defaults() {
        let boxes = [0.0f32, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 5.0, 1.0, 6.0];
        for (limit, expected) in [(0, "i64[0, 3]"), (1, "i64[1, 3] 0 0 0"), (9, "i64[2, 3] 0 0 0 0 0 2")] {
            let sketch = sketch().given("b", &[1, 3, 4], &boxes).given("s", &[1, 1, 3], &[-1.0f32, -2.0, -3.0]);
            let sketch = sketch.ints("k", &[1], &[limit]).node("NonMaxSuppression", "b s k -> y").output("y");
            assert_eq!(sketch.run(), expected);
        }
    }

    #[test]
    fn the_count_is_bounded() {
        let boxes = sketch().input("b", Float, "2 10 4").input("s", Float, "2 3 10").ints("k", &[], &[4]);
        let graph = boxes.node("NonMaxSuppression", "b s k -> y").output("y").translate().unwrap();
        let bound = graph.dims.iter().map(|(_, info)| info.max).max();
        assert_eq!(bound, Some(24));
        // As many boxes as scores: the size is 1, and nothing mentions its symbol, the bound neither.
        let sketch = sketch().input("b", Float, "n 1 4").input("s", Float, "n n n").ints("k", &[], &[4]);
        let graph = sketch.node("NonMaxSuppression", "b s k -> y").output("y").translate().unwrap();
        assert!(graph.dims.iter().all(|(_, info)| info.upper.as_ref().is_none_or(|u| u.symbols().is_empty())));
    }
}
