//! If, Loop and Scan, with bodies of a few nodes that also read values from outside.

use nnc_ir::{DType, Dim, Tensor};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Body, Node, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[row(&["If"], 13, if_), row(&["Loop"], 13, loop_), row(&["Scan"], 11, scan)];

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        op: op.to_owned(),
        inputs: inputs.iter().map(|&i| i.to_owned()).collect(),
        outputs: vec![output.to_owned()],
        attributes: vec![],
    }
}

/// A chain of nodes from a value to one of the same type and shape.
fn chain(g: &mut Gen, from: &Var, other: &Var, prefix: &str) -> (Vec<Node>, Var) {
    let mut nodes = vec![];
    let mut last = from.name.clone();
    for i in 0..1 + g.random.below(3) {
        let name = format!("{prefix}_{i}");
        nodes.push(match g.random.below(4) {
            0 => node("Neg", &[&last], &name),
            1 => node("Tanh", &[&last], &name),
            2 => node("Abs", &[&last], &name),
            _ => node("Max", &[&last, &other.name], &name),
        });
        last = name;
    }
    (nodes, Var { name: last, ..from.clone() })
}

fn like(g: &mut Gen, x: &Var) -> Option<Var> {
    g.pick(|v| v.dtype == x.dtype && v.dims == x.dims && v.range.magnitude() < 1e4)
}

fn if_(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.float(0, 3);
    let other = like(g, &x)?;
    let condition = g.get(&[DType::Bool], (0, 0), |_| true);
    let prefix = format!("b{}", g.net.values.len());
    let body = |g: &mut Gen, which: &str| {
        let (nodes, output) = chain(g, &x, &other, &format!("{prefix}{which}"));
        Attr::Graph(Box::new(Body { inputs: vec![], nodes, outputs: vec![output] }))
    };
    let attributes = vec![("then_branch", body(g, "t")), ("else_branch", body(g, "e"))];
    let m = x.range.magnitude().max(other.range.magnitude()).max(1.0);
    g.one(op, &[&condition], attributes, x.dtype, x.dims.clone(), Range::rounded(-m, m))
}

/// A loop with a fixed or given number of trips, one carried value and one that is stacked.
fn loop_(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.float(0, 2);
    let other = like(g, &x)?;
    let prefix = format!("b{}", g.net.values.len());
    let (iteration, going, carried) = (format!("{prefix}i"), format!("{prefix}c"), format!("{prefix}x"));
    let carried = Var { name: carried, ..x.clone() };
    let (mut nodes, output) = chain(g, &carried, &other, &format!("{prefix}n"));
    let going_out =
        Var { name: format!("{prefix}o"), dtype: DType::Bool, dims: vec![], range: Range::exact(0.0, 1.0, 0) };
    nodes.push(node("Identity", &[&going], &going_out.name));
    let scanned = Var { name: format!("{prefix}s"), ..output.clone() };
    nodes.push(node("Identity", &[&output.name], &scanned.name));
    let scalar = |name: String, dtype| Var { name, dtype, dims: vec![], range: Range::all(dtype) };
    let body = Body {
        inputs: vec![scalar(iteration, DType::I64), scalar(going, DType::Bool), carried],
        nodes,
        outputs: vec![going_out, output, scanned],
    };
    let trips = g.random.within(0, 4);
    let m = x.range.magnitude().max(other.range.magnitude()).max(1.0);
    let range = Range::rounded(-m, m);
    let (count, dims) = match g.random.percent(60) {
        true => (g.constant(Tensor::scalar_of(DType::I64, trips as f64)), Dim::from(trips)),
        false => {
            let dims = g.unknown(4);
            (g.input(DType::I64, vec![], Range::exact(0.0, 4.0, 0)), dims)
        }
    };
    let mut stacked = x.dims.clone();
    stacked.insert(0, dims);
    let truth = g.constant(Tensor::scalar_of(DType::Bool, 1.0));
    let names = vec![count.name, truth.name, x.name.clone()];
    let results = vec![(x.dtype, x.dims.clone(), range), (x.dtype, stacked, range)];
    g.emit_named(op, names, vec![("body", Attr::Graph(Box::new(body)))], results).map(drop)
}

/// One state and one scanned value, along either axis and in either direction.
fn scan(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float], (1, 3), |v| v.range.magnitude() < 1e3);
    let axis = g.random.below(x.rank());
    let mut dims = x.dims.clone();
    let length = dims.remove(axis);
    if g.depends_on_data(&length) || dims.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    let range = g.range(x.dtype);
    let state = g.fresh(x.dtype, dims.clone(), range);
    let prefix = format!("b{}", g.net.values.len());
    let m = x.range.magnitude().max(state.range.magnitude()).max(1.0);
    let range = Range::rounded(-m, m);
    let carried = Var { name: format!("{prefix}s"), range, ..state.clone() };
    let slice = Var { name: format!("{prefix}x"), dims: dims.clone(), ..x.clone() };
    let (mut nodes, output) = chain(g, &carried, &slice, &format!("{prefix}n"));
    let scanned = Var { name: format!("{prefix}y"), ..output.clone() };
    nodes.push(node("Min", &[&output.name, &slice.name], &scanned.name));
    let body = Body { inputs: vec![carried, slice], nodes, outputs: vec![output, scanned] };
    let out_axis = g.random.below(x.rank());
    let mut stacked = dims.clone();
    stacked.insert(out_axis, length);
    let ints = |value: usize| Attr::Ints(vec![value as i64]);
    let attributes = vec![
        ("body", Attr::Graph(Box::new(body))),
        ("num_scan_inputs", Attr::Int(1)),
        ("scan_input_axes", ints(axis)),
        ("scan_output_axes", ints(out_axis)),
        ("scan_input_directions", ints(g.random.below(2))),
        ("scan_output_directions", ints(g.random.below(2))),
    ];
    g.emit(op, &[&state, &x], attributes, vec![(x.dtype, dims, range), (x.dtype, stacked, range)]).map(drop)
}
