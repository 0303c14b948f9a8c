//! Tests of the rules.
//!
//! [`check`] is an independent judge: it rewrites a graph, then evaluates every term of every class with the reference
//! interpreter on pseudo-random inputs and demands that all terms of one class agree. A wrong rule equates terms that
//! differ, so it is caught whether or not extraction would choose them. `examples` demands an example for every rule of every
//! table; `extremes` has nastier inputs, `bounds` holds value-changing rules to what they state, `discrete` has discrete
//! operations behind each.

mod bounds;
mod discrete;
pub mod examples;
mod extremes;
mod phases;
pub mod random;
mod ranges;
mod results;
mod table;

use super::Rule;
use super::family::families;
use super::language::Head;
use super::load::{Loaded, load};
use super::saturate::{Limits, Stop, saturate};
use egg::Id;
use nnc_eval::{Env, eval_op};
use nnc_ir::{Graph, Op, Tensor};
use rustc_hash::FxHashMap;

/// All rules, exact or not.
pub fn all_rules() -> Vec<&'static Rule> {
    families().flatten().collect()
}

/// Reads and verifies a graph.
pub fn parse(text: &str) -> Graph {
    let graph = nnc_ir::parse::graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    nnc_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    graph
}

/// Pseudo-random inputs of a graph with fixed shapes; the same for the same seed.
pub fn inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let tensor = |&value: &nnc_ir::ValueId| {
        let ty = graph.ty(value);
        let shape = ty.static_shape().expect("tests have fixed shapes");
        let values: Vec<f64> = (0..shape.iter().product::<usize>())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let small = (state >> 40) % 16;
                match ty.dtype {
                    nnc_ir::DType::Bool => (small & 1) as f64,
                    dtype if dtype.is_float() => small as f64 / 4.0 - 1.75,
                    _ => (small % 4) as f64,
                }
            })
            .collect();
        Tensor::from_f64s(ty.dtype, &shape, &values)
    };
    graph.inputs.iter().map(tensor).collect()
}

/// Applies rules to a graph and judges the result; the number of rewrites done by each rule.
pub fn check(graph: &Graph, rules: &[&Rule], seed: u64) -> Result<FxHashMap<&'static str, usize>, String> {
    check_with(graph, rules, &inputs(graph, seed), agree)
}

/// [`check`] with inputs and a notion of equality.
fn check_with(
    graph: &Graph,
    rules: &[&Rule],
    inputs: &[Tensor],
    agree: fn(&Tensor, &Tensor) -> Result<(), String>,
) -> Result<FxHashMap<&'static str, usize>, String> {
    let mut loaded = load(graph, false);
    let report = saturate(&mut loaded.net, rules, Limits::default(), &mut crate::fuel::Fuel::default());
    if report.stop == Stop::Conflict {
        return Err(format!("types differ: {report:?}"));
    }
    judge(graph, &loaded, inputs, agree)?;
    Ok(report.applied.into_iter().collect())
}

/// Evaluates all terms of all classes.
fn judge(
    graph: &Graph,
    loaded: &Loaded,
    inputs: &[Tensor],
    agree: fn(&Tensor, &Tensor) -> Result<(), String>,
) -> Result<(), String> {
    let (net, heads) = (&loaded.net, &loaded.net.egraph.analysis.heads);
    evaluate(graph, loaded, inputs, &mut |id, first, result| {
        let Some(first) = first else { return Ok(()) };
        agree(first, result).map_err(|why| {
            let terms: Vec<String> =
                net.egraph[id].iter().map(|t| format!("{:?} {:?}", heads.get(t.head), t.args)).collect();
            format!("{why}\nin a class of\n{}", terms.join("\n"))
        })
    })
}

/// What the terms of one class evaluate to.
fn values_of(graph: &Graph, loaded: &Loaded, inputs: &[Tensor], class: Id) -> Vec<Tensor> {
    let (class, mut found) = (loaded.net.egraph.find(class), vec![]);
    evaluate(graph, loaded, inputs, &mut |id, _, result| {
        if id == class {
            found.push(result.clone());
        }
        Ok(())
    })
    .unwrap();
    found
}

/// Sees the value of a term, with its class and the value of the class's first term.
type See<'a> = dyn FnMut(Id, Option<&Tensor>, &Tensor) -> Result<(), String> + 'a;

/// Shows the value of every term.
fn evaluate(graph: &Graph, loaded: &Loaded, inputs: &[Tensor], see: &mut See) -> Result<(), String> {
    let net = &loaded.net;
    let (consts, heads) = (&net.egraph.analysis.consts, &net.egraph.analysis.heads);
    let trace = nnc_eval::trace(graph, inputs).map_err(|e| e.to_string())?.values;
    let mut values: FxHashMap<Id, Tensor> = FxHashMap::default();
    // Terms may come in any order, and only those whose operands are known have a value: until nothing is new.
    let mut pending: Vec<(Id, &super::language::Term)> =
        net.egraph.classes().flat_map(|class| class.iter().map(move |term| (class.id, term))).collect();
    loop {
        let before = pending.len();
        let mut left = vec![];
        for (id, term) in pending {
            let args: Option<Vec<&Tensor>> = term.args.iter().map(|&a| values.get(&net.egraph.find(a))).collect();
            let result = match (&**heads.get(term.head), args) {
                (_, None) => {
                    left.push((id, term));
                    continue;
                }
                (Head::Value(value), _) => trace[value.index()].clone().ok_or("a leaf without a value")?,
                (Head::Op(Op::Constant(constant)), _) => consts.get(*constant).clone(),
                (Head::Op(op), Some(args)) => eval_op(op, &args, consts, &mut Env::new())
                    .map_err(|e| format!("{op:?}: {e}"))?
                    .pop()
                    .ok_or("no result")?,
            };
            see(id, values.get(&id), &result)?;
            values.entry(id).or_insert(result);
        }
        pending = left;
        if pending.len() == before {
            break;
        }
    }
    if pending.is_empty() { Ok(()) } else { Err("terms without a value".into()) }
}

/// Whether two tensors agree: integers exactly, floats up to a part of the largest magnitude.
pub fn agree(a: &Tensor, b: &Tensor) -> Result<(), String> {
    if a.dtype != b.dtype || a.shape != b.shape {
        return Err(format!("{} {:?} against {} {:?}", a.dtype, a.shape, b.dtype, b.shape));
    }
    let (x, y) = (a.to_f64s(), b.to_f64s());
    let scale = x.iter().copied().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
    let bound = if a.dtype.is_float() { 1e-5 * scale } else { 0.0 };
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        if !(x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= bound) {
            return Err(format!("element {i}: {x} against {y}"));
        }
    }
    Ok(())
}
