//! MatMul (<https://onnx.ai/onnx/operators/onnx__MatMul.html>) and Gemm
//! (<https://onnx.ai/onnx/operators/onnx__Gemm.html>, opsets 6 on).

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Op, ValueId};

/// numpy's `matmul`.
pub fn matmul(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let out = ctx.dtype(a);
    Ok(vec![matmul_of(ctx, a, b, out)?])
}

/// numpy's `matmul` with results of type `out`: leading axes are batches and broadcast, vectors lack an axis.
pub(crate) fn matmul_of(ctx: &mut Context, mut a: ValueId, mut b: ValueId, out: DType) -> Result<ValueId> {
    let (rank_a, rank_b) = (ctx.rank(a), ctx.rank(b));
    if rank_a == 0 || rank_b == 0 {
        return Err(invalid("an operand is a scalar"));
    }
    let (batch_a, batch_b) = (rank_a.saturating_sub(2), rank_b.saturating_sub(2));
    let batches = batch_a.max(batch_b);
    // A batch axis of size 1 beside another size is dropped: the contraction then has the other's as a free axis.
    let (mut drop_a, mut drop_b) = (vec![], vec![]);
    for i in 0..batches {
        let at = |batch: usize| (i + batch).checked_sub(batches);
        if let (Some(l), Some(r)) = (at(batch_a), at(batch_b)) {
            let (l_size, r_size) = (ctx.dim(a, l), ctx.dim(b, r));
            if l_size.is_const(1) && !r_size.is_const(1) {
                drop_a.push(l);
            } else if r_size.is_const(1) && !l_size.is_const(1) {
                drop_b.push(r);
            } else if l_size != r_size {
                let wide = ctx.wider(&l_size, &r_size)?;
                (a, b) = (ctx.widen(a, l, &wide)?, ctx.widen(b, r, &wide)?);
            }
        }
    }
    let a = ctx.squeeze(a, &drop_a)?;
    let b = ctx.squeeze(b, &drop_b)?;
    // Where each batch axis went; positions after dropping.
    let place = |i: usize, batch: usize, dropped: &[usize]| {
        let axis = (i + batch).checked_sub(batches).filter(|axis| !dropped.contains(axis))?;
        Some(axis - dropped.iter().filter(|d| **d < axis).count())
    };
    let batch_axes: Vec<(Option<usize>, Option<usize>)> =
        (0..batches).map(|i| (place(i, batch_a, &drop_a), place(i, batch_b, &drop_b))).collect();
    let pairs: Vec<(usize, usize)> = batch_axes.iter().filter_map(|&(l, r)| Some((l?, r?))).collect();
    let (inner_a, inner_b) = (ctx.rank(a) - 1, ctx.rank(b).saturating_sub(2));
    let product = ctx.one(Op::Contract { batch: pairs.clone(), contract: vec![(inner_a, inner_b)], out }, &[a, b])?;
    // The result has the pairs, then a's free axes, then b's; numpy wants the batches in order, then rows, columns.
    let free = |count: usize, pairs: &[usize], inner: usize| -> Vec<usize> {
        (0..count).filter(|axis| !pairs.contains(axis) && *axis != inner).collect()
    };
    let left: Vec<usize> = pairs.iter().map(|p| p.0).collect();
    let right: Vec<usize> = pairs.iter().map(|p| p.1).collect();
    let free_a = free(ctx.rank(a), &left, inner_a);
    let free_b = free(ctx.rank(b), &right, inner_b);
    let position = |list: &[usize], axis: usize| list.iter().position(|&a| a == axis).unwrap_or(0);
    let mut perm: Vec<usize> = vec![];
    for &(l, r) in &batch_axes {
        match (l, r) {
            (Some(l), Some(_)) => perm.push(position(&left, l)),
            (Some(l), None) => perm.push(pairs.len() + position(&free_a, l)),
            (None, Some(r)) => perm.push(pairs.len() + free_a.len() + position(&free_b, r)),
            (None, None) => {}
        }
    }
    for axis in 0..ctx.rank(product) {
        if !perm.contains(&axis) {
            perm.push(axis);
        }
    }
    ctx.transpose(product, &perm)
}

/// `alpha * A * B + beta * C`, with A and B transposed on request.
pub fn gemm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    ctx.require_rank(a, 2, "A")?;
    ctx.require_rank(b, 2, "B")?;
    let (alpha, beta) = (ctx.float("alpha", 1.0)?, ctx.float("beta", 1.0)?);
    let axis_a = if ctx.flag("transA", false)? { 0 } else { 1 };
    let axis_b = if ctx.flag("transB", false)? { 1 } else { 0 };
    let out = ctx.dtype(a);
    if ctx.opset() < 7 {
        // C is broadcast where it has to be; from opset 7 on without asking.
        ctx.no_effect("broadcast");
    }
    let op = Op::Contract { batch: vec![], contract: vec![(axis_a, axis_b)], out };
    let product = ctx.one(op, &[a, b])?;
    let mut y = scaled(ctx, product, alpha)?;
    if let Some(c) = ctx.optional_input(2)?
        && beta != 0.0
    {
        let c = scaled(ctx, c, beta)?;
        let shape: Vec<Dim> = ctx.shape(y);
        let c = ctx.broadcast_to(c, &shape)?;
        y = ctx.add(y, c)?;
    }
    Ok(vec![y])
}

/// `factor * x`.
pub(crate) fn scaled(ctx: &mut Context, x: ValueId, factor: f32) -> Result<ValueId> {
    if factor == 1.0 {
        return Ok(x);
    }
    if !ctx.dtype(x).is_float() && factor.fract() != 0.0 {
        return Err(unsupported(format!("alpha or beta {factor} of an integer product; use a whole number")));
    }
    ctx.binary_scalar(BinaryOp::Mul, x, factor.into())
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn shapes() {
        for (a, b, result) in [
            ("2 3", "3 4", "f32[2, 4]"),
            ("3", "3 4", "f32[4]"),
            ("2 3", "3", "f32[2]"),
            ("3", "3", "f32[]"),
            ("5 2 3", "3 4", "f32[5, 2, 4]"),
            ("2 3", "5 3 4", "f32[5, 2, 4]"),
            ("5 1 2 3", "7 3 4", "f32[5, 7, 2, 4]"),
            ("1 7 2 3", "5 1 3 4", "f32[5, 7, 2, 4]"),
            ("batch 12 seq 64", "batch 12 64 seq", "f32[batch, 12, seq, seq]"),
            ("5 3 4", "3", "contract: "),
            ("2 3", "4 5", "contract: "),
        ] {
            let sketch = sketch().input("a", Float, a).input("b", Float, b).node("MatMul", "a b -> y").output("y");
            let found = sketch.result_type();
            assert!(found.contains(result), "{a} @ {b}: {found}");
        }
    }
}
