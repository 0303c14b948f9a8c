//! MurmurHash3 (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): the 32-bit variant for x86 by
//! Austin Appleby (<https://github.com/aappleby/smhasher>), of each element's bytes.

use crate::context::Context;
use crate::error::{Result, unsupported};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Op, ValueId};

/// A hash of each element.
pub fn murmur_hash3(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    // Seeds above the range of `i32` come as negative numbers.
    let seed = ctx.int("seed", 0)? as u32;
    let signed = !ctx.flag("positive", true)?;
    let words = words(ctx, x)?;
    let bytes = 4 * words.len();
    let mut hash = ctx.scalar(DType::U32, seed.into());
    for word in words {
        let word = ctx.binary_scalar(BinaryOp::Mul, word, f64::from(0xcc9e_2d51u32))?;
        let word = rotated(ctx, word, 15)?;
        let word = ctx.binary_scalar(BinaryOp::Mul, word, f64::from(0x1b87_3593u32))?;
        hash = ctx.binary(BinaryOp::Xor, word, hash)?;
        hash = rotated(ctx, hash, 13)?;
        hash = ctx.binary_scalar(BinaryOp::Mul, hash, 5.0)?;
        hash = ctx.binary_scalar(BinaryOp::Add, hash, f64::from(0xe654_6b64u32))?;
    }
    hash = ctx.binary_scalar(BinaryOp::Xor, hash, bytes as f64)?;
    for (shift, factor) in [(16, 0x85eb_ca6bu32), (13, 0xc2b2_ae35)] {
        hash = folded(ctx, hash, shift)?;
        hash = ctx.binary_scalar(BinaryOp::Mul, hash, factor.into())?;
    }
    hash = folded(ctx, hash, 16)?;
    Ok(vec![if signed { ctx.one(Op::Bitcast(DType::I32), &[hash])? } else { hash }])
}

/// The words of 32 bits of each element, the lowest first.
fn words(ctx: &mut Context, x: ValueId) -> Result<Vec<ValueId>> {
    let whole = match ctx.dtype(x) {
        DType::U32 => return Ok(vec![x]),
        DType::I32 | DType::F32 => return Ok(vec![ctx.one(Op::Bitcast(DType::U32), &[x])?]),
        DType::U64 => x,
        DType::I64 | DType::F64 => ctx.one(Op::Bitcast(DType::U64), &[x])?,
        other => return Err(unsupported(format!("hashes of {other} are not supported; use numbers of 32 or 64 bits"))),
    };
    let high = ctx.binary_scalar(BinaryOp::Shr, whole, 32.0)?;
    let low = ctx.binary_scalar(BinaryOp::And, whole, f64::from(u32::MAX))?;
    Ok(vec![ctx.convert(low, DType::U32)?, ctx.convert(high, DType::U32)?])
}

/// The bits `count` places to the left, those that leave come in on the right.
fn rotated(ctx: &mut Context, x: ValueId, count: u32) -> Result<ValueId> {
    let left = ctx.binary_scalar(BinaryOp::Shl, x, count.into())?;
    let right = ctx.binary_scalar(BinaryOp::Shr, x, (32 - count).into())?;
    ctx.binary(BinaryOp::Or, left, right)
}

fn folded(ctx: &mut Context, x: ValueId, shift: u32) -> Result<ValueId> {
    let high = ctx.binary_scalar(BinaryOp::Shr, x, shift.into())?;
    ctx.binary(BinaryOp::Xor, x, high)
}
