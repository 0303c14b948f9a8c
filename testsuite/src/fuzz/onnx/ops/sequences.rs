//! Sequences, from the tensors that they are made of to those that are taken out of them: no value of a model's pool is
//! a sequence, so a generator appends several nodes.

use nnc_ir::{DType, Dim};

use super::movement::axis;
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Node, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceEmpty"], 11, several),
    row(&["SequenceAt", "SequenceLength", "ConcatFromSequence"], 11, several),
    row(&["SplitToSequence"], 11, split),
];

/// Appends a node that yields a sequence.
fn sequence(g: &mut Gen, op: &str, inputs: Vec<String>, attributes: Vec<(&'static str, Attr)>) -> String {
    let name = format!("s{}_{}", g.net.values.len(), g.net.nodes.len());
    g.net.nodes.push(Node { op: op.to_owned(), inputs, outputs: vec![name.clone()], attributes });
    name
}

/// Equal tensors put together, one more and one less now and then, and something taken out.
fn several(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64], (1, 3), |v| v.range.magnitude() < 1e6);
    let mut parts = vec![x.clone()];
    for _ in 0..g.random.below(3) {
        parts.extend(g.pick(|v| v.dtype == x.dtype && v.dims == x.dims));
    }
    let empty = op == "SequenceEmpty";
    let mut name = match empty {
        true => {
            let dtype = Attr::Int(i64::from(crate::fuzz::case::onnx_type(x.dtype)));
            sequence(g, "SequenceEmpty", vec![], vec![("dtype", dtype)])
        }
        false => sequence(g, "SequenceConstruct", parts.iter().map(|p| p.name.clone()).collect(), vec![]),
    };
    if empty {
        parts.clear();
    }
    if empty || op == "SequenceInsert" || g.random.percent(30) {
        let at = g.random.below(parts.len() + 1);
        let place = g.scalar(DType::I64, at as f64);
        name = sequence(g, "SequenceInsert", vec![name, x.name.clone(), place.name], vec![]);
        parts.insert(at, x.clone());
    }
    if parts.len() > 1 && (op == "SequenceErase" || g.random.percent(30)) {
        let at = g.random.below(parts.len());
        let place = g.scalar(DType::I64, at as f64);
        name = sequence(g, "SequenceErase", vec![name, place.name], vec![]);
        parts.remove(at);
    }
    take(g, &name, &parts, op)
}

/// The parts of a tensor along an axis.
fn split(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 3);
    let (at, written) = axis(g, x.rank())?;
    let n = x.dims[at].as_const().filter(|&n| n > 0)?;
    let size = g.random.within(1, n);
    let sizes: Vec<i64> = (0..(n + size - 1) / size).map(|i| size.min(n - i * size)).collect();
    let given = if g.random.percent(50) { g.vector(&sizes) } else { g.scalar(DType::I64, size as f64) };
    let attributes = vec![("axis", Attr::Int(written))];
    let name = sequence(g, op, vec![x.name.clone(), given.name], attributes);
    let part = |&size: &i64| {
        let mut dims = x.dims.clone();
        dims[at] = Dim::from(size);
        Var { dims, ..x.clone() }
    };
    let parts: Vec<Var> = sizes.iter().map(part).collect();
    take(g, &name, &parts, "SequenceAt")
}

/// One element, their number, or all of them joined.
fn take(g: &mut Gen, name: &str, parts: &[Var], op: &str) -> Option<()> {
    let first = parts.first()?.clone();
    let same = parts.iter().all(|p| p.dims == first.dims);
    let range = parts.iter().map(|p| p.range).reduce(Range::or)?;
    let choice = match op {
        "SequenceLength" => 1,
        "ConcatFromSequence" => 2,
        _ => *g.random.of(&[0, 0, 2]),
    };
    match choice {
        0 => {
            let at = g.random.below(parts.len());
            let written = if g.random.percent(30) { at as i64 - parts.len() as i64 } else { at as i64 };
            let place = g.scalar(DType::I64, written as f64);
            let results = vec![(first.dtype, parts[at].dims.clone(), parts[at].range)];
            g.emit_named("SequenceAt", vec![name.to_owned(), place.name], vec![], results).map(drop)
        }
        1 => {
            let results = vec![(DType::I64, vec![], Range::exact(0.0, 100.0, 0))];
            g.emit_named("SequenceLength", vec![name.to_owned()], vec![], results).map(drop)
        }
        _ => {
            let stacked = g.random.percent(40);
            let at = g.random.below(first.rank() + usize::from(stacked));
            if !same {
                return None;
            }
            let mut dims = first.dims.clone();
            match stacked {
                true => dims.insert(at, Dim::from(parts.len())),
                false => dims[at] = &dims[at] * parts.len() as i64,
            }
            let attributes = vec![("axis", Attr::Int(at as i64)), ("new_axis", Attr::Int(i64::from(stacked)))];
            g.emit_named("ConcatFromSequence", vec![name.to_owned()], attributes, vec![(first.dtype, dims, range)])
                .map(drop)
        }
    }
}
