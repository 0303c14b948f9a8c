//! Reductions of reductions.

use super::net::Net;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{Op, ReduceOp};

/// The rules.
pub const RULES: &[Rule] = &[exactly("reduce-reduce", 2, reduce_reduce)];

/// Maxima and minima over some axes and then others are taken at once. Sums are not: the order of rounding differs.
fn reduce_reduce(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reduce { op: op @ (ReduceOp::Max | ReduceOp::Min), axes }, &[x]) = (site.op, site.args) else {
        return vec![];
    };
    let inner = net.pick(x, |inner, args| match inner {
        Op::Reduce { op: first, axes } if first == op => Some((args[0], axes.clone())),
        _ => None,
    });
    let mut found = vec![];
    for (first, gone) in inner {
        // The axes left by the first reduction, by number.
        let left: Vec<usize> = (0..net.facts(first).ty.rank()).filter(|a| !gone.contains(a)).collect();
        let mut all = gone.clone();
        all.extend(axes.iter().map(|&a| left[a]));
        all.sort_unstable();
        found.extend(net.add(Op::Reduce { op: *op, axes: all }, &[first]));
    }
    found
}
