//! Col2Im (<https://onnx.ai/onnx/operators/onnx__Col2Im.html>), opsets 18 on, and MaxUnpool
//! (<https://onnx.ai/onnx/operators/onnx__MaxUnpool.html>), opsets 9 on: both put elements back to where they came from.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, PadMode, ScatterOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// A list attribute of one number per spatial axis, or `per` of them.
fn numbers(ctx: &mut Context, name: &str, count: usize, default: i64) -> Result<Vec<i64>> {
    match ctx.ints(name)? {
        None | Some([]) => Ok(vec![default; count]),
        Some(values) if values.len() == count => Ok(values.to_vec()),
        Some(values) => Err(invalid(format!("`{name}` is {values:?}, it must be {count} numbers"))),
    }
}

/// Element `index` of an `i64` vector as a scalar.
fn element(ctx: &mut Context, vector: ValueId, index: usize) -> Result<ValueId> {
    let one = ctx.slice_axis(vector, 0, Dim::from(index), Dim::ONE)?;
    ctx.reshape(one, &[])
}

/// Columns summed into an image.
pub fn col2im(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, image, block) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    ctx.require_rank(x, 3, "the columns")?;
    let stated = ctx.whole_stated(0).and_then(|stated| Some(stated.get(2..)?.to_vec()));
    let sizes = ctx.sizes_operand(image, stated, "image_shape")?;
    let spatial = sizes.len();
    let block = ctx.convert(block, DType::I64)?;
    if spatial == 0 || !ctx.ty(block).count().is_const(spatial as i64) {
        return Err(invalid("image_shape and block_shape differ in length"));
    }
    let strides = numbers(ctx, "strides", spatial, 1)?;
    let dilations = numbers(ctx, "dilations", spatial, 1)?;
    let pads = numbers(ctx, "pads", 2 * spatial, 0)?;
    if strides.iter().any(|&s| s < 1) {
        return Err(invalid("strides must be positive"));
    }
    let rows = ctx.dim(x, 1);
    // How many elements a block has is known from its shape, or from the channels the file states.
    let channels = match ctx.constant_ints(block) {
        Some(block) => rows.div_exact(&Dim::from(block.iter().product::<i64>())),
        None => ctx.stated_dim(0, 1),
    };
    let count = channels.as_ref().and_then(|c| rows.div_exact(c));
    let (Some(channels), Some(count)) = (channels, count) else {
        return Err(unsupported("block_shape must be known at compile time; make it a constant"));
    };
    let elements = ctx.reduce(nnc_ir::op::ReduceOp::Prod, block, &[0], false)?;
    ctx.bind_dim(elements, Some(count.clone()), None)?;
    let columns = ctx.dim(x, 2);
    let (mut element_of, mut window_of) =
        (ctx.iota(DType::I64, &[count.clone(), Dim::ONE], 0)?, ctx.iota(DType::I64, &[Dim::ONE, columns.clone()], 1)?);
    let mut target: Option<ValueId> = None;
    let mut all_inside: Option<ValueId> = None;
    let mut stride = Dim::ONE;
    for axis in (0..spatial).rev() {
        let size = ctx.dim_scalar(sizes[axis].clone())?;
        let length = element(ctx, block, axis)?;
        // Windows along this axis.
        let reach = ctx.binary_scalar(BinaryOp::Sub, length, 1.0)?;
        let reach = ctx.binary_scalar(BinaryOp::Mul, reach, dilations[axis] as f64)?;
        let room = ctx.sub(size, reach)?;
        let border = pads[axis].saturating_add(pads[spatial + axis]).saturating_sub(1);
        let room = ctx.binary_scalar(BinaryOp::Add, room, border as f64)?;
        let windows = ctx.binary_scalar(BinaryOp::Div, room, strides[axis] as f64)?;
        let windows = ctx.binary_scalar(BinaryOp::Add, windows, 1.0)?;
        let inner = ctx.binary(BinaryOp::Mod, element_of, length)?;
        element_of = ctx.div(element_of, length)?;
        let outer = ctx.binary(BinaryOp::Mod, window_of, windows)?;
        window_of = ctx.div(window_of, windows)?;
        let inner = ctx.binary_scalar(BinaryOp::Mul, inner, dilations[axis] as f64)?;
        let outer = ctx.binary_scalar(BinaryOp::Mul, outer, strides[axis] as f64)?;
        let place = ctx.add(inner, outer)?;
        let place = ctx.binary_scalar(BinaryOp::Sub, place, pads[axis] as f64)?;
        let above = ctx.binary_scalar(BinaryOp::Ge, place, 0.0)?;
        let below = ctx.binary(BinaryOp::Lt, place, size)?;
        let inside = ctx.binary(BinaryOp::And, above, below)?;
        all_inside = Some(match all_inside {
            None => inside,
            Some(before) => ctx.binary(BinaryOp::And, before, inside)?,
        });
        let weight = ctx.dim_scalar(stride.clone())?;
        let term = ctx.mul(place, weight)?;
        target = Some(match target {
            None => term,
            Some(sum) => ctx.add(sum, term)?,
        });
        stride = &stride * &sizes[axis];
    }
    let (Some(target), Some(inside)) = (target, all_inside) else { return Err(invalid("there are no spatial axes")) };
    // What falls into the border goes to one more element, which is dropped.
    let beyond = ctx.dim_scalar(stride.clone())?;
    let target = ctx.select(inside, target, beyond)?;
    let flat = &count * &columns;
    let planes = ctx.dim(x, 0) * &channels;
    let index = ctx.reshape(target, std::slice::from_ref(&flat))?;
    let updates = ctx.reshape(x, &[planes.clone(), flat.clone()])?;
    let index = ctx.broadcast_to(index, &[planes.clone(), flat])?;
    let zeros = ctx.full(ctx.dtype(x), 0.0, &[planes, &stride + 1])?;
    let sums = ctx.one(Op::ScatterElements { axis: 1, op: ScatterOp::Add }, &[zeros, index, updates])?;
    let sums = ctx.slice_axis(sums, 1, Dim::ZERO, stride)?;
    let mut shape = vec![ctx.dim(x, 0), channels];
    shape.extend(sizes);
    Ok(vec![ctx.reshape(sums, &shape)?])
}

/// Elements put where MaxPool took them from, zeros elsewhere.
pub fn max_unpool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index) = (ctx.input(0)?, ctx.input(1)?);
    let rank = ctx.rank(x);
    let spatial = rank.checked_sub(2).filter(|&n| n > 0).ok_or_else(|| invalid("the input has no spatial axes"))?;
    let kernel = numbers(ctx, "kernel_shape", spatial, 1)?;
    let strides = numbers(ctx, "strides", spatial, 1)?;
    let pads = numbers(ctx, "pads", 2 * spatial, 0)?;
    let mut shape = ctx.shape(x);
    for axis in 0..spatial {
        let border = pads[axis].saturating_add(pads[spatial + axis]);
        shape[axis + 2] = (&shape[axis + 2] - 1) * Dim::from(strides[axis]) + kernel[axis] - border;
    }
    let (count, all) = (ctx.ty(x).count(), shape.iter().fold(Dim::ONE, |n, d| n * d));
    let flat = ctx.reshape(x, std::slice::from_ref(&count))?;
    let index = ctx.reshape(index, &[count])?;
    let index = ctx.convert(index, DType::I64)?;
    let zeros = ctx.full(ctx.dtype(x), 0.0, std::slice::from_ref(&all))?;
    let y = ctx.one(Op::ScatterElements { axis: 0, op: ScatterOp::Replace }, &[zeros, index, flat])?;
    let mut y = ctx.reshape(y, &shape)?;
    if let Some(wanted) = ctx.optional_input(2)? {
        let stated = ctx.whole_stated(0);
        let wanted = ctx.sizes_operand(wanted, stated, "output_shape")?;
        if wanted.len() != rank {
            return Err(invalid("output_shape has another number of axes than the input"));
        }
        let mut high = vec![];
        for (axis, (size, wanted)) in shape.iter().zip(&wanted).enumerate() {
            let kept = Dim::min(size, wanted).simplify(ctx.dims());
            y = ctx.slice_axis(y, axis, Dim::ZERO, kept.clone())?;
            high.push((wanted - kept).simplify(ctx.dims()));
        }
        y = ctx.pad(y, vec![Dim::ZERO; rank], high, PadMode::Constant, 0.0)?;
    }
    Ok(vec![y])
}
