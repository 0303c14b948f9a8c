//! Scales and offsets per channel, as batch normalisation leaves them, folded into the weights before them.
//!
//! These change values by rounding; their rows stand in [`super::approx`]. They run when transposes have settled, so
//! that a product and its scale stand next to each other and uses are those of the graph.

use super::net::Net;
use super::saturate::Site;
use egg::Id;
use nnc_ir::Dim;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// The operands as (the one that is not known, the known one).
pub(super) fn split_known(net: &Net, args: &[Id]) -> Option<(Id, Id)> {
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

/// Whether a class is a product with known weights that nothing else uses, possibly with an offset added.
fn takes_scale(net: &Net, id: Id) -> bool {
    let product = |id: Id| {
        net.pick_one(id, |op, args| {
            let weights = matches!(op, Op::Conv { .. } | Op::Contract { .. });
            (weights && net.is_known(args[1])).then_some(())
        })
        .is_some()
    };
    product(id)
}

/// `x - c` is `x + -c`, so that offsets meet.
pub(super) fn subtract_constant(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Sub), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !net.dtype(x).is_float() || !net.is_known(y) || net.is_known(x) {
        return vec![];
    }
    let negated = net.unary(UnaryOp::Neg, y);
    super::one(negated.and_then(|negated| net.binary(BinaryOp::Add, x, negated)))
}

/// `(x + b) * s` is `x * s + b * s` where a product can take the scale.
pub(super) fn offset_then_scale(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !net.dtype(site.class).is_float() {
        return vec![];
    }
    let Some((x, scale)) = split_known(net, site.args) else { return vec![] };
    if !net.used_once(x) {
        return vec![];
    }
    let sums = net.pick(x, |op, args| match op {
        Op::Binary(f @ (BinaryOp::Add | BinaryOp::Sub)) => Some((*f, [args[0], args[1]])),
        _ => None,
    });
    let mut found = vec![];
    for (f, args) in sums {
        // A difference keeps its order: the offset is subtracted.
        let operands = if f == BinaryOp::Add { split_known(net, &args) } else { Some((args[0], args[1])) };
        let Some((product, offset)) = operands.filter(|&(p, o)| net.is_known(o) && !net.is_known(p)) else { continue };
        if !takes_scale(net, product) || !net.used_once(product) {
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
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !net.dtype(site.class).is_float() {
        return vec![];
    }
    let Some((product, scale)) = split_known(net, site.args) else { return vec![] };
    let Some((vector, axes)) = spread(net, scale) else { return vec![] };
    let channel = net.facts(site.class).ty.rank() - 1;
    if axes.iter().any(|&axis| axis != channel) || !net.used_once(product) {
        return vec![];
    }
    let convs = net.pick(product, |op, args| match op {
        Op::Conv { .. } => Some((op.clone(), args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (op, x, w) in convs {
        if net.is_known(w) && !net.is_known(x) && net.dtype(w) == net.dtype(scale) {
            let filter = net.facts(w).ty.rank() - 1;
            let scaled = scale_axes(net, w, vector, axes.iter().map(|_| filter).collect());
            found.extend(scaled.and_then(|w| net.add(op, &[x, w])));
        }
    }
    found
}

/// `contract(x, w) * s` is `contract(x, w * s)` for a scale along the columns.
pub(super) fn contract_scale(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(BinaryOp::Mul)) || !net.dtype(site.class).is_float() {
        return vec![];
    }
    let Some((product, scale)) = split_known(net, site.args) else { return vec![] };
    let Some((vector, axes)) = spread(net, scale) else { return vec![] };
    if !net.used_once(product) {
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
