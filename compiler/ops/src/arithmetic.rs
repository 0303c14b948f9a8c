//! Binary operators with multidirectional broadcasting that are one core op: a row each.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; all opsets since broadcasting became implicit (7).

use crate::context::Context;
use crate::error::Result;
use nnc_ir::ValueId;
use nnc_ir::op::BinaryOp;

macro_rules! rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of the elements, broadcast together.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            let (x, y) = (ctx.input(0)?, ctx.input(1)?);
            Ok(vec![ctx.binary(BinaryOp::$op, x, y)?])
        }
    )* };
}
rows! {
    add Add
    sub Sub
    mul Mul
    div Div
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn broadcasting() {
        for (x, y, result) in [
            ("2 3", "3", "f32[2, 3]"),
            ("batch 1", "4", "f32[batch, 4]"),
            ("batch 3", "batch 3", "f32[batch, 3]"),
            ("2 3", "2", "test.onnx: Add \"n0\": sizes `3` and `2` cannot be broadcast together"),
        ] {
            let sketch = sketch().input("x", Float, x).input("y", Float, y).node("Add", "x y -> z").output("z");
            assert_eq!(sketch.result_type(), result);
        }
    }
}
