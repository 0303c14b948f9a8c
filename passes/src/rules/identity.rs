//! Operations that change nothing, or undo each other.

use super::net::{Net, compose, is_identity};
use super::one;
use super::rule::{Rule, exact, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::Op;
use nnc_ir::{DType, Dim};

/// The rules.
pub const RULES: &[Rule] = &[
    // Adding 0 to a float makes `0` of `-0`, subtracting it does not: see `approx`.
    exact("add-nothing", "(add ?x 0) if not float(x)", "?x"),
    exact("subtract-nothing", "(sub ?x 0)", "?x"),
    exact("shift-by-nothing", "(shl|shr ?x 0)", "?x"),
    exact("multiply-by-one", "(mul ?x 1)", "?x"),
    exact("divide-by-one", "(div|pow ?x 1)", "?x"),
    exact("or-nothing", "(or|xor ?x 0)", "?x"),
    exact("and-true", "(and ?x 1) if bool(x)", "?x"),
    exact("max-lowest", "(max ?x -inf)", "?x"),
    exact("min-highest", "(min ?x inf)", "?x"),
    exact("multiply-by-nothing", "(mul ?x ?y@0) if not float(x)", "?y"),
    exact("and-nothing", "(and ?x ?y@0)", "?y"),
    exact("or-true", "(or ?x ?y@1) if bool(x)", "?y"),
    exact("equal-operands", "(max|min|and|or ?x ?x)", "?x"),
    exact("negate-twice", "(neg (neg ?x))", "?x"),
    exact("not-twice", "(not (not ?x))", "?x"),
    exact("complement-twice", "(bit_not (bit_not ?x))", "?x"),
    exact("round-twice", "(floor|ceil|round|trunc ?y@(floor|ceil|round|trunc ?x))", "?y"),
    exact("magnitude-twice", "(abs ?y@(abs|exp|sigmoid ?x))", "?y"),
    exact("sign-twice", "(sign ?y@(sign ?x))", "?y"),
    exact("convert-same", "(convert|bitcast ?x) if same_type(x, root)", "?x"),
    exact("convert-back", "(convert:to ?y@(convert ?x)) if lossless(x, y, root)", "(convert:to ?x)"),
    exact("bitcast-twice", "(bitcast (bitcast ?x)) if same_type(x, root)", "?x"),
    exact("select-true", "(select 1 ?x ?y)", "?x"),
    exact("select-false", "(select 0 ?x ?y)", "?y"),
    exact("select-equal", "(select ?c ?x ?x)", "?x"),
    exact("select-not", "(select (not ?c) ?x ?y)", "(select ?c ?y ?x)"),
    exact("reshape-same", "(reshape ?x) if same_shape(x, root)", "?x"),
    exact("reshape-twice", "(reshape:to (reshape ?x))", "(reshape:to ?x)"),
    exactly("transpose-transpose", 2, transpose_transpose),
    // A transpose that moves only unit axes leaves the memory as it is.
    exact("transpose-units", "(transpose:by ?x) if moves_units_only(by, x)", "(reshape ?x)"),
    exact("broadcast-same", "(broadcast ?x) if same_shape(x, root)", "?x"),
    exact("slice-all", "(slice:at ?x) if takes_all(at, x)", "?x"),
    exactly("slice-slice", 2, slice_slice),
    exactly("slice-concat", 2, slice_concat),
    exactly("concat-one", 1, concat_one),
    exactly("concat-concat", 2, concat_concat),
    exactly("evaluate", 1, evaluate),
];

/// Whether every value of a type is one of another type.
pub(super) fn embeds(narrow: DType, wide: DType) -> bool {
    use DType::*;
    let within = |types: &[DType]| types.contains(&wide);
    match narrow {
        Bool => true,
        U8 => within(&[U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64]),
        I8 => within(&[I16, I32, I64, F16, BF16, F32, F64]),
        U16 => within(&[U32, I32, U64, I64, F32, F64]),
        I16 => within(&[I32, I64, F32, F64]),
        U32 => within(&[U64, I64, F64]),
        I32 => within(&[I64, F64]),
        F16 | BF16 => within(&[F32, F64]),
        F32 => wide == F64,
        U64 | I64 | F64 => false,
    }
}

fn transpose_transpose(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    if is_identity(perm) {
        return vec![x];
    }
    let inner = net.pick(x, |op, args| match op {
        Op::Transpose { perm } => Some((args[0], perm.clone())),
        _ => None,
    });
    inner.into_iter().filter_map(|(inner, first)| net.transpose(inner, compose(&first, perm))).collect()
}

fn slice_slice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let inner = net.pick(x, |op, args| match op {
        Op::Slice { starts, steps, .. } => Some((args[0], starts.clone(), steps.clone())),
        _ => None,
    });
    let mut found = vec![];
    for (first, first_starts, first_steps) in inner {
        let merged: Option<Vec<(Dim, i64)>> = (0..sizes.len())
            .map(|i| {
                let start = &first_starts[i] + &(&starts[i] * first_steps[i]);
                Some((start, steps[i].checked_mul(first_steps[i])?))
            })
            .collect();
        let Some((starts, steps)) = merged.map(|m| m.into_iter().unzip()) else { continue };
        found.extend(net.add(Op::Slice { starts, sizes: sizes.clone(), steps }, &[first]));
    }
    found
}

/// A slice within one operand of a concatenation.
fn slice_concat(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let inner = net.pick(x, |op, args| match op {
        Op::Concat { axis } => Some((*axis, args.to_vec())),
        _ => None,
    });
    let mut found = vec![];
    for (axis, operands) in inner {
        if steps[axis] != 1 {
            continue;
        }
        let mut offset = Dim::ZERO;
        for operand in operands {
            let size = net.facts(operand).ty.shape[axis].clone();
            let end = &offset + &size;
            let dims = &net.egraph.analysis.dims;
            let within =
                starts[axis].provably_ge(&offset, dims) && end.provably_ge(&(&starts[axis] + &sizes[axis]), dims);
            if within {
                let mut starts = starts.clone();
                starts[axis] = &starts[axis] - &offset;
                found.extend(net.add(Op::Slice { starts, sizes: sizes.clone(), steps: steps.clone() }, &[operand]));
                break;
            }
            offset = end;
        }
    }
    found
}

fn concat_one(net: &mut Net, site: &Site) -> Vec<Id> {
    let Op::Concat { axis } = site.op else { return vec![] };
    if let &[only] = site.args {
        return vec![only];
    }
    // Empty operands add nothing.
    let kept: Vec<Id> = site.args.iter().copied().filter(|&x| !net.facts(x).ty.shape[*axis].is_const(0)).collect();
    match kept.as_slice() {
        [] => vec![],
        &[only] => vec![only],
        kept if kept.len() < site.args.len() => one(net.add(site.op.clone(), kept)),
        _ => vec![],
    }
}

fn concat_concat(net: &mut Net, site: &Site) -> Vec<Id> {
    const MOST: usize = 256;
    let Op::Concat { axis } = site.op else { return vec![] };
    let mut operands = vec![];
    for &arg in site.args {
        let inner = net.pick_one(arg, |op, args| match op {
            Op::Concat { axis: inner } if inner == axis => Some(args.to_vec()),
            _ => None,
        });
        operands.extend(inner.unwrap_or_else(|| vec![arg]));
    }
    let flatter = operands.len() > site.args.len() && operands.len() <= MOST;
    if flatter { one(net.add(site.op.clone(), &operands)) } else { vec![] }
}

/// An operation whose operands turned out to be small constants.
fn evaluate(net: &mut Net, site: &Site) -> Vec<Id> {
    if matches!(site.op, Op::Constant(_)) || net.facts(site.class).constant.is_some() {
        return vec![];
    }
    let ty = net.ty(site.class);
    match net.fold(site.op, site.args, &ty) {
        Some(tensor) => vec![net.tensor(tensor)],
        None => vec![],
    }
}
