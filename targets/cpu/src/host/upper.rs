//! Upper bounds of dimensions that depend on data, over the symbols of the inputs alone.

use nnc_ir::dim::{Atom, DimOp};
use nnc_ir::{Dim, DimTable, Symbol, SymbolOrigin};

/// Nesting of symbols bounded by expressions over other symbols.
const MAX_DEPTH: u32 = 16;

/// The greatest value the expression takes for given inputs; [`Dim::OVERFLOW`] when none is known. An expression without
/// data-dependent symbols is its own bound.
pub(crate) fn upper_bound(dim: &Dim, table: &DimTable) -> Dim {
    bound(dim, table, true, MAX_DEPTH).unwrap_or(Dim::OVERFLOW)
}

fn depends(dim: &Dim, table: &DimTable) -> bool {
    dim.symbols().iter().any(|s| table.lookup(*s).is_some_and(|i| i.origin == SymbolOrigin::Node))
}

/// The greatest value, or the least.
fn bound(dim: &Dim, table: &DimTable, greatest: bool, depth: u32) -> Option<Dim> {
    if !depends(dim, table) {
        return Some(dim.clone());
    }
    let view = dim.view();
    let mut sum = Dim::from(view.constant);
    for (coefficient, atoms) in view.terms {
        let mut product = Dim::from(coefficient);
        for atom in atoms {
            // Factors are sizes, which are not negative.
            product = product * &factor(atom, table, greatest == (coefficient > 0), depth)?;
        }
        sum = sum + &product;
    }
    (sum != Dim::OVERFLOW).then_some(sum)
}

fn factor(atom: &Atom, table: &DimTable, greatest: bool, depth: u32) -> Option<Dim> {
    match atom {
        Atom::Sym(symbol) => of_symbol(*symbol, table, greatest, depth),
        Atom::Op(op, dims) => {
            if !dims.iter().any(|d| depends(d, table)) {
                return Some(apply(*op, dims));
            }
            let bounds: Option<Vec<Dim>> = match op {
                DimOp::Min | DimOp::Max => dims.iter().map(|d| bound(d, table, greatest, depth)).collect(),
                DimOp::FloorDiv if dims[1].as_const().is_some_and(|d| d > 0) => {
                    bound(&dims[0], table, greatest, depth).map(|n| vec![n, dims[1].clone()])
                }
                DimOp::Mod if !depends(&dims[1], table) => {
                    return Some(if greatest { &dims[1] - &Dim::ONE } else { Dim::ZERO });
                }
                DimOp::Eq | DimOp::Lt => return Some(Dim::from(i64::from(greatest))),
                DimOp::Select => {
                    let branches: Vec<Dim> =
                        dims[1..].iter().map(|d| bound(d, table, greatest, depth)).collect::<Option<_>>()?;
                    let op = if greatest { DimOp::Max } else { DimOp::Min };
                    return Some(apply(op, &branches));
                }
                _ => None,
            };
            bounds.map(|b| apply(*op, &b))
        }
    }
}

fn of_symbol(symbol: Symbol, table: &DimTable, greatest: bool, depth: u32) -> Option<Dim> {
    let info = table.lookup(symbol)?;
    if info.origin == SymbolOrigin::Input {
        return Some(Dim::sym(symbol));
    }
    if !greatest {
        return Some(Dim::from(info.min.max(0)));
    }
    let upper = match &info.upper {
        Some(upper) if depth > 0 => bound(upper, table, true, depth - 1),
        _ => None,
    };
    match (upper, info.max) {
        (None, i64::MAX) => None,
        (None, max) => Some(Dim::from(max)),
        (Some(upper), i64::MAX) => Some(upper),
        (Some(upper), max) => Some(upper.min(&Dim::from(max))),
    }
}

/// The operation on new operands.
pub(super) fn apply(op: DimOp, dims: &[Dim]) -> Dim {
    match (op, dims) {
        (DimOp::FloorDiv, [a, b]) => a.floor_div(b),
        (DimOp::Mod, [a, b]) => a.rem(b),
        (DimOp::Eq, [a, b]) => a.eq01(b),
        (DimOp::Lt, [a, b]) => a.lt01(b),
        (DimOp::Select, [c, a, b]) => c.select(a, b),
        (DimOp::Min, [first, rest @ ..]) => rest.iter().fold(first.clone(), |m, d| m.min(d)),
        (DimOp::Max, [first, rest @ ..]) => rest.iter().fold(first.clone(), |m, d| m.max(d)),
        // Operations are built with the operands they need.
        _ => Dim::OVERFLOW,
    }
}
