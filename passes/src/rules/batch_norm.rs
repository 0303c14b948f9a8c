//! Scales and offsets per channel, as batch normalisation leaves them, folded into the weights before them.
//!
//! These change values by rounding; their rows stand in [`super::approx`]. They run when transposes have settled, so
//! that a product and its scale stand next to each other.
//!
//! They apply to products that sum several terms, with finite weights and offsets up to `2^64` and scales up to `2^32`:
//! then nothing that is merged overflows. There is no lower bound, for trained models have channels that died out: a
//! weight that becomes subnormal by its scale loses digits, which is an error below `2^-149` of the input.

use super::approx::merges;
use super::discrete;
use super::net::Net;
use super::range::magnitudes;
use super::saturate::Site;
use egg::Id;
use nnc_ir::Dim;
use nnc_ir::op::{BinaryOp, Op};

/// The operands as (the one that is not known, the known one).
fn split_known(net: &Net, args: &[Id]) -> Option<(Id, Id)> {
    let &[x, y] = args else { return None };
    match (net.is_known(x), net.is_known(y)) {
        (false, true) => Some((x, y)),
        (true, false) => Some((y, x)),
        _ => None,
    }
}

/// How a known class varies: what it repeats, and along which axes.
fn spread(net: &Net, id: Id) -> Option<(Id, Vec<usize>)> {
    let full = |(inner, axes): &(Id, Vec<usize>)| {
        let shape = &net.facts(id).ty.shape;
        net.facts(*inner).ty.shape.iter().zip(axes).all(|(size, &axis)| *size == shape[axis])
    };
    net.broadcasts(id).into_iter().filter(full).min_by_key(|(_, axes)| axes.len())
}

/// Whether an operation over these classes sums several terms.
pub(super) fn sums_several(net: &Net, op: &Op, args: &[Id]) -> bool {
    let types = args.iter().map(|&arg| net.ty(arg)).collect::<Vec<_>>();
    let types: Vec<_> = types.iter().map(|ty| &**ty).collect();
    discrete::sums(op, &types, &net.egraph.analysis.dims)
}

/// Whether a class is a product with known weights that sums several terms.
pub(super) fn is_sum(net: &Net, id: Id) -> bool {
    let product = |op: &Op, args: &[Id]| {
        let weights = matches!(op, Op::Conv { .. } | Op::Contract { .. }) && net.is_known(args[1]);
        (weights && sums_several(net, op, args)).then_some(())
    };
    net.pick_one(id, product).is_some()
}

const MOST_WEIGHT: f64 = (1u128 << 64) as f64;
const MOST_SCALE: f64 = (1u64 << 32) as f64;

/// Whether a known class may be a scale.
fn scales(net: &mut Net, scale: Id) -> bool {
    magnitudes(net, scale).is_some_and(|m| m.most <= MOST_SCALE)
}

/// Whether a known class may be scaled.
fn scalable(net: &mut Net, weights: Id) -> bool {
    magnitudes(net, weights).is_some_and(|m| m.most <= MOST_WEIGHT)
}

/// `(x + b) * s` is `x * s + b * s` where a product can take the scale.
pub(super) fn offset_then_scale(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !merges(net.dtype(site.class)) {
        return vec![];
    }
    let Some((x, scale)) = split_known(net, site.args) else { return vec![] };
    let sums = net.pick(x, |op, args| match op {
        Op::Binary(f @ (BinaryOp::Add | BinaryOp::Sub)) => Some((*f, [args[0], args[1]])),
        _ => None,
    });
    let mut found = vec![];
    for (f, args) in sums {
        // A difference keeps its order: the offset is subtracted.
        let operands = if f == BinaryOp::Add { split_known(net, &args) } else { Some((args[0], args[1])) };
        let Some((product, offset)) = operands.filter(|&(p, o)| net.is_known(o) && !net.is_known(p)) else { continue };
        if !is_sum(net, product) || !scales(net, scale) || !scalable(net, offset) {
            continue;
        }
        let scaled = net.binary(BinaryOp::Mul, product, scale);
        let shift = net.binary(BinaryOp::Mul, offset, scale);
        found.extend(scaled.zip(shift).and_then(|(scaled, shift)| net.binary(f, scaled, shift)));
    }
    found
}

/// `conv(x, w) * s` is `conv(x, w * s)` for a scale per output channel.
pub(super) fn conv_scale(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !merges(net.dtype(site.class)) {
        return vec![];
    }
    let Some((product, scale)) = split_known(net, site.args) else { return vec![] };
    let Some((vector, axes)) = spread(net, scale) else { return vec![] };
    let channel = net.facts(site.class).ty.rank().saturating_sub(1);
    if axes.iter().any(|&axis| axis != channel) || !is_sum(net, product) {
        return vec![];
    }
    let convs = net.pick(product, |op, args| match op {
        Op::Conv { .. } => Some((op.clone(), args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (op, x, w) in convs {
        let fits = net.is_known(w) && !net.is_known(x) && net.dtype(w) == net.dtype(scale);
        if fits && scales(net, vector) && scalable(net, w) {
            let filter = net.facts(w).ty.rank().saturating_sub(1);
            let scaled = scale_axes(net, w, vector, axes.iter().map(|_| filter).collect());
            found.extend(scaled.and_then(|w| net.add(op, &[x, w])));
        }
    }
    found
}

/// `contract(x, w) * s` is `contract(x, w * s)` for a scale along the columns.
pub(super) fn contract_scale(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !merges(net.dtype(site.class)) {
        return vec![];
    }
    let Some((product, scale)) = split_known(net, site.args) else { return vec![] };
    let Some((vector, axes)) = spread(net, scale) else { return vec![] };
    if !is_sum(net, product) {
        return vec![];
    }
    let contracts = net.pick(product, |op, args| match op {
        Op::Contract { batch, contract, .. } => {
            Some((op.clone(), args[0], args[1], batch.iter().chain(contract).map(|p| p.1).collect::<Vec<_>>()))
        }
        _ => None,
    });
    let mut found = vec![];
    for (op, x, w, paired) in contracts {
        if !net.is_known(w) || net.is_known(x) || net.dtype(w) != net.dtype(scale) {
            continue;
        }
        if !scales(net, vector) || !scalable(net, w) {
            continue;
        }
        let columns: Vec<usize> = (0..net.facts(w).ty.rank()).filter(|a| !paired.contains(a)).collect();
        let first = net.facts(site.class).ty.rank() - columns.len();
        let places: Option<Vec<usize>> =
            axes.iter().map(|&a| a.checked_sub(first).and_then(|i| columns.get(i).copied())).collect();
        let scaled = places.and_then(|places| scale_axes(net, w, vector, places));
        found.extend(scaled.and_then(|w| net.add(op, &[x, w])));
    }
    found
}

/// Weights times a vector along some of their axes.
fn scale_axes(net: &mut Net, w: Id, vector: Id, axes: Vec<usize>) -> Option<Id> {
    let shape: Vec<Dim> = net.shape(w);
    let spread = net.broadcast(vector, shape, axes)?;
    net.binary(BinaryOp::Mul, w, spread)
}
