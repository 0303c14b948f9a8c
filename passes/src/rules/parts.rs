//! What is computed element by element, side by side.

use super::net::Net;
use super::one;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::Op;

/// The rules.
pub const RULES: &[Rule] = &[exactly("concat-maps", 2, concat_maps)];

/// Most operands of a concatenation that are looked at.
const MOST_PARTS: usize = 64;

/// Whether an operation computes element by element.
pub(super) fn is_map(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_))
}

/// The same map of several values, side by side, is the map of the values side by side. The other operands of the map are
/// the same number everywhere, so that no more is moved than before.
fn concat_maps(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Concat { .. }, Some((&first, others))) = (site.op, site.args.split_first()) else { return vec![] };
    if others.is_empty() || others.len() >= MOST_PARTS {
        return vec![];
    }
    let maps = net.pick(first, |op, args| is_map(op).then(|| (op.clone(), args.to_vec())));
    let mut found = vec![];
    for (map, args) in maps {
        let varying: Vec<usize> = (0..args.len()).filter(|&i| net.splat(args[i]).is_none()).collect();
        let &[place] = varying.as_slice() else { continue };
        let like = |net: &Net, other: Id| {
            let same = |op: &Op, inner: &[Id]| {
                let numbers = (0..args.len()).filter(|&i| i != place);
                let alike = *op == map && numbers.into_iter().all(|i| net.splat(inner[i]) == net.splat(args[i]));
                alike.then(|| inner[place])
            };
            net.pick_one(other, same)
        };
        let rest: Option<Vec<Id>> = others.iter().map(|&other| like(net, other)).collect();
        let Some(rest) = rest else { continue };
        let values: Vec<Id> = std::iter::once(args[place]).chain(rest).collect();
        let Some(joined) = net.add(site.op.clone(), &values) else { continue };
        let shape = net.shape(site.class);
        let mut operands = vec![];
        for (i, &arg) in args.iter().enumerate() {
            let number = net.splat(arg).filter(|_| i != place);
            let dtype = net.dtype(arg);
            operands.extend(number.map_or(Some(joined), |value| net.full(dtype, value, shape.clone())));
        }
        if operands.len() == args.len() {
            found.extend(one(net.add(map, &operands)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::RULES;
    use crate::rules::Rule;
    use crate::rules::tests::{check, examples::text, parse};

    #[test]
    fn only_the_same_map_is_joined() {
        let rules: Vec<&Rule> = RULES.iter().collect();
        let joins = |second: &str| {
            let body = format!(
                "%6 = constant f32[2, 3] splat=2\n%7 = mul %0, %6 : f32[2, 3]\n%8 = constant f32[2, 4] splat=3\n%9 = constant f32[2, 4] splat=2\n%10 = {second} : f32[2, 4]\n%11 = concat %7, %10 axis=1 : f32[2, 7]"
            );
            check(&parse(&text("f32[2, 3], f32[2, 4]", &body)), &rules, 1).unwrap().contains_key("concat-maps")
        };
        assert_eq!(["mul %1, %9", "mul %1, %8", "add %1, %9", "exp %1"].map(joins), [true, false, false, false]);
    }
}
