//! Transpose (<https://onnx.ai/onnx/operators/onnx__Transpose.html>), DepthToSpace
//! (<https://onnx.ai/onnx/operators/onnx__DepthToSpace.html>) and SpaceToDepth
//! (<https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html>); all opsets.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::{Dim, ValueId};

/// The axes in the order of `perm`, by default reversed.
pub fn transpose(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    let perm = match ctx.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&p| ctx.axis(p, rank)).collect::<Result<Vec<usize>>>()?,
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return Err(invalid(format!("perm {perm:?} is not a permutation of the axes of {}", ctx.show(x))));
    }
    Ok(vec![ctx.transpose(x, &perm)?])
}

/// The block size and the sizes of `[N, C, H, W]`.
fn blocks(ctx: &mut Context, x: ValueId) -> Result<(Dim, [Dim; 4])> {
    ctx.require_rank(x, 4, "the input")?;
    let block = ctx.optional_int("blocksize")?.filter(|&b| b > 0 && b < 1 << 30);
    let block = block.ok_or_else(|| invalid("blocksize must be a positive number"))?;
    Ok((Dim::from(block), [0, 1, 2, 3].map(|axis| ctx.dim(x, axis))))
}

fn divided(ctx: &Context, size: &Dim, by: &Dim) -> Result<Dim> {
    size.div_exact(by).ok_or_else(|| {
        let size = ctx.dims().display(size).to_string();
        unsupported(format!("size `{size}` is not known to be a multiple of {by}; fix it with --dim"))
    })
}

/// Channels to blocks of pixels.
pub fn depth_to_space(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let (b, [n, c, h, w]) = blocks(ctx, x)?;
    let c = divided(ctx, &c, &(&b * &b))?;
    let (apart, perm) = match ctx.string("mode", "DCR")?.as_str() {
        "DCR" => ([&n, &b, &b, &c, &h, &w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([&n, &c, &b, &b, &h, &w], [0, 1, 4, 2, 5, 3]),
        other => return Err(invalid(format!("mode is `{other}`, it must be `DCR` or `CRD`"))),
    };
    let x = ctx.reshape(x, &apart.map(Dim::clone))?;
    let x = ctx.transpose(x, &perm)?;
    Ok(vec![ctx.reshape(x, &[n, c, h * &b, w * &b])?])
}

/// Blocks of pixels to channels.
pub fn space_to_depth(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let (b, [n, c, h, w]) = blocks(ctx, x)?;
    let (h, w) = (divided(ctx, &h, &b)?, divided(ctx, &w, &b)?);
    let x = ctx.reshape(x, &[n.clone(), c.clone(), h.clone(), b.clone(), w.clone(), b.clone()])?;
    // Opset 28 adds the other order of channels.
    let perm = match ctx.string("mode", "DCR")?.as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return Err(invalid(format!("mode is `{other}`, it must be `DCR` or `CRD`"))),
    };
    let x = ctx.transpose(x, &perm)?;
    Ok(vec![ctx.reshape(x, &[n, c * &b * &b, h, w])?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn blocks() {
        let x: Vec<f32> = (0..8u8).map(f32::from).collect();
        for (mode, expected) in [("DCR", "0 2 4 6 1 3 5 7"), ("CRD", "0 1 2 3 4 5 6 7")] {
            let deep = sketch().given("x", &[1, 8, 1, 1], &x).node("DepthToSpace", "x -> y").int("blocksize", 2);
            let text = format!("f32[1, 2, 2, 2] {expected}");
            assert_eq!(deep.string("mode", mode).output("y").run(), text, "{mode}");
        }
        let flat = sketch().given("x", &[1, 1, 2, 4], &x).node("SpaceToDepth", "x -> y").int("blocksize", 2);
        assert_eq!(flat.output("y").run(), "f32[1, 4, 1, 2] 0 2 1 3 4 6 5 7");
    }
}
