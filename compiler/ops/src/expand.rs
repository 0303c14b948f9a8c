//! Operators that repeat elements.
//!
//! Expand (<https://onnx.ai/onnx/operators/onnx__Expand.html>, opsets 8 on) and Tile
//! (<https://onnx.ai/onnx/operators/onnx__Tile.html>, opsets 6 on).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::Relation;
use nnc_ir::{Dim, ValueId};

/// The input broadcast together with a shape.
pub fn expand(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, shape) = (ctx.input(0)?, ctx.input(1)?);
    let from = ctx.shape(x);
    if let Some(dims) = ctx.symbolic(shape) {
        let to = ctx.broadcast_dims(&[from, dims])?;
        return Ok(vec![ctx.broadcast_to(x, &to)?]);
    }
    let given = ctx.bound_elements(shape, 0)?;
    let rank = given.len().max(from.len());
    let stated = ctx.stated_dims(0).filter(|s| s.len() == rank).unwrap_or_else(|| vec![None; rank]);
    let mut to = vec![];
    for (axis, stated) in stated.into_iter().enumerate() {
        let own = (axis + from.len()).checked_sub(rank).and_then(|i| from.get(i).cloned()).unwrap_or(Dim::ONE);
        let given = (axis + given.len()).checked_sub(rank).and_then(|i| given.get(i).cloned()).unwrap_or(Dim::ONE);
        if own.is_const(1) {
            if let Some(stated) = stated.clone() {
                ctx.require(given.clone(), Relation::Equal, stated, format!("the size asked for on axis {axis}"))?;
            }
            to.push(stated.unwrap_or(given));
            continue;
        }
        // An own size that turns out to be 1 repeats.
        if own.as_const().is_none() {
            to.push(ctx.wider(&own, &given)?);
            continue;
        }
        // A size only the run knows must be 1 or the input's own, which is not 1.
        let asked = given.eq01(&Dim::ONE).select(&own, &given);
        ctx.require(asked, Relation::Equal, own.clone(), format!("the size asked for on axis {axis}"))?;
        to.push(own);
    }
    Ok(vec![ctx.broadcast_to(x, &to)?])
}

/// The input repeated along each axis.
pub fn tile(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, repeats) = (ctx.input(0)?, ctx.input(1)?);
    let shape = ctx.shape(x);
    let divide = |stated: Vec<Dim>| stated.iter().zip(&shape).map(|(to, from)| to.div_exact(from)).collect();
    let stated: Option<Vec<Dim>> = ctx.whole_stated(0).and_then(divide);
    let repeats = ctx.sizes_operand(repeats, stated, "the repeats")?;
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

    #[test]
    fn sizes_only_the_run_knows() {
        let expand = |x: &[f32], shape: &[i64]| {
            let sketch = sketch().given("x", &[x.len()], x).given("s", &[shape.len()], shape);
            sketch.node("Expand", "x s -> y").output("y").run()
        };
        assert_eq!(expand(&[2.5], &[3]), "f32[3] 2.5 2.5 2.5");
        assert_eq!(expand(&[1.0, 2.0], &[2, 1]), "f32[2, 2] 1 2 1 2");
        assert!(expand(&[1.0, 2.0], &[3]).contains("the size asked for on axis 0"), "{}", expand(&[1.0, 2.0], &[3]));
    }
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
