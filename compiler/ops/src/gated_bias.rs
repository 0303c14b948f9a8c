//! GatedRelativePositionBias of `com.microsoft`
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>), as WavLM has it: a bias of attention
//! that each query scales by two gates. Tokens without padding between them (`token_offset`) are not supported.

use crate::context::Context;
use crate::emit::roomy;
use crate::error::{Result, invalid, unfit, unsupported};
use crate::matmul::matmul_of;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{Dim, ValueId};

/// `[batch, heads, queries, keys]`: the bias times `u (r a - 1) + 2`, where `u` and `r` are gates of each query and head.
pub fn gated_relative_position_bias(ctx: &mut Context) -> Result<Vec<ValueId>> {
    if ctx.has_input(6) {
        return Err(unsupported("token_offset is not supported; hand the tokens over with their padding"));
    }
    let heads = ctx.int("num_heads", 0)?;
    let query = ctx.input(0)?;
    ctx.require_rank(query, 3, "query_layer")?;
    let dtype = ctx.dtype(query);
    let mut operands = vec![];
    for index in 0..6 {
        let operand = ctx.input(index)?;
        operands.push(roomy(ctx, operand)?);
    }
    let &[query, query_bias, relative, weight, bias, scale] = &operands[..] else { return Err(invalid("no inputs")) };
    let hidden = ctx.dim(query, 2);
    let size = hidden.div_exact(&Dim::from(heads)).filter(|_| heads > 0);
    let size = size.ok_or_else(|| {
        unfit([&hidden], format_args!("query_layer {} does not split into {heads} heads", ctx.show(query)))
    })?;
    let query = ctx.add(query, query_bias)?;
    let split = [ctx.dim(query, 0), ctx.dim(query, 1), Dim::from(heads), size];
    let query = ctx.reshape(query, &split)?;
    let query = ctx.transpose(query, &[0, 2, 1, 3])?;
    let projected = matmul_of(ctx, query, weight, ctx.dtype(query))?;
    let projected = ctx.add(projected, bias)?;
    // The first half of the columns is summed up to one gate, the second to the other.
    let mut shape = ctx.shape(projected);
    let columns = ctx.dim(projected, 3);
    let half = columns.div_exact(&Dim::from(2));
    let half = half.ok_or_else(|| unfit([&columns], format_args!("weight {} has no two halves", ctx.show(weight))))?;
    shape.truncate(3);
    shape.extend([Dim::from(2), half]);
    let halves = ctx.reshape(projected, &shape)?;
    let gates = ctx.reduce(ReduceOp::Sum, halves, &[4], false)?;
    let gates = ctx.unary(UnaryOp::Sigmoid, gates)?;
    let update = ctx.slice_axis(gates, 3, Dim::ZERO, Dim::ONE)?;
    let reset = ctx.slice_axis(gates, 3, Dim::ONE, Dim::ONE)?;
    let factor = ctx.mul(reset, scale)?;
    let factor = ctx.binary_scalar(BinaryOp::Sub, factor, 1.0)?;
    let factor = ctx.mul(update, factor)?;
    let factor = ctx.binary_scalar(BinaryOp::Add, factor, 2.0)?;
    let y = ctx.mul(factor, relative)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    /// One row, two queries, two heads of size 1, four columns.
    fn model(heads: i64) -> Sketch {
        let x = sketch().given("q", &[1, 2, 2], &[1.0f32, -2.0, 0.5, 3.0]).floats("qb", &[2], &[0.25, -0.5]);
        let x = x.given("r", &[1, 2, 2, 2], &[1.0f32, 2.0, 3.0, 4.0, -1.0, -2.0, -3.0, -4.0]);
        let x = x.floats("w", &[1, 4], &[0.5, -1.0, 2.0, 0.25]).floats("b", &[4], &[0.1, 0.2, -0.3, 0.0]);
        let x = x.floats("a", &[1, 2, 1, 1], &[1.5, -0.5]);
        let x = x.node("GatedRelativePositionBias", "q qb r w b a -> y").domain("com.microsoft");
        x.int("num_heads", heads).output("y")
    }

    #[test]
    fn gates() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut expected = vec![];
        for (queries, a, sign) in [([1.25, 0.75], 1.5, 1.0), ([-2.5, 2.5], -0.5, -1.0)] {
            for (i, q) in queries.into_iter().enumerate() {
                let u = sigmoid(q * (0.5 - 1.0) + 0.3);
                let r = sigmoid(q * 2.25 - 0.3);
                let factor = u * (r * a - 1.0) + 2.0;
                expected.extend([1.0, 2.0].map(|k: f64| sign * (2.0 * i as f64 + k) * factor));
            }
        }
        let found = model(2).run();
        let found: Vec<f64> = found.split(' ').skip(4).map(|v| v.parse().unwrap()).collect();
        assert_eq!(found.len(), 8);
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-3), "{found:?} {expected:?}");
        assert!(model(3).run().contains("does not split into 3 heads"));
    }
}
