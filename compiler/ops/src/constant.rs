//! Operators that make tensors of nothing but shapes.
//!
//! Constant (<https://onnx.ai/onnx/operators/onnx__Constant.html>), ConstantOfShape
//! (<https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html>) and EyeLike
//! (<https://onnx.ai/onnx/operators/onnx__EyeLike.html>); all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::narrow::Narrow;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Tensor, ValueId};

/// The tensor of the attribute.
pub fn constant(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let several = |list: Vec<String>| (vec![list.len()], list.into_iter().map(String::into_bytes).collect());
    let strings = match (ctx.string_tensor("value")?, ctx.optional_string("value_string")?) {
        (Some(tensor), _) => Some(tensor),
        (None, Some(one)) => Some((vec![], vec![one.into_bytes()])),
        (None, None) => ctx.strings("value_strings")?.map(several),
    };
    if let Some((shape, strings)) = strings {
        let strings = ctx.constant_strings(&shape, &strings)?;
        ctx.define_strings(0, strings);
        return Ok(vec![]);
    }
    if let Some(narrow) = ctx.narrow_tensor("value")? {
        ctx.define_narrow(0, narrow);
        return Ok(vec![]);
    }
    let tensor = if let Some(tensor) = ctx.tensor("value")? {
        tensor
    } else if let Some(tensor) = ctx.tensor("sparse_value")? {
        tensor
    } else if let Some(value) = ctx.optional_int("value_int")? {
        Tensor::scalar(value)
    } else if let Some(value) = ctx.optional_float("value_float")? {
        Tensor::scalar(value)
    } else if let Some(values) = ctx.ints("value_ints")? {
        Tensor::from_slice(&[values.len()], values)
    } else if let Some(values) = ctx.floats("value_floats")? {
        Tensor::from_slice(&[values.len()], values)
    } else {
        return Err(invalid("it has no value"));
    };
    Ok(vec![ctx.constant(tensor)])
}

/// One value in the shape given.
pub fn constant_of_shape(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let shape = ctx.input(0)?;
    let narrow = ctx.narrow_tensor("value")?;
    let value = match narrow {
        Some(narrow) => narrow.value,
        None => {
            let value = ctx.tensor("value")?.unwrap_or_else(|| Tensor::from_slice(&[1], &[0.0f32]));
            ctx.constant(value)
        }
    };
    if !ctx.ty(value).count().is_const(1) {
        return Err(invalid(format!("the value is {}, it must have one element", ctx.show(value))));
    }
    let scalar = ctx.reshape(value, &[])?;
    let dims = ctx.shape_operand(shape, "the shape")?;
    let value = ctx.broadcast_to(scalar, &dims)?;
    if let Some(narrow) = narrow {
        ctx.define_narrow(0, Narrow { value, ..narrow });
    }
    Ok(vec![value])
}

/// Ones on diagonal `k`, zeros elsewhere.
pub fn eye_like(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    ctx.require_rank(x, 2, "the input")?;
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(ctx.dtype(x));
    let k = ctx.int("k", 0)?;
    let shape = ctx.shape(x);
    let row = ctx.iota(DType::I64, &shape, 0)?;
    let column = ctx.iota(DType::I64, &shape, 1)?;
    let k = ctx.int_scalar(k);
    let diagonal = ctx.add(row, k)?;
    let mask = ctx.binary(BinaryOp::Eq, diagonal, column)?;
    Ok(vec![ctx.convert(mask, dtype)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let ints = sketch().node("Constant", "-> y").int_list("value_ints", &[3, 4]).output("y");
        assert_eq!(ints.run(), "i64[2] 3 4");
        assert!(sketch().node("Constant", "-> y").output("y").run().contains("it has no value"));
        let zeros = sketch().ints("s", &[2], &[1, 2]).node("ConstantOfShape", "s -> y").output("y");
        assert_eq!(zeros.run(), "f32[1, 2] 0 0");
        let eye = sketch().given("x", &[2, 3], &[0i32; 6]).node("EyeLike", "x -> y").int("k", 1).output("y");
        assert_eq!(eye.run(), "i32[2, 3] 0 1 0 0 0 1");
    }
}
