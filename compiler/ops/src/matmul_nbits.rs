//! MatMulNBits (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): a product with weights of
//! 2, 4 or 8 bits, of which blocks along the summed axis share a scale and a zero point.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::matmul::matmul_of;
use crate::quantize::spread;
use nnc_ir::{DType, Dim, Op, ValueId};

/// `A * dequantized(B)^T + bias`.
pub fn matmul_nbits(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, packed, scales) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (zeros, groups, bias) = (ctx.optional_input(3)?, ctx.optional_input(4)?, ctx.optional_input(5)?);
    let mut size =
        |name: &str| ctx.optional_int(name)?.filter(|&n| n > 0).ok_or_else(|| invalid(format!("{name} is missing")));
    let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
    // How precisely a product must be computed at least: here always in f32.
    ctx.no_effect("accuracy_level");
    let bits = ctx.int("bits", 4)?;
    if ![2, 4, 8].contains(&bits) {
        return Err(unsupported(format!("weights of {bits} bits are not supported; quantise to 2, 4 or 8")));
    }
    let overflow = || invalid("K, N and block_size overflow");
    let (k, n) = (Dim::from(k), Dim::from(n));
    let blocks = k.ceil_div(&Dim::from(block));
    let per_column = &blocks * &Dim::from(block);
    n.as_const().zip(per_column.as_const()).and_then(|(n, k)| n.checked_mul(k)).ok_or_else(overflow)?;

    let numbers = ctx.unpacked(packed, bits as usize)?;
    let numbers = ctx.reshape(numbers, &[n.clone(), per_column.clone()])?;
    let numbers = ctx.convert(numbers, DType::F32)?;
    let scales = ctx.convert(scales, DType::F32)?;
    let scales = ctx.reshape(scales, &[n.clone(), blocks.clone()])?;
    let zeros = match zeros {
        None => ctx.full(DType::F32, (1i64 << (bits - 1)) as f64, &[n.clone(), blocks.clone()])?,
        Some(zeros) if ctx.dtype(zeros).is_float() => ctx.reshape(zeros, &[n.clone(), blocks.clone()])?,
        Some(zeros) => {
            // A column's zero points fill whole bytes.
            let each = (&blocks * &Dim::from(bits)).ceil_div(&Dim::from(8));
            let zeros = ctx.reshape(zeros, &[n.clone(), each])?;
            let zeros = ctx.unpacked(zeros, bits as usize)?;
            ctx.slice_axis(zeros, 1, Dim::ZERO, blocks.clone())?
        }
    };
    let zeros = ctx.convert(zeros, DType::F32)?;
    let each = |ctx: &mut Context, parameter: ValueId| match groups {
        Some(groups) => {
            let index = ctx.normalize_index(groups, &blocks)?;
            let index = ctx.slice_axis(index, 0, Dim::ZERO, k.clone())?;
            ctx.one(Op::Gather { axis: 1, batch: 0 }, &[parameter, index])
        }
        None => {
            let shape = [n.clone(), k.clone()];
            spread(ctx, parameter, &shape, 1, block)
        }
    };
    let (zeros, scales) = (each(ctx, zeros)?, each(ctx, scales)?);
    let numbers = ctx.slice_axis(numbers, 1, Dim::ZERO, k.clone())?;
    let less = ctx.sub(numbers, zeros)?;
    let weights = ctx.mul(less, scales)?;
    let weights = ctx.transpose(weights, &[1, 0])?;
    let dtype = ctx.dtype(a);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let (a, weights) = (ctx.convert(a, wide)?, ctx.convert(weights, wide)?);
    let mut y = matmul_of(ctx, a, weights, wide)?;
    if let Some(bias) = bias {
        let bias = ctx.convert(bias, wide)?;
        y = ctx.add(y, bias)?;
    }
    Ok(vec![ctx.convert(y, dtype)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Uint8;

    /// Two columns of three rows in blocks of two: 4-bit numbers less 8, times the block's scale.
    #[test]
    fn values() {
        let x = sketch().given("a", &[1, 3], &[1.0f32, 10.0, 100.0]);
        let x = x.initializer("b", Uint8, &[2, 2, 1], vec![0xA9, 0x0B, 0x78, 0x0F]);
        let x = x.floats("s", &[4], &[1.0, 2.0, 0.5, 1.0]).initializer("z", Uint8, &[2, 1], vec![0x88, 0x78]);
        let node = |signature: &str| {
            let node = x.clone().node("MatMulNBits", signature).domain("com.microsoft");
            node.int("K", 3).int("N", 2).int("block_size", 2).output("y").run()
        };
        assert_eq!(node("a b s -> y"), "f32[1, 2] 621 695");
        assert_eq!(node("a b s z -> y"), "f32[1, 2] 621 795");
    }
}
