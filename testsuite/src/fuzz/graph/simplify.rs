//! Simpler versions of a graph, of the graphs inside of it too: nodes that become one number everywhere, attributes that
//! do nothing, constants of one value. What no longer fits together is not among them.

use nnc_ir::op::Window;
use nnc_ir::verify::verify;
use nnc_ir::{DType, Graph, Node, Op, Tensor, ValueId};

/// Every simpler version of one step.
pub(super) fn simpler(graph: &Graph) -> Vec<Graph> {
    variants(graph).into_iter().filter_map(|mut g| retype(&mut g).and_then(|()| verify(&g).ok()).map(|()| g)).collect()
}

fn variants(graph: &Graph) -> Vec<Graph> {
    let mut all = vec![];
    for at in (0..graph.nodes.len()).rev() {
        all.extend(numbered(graph, at));
        all.extend(with_plain_constant(graph, at));
        for op in plainer(&graph.nodes[at].op) {
            let mut copy = graph.clone();
            copy.nodes[at].op = op;
            all.push(copy);
        }
        all.extend(fewer_results(graph, at));
    }
    all
}

/// The graph with one number for every result of a node.
fn numbered(graph: &Graph, at: usize) -> Option<Graph> {
    let node = &graph.nodes[at];
    let constant = |v: &ValueId| graph.nodes.iter().any(|n| matches!(n.op, Op::Constant(_)) && n.outputs.contains(v));
    let plain = match &node.op {
        Op::Constant(_) | Op::Dims { .. } => true,
        Op::Broadcast { .. } => node.inputs.iter().all(constant),
        op => op.has_effect() || !op.defined_symbols().is_empty(),
    };
    if plain {
        return None;
    }
    let mut copy = graph.clone();
    let mut nodes = vec![];
    let node = |op: Op, inputs: Vec<ValueId>, output| Node { op, inputs, outputs: vec![output], origin: String::new() };
    for &output in &graph.nodes[at].outputs {
        let ty = graph.ty(output).clone();
        // Indices stay in range.
        let value = if ty.dtype == DType::I64 { 0.0 } else { 1.0 };
        let number = copy.consts.add(Tensor::scalar_of(ty.dtype, value));
        let scalar = copy.add_value(nnc_ir::TensorType::new(ty.dtype, vec![]), "");
        nodes.push(node(Op::Constant(number), vec![], scalar));
        nodes.push(node(Op::Broadcast { shape: ty.shape, axes: vec![] }, vec![scalar], output));
    }
    copy.nodes.splice(at..=at, nodes);
    Some(copy)
}

/// The graph with a constant that is the same number everywhere.
fn with_plain_constant(graph: &Graph, at: usize) -> Option<Graph> {
    let Op::Constant(id) = graph.nodes[at].op else { return None };
    let tensor = graph.consts.get(id);
    if tensor.len() < 2 || tensor.splat().is_some() {
        return None;
    }
    let value = if tensor.dtype.is_float() { 1.0 } else { 0.0 };
    let mut copy = graph.clone();
    let plain = Tensor::from_f64s(tensor.dtype, &tensor.shape, &vec![value; tensor.len()]);
    copy.nodes[at].op = Op::Constant(copy.consts.add(plain));
    Some(copy)
}

/// Versions of an operation with less to say.
fn plainer(op: &Op) -> Vec<Op> {
    let mut all = vec![];
    match op {
        Op::Recurrent(cell) => {
            let mut push = |change: fn(&mut nnc_ir::op::Recurrent)| {
                let mut copy = cell.clone();
                change(&mut copy);
                if copy != *cell {
                    all.push(Op::Recurrent(copy));
                }
            };
            push(|c| c.reverse = false);
            push(|c| c.clip = None);
            push(|c| c.input_forget = false);
            push(|c| c.activations.fill(nnc_ir::op::Activation::Tanh));
        }
        Op::Cumulative { op, axis, exclusive, reverse } if *exclusive || *reverse => {
            all.push(Op::Cumulative { op: *op, axis: *axis, exclusive: false, reverse: false });
        }
        Op::Conv { window, groups, out } => {
            all.extend(windows(window).map(|window| Op::Conv { window, groups: *groups, out: *out }));
        }
        Op::Pool { op, window } => all.extend(windows(window).map(|window| Op::Pool { op: *op, window })),
        Op::If { varying, sizes, then, otherwise } => {
            let op = |then, otherwise| Op::If {
                varying: varying.clone(),
                sizes: sizes.clone(),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            };
            all.extend(variants(then).into_iter().map(|then| op(then, (**otherwise).clone())));
            all.extend(variants(otherwise).into_iter().map(|otherwise| op((**then).clone(), otherwise)));
        }
        Op::Loop { body, carried, varying, sizes, trips } => {
            let op = |body| Op::Loop {
                body: Box::new(body),
                carried: *carried,
                varying: varying.clone(),
                sizes: sizes.clone(),
                trips: *trips,
            };
            all.extend(variants(body).into_iter().map(op));
        }
        _ => {}
    }
    all
}

fn windows(window: &Window) -> impl Iterator<Item = Window> {
    let rank = window.size.len();
    let ones = |mut w: Window, field: fn(&mut Window) -> &mut Vec<usize>, value: usize| {
        field(&mut w).clone_from(&vec![value; rank]);
        w
    };
    let all = [
        ones(window.clone(), |w| &mut w.strides, 1),
        ones(window.clone(), |w| &mut w.dilations, 1),
        ones(window.clone(), |w| &mut w.pad_low, 0),
        ones(window.clone(), |w| &mut w.pad_high, 0),
    ];
    let window = window.clone();
    all.into_iter().filter(move |w| *w != window)
}

/// The graph without a result of a branch or a loop that nothing reads.
fn fewer_results(graph: &Graph, at: usize) -> Vec<Graph> {
    let node = &graph.nodes[at];
    let read = |v: &ValueId| {
        graph.nodes.iter().any(|n| n.inputs.contains(v)) || graph.outputs.iter().any(|(_, output)| output == v)
    };
    let unread = (0..node.outputs.len()).rev().filter(|&i| !read(&node.outputs[i]));
    let without = |i: usize| {
        let mut copy = graph.clone();
        let node = &mut copy.nodes[at];
        node.outputs.remove(i);
        match &mut node.op {
            Op::If { varying, sizes, then, otherwise } => {
                // What is only known by this result stays.
                if varying.iter().any(|v| v.0 == i) || sizes.len() != varying.len() {
                    return None;
                }
                varying.iter_mut().filter(|v| v.0 > i).for_each(|v| v.0 -= 1);
                then.outputs.remove(i);
                otherwise.outputs.remove(i);
            }
            Op::Loop { body, carried, .. } if i >= *carried => drop(body.outputs.remove(i + 1)),
            _ => return None,
        }
        Some(copy)
    };
    unread.filter_map(without).collect()
}

/// Gives every value the type that its node yields now, and removes what nothing needs inside of inner graphs.
fn retype(graph: &mut Graph) -> Option<()> {
    for at in 0..graph.nodes.len() {
        let mut node = graph.nodes[at].clone();
        match &mut node.op {
            Op::If { then, otherwise, .. } => [then, otherwise].into_iter().try_for_each(|inner| inner_graph(inner))?,
            Op::Loop { body, .. } => inner_graph(body)?,
            _ => {}
        }
        let operands: Vec<_> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
        let types = nnc_ir::infer::infer(&node.op, &operands, &graph.consts).ok()?;
        for (&output, ty) in node.outputs.iter().zip(types) {
            graph.values[output.index()].ty = ty;
        }
        graph.nodes[at] = node;
    }
    Some(())
}

fn inner_graph(graph: &mut Graph) -> Option<()> {
    retype(graph)?;
    let mut needed: Vec<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
    let mut kept = vec![];
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        let effect = node.op.has_effect() || !node.op.defined_symbols().is_empty();
        if effect || node.outputs.iter().any(|o| needed.contains(o)) {
            needed.extend(&node.inputs);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    Some(())
}
