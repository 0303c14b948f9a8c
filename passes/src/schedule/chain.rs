//! Steps that depend on each other part by part become one launch: what one wrote is read again while it is in cache.
//!
//! The items of a step are cut into groups, as many for each step of the chain. Where a group of one step reads only what
//! the same group of the steps before wrote, groups need not wait for each other: an item of the launch does the
//! group's items of all steps, in order. So the products and the softmax of attention run head by head. Steps that are
//! not worth sharing out are one group, with at most one larger step that is not shared out anyway.
//!
//! Invariants: [`super::partition`] has shown of every buffer that one step writes and another touches that groups touch
//! different elements.

use super::group::{Grouping, regroup};
use super::launch::{Body, Launch, Made};
use super::part::{Part, independent};
use super::partition;
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_ir::DType;
use nnc_kernels::index::{Factor, Polynomial, View};
use nnc_kernels::kernel::{Index, Kernel, Stmt, Var};
use std::collections::BTreeSet;

/// Least number of groups for threads to share, where the work is worth sharing.
const ENOUGH_GROUPS: u64 = 8;
/// Threads that are taken to share a launch when its time is compared with that of the launches it stands for.
const THREADS: u64 = 4;
/// What a chain may take of their time, in hundredths: what it saves by reading from cache is not counted.
const MOST_PERCENT: u64 = 110;

/// Largest number by which what extents have in common is divided in search of a number of groups.
const MOST_DIVISOR: i64 = 16;

/// Chains neighbouring steps where groups of their items need not wait for each other.
pub fn chain(lowered: &mut Lowered, target: &Target) {
    regroup(lowered, target, &InTurn { target });
}

/// Parts one after the other, group by group.
struct InTurn<'a> {
    target: &'a Target,
}

impl Grouping for InTurn<'_> {
    fn fits(&self, kernels: &[Kernel], group: &[&Part], part: &Part) -> bool {
        let parts: Vec<&Part> = group.iter().copied().chain([part]).collect();
        parts.iter().all(|part| is_plain(&kernels[part.kernel.0 as usize])) && self.chained(kernels, &parts).is_some()
    }

    fn launch(&self, name: &str, kernels: &[Kernel], group: &[&Part]) -> Option<Made> {
        let (launch, body, outer) = self.chained(kernels, group)?;
        Some(launch.grouped(outer, body).finish(name))
    }
}

impl InTurn<'_> {
    /// The launch of a chain, what it does for a group, and how many groups there are.
    fn chained(&self, kernels: &[Kernel], parts: &[&Part]) -> Option<(Launch, Vec<Stmt>, Index)> {
        let graft = || {
            let mut launch = Launch::new();
            let graft = |part: &&Part| launch.graft(&kernels[part.kernel.0 as usize], &part.arguments, &part.params);
            let bodies: Vec<Body> = parts.iter().map(graft).collect();
            (launch, bodies)
        };
        // Alone, a part is better shared out by its own items.
        let waits = |part: &&Part| {
            let kernel = |part: &Part| &kernels[part.kernel.0 as usize];
            parts
                .iter()
                .any(|other| !std::ptr::eq(*other, *part) && !independent((other, kernel(other)), (part, kernel(part))))
        };
        let mut large = parts.iter().filter(|part| !part.is_small(self.target));
        if large.next().is_none_or(|part| part.items == 1) && large.next().is_none() && parts.iter().all(waits) {
            let (mut launch, bodies) = graft();
            let body = bodies.into_iter().flat_map(|body| launch.all_items(body)).collect();
            return Some((launch, body, Index::ONE));
        }
        let groups = parts.iter().map(|part| part.items).min().unwrap_or(1);
        if !parts.iter().all(|part| part.items == groups || waits(part)) {
            return None;
        }
        let (_, bodies) = graft();
        let mut tried: Vec<Index> = vec![];
        for outer in candidates(&bodies) {
            let known = outer.as_const().map_or(groups, |n| n.max(0).unsigned_abs());
            if known < ENOUGH_GROUPS || tried.contains(&outer) || !self.pays(parts, known) {
                continue;
            }
            tried.push(outer.clone());
            let (mut launch, bodies) = graft();
            let item = launch.item();
            let body: Option<Vec<Vec<Stmt>>> =
                bodies.into_iter().map(|body| launch.items_of_group(body, item, &outer)).collect();
            let Some(body) = body else { continue };
            if partition::by_group(&launch, &body, &outer) {
                return Some((launch, body.concat(), outer));
            }
        }
        None
    }

    /// Whether some groups of all parts take threads no longer than the items of each part in turn.
    fn pays(&self, parts: &[&Part], groups: u64) -> bool {
        let fork = self.target.rates.fork / 1000;
        let shared = |nanoseconds: u64, items: u64| nanoseconds / items.max(1) * items.div_ceil(THREADS) + fork;
        let alone = |part: &&Part| match part.is_small(self.target) {
            true => part.nanoseconds,
            false => shared(part.nanoseconds, part.items),
        };
        let chained = shared(parts.iter().map(|part| part.nanoseconds).sum(), groups);
        chained.saturating_mul(100) <= parts.iter().map(alone).sum::<u64>().saturating_mul(MOST_PERCENT)
    }
}

/// Numbers of groups that may suit: divisors of what the extents of the parts have in common, the largest first.
fn candidates(bodies: &[Body]) -> Vec<Index> {
    let extents: Vec<View<Index>> = bodies.iter().map(|body| body.extent.view()).collect();
    let coefficients = extents.iter().flat_map(|extent| extent.terms.iter().map(|(c, _)| *c).chain([extent.constant]));
    let number = coefficients.fold(0, gcd).max(1);
    let divisors = (1..=number.min(MOST_DIVISOR)).filter(|d| number % d == 0).map(|d| number / d);
    let shared = shared_vars(&extents);
    let extents = bodies.iter().map(|body| body.extent.clone());
    divisors.map(|n| &shared * n).chain(extents).collect()
}

/// The product of the variables that all extents are multiples of.
fn shared_vars(extents: &[View<Index>]) -> Index {
    let mut shared = Index::ONE;
    let Some((_, factors)) = extents.first().and_then(|extent| extent.terms.first()) else { return shared };
    if extents.iter().any(|extent| extent.constant != 0) {
        return shared;
    }
    let vars: BTreeSet<Var> =
        factors.iter().filter_map(|f| if let Factor::Var(v) = f { Some(*v) } else { None }).collect();
    for var in vars {
        let has = |factors: &[Factor<Index>]| factors.iter().any(|f| matches!(f, Factor::Var(v) if *v == var));
        if extents.iter().flat_map(|extent| &extent.terms).all(|(_, factors)| has(factors)) {
            shared = shared * var.index();
        }
    }
    shared
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.saturating_abs() } else { gcd(b, a % b) }
}

/// Whether generators of wide code know the element types, so that no part makes the others narrow.
fn is_plain(kernel: &Kernel) -> bool {
    kernel.buffers.iter().all(|b| matches!(b.dtype, DType::F32 | DType::I32 | DType::U32 | DType::Bool))
}
