//! Range (<https://onnx.ai/onnx/operators/onnx__Range.html>, `stash_type` from opset 27 on).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// `start + i * delta` below `limit`.
pub fn range(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let stash = ctx.int("stash_type", 1)?;
    let mut scalars = vec![];
    for i in 0..3 {
        // ONNX Runtime's operator of the name may do without the last.
        let scalar = match ctx.optional_input(i)? {
            None if i == 2 => ctx.scalar(ctx.dtype(scalars[0]), 1.0),
            _ => ctx.input(i)?,
        };
        scalars.push(ctx.reshape(scalar, &[])?);
    }
    let (start, limit, delta) = (scalars[0], scalars[1], scalars[2]);
    let dtype = ctx.dtype(start);
    let count = match count(ctx, start, limit, delta)? {
        Some(count) => count,
        None => {
            let count = count_at_run_time(ctx, start, limit, delta)?;
            let stated = ctx.stated_dim(0, 0);
            ctx.bind_dim(count, stated, None)?
        }
    };
    let inner = if stash == 1 && matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
    let (start, delta) = (ctx.convert(start, inner)?, ctx.convert(delta, inner)?);
    let index = ctx.iota(inner, &[count], 0)?;
    let offset = if ctx.constant_scalar(delta) == Some(1.0) { index } else { ctx.mul(index, delta)? };
    let y = if ctx.constant_scalar(start) == Some(0.0) { offset } else { ctx.add(offset, start)? };
    Ok(vec![ctx.convert(y, dtype)?])
}

/// The number of elements, when it is known at compile time.
fn count(ctx: &mut Context, start: ValueId, limit: ValueId, delta: ValueId) -> Result<Option<Dim>> {
    if ctx.dtype(start).is_float() {
        let scalars = [start, limit, delta].map(|v| ctx.constant_scalar(v));
        let [Some(start), Some(limit), Some(delta)] = scalars else { return Ok(None) };
        let count = ((limit - start) / delta).ceil().max(0.0);
        return if delta != 0.0 && count < (1u64 << 40) as f64 {
            Ok(Some(Dim::from(count as i64)))
        } else {
            Err(invalid(format!("a range from {start} to {limit} in steps of {delta} has no end")))
        };
    }
    let scalars = [start, limit, delta].map(|v| ctx.symbolic(v)?.pop());
    let [Some(start), Some(limit), Some(delta)] = scalars else { return Ok(None) };
    let (span, stride) = match delta.as_const() {
        Some(0) => return Err(invalid("delta is 0")),
        Some(d) if d > 0 => (limit - start, d),
        Some(d) if d > i64::MIN => (start - limit, -d),
        _ => return Ok(None),
    };
    let count = (span + (stride - 1)).floor_div(&Dim::from(stride));
    Ok(Some(Dim::max(&count, &Dim::ZERO).simplify(ctx.dims())))
}

/// `max(ceil((limit - start) / delta), 0)`.
fn count_at_run_time(ctx: &mut Context, start: ValueId, limit: ValueId, delta: ValueId) -> Result<ValueId> {
    let dtype = ctx.dtype(start);
    let inner = if dtype.is_float() { DType::F64 } else { DType::I64 };
    let (start, limit) = (ctx.convert(start, inner)?, ctx.convert(limit, inner)?);
    let delta = ctx.convert(delta, inner)?;
    let span = ctx.sub(limit, start)?;
    let count = if dtype.is_float() {
        let quotient = ctx.div(span, delta)?;
        let count = ctx.unary(UnaryOp::Ceil, quotient)?;
        ctx.convert(count, DType::I64)?
    } else {
        // Division truncates; one more where a remainder points the same way as delta.
        let quotient = ctx.div(span, delta)?;
        let rest = ctx.binary(BinaryOp::Rem, span, delta)?;
        let product = ctx.binary(BinaryOp::Xor, rest, delta)?;
        let same_sign = ctx.binary_scalar(BinaryOp::Ge, product, 0.0)?;
        let some = ctx.binary_scalar(BinaryOp::Ne, rest, 0.0)?;
        let more = ctx.binary(BinaryOp::And, same_sign, some)?;
        let more = ctx.convert(more, DType::I64)?;
        ctx.add(quotient, more)?
    };
    ctx.binary_scalar(BinaryOp::Max, count, 0.0)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        for (start, limit, delta, expected) in
            [(3i64, 9, 3, "i64[2] 3 6"), (10, 4, -2, "i64[3] 10 8 6"), (0, 5, 2, "i64[3] 0 2 4"), (5, 0, 1, "i64[0]")]
        {
            let known = sketch().ints("s", &[], &[start]).ints("l", &[], &[limit]).ints("d", &[], &[delta]);
            assert_eq!(known.node("Range", "s l d -> y").output("y").run(), expected);
            let run = sketch().given("s", &[], &[start]).given("l", &[], &[limit]).given("d", &[], &[delta]);
            assert_eq!(run.node("Range", "s l d -> y").output("y").run(), expected);
        }
        let floats = sketch().given("s", &[], &[1.0f32]).given("l", &[], &[2.0f32]).given("d", &[], &[0.3f32]);
        assert_eq!(floats.node("Range", "s l d -> y").output("y").run(), "f32[4] 1 1.3 1.6 1.9");
        let endless = sketch().ints("s", &[], &[0]).ints("l", &[], &[1]).ints("d", &[], &[0]);
        assert!(endless.node("Range", "s l d -> y").output("y").run().contains("delta is 0"));
    }
}
