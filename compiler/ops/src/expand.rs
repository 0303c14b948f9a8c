//! Operators that repeat elements.
//!
//! Expand (<https://onnx.ai/onnx/operators/onnx__Expand.html>, opsets 8 on) and Tile
//! (<https://onnx.ai/onnx/operators/onnx__Tile.html>, opsets 6 on).

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::{Dim, ValueId};

/// The input broadcast together with a shape.
pub fn expand(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, shape) = (ctx.input(0)?, ctx.input(1)?);
    let from = ctx.shape(x);
    if let Some(dims) = ctx.symbolic(shape) {
        let to = ctx.broadcast_dims(&[from, dims])?;
        return Ok(vec![ctx.broadcast_to(x, &to)?]);
    }
    if let Ok(stated) = ctx.stated_shape(0, "the shape") {
        return Ok(vec![ctx.broadcast_to(x, &stated)?]);
    }
    let mut to = ctx.shape_operand(shape, "the shape")?;
    // A size only the run knows must be 1 or the input's own where that is not 1.
    let lead = to.len().saturating_sub(from.len());
    if from.len() > to.len() {
        to.splice(0..0, from[..from.len() - to.len()].iter().cloned());
    }
    for (own, target) in from.iter().zip(&mut to[lead..]) {
        if !own.is_const(1) {
            target.clone_from(own);
        }
    }
    Ok(vec![ctx.broadcast_to(x, &to)?])
}

/// The input repeated along each axis.
pub fn tile(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, repeats) = (ctx.input(0)?, ctx.input(1)?);
    let shape = ctx.shape(x);
    let repeats = match ctx.symbolic(repeats) {
        Some(repeats) => repeats,
        None => {
            let stated = ctx.stated_shape(0, "the repeats")?;
            let divided = stated.iter().zip(&shape).map(|(to, from)| to.div_exact(from)).collect::<Option<Vec<Dim>>>();
            divided.ok_or_else(|| unsupported("the repeats must be known at compile time; make them a constant"))?
        }
    };
    if repeats.len() != shape.len() {
        return Err(invalid(format!("{} repeats for {}", repeats.len(), ctx.show(x))));
    }
    Ok(vec![tiled(ctx, x, &repeats)?])
}

/// Each axis gets a new one before it, along which it is repeated, and is merged with it again.
fn tiled(ctx: &mut Context, x: ValueId, repeats: &[Dim]) -> Result<ValueId> {
    let shape = ctx.shape(x);
    let (mut apart, mut repeated, mut merged) = (vec![], vec![], vec![]);
    for (size, count) in shape.iter().zip(repeats) {
        if !count.is_const(1) && !size.is_const(1) {
            apart.push(Dim::ONE);
            repeated.push(count.clone());
        }
        apart.push(size.clone());
        repeated.push(if size.is_const(1) { count.clone() } else { size.clone() });
        merged.push(size * count);
    }
    let x = ctx.reshape(x, &apart)?;
    let x = ctx.broadcast_to(x, &repeated)?;
    ctx.reshape(x, &merged)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn shapes() {
        for (op, x, operand, result) in [
            ("Expand", "3 1", &[2, 1, 4][..], "f32[2, 3, 4]"),
            ("Expand", "3 4", &[1], "f32[3, 4]"),
            ("Expand", "batch 1", &[1, 4], "f32[batch, 4]"),
            ("Tile", "2 3", &[2, 1], "f32[4, 3]"),
            ("Tile", "batch 1", &[2, 5], "f32[2*batch, 5]"),
            ("Tile", "2", &[1, 2], "2 repeats for f32[2]"),
        ] {
            let sketch = sketch().input("x", Float, x).ints("o", &[operand.len()], operand);
            let found = sketch.node(op, "x o -> y").output("y").result_type();
            assert!(found.contains(result), "{op} {x} {operand:?}: {found}");
        }
    }
}
