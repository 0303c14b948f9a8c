//! Weights of few bits (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): MatMulNBits, a product
//! with weights of 2, 4 or 8 bits of which blocks along the summed axis share a scale and a zero point; GatherBlockQuantized,
//! rows of such a table; MatMulBnb4, a product with weights that are numbers of a table of 16 values.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::matmul::matmul_of;
use crate::quantize::spread;
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

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

/// Slices at the indices along one axis of a table of which blocks along another share a scale and a zero point.
pub fn gather_block_quantized(ctx: &mut Context) -> Result<Vec<ValueId>> {
    // Bytes hold several numbers; elements of narrower types are a number each.
    let bytes = ctx.narrow_input(0)?.is_none();
    let (data, index, scales) = (ctx.number_input(0)?, ctx.input(1)?, ctx.input(2)?);
    let zeros = if ctx.has_input(3) { Some(ctx.number_input(3)?) } else { None };
    let (block, bits) = (ctx.int("block_size", 128)?, ctx.int("bits", 4)?);
    let rank = ctx.rank(data);
    let (axis, along) = (ctx.int("gather_axis", 0)?, ctx.int("quantize_axis", 1)?);
    let (axis, along) = (ctx.axis(axis, rank)?, ctx.axis(along, rank)?);
    if axis == along || ![2, 4, 8].contains(&bits) || block < 1 {
        return Err(unsupported(
            "blocks must be along another axis than the gathered one, of numbers of 2, 4 or 8 bits",
        ));
    }
    ctx.require_rank(scales, rank, "the scales")?;
    let index = ctx.normalize_index(index, &ctx.dim(data, axis))?;
    let mut rows = |x: ValueId| ctx.one(Op::Gather { axis, batch: 0 }, &[x, index]);
    let (mut numbers, scales) = (rows(data)?, rows(scales)?);
    let mut zeros = zeros.map(rows).transpose()?;
    if bytes {
        numbers = numbers_of_bytes(ctx, numbers, bits)?;
        zeros = zeros.map(|zeros| numbers_of_bytes(ctx, zeros, bits)).transpose()?;
    }
    let shape = ctx.shape(numbers);
    let along = if along > axis { along + ctx.rank(index) - 1 } else { along };
    let dtype = ctx.dtype(scales);
    let numbers = ctx.convert(numbers, DType::F32)?;
    let zeros = match zeros {
        None => ctx.scalar(DType::F32, if bytes { (1i64 << (bits - 1)) as f64 } else { 0.0 }),
        Some(zeros) => {
            // Whole bytes may hold more than there are blocks.
            let zeros = ctx.slice_axis(zeros, along, Dim::ZERO, ctx.dim(scales, along))?;
            let zeros = ctx.convert(zeros, DType::F32)?;
            spread(ctx, zeros, &shape, along, block)?
        }
    };
    let scales = ctx.convert(scales, DType::F32)?;
    let scales = spread(ctx, scales, &shape, along, block)?;
    let less = ctx.sub(numbers, zeros)?;
    let y = ctx.mul(less, scales)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// The numbers of some bits that bytes hold, from the lowest bit on: the last axis is as much longer.
fn numbers_of_bytes(ctx: &mut Context, bytes: ValueId, bits: i64) -> Result<ValueId> {
    if ctx.dtype(bytes) != DType::U8 {
        return Err(invalid(format!("packed numbers are {}, they must be bytes", ctx.show(bytes))));
    }
    match usize::try_from(bits) {
        Ok(bits) if bits < 8 => ctx.unpacked(bytes, bits),
        _ => Ok(bytes),
    }
}

/// The numbers that 4 bits of the two kinds of weights stand for: floats of 4 bits, and quantiles of a normal distribution
/// (Dettmers et al., "QLoRA", 2023, <https://arxiv.org/abs/2305.14314>).
const WEIGHTS: [[f32; 16]; 2] = [
    [
        0.0,
        5.208_333_3e-3,
        0.666_666_7,
        1.0,
        0.333_333_34,
        0.5,
        0.166_666_67,
        0.25,
        -0.0,
        -5.208_333_3e-3,
        -0.666_666_7,
        -1.0,
        -0.333_333_34,
        -0.5,
        -0.166_666_67,
        -0.25,
    ],
    [
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ],
];

/// `A * B^T`, or `A * B` on request, for B of `[N, K]` numbers of a table times the greatest of their block.
pub fn matmul_bnb4(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, packed, largest) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let mut size =
        |name: &str| ctx.optional_int(name)?.filter(|&n| n > 0).ok_or_else(|| invalid(format!("{name} is missing")));
    let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
    let count = n.checked_mul(k).and_then(|count| Some((count, count.checked_add(block)?.checked_add(1)?)));
    let (count, _) = count.ok_or_else(|| invalid("K, N and block_size overflow"))?;
    let kind = ctx.optional_int("quant_type")?.and_then(|kind| usize::try_from(kind).ok());
    let table =
        kind.and_then(|kind| WEIGHTS.get(kind)).ok_or_else(|| invalid("quant_type must be 0 (FP4) or 1 (NF4)"))?;
    ctx.no_effect("training_mode");
    let bytes = ctx.reshape(packed, &[Dim::from(count).ceil_div(&Dim::from(2))])?;
    // The first number of a byte is its upper half.
    let halves = numbers_of_bytes(ctx, bytes, 4)?;
    let pairs = ctx.reshape(halves, &[ctx.ty(bytes).count(), Dim::from(2)])?;
    let (second, first) =
        (ctx.slice_axis(pairs, 1, Dim::ZERO, Dim::ONE)?, ctx.slice_axis(pairs, 1, Dim::ONE, Dim::ONE)?);
    let numbers = ctx.concat(&[first, second], 1)?;
    let numbers = ctx.reshape(numbers, &[ctx.ty(halves).count()])?;
    let numbers = ctx.slice_axis(numbers, 0, Dim::ZERO, Dim::from(count))?;
    let index = ctx.convert(numbers, DType::I64)?;
    let table = ctx.constant(Tensor::from_slice(&[table.len()], table));
    let values = ctx.gather(table, index)?;
    let largest = ctx.convert(largest, DType::F32)?;
    let largest = spread(ctx, largest, &[Dim::from(count)], 0, block)?;
    let weights = ctx.mul(values, largest)?;
    let mut weights = ctx.reshape(weights, &[Dim::from(n), Dim::from(k)])?;
    if ctx.flag("transB", true)? {
        weights = ctx.transpose(weights, &[1, 0])?;
    }
    let dtype = ctx.dtype(a);
    let wide = ctx.convert(a, DType::F32)?;
    let y = matmul_of(ctx, wide, weights, DType::F32)?;
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

    /// Two rows of two numbers, of which the first block has three: 1 and 1/2 of 10, 1 of 10, 1 of 100.
    #[test]
    fn numbers_of_a_table() {
        let x = sketch().given("a", &[1, 2], &[1.0f32, 2.0]).initializer("b", Uint8, &[2], vec![0x35, 0x33]);
        let x = x.floats("m", &[2], &[10.0, 100.0]);
        let node = |transposed: i64| {
            let node = x.clone().node("MatMulBnb4", "a b m -> y").domain("com.microsoft").int("quant_type", 0);
            let node = node.int("K", 2).int("N", 2).int("block_size", 3).int("transB", transposed);
            node.output("y").run()
        };
        assert_eq!(node(1), "f32[1, 2] 20 210");
        assert_eq!(node(0), "f32[1, 2] 30 205");
    }
}
