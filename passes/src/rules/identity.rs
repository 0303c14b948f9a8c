//! Operations that change nothing, or undo each other.

use super::net::{Net, compose, is_identity};
use super::saturate::Site;
use super::{Rule, one};
use egg::Id;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};
use nnc_ir::{DType, Dim};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule::exact("neutral-operand", neutral_operand),
    Rule::exact("absorbing-operand", absorbing_operand),
    Rule::exact("equal-operands", equal_operands),
    Rule::exact("double-unary", double_unary),
    Rule::exact("convert-same", convert_same),
    Rule::exact("convert-back", convert_back),
    Rule::exact("bitcast-twice", bitcast_twice),
    Rule::exact("select-known", select_known),
    Rule::exact("select-not", select_not),
    Rule::exact("reshape-same", reshape_same),
    Rule::exact("reshape-reshape", reshape_reshape),
    Rule::exact("transpose-transpose", transpose_transpose),
    Rule::exact("transpose-units", transpose_units),
    Rule::exact("broadcast-same", broadcast_same),
    Rule::exact("slice-all", slice_all),
    Rule::exact("slice-slice", slice_slice),
    Rule::exact("slice-concat", slice_concat),
    Rule::exact("concat-one", concat_one),
    Rule::exact("concat-concat", concat_concat),
    Rule::exact("evaluate", evaluate),
];

fn neutral_operand(net: &mut Net, site: &Site) -> Vec<Id> {
    use BinaryOp::*;
    let (Op::Binary(f), &[x, y]) = (site.op, site.args) else { return vec![] };
    let boolean = net.dtype(x) == DType::Bool;
    let ones = net.dtype(x).is_int();
    // The neutral element on the right, and whether it may stand on the left.
    let (neutral, commutes) = match f {
        // Adding 0 to a float makes `0` of `-0`, subtracting it does not: see `approx`.
        Add if !net.dtype(x).is_float() => (0.0, true),
        Sub | Shl | Shr => (0.0, false),
        Mul => (1.0, true),
        Div | Pow => (1.0, false),
        Or | Xor if boolean || ones => (0.0, true),
        And if boolean => (1.0, true),
        Max if net.dtype(x).is_float() => (f64::NEG_INFINITY, true),
        Min if net.dtype(x).is_float() => (f64::INFINITY, true),
        _ => return vec![],
    };
    if net.is_splat(y, neutral) {
        vec![x]
    } else if commutes && net.is_splat(x, neutral) {
        vec![y]
    } else {
        vec![]
    }
}

/// What one operand decides, for types without NaN.
fn absorbing_operand(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(f), &[x, y]) = (site.op, site.args) else { return vec![] };
    if net.dtype(x).is_float() {
        return vec![];
    }
    let absorbing = match f {
        BinaryOp::Mul | BinaryOp::And => 0.0,
        BinaryOp::Or if net.dtype(x) == DType::Bool => 1.0,
        _ => return vec![],
    };
    [x, y].into_iter().find(|&operand| net.is_splat(operand, absorbing)).into_iter().collect()
}

fn equal_operands(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(f), &[x, y]) = (site.op, site.args) else { return vec![] };
    let idempotent = matches!(f, BinaryOp::Max | BinaryOp::Min | BinaryOp::And | BinaryOp::Or);
    if idempotent && net.equal(x, y) { vec![x] } else { vec![] }
}

fn double_unary(net: &mut Net, site: &Site) -> Vec<Id> {
    use UnaryOp::*;
    let (Op::Unary(outer), &[x]) = (site.op, site.args) else { return vec![] };
    net.pick(x, |op, args| match (outer, op) {
        (Neg, Op::Unary(Neg)) | (Not, Op::Unary(Not)) | (BitNot, Op::Unary(BitNot)) => Some(args[0]),
        // Whole numbers stay as they are, and so do magnitudes and signs.
        (Floor | Ceil | Round | Trunc, Op::Unary(Floor | Ceil | Round | Trunc)) => Some(x),
        (Abs, Op::Unary(Abs | Exp | Sigmoid)) | (Sign, Op::Unary(Sign)) => Some(x),
        _ => None,
    })
}

fn convert_same(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Convert(to) | Op::Bitcast(to), &[x]) if net.dtype(x) == *to => vec![x],
        _ => vec![],
    }
}

/// Whether every value of a type is one of another type.
fn embeds(narrow: DType, wide: DType) -> bool {
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

fn convert_back(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Convert(to), &[x]) = (site.op, site.args) else { return vec![] };
    let middle = net.dtype(x);
    let inner = net.pick(x, |op, args| matches!(op, Op::Convert(_)).then(|| args[0]));
    let mut found = vec![];
    for first in inner {
        let from = net.dtype(first);
        // Between integers a conversion wraps, from a float it saturates.
        let wraps = from.is_int() && to.is_int() && from != *to && !embeds(from, *to);
        if embeds(from, middle) && !(wraps && middle.is_float()) {
            // The middle type lost nothing, so the first may be converted straight away.
            found.extend(if from == *to { Some(first) } else { net.add(Op::Convert(*to), &[first]) });
        }
    }
    found
}

fn bitcast_twice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Bitcast(to), &[x]) = (site.op, site.args) else { return vec![] };
    let inner = net.pick(x, |op, args| matches!(op, Op::Bitcast(_)).then(|| args[0]));
    inner.into_iter().filter(|&first| net.dtype(first) == *to).collect()
}

fn select_known(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Select, &[condition, x, y]) = (site.op, site.args) else { return vec![] };
    match net.splat(condition) {
        Some(0.0) => vec![y],
        Some(_) => vec![x],
        None if net.equal(x, y) => vec![x],
        None => vec![],
    }
}

fn select_not(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Select, &[condition, x, y]) = (site.op, site.args) else { return vec![] };
    let negated = net.pick_one(condition, |op, args| matches!(op, Op::Unary(UnaryOp::Not)).then(|| args[0]));
    one(negated.and_then(|c| net.add(Op::Select, &[c, y, x])))
}

fn reshape_same(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Reshape { shape }, &[x]) if net.facts(x).ty.shape == *shape => vec![x],
        _ => vec![],
    }
}

fn reshape_reshape(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reshape { shape }, &[x]) = (site.op, site.args) else { return vec![] };
    let inner = net.all_reshapes(x);
    inner.into_iter().filter_map(|inner| net.reshape(inner, shape.clone())).collect()
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

/// A transpose that moves only unit axes leaves the memory as it is.
fn transpose_units(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    if !super::cost::moves_units_only(&net.ty(x), perm) {
        return vec![];
    }
    let shape = net.shape(site.class);
    one(net.reshape(x, shape))
}

fn broadcast_same(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Broadcast { shape, axes }, &[x]) if net.facts(x).ty.shape == *shape && is_identity(axes) => vec![x],
        _ => vec![],
    }
}

fn slice_all(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let from_zero = starts.iter().all(|s| s.is_const(0)) && steps.iter().all(|&s| s == 1);
    if from_zero && net.facts(x).ty.shape == *sizes { vec![x] } else { vec![] }
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
