//! Fourier transforms and what belongs to them.

use nnc_ir::{DType, Dim};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::Attr;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["HannWindow", "HammingWindow", "BlackmanWindow"], 17, window),
    row(&["MelWeightMatrix"], 17, mel_weights),
    row(&["DFT"], 17, dft),
    row(&["STFT"], 17, stft),
];

/// A window and one: where the window is zero, ONNX Runtime's `f32` leaves 1e-8.
fn window(g: &mut Gen, op: &str) -> Option<()> {
    let n = g.random.within(2, 17);
    let size = g.scalar(DType::I64, n as f64);
    let attributes = vec![("periodic", Attr::Int(g.random.below(2) as i64))];
    let dims = vec![Dim::from(n)];
    let window = g.emit(op, &[&size], attributes, vec![(DType::F32, dims.clone(), Range::rounded(-0.1, 1.1))])?;
    g.pool.pop();
    let one = g.scalar(DType::F32, 1.0);
    g.one("Add", &[&window[0], &one], vec![], DType::F32, dims, Range::rounded(0.9, 2.1))
}

fn mel_weights(g: &mut Gen, op: &str) -> Option<()> {
    let (bins, length) = (g.random.within(2, 8), *g.random.of(&[16i64, 32, 64]));
    let integers = [bins, length, 8000].map(|n| g.scalar(DType::I64, n as f64));
    let ends = [0.0, 4000.0].map(|f| g.scalar(DType::F32, f));
    let inputs = [&integers[0], &integers[1], &integers[2], &ends[0], &ends[1]];
    let dims = vec![Dim::from(length / 2 + 1), Dim::from(bins)];
    g.one(op, &inputs, vec![], DType::F32, dims, Range::rounded(-1.0, 2.0))
}

/// Real or complex, whole or one side.
fn dft(g: &mut Gen, op: &str) -> Option<()> {
    let n = g.random.within(1, 12);
    let batch = g.dim();
    let complex = g.random.percent(50);
    let (inverse, onesided) = (g.random.percent(40), !complex && g.random.percent(40));
    let parts = |complex| Dim::from(if complex { 2 } else { 1 });
    let range = g.range(DType::F32);
    let x = g.fresh(DType::F32, vec![batch.clone(), Dim::from(n), parts(complex)], range);
    let length = if g.random.percent(30) { g.random.within(1, 12) } else { n };
    let mut names = vec![x.name.clone()];
    if length != n {
        names.push(g.scalar(DType::I64, length as f64).name);
    }
    let inverse = inverse && !onesided;
    let mut attributes = vec![("inverse", Attr::Int(i64::from(inverse))), ("onesided", Attr::Int(i64::from(onesided)))];
    if g.net.opset < 20 {
        attributes.push(("axis", Attr::Int(1)));
    }
    let size = if onesided { length / 2 + 1 } else { length };
    let m = x.range.magnitude() * 2.0 * length as f64;
    let results = vec![(DType::F32, vec![batch, Dim::from(size), parts(true)], Range::rounded(-m, m))];
    g.emit_named(op, names, attributes, results).map(drop)
}

fn stft(g: &mut Gen, op: &str) -> Option<()> {
    let (batch, length) = (g.dim(), g.dim());
    let (frame, step) = (*g.random.of(&[2i64, 3, 4, 8]), g.random.within(1, 4));
    g.at_least(&length, frame)?;
    let range = g.range(DType::F32);
    let x = g.fresh(DType::F32, vec![batch.clone(), length.clone(), Dim::ONE], range);
    let count = (length - frame).floor_div(&Dim::from(step)) + 1;
    let step = g.scalar(DType::I64, step as f64);
    let mut names = vec![x.name.clone(), step.name];
    let windowed = g.random.percent(60);
    names.push(match windowed {
        true => g.weight(DType::F32, &[frame as usize], Range::rounded(0.0, 1.0)).name,
        false => String::new(),
    });
    names.push(g.scalar(DType::I64, frame as f64).name);
    let onesided = g.random.percent(50);
    let size = if onesided { frame / 2 + 1 } else { frame };
    let m = x.range.magnitude() * 2.0 * frame as f64;
    let dims = vec![batch, count, Dim::from(size), Dim::from(2)];
    let attributes = vec![("onesided", Attr::Int(i64::from(onesided)))];
    g.emit_named(op, names, attributes, vec![(DType::F32, dims, Range::rounded(-m, m))]).map(drop)
}
