//! Shape (<https://onnx.ai/onnx/operators/onnx__Shape.html>, `start` and `end` from opset 15 on) and Size
//! (<https://onnx.ai/onnx/operators/onnx__Size.html>).

use crate::context::Context;
use crate::error::Result;
use nnc_ir::ValueId;

/// The sizes of the axes from `start` to `end`.
pub fn shape(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let rank = shape.len() as i64;
    let start = ctx.int("start", 0)?;
    let end = ctx.int("end", rank)?;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(start), clamp(end));
    let sizes = shape.get(start..end.max(start)).unwrap_or(&[]).to_vec();
    Ok(vec![ctx.dims_vector(sizes)?])
}

/// The number of elements.
pub fn size(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let count = ctx.ty(x).count();
    Ok(vec![ctx.dim_scalar(count)?])
}
