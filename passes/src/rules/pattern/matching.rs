//! Finds what a left side stands for, and makes the right side of it.

use super::{Bindings, Function, Left, Pattern, Right};
use crate::rules::language::Head;
use crate::rules::net::Net;
use crate::rules::saturate::Site;
use egg::Id;
use nnc_ir::op::Op;

/// Every way in which a term is what the left side says, in a fixed order.
pub(super) fn matches(pattern: &Pattern, net: &Net, site: &Site) -> Vec<Bindings> {
    let mut start =
        Bindings { classes: vec![None; pattern.classes.len()], attributes: vec![None; pattern.attributes.len()] };
    start.classes[0] = Some(site.class);
    let mut found = vec![];
    term(&pattern.left, net, site.op, site.args, &start, &mut found);
    found
}

/// What a term of a class must be.
fn class(left: &Left, net: &Net, id: Id, bound: &Bindings, found: &mut Vec<Bindings>) {
    match left {
        Left::Any(at) => found.extend(bind(net, *at, id, bound)),
        Left::Number(value) if net.is_splat(id, *value) => found.push(bound.clone()),
        Left::Number(_) => {}
        Left::Named(at, inner) => {
            if let Some(bound) = bind(net, *at, id, bound) {
                class(inner, net, id, &bound, found);
            }
        }
        Left::Term { .. } => {
            for t in net.egraph[net.egraph.find(id)].iter() {
                if let Head::Op(op) = &**net.egraph.analysis.heads.get(t.head) {
                    term(left, net, op, &t.args, bound, found);
                }
            }
        }
    }
}

fn bind(net: &Net, at: usize, id: Id, bound: &Bindings) -> Option<Bindings> {
    match bound.classes[at] {
        Some(other) => net.equal(other, id).then(|| bound.clone()),
        None => {
            let mut bound = bound.clone();
            bound.classes[at] = Some(id);
            Some(bound)
        }
    }
}

fn term(left: &Left, net: &Net, op: &Op, args: &[Id], bound: &Bindings, found: &mut Vec<Bindings>) {
    let Left::Term { functions, attributes, operands } = left else { return };
    let Some(function) = functions.iter().find(|f| f.is_of(op)).filter(|_| operands.len() == args.len()) else {
        return;
    };
    let mut bound = bound.clone();
    if let Some(at) = *attributes {
        match &bound.attributes[at] {
            Some(other) if other != op => return,
            _ => bound.attributes[at] = Some(op.clone()),
        }
    }
    all(operands, net, args, &bound, found);
    if let &[x, y] = args
        && function.commutes()
        && !net.equal(x, y)
    {
        all(operands, net, &[y, x], &bound, found);
    }
}

/// Every operand is what it must be.
fn all(operands: &[Left], net: &Net, args: &[Id], bound: &Bindings, found: &mut Vec<Bindings>) {
    let mut ways = vec![bound.clone()];
    for (left, &id) in operands.iter().zip(args) {
        let mut longer = vec![];
        ways.iter().for_each(|bound| class(left, net, id, bound, &mut longer));
        ways = longer;
    }
    found.extend(ways);
}

/// The class of a right side; `None` when its parts do not fit.
pub(super) fn build(right: &Right, net: &mut Net, bound: &Bindings) -> Option<Id> {
    let root = net.ty(bound.classes[0]?);
    let (function, attributes, operands) = match right {
        Right::Class(at) => return bound.classes[*at],
        Right::Number(value) => return net.full(root.dtype, *value, root.shape.clone()),
        Right::Term { function, attributes, operands } => (*function, *attributes, operands),
    };
    let mut args: Vec<Option<Id>> = vec![];
    for operand in operands {
        args.push(match operand {
            Right::Number(_) => None,
            other => Some(build(other, net, bound)?),
        });
    }
    // The condition of a selection comes first and has a type of its own.
    let neighbour = args.iter().flatten().next_back().map_or(root.clone(), |&id| net.ty(id));
    let mut all = vec![];
    for (operand, arg) in operands.iter().zip(args) {
        all.push(match (operand, arg) {
            (Right::Number(value), None) => net.full(neighbour.dtype, *value, neighbour.shape.clone())?,
            (_, arg) => arg?,
        });
    }
    let bound_op = attributes.and_then(|at| bound.attributes[at].clone());
    let op = match (function, bound_op) {
        (Function::Unary(f), _) => Op::Unary(f),
        (Function::Binary(f), _) => Op::Binary(f),
        (Function::Named("select"), _) => Op::Select,
        (function, Some(op)) => return if function.is_of(&op) { make(net, op, &all) } else { None },
        (Function::Named("convert"), None) => Op::Convert(root.dtype),
        (Function::Named(_), None) => Op::Reshape { shape: root.shape.clone() },
    };
    make(net, op, &all)
}

/// A term, with the obvious left out.
fn make(net: &mut Net, op: Op, args: &[Id]) -> Option<Id> {
    match (op, args) {
        (Op::Reshape { shape }, &[x]) => net.reshape(x, shape),
        (Op::Transpose { perm }, &[x]) => net.transpose(x, perm),
        (Op::Broadcast { shape, axes }, &[x]) => net.broadcast(x, shape, axes),
        (Op::Convert(to), &[x]) if net.dtype(x) == to => Some(x),
        (op, args) => net.add(op, args),
    }
}
