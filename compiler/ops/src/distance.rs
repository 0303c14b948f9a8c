//! CDist (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): distances between all pairs of rows.

use crate::context::Context;
use crate::error::{Result, unsupported};
use nnc_ir::op::{ReduceOp, UnaryOp};
use nnc_ir::{Op, ValueId};

/// Distances, or their squares. Differences are squared, for the difference of squares cancels where rows are near.
pub fn cdist(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let root = match ctx.string("metric", "sqeuclidean")?.as_str() {
        "euclidean" => true,
        "sqeuclidean" => false,
        other => return Err(unsupported(format!("metric `{other}` is not supported; use euclidean or sqeuclidean"))),
    };
    ctx.require_rank(a, 2, "A")?;
    ctx.require_rank(b, 2, "B")?;
    let shape = vec![ctx.dim(a, 0), ctx.dim(b, 0), ctx.dim(a, 1)];
    let a = ctx.one(Op::Broadcast { shape: shape.clone(), axes: vec![0, 2] }, &[a])?;
    let b = ctx.one(Op::Broadcast { shape, axes: vec![1, 2] }, &[b])?;
    let apart = ctx.sub(a, b)?;
    let squares = ctx.mul(apart, apart)?;
    let sum = ctx.reduce(ReduceOp::Sum, squares, &[2], false)?;
    Ok(vec![if root { ctx.unary(UnaryOp::Sqrt, sum)? } else { sum }])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn metrics() {
        let x = sketch().given("a", &[2, 2], &[0.0f32, 0.0, 3.0, 4.0]).given("b", &[1, 2], &[0.0f32, 0.0]);
        let node = |metric: &str| {
            let node = x.clone().node("CDist", "a b -> y").domain("com.microsoft").string("metric", metric);
            node.output("y").run()
        };
        assert_eq!(node("euclidean"), "f32[2, 1] 0 5");
        assert_eq!(node("sqeuclidean"), "f32[2, 1] 0 25");
        assert!(node("cosine").contains("use euclidean"));
    }
}
