//! Normalisations and recurrent layers.

use nnc_ir::{DType, Dim};

use super::movement::axis;
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["BatchNormalization", "BatchNormalization"], 15, batch_norm),
    row(&["InstanceNormalization"], 6, instance_norm),
    row(&["GroupNormalization"], 21, group_norm),
    row(&["LayerNormalization", "LayerNormalization"], 17, layer_norm),
    row(&["RMSNormalization"], 23, rms_norm),
    row(&["LpNormalization"], 1, lp_norm),
    row(&["MeanVarianceNormalization"], 13, mean_variance),
    row(&["LSTM", "GRU", "RNN"], 14, recurrent),
];

/// A float value of a rank with known channels: `[n, c, ..]`.
fn channels(g: &mut Gen, low: usize, high: usize) -> Option<(Var, usize)> {
    let x =
        g.get(&[DType::F32], (low, high), |v| v.dims[1].as_const().is_some_and(|c| c > 0) && v.range.magnitude() < 1e3);
    let c = x.dims[1].as_const().filter(|&c| c > 0)?;
    Some((x, c as usize))
}

fn vector(g: &mut Gen, n: usize, low: f64, high: f64) -> Var {
    g.weight(DType::F32, &[n], Range::rounded(low, high))
}

fn normed(n: f64) -> Range {
    Range::rounded(-2.0 * n - 2.0, 2.0 * n + 2.0)
}

fn batch_norm(g: &mut Gen, op: &str) -> Option<()> {
    let (x, c) = channels(g, 2, 5)?;
    let [scale, bias, mean] = [(0.5, 2.0), (-1.0, 1.0), (-1.0, 1.0)].map(|(a, b)| vector(g, c, a, b));
    let variance = vector(g, c, 0.25, 2.0);
    let range = Range::rounded(-5.0 * x.range.magnitude() - 6.0, 5.0 * x.range.magnitude() + 6.0);
    let inputs = [&x, &scale, &bias, &mean, &variance];
    g.one(op, &inputs, vec![("epsilon", Attr::Float(1e-3))], DType::F32, x.dims.clone(), range)
}

fn instance_norm(g: &mut Gen, op: &str) -> Option<()> {
    let (x, c) = channels(g, 3, 4)?;
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
    }
    let (scale, bias) = (vector(g, c, 0.5, 2.0), vector(g, c, -1.0, 1.0));
    g.one(op, &[&x, &scale, &bias], vec![("epsilon", Attr::Float(0.01))], DType::F32, x.dims.clone(), normed(20.0))
}

fn group_norm(g: &mut Gen, op: &str) -> Option<()> {
    let (x, c) = channels(g, 3, 4)?;
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
    }
    let divisors: Vec<usize> = (1..=c).filter(|d| c % d == 0).collect();
    let groups = *g.random.of(&divisors);
    let (scale, bias) = (vector(g, c, 0.5, 2.0), vector(g, c, -1.0, 1.0));
    let attributes = vec![("num_groups", Attr::Int(groups as i64)), ("epsilon", Attr::Float(0.01))];
    g.one(op, &[&x, &scale, &bias], attributes, DType::F32, x.dims.clone(), normed(20.0))
}

/// A value whose last axes are constant, and where they begin.
fn tail(g: &mut Gen) -> Option<(Var, usize)> {
    let x = g.get(&[DType::F32], (1, 4), |v| {
        v.dims.last().is_some_and(|d| d.as_const().is_some_and(|d| d > 0)) && v.range.magnitude() < 1e3
    });
    let fixed = x.dims.iter().rev().take_while(|d| d.as_const().is_some_and(|d| d > 0)).count();
    if fixed == 0 {
        return None;
    }
    let at = x.rank() - 1 - g.random.below(fixed).min(g.random.below(2));
    Some((x, at))
}

fn sizes(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(|d| d.as_const().map(|d| d as usize)).collect()
}

fn layer_norm(g: &mut Gen, op: &str) -> Option<()> {
    let (x, at) = tail(g)?;
    let shape = sizes(&x.dims[at..])?;
    let scale = g.weight(DType::F32, &shape, Range::rounded(0.5, 2.0));
    let bias = g.weight(DType::F32, &shape, Range::rounded(-1.0, 1.0));
    let attributes = vec![("axis", Attr::Int(at as i64 - x.rank() as i64)), ("epsilon", Attr::Float(0.01))];
    let operands: &[&Var] = if g.random.percent(70) { &[&x, &scale, &bias] } else { &[&x, &scale] };
    g.one(op, operands, attributes, DType::F32, x.dims.clone(), normed(20.0))
}

fn rms_norm(g: &mut Gen, op: &str) -> Option<()> {
    let (x, at) = tail(g)?;
    let shape = sizes(&x.dims[at..])?;
    let scale = g.weight(DType::F32, &shape, Range::rounded(0.5, 2.0));
    let attributes = vec![("axis", Attr::Int(at as i64 - x.rank() as i64)), ("epsilon", Attr::Float(0.01))];
    g.one(op, &[&x, &scale], attributes, DType::F32, x.dims.clone(), normed(20.0))
}

fn lp_norm(g: &mut Gen, op: &str) -> Option<()> {
    // Away from 0, where the quotient of a small sum means little.
    let x = g.bounded(&[DType::F32], 0.05, 100.0, false);
    let (at, written) = axis(g, x.rank())?;
    g.at_least(&x.dims[at], 1)?;
    let p = *g.random.of(&[1, 2]);
    let attributes = vec![("axis", Attr::Int(written)), ("p", Attr::Int(p))];
    g.one(op, &[&x], attributes, DType::F32, x.dims.clone(), Range::rounded(0.0, 1.0))
}

fn mean_variance(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = channels(g, 4, 4)?;
    // The variance must not vanish: every set has several elements, and they differ.
    let count = g.size(&x.dims[0]) * g.size(&x.dims[2]) * g.size(&x.dims[3]);
    if count < 8 || x.dims.iter().any(|d| d.as_const().is_none()) || g.net.constants.iter().any(|c| c.0 == x.name) {
        return None;
    }
    if !g.net.inputs.iter().any(|(v, _)| v.name == x.name) {
        return None;
    }
    g.one(op, &[&x], vec![], DType::F32, x.dims.clone(), normed(20.0))
}

fn recurrent(g: &mut Gen, op: &str) -> Option<()> {
    let fits = |v: &Var| v.dims[2].as_const().is_some_and(|d| d > 0) && v.range.magnitude() < 50.0;
    let x = g.get(&[DType::F32], (3, 3), fits);
    if !fits(&x) {
        return None;
    }
    g.at_least(&x.dims[0], 1)?;
    let size = x.dims[2].as_const()? as usize;
    let gates = match op {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let hidden = *g.random.of(&[1usize, 3, 4, 8, 16]);
    let direction = *g.random.of(&["forward", "forward", "reverse", "bidirectional"]);
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let range = Range::rounded(-0.5, 0.5);
    let w = g.weight(DType::F32, &[directions, gates * hidden, size], range);
    let r = g.weight(DType::F32, &[directions, gates * hidden, hidden], range);
    let mut inputs = vec![x.name.clone(), w.name, r.name];
    let batch = x.dims[1].clone();
    if g.random.percent(70) {
        inputs.push(g.weight(DType::F32, &[directions, 2 * gates * hidden], range).name);
    }
    if g.random.percent(30) {
        inputs.resize(4, String::new());
        let lengths = g.lengths(DType::I32, batch.clone(), &x.dims[0])?;
        inputs.push(lengths.name);
    }
    let state = vec![Dim::from(directions), batch.clone(), Dim::from(hidden)];
    if g.random.percent(30) {
        inputs.resize(5, String::new());
        inputs.push(g.input(DType::F32, state.clone(), Range::rounded(-1.0, 1.0)).name);
    }
    let mut attributes = vec![("hidden_size", Attr::Int(hidden as i64)), ("direction", Attr::Text(direction))];
    if op == "GRU" && g.random.percent(50) {
        attributes.push(("linear_before_reset", Attr::Int(1)));
    }
    let y = vec![x.dims[0].clone(), Dim::from(directions), batch, Dim::from(hidden)];
    let one = Range::rounded(-1.0, 1.0);
    let mut results = vec![(DType::F32, y, one), (DType::F32, state.clone(), one)];
    if op == "LSTM" && g.random.percent(50) {
        results.push((DType::F32, state, Range::rounded(-50.0, 50.0)));
    }
    g.emit_named(op, inputs, attributes, results).map(drop)
}
