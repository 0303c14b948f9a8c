//! Concat (<https://onnx.ai/onnx/operators/onnx__Concat.html>, opsets 4 on) and Split
//! (<https://onnx.ai/onnx/operators/onnx__Split.html>, sizes as an attribute until opset 12, as an input from 13 on,
//! `num_outputs` from 18 on).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::Relation;
use nnc_ir::{Dim, ValueId};

/// The inputs one after the other.
pub fn concat(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let inputs = ctx.inputs()?;
    let axis = ctx.optional_int("axis")?.ok_or_else(|| invalid("attribute `axis` is missing"))?;
    let axis = ctx.axis(axis, ctx.rank(inputs[0]))?;
    Ok(vec![ctx.concat(&inputs, axis)?])
}

/// The input in pieces.
pub fn split(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let outputs = ctx.output_count();
    let count = ctx.int("num_outputs", outputs as i64)?;
    if count != outputs as i64 || count < 1 {
        return Err(invalid(format!("num_outputs is {count}, but {outputs} outputs are named")));
    }
    let total = ctx.dim(x, axis);
    let given = if ctx.opset() < 13 {
        ctx.ints("split")?.map(|sizes| sizes.iter().map(|&s| Dim::from(s)).collect())
    } else {
        match ctx.optional_input(1)? {
            None => None,
            Some(sizes) => {
                let stated = (0..outputs).map(|i| ctx.stated_dim(i, axis)).collect();
                Some(ctx.sizes_operand(sizes, stated, "the sizes")?)
            }
        }
    };
    let sizes = match given {
        Some(sizes) => sizes,
        None => equal_parts(ctx, &total, count)?,
    };
    if sizes.len() != outputs {
        return Err(invalid(format!("{} sizes for {outputs} outputs", sizes.len())));
    }
    let sum = sizes.iter().fold(Dim::ZERO, |sum, size| sum + size).simplify(ctx.dims());
    if let (Some(a), Some(b)) = (sum.as_const(), total.as_const())
        && a != b
    {
        let (sum, total) = (ctx.dims().display(&sum), ctx.dims().display(&total));
        return Err(invalid(format!("the sizes sum to {sum}, the axis has {total}")));
    }
    ctx.require(sum, Relation::Equal, total, "the sum of the sizes".to_owned())?;
    let mut start = Dim::ZERO;
    let mut results = vec![];
    for size in sizes {
        results.push(ctx.slice_axis(x, axis, start.clone(), size.clone())?);
        start = start + size;
    }
    Ok(results)
}

/// Parts of one size, the last one smaller where that does not divide (allowed since opset 18).
fn equal_parts(ctx: &Context, total: &Dim, count: i64) -> Result<Vec<Dim>> {
    let parts = Dim::from(count);
    if let Some(size) = total.div_exact(&parts) {
        return Ok(vec![size; count as usize]);
    }
    if ctx.opset() < 18 && total.as_const().is_some() {
        return Err(invalid(format!("{total} elements do not split into {count} equal parts")));
    }
    let size = (total + (count - 1)).floor_div(&parts);
    let mut sizes = vec![size.clone(); count as usize - 1];
    sizes.push((total - &(size * (count - 1))).simplify(ctx.dims()));
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn parts() {
        for (x, sizes, signature, result) in [
            ("6 2", None, "x -> a b", "f32[3, 2]"),
            ("7 2", None, "x -> b a", "f32[3, 2]"),
            ("6 2", Some([4, 2]), "x s -> b a", "f32[2, 2]"),
            ("6 2", Some([4, 4]), "x s -> b a", "the sizes sum to 8"),
        ] {
            let mut sketch = sketch().input("x", Float, x);
            if let Some(sizes) = sizes {
                sketch = sketch.ints("s", &[2], &sizes);
            }
            let found = sketch.node("Split", signature).output("a").result_type();
            assert!(found.contains(result), "{x} {sizes:?}: {found}");
        }
    }
}
