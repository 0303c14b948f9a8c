//! TopK (<https://onnx.ai/onnx/operators/onnx__TopK.html>; `k` as an attribute until opset 9, as an input from 10 on),
//! ArgMax and ArgMin (<https://onnx.ai/onnx/operators/onnx__ArgMax.html>, `select_last_index` from opset 12 on).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::{Dim, Op, ValueId};

/// The `k` largest or smallest elements along an axis, and where they are.
pub fn top_k(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axis = ctx.int("axis", -1)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let largest = ctx.flag("largest", true)?;
    // Sorted results are allowed where any order is.
    ctx.no_effect("sorted");
    let size = ctx.dim(x, axis);
    let k = if ctx.opset() < 10 {
        let k = ctx.optional_int("k")?.ok_or_else(|| invalid("attribute `k` is missing"))?;
        Dim::from(k)
    } else {
        let k = ctx.input(1)?;
        let k = ctx.convert(k, nnc_ir::DType::I64)?;
        let stated = ctx.stated_dim(0, axis);
        ctx.bind_dim(k, stated, Some(size))?
    };
    if k.as_const().is_some_and(|k| k < 0) {
        return Err(invalid(format!("k is {k}")));
    }
    ctx.push(Op::TopK { axis, k, largest }, &[x])
}

fn arg_reduce(ctx: &mut Context, max: bool) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let keep = ctx.flag("keepdims", true)?;
    let last = ctx.flag("select_last_index", false)?;
    let index = ctx.one(Op::ArgReduce { axis, max, last }, &[x])?;
    Ok(vec![if keep { ctx.unsqueeze(index, &[axis])? } else { index }])
}

/// Where the largest element along an axis is.
pub fn arg_max(ctx: &mut Context) -> Result<Vec<ValueId>> {
    arg_reduce(ctx, true)
}

/// Where the smallest element along an axis is.
pub fn arg_min(ctx: &mut Context) -> Result<Vec<ValueId>> {
    arg_reduce(ctx, false)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let x = || sketch().given("x", &[5], &[3.0f32, 1.0, 4.0, 1.0, 5.0]);
        assert_eq!(x().ints("k", &[1], &[2]).node("TopK", "x k -> v i").output("v").run(), "f32[2] 5 4");
        let least = x().given("k", &[1], &[3i64]).node("TopK", "x k -> v i").int("largest", 0);
        assert_eq!(least.output("i").run(), "i64[3] 1 3 0");
        assert_eq!(x().node("ArgMin", "x -> y").int("select_last_index", 1).output("y").run(), "i64[1] 3");
        assert!(x().ints("k", &[1], &[9]).node("TopK", "x k -> v i").output("v").run().contains("k = 9 exceeds"));
    }
}
