//! Sizes that must be equal for a model to make sense, though nothing says so: what that assumes of the dimensions.
//!
//! `min(512, seq)` elements added to `seq` elements, as a sliced table of positions is to its tokens, are a valid sum
//! only for `seq <= 512`. Rather than refuse the model, the bounds of `seq` are narrowed to that; a run with more stops
//! with an error. Only bounds are assumed, and only where they make the two sizes equal. What a branch of an If assumes
//! is checked when it runs ([`crate::subgraph`]). Likewise a window of 10 needs an axis that is not too short for it.
//!
//! What no bound says becomes an [`Op::Require`] before the node that relies on it: `plan` or the run checks it.

use crate::scope::Frame;
use nnc_ir::dim::{Atom, DimOp};
use nnc_ir::{Dim, DimTable, Graph, Symbol, SymbolOrigin, TensorType};

/// The expression with input dimensions of one possible size replaced by it, simplified.
pub(crate) fn settle(dim: &Dim, table: &DimTable) -> Dim {
    let fixed = |symbol| {
        let info = table.lookup(symbol)?;
        (info.min == info.max && info.origin == SymbolOrigin::Input).then(|| Dim::from(info.min))
    };
    dim.substitute(&fixed).simplify(table)
}

/// Narrows the bounds of one symbol so that `a` and `b` are equal; `None` when that takes more than one bound.
pub(crate) fn make_equal(a: &Dim, b: &Dim, table: &DimTable) -> Option<DimTable> {
    let mut candidates = vec![];
    solve(a, b, &mut candidates);
    for side in [a, b] {
        bounds_that_decide(side, &mut candidates);
    }
    for (symbol, min, max) in candidates {
        let Some(info) = table.lookup(symbol) else { continue };
        let (min, max) = (min.max(info.min), max.min(info.max));
        // The results of a node have the symbol as their size, so a constant cannot stand for it.
        if min > max || (min == max && info.origin == SymbolOrigin::Node) {
            continue;
        }
        let mut narrowed = table.clone();
        narrowed.set_bounds(symbol, min, max);
        if settle(a, &narrowed) == settle(b, &narrowed) {
            return Some(narrowed);
        }
    }
    None
}

/// The least value of the one input symbol in `size` at which that is not negative, where it is negative below and
/// nowhere above.
pub(crate) fn least_for(size: &Dim, table: &DimTable) -> Option<(Symbol, i64)> {
    let [symbol] = size.symbols()[..] else { return None };
    let info = table.lookup(symbol).filter(|i| i.origin == SymbolOrigin::Input)?;
    let with = |min: i64| {
        let mut narrowed = table.clone();
        narrowed.set_bounds(symbol, min, info.max);
        narrowed
    };
    let suffices = |min: i64| size.provably_ge(&Dim::ZERO, &with(min));
    // The least bound that suffices lies in (low, high].
    let (mut low, mut high) = (info.min, info.max.min(1 << 40));
    if low >= high || !suffices(high) {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if suffices(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    // Looked at closely, the values left out are wrong ones: the size grows with the symbol up to there.
    let value = |at: i64| size.eval(&|_| Some(at));
    let grows =
        size.view().terms.iter().all(|(coefficient, atoms)| *coefficient > 0 && atoms.iter().all(|a| monotone(a)));
    (grows && value(high - 1).is_some_and(|v| v < 0)).then_some((symbol, high))
}

/// Whether the atom does not fall where a symbol grows.
fn monotone(atom: &Atom) -> bool {
    let grows = |d: &Dim| d.view().terms.iter().all(|(c, atoms)| *c > 0 && atoms.len() == 1 && monotone(atoms[0]));
    match atom {
        Atom::Sym(_) => true,
        Atom::Op(DimOp::Min | DimOp::Max, operands) => operands.iter().all(grows),
        Atom::Op(DimOp::FloorDiv, operands) => match operands.as_slice() {
            [a, b] => grows(a) && b.as_const().is_some_and(|b| b > 0),
            _ => false,
        },
        Atom::Op(..) => false,
    }
}

/// `symbol` and the number it must be when `a - b` is linear in it alone.
fn solve(a: &Dim, b: &Dim, candidates: &mut Vec<(Symbol, i64, i64)>) {
    let difference = a - b;
    let view = difference.view();
    if let [(coefficient, atoms)] = view.terms.as_slice()
        && let [Atom::Sym(symbol)] = atoms.as_slice()
        && let Some(rest) = view.constant.checked_neg()
        && rest.checked_rem(*coefficient) == Some(0)
        && let Some(value) = rest.checked_div(*coefficient)
    {
        candidates.push((*symbol, value, value));
    }
}

/// Bounds under which a minimum or maximum of a constant and `symbol + k` is the latter.
fn bounds_that_decide(dim: &Dim, candidates: &mut Vec<(Symbol, i64, i64)>) {
    for (_, atoms) in dim.view().terms {
        for atom in atoms {
            let Atom::Op(op, operands) = atom else { continue };
            operands.iter().for_each(|o| bounds_that_decide(o, candidates));
            let constant = operands.iter().find_map(Dim::as_const);
            let (DimOp::Min | DimOp::Max, Some(constant)) = (op, constant) else { continue };
            for operand in operands {
                let view = operand.view();
                let [(1, atoms)] = view.terms.as_slice() else { continue };
                let ([Atom::Sym(symbol)], Some(bound)) = (atoms.as_slice(), constant.checked_sub(view.constant)) else {
                    continue;
                };
                match op {
                    DimOp::Min => candidates.push((*symbol, i64::MIN, bound)),
                    _ => candidates.push((*symbol, bound, i64::MAX)),
                }
            }
        }
    }
}

/// Carries narrowed bounds into the types found so far, but not out of a branch, which may not run. `false` when they no
/// longer fit together.
pub(crate) fn apply(frames: &mut [Frame<'_>], table: DimTable) -> bool {
    let first = frames.iter().rposition(|frame| frame.may_not_run).unwrap_or(0);
    let fits = frames[first..].iter_mut().all(|frame| retype(&mut frame.graph, &table));
    if let Some(frame) = frames.last_mut() {
        frame.graph.dims = table;
    }
    fits
}

fn retype(graph: &mut Graph, table: &DimTable) -> bool {
    let definitions = graph.definitions();
    for (value, definition) in graph.values.iter_mut().zip(definitions) {
        if definition.is_none() {
            value.ty.shape.iter_mut().for_each(|d| *d = settle(d, table));
        }
    }
    for i in 0..graph.nodes.len() {
        let node = &mut graph.nodes[i];
        node.op.dims_mut().into_iter().for_each(|d| *d = settle(d, table));
        let nested = node.op.subgraphs_mut().into_iter().all(|inner| retype(inner, table));
        let node = &graph.nodes[i];
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&v| &graph.values[v.index()].ty).collect();
        let Ok(types) = nnc_ir::infer::infer(&node.op, &operands, &graph.consts) else { return false };
        for (output, ty) in node.outputs.clone().into_iter().zip(types) {
            graph.values[output.index()].ty = ty;
        }
        if !nested {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{least_for, make_equal};
    use nnc_ir::{DimTable, SymbolInfo};

    #[test]
    fn least_sizes() {
        let mut table = DimTable::default();
        let n = table.new_symbol(SymbolInfo::input("n"));
        table.new_symbol(SymbolInfo::input("m"));
        for (size, expected) in [
            ("n - 3", Some(3)),
            ("floor((n - 10)/2) + 1", Some(8)),
            ("floor((floor((n - 10)/2) - 2)/2) + 1", Some(10)),
            ("min(n, 2*n - 8)", Some(4)),
            ("3 - n", None),
            ("n - m", None),
        ] {
            let Ok(size) = table.parse(size) else { panic!("{size} is no dimension") };
            let found = least_for(&size, &table).filter(|(s, _)| *s == n).map(|(_, min)| min);
            assert_eq!(found, expected, "{size:?}");
        }
    }

    #[test]
    fn bounds() {
        let mut table = DimTable::default();
        let n = table.new_symbol(SymbolInfo::input("n"));
        table.new_symbol(SymbolInfo::input("m"));
        for (a, b, expected) in [
            ("min(512, n)", "n", Some((0, 512))),
            ("min(n + 1, 512)", "n + 1", Some((0, 511))),
            ("max(0, n - 1)", "n - 1", Some((1, i64::MAX))),
            ("n + 1", "10", Some((9, 9))),
            ("2*n", "5", None),
            ("n", "m", None),
        ] {
            let (Ok(a), Ok(b)) = (table.parse(a), table.parse(b)) else { panic!("{a} or {b} is no dimension") };
            let found = make_equal(&a, &b, &table).map(|t| (t.get(n).min, t.get(n).max));
            assert_eq!(found, expected, "{a:?} {b:?}");
        }
    }
}
