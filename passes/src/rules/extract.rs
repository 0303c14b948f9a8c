//! Extraction: the cheapest term of each class, when what is shared is paid for once.
//!
//! egg's own extractor adds up trees, which counts a value once for each path to it: exponential in the number of
//! residual connections. Here each class has the set of classes its best term needs, and costs what the members cost
//! together. Terms are tried until no class gets cheaper.
//!
//! Invariants: the choice has no cycle; equal inputs give equal choices (costs are integers, ties go to the first).
//!
//! Source: the greedy DAG extractor of egraphs-good/extraction-gym (`faster_greedy_dag.rs`), with bit sets.

use super::cost::Costs;
use super::language::{Head, HeadId};
use super::net::Net;
use crate::fold_constants::Known;
use egg::Id;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The chosen term of each class that has one.
pub type Choice = FxHashMap<Id, (Arc<Head>, Box<[Id]>)>;

struct Candidate {
    head: HeadId,
    args: Box<[Id]>,
    children: Vec<usize>,
    cost: u64,
}

/// What is best so far for a class.
#[derive(Clone)]
struct Best {
    candidate: usize,
    needs: Vec<u64>,
    total: u64,
}

/// Chooses terms for what `roots` need; `None` when there is no choice without a cycle.
pub fn extract(net: &Net, roots: &[Id], costs: &Costs<'_>) -> Option<Choice> {
    let mut ids: Vec<Id> = net.egraph.classes().map(|class| class.id).collect();
    ids.sort_unstable();
    let position: FxHashMap<Id, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let candidates: Vec<Vec<Candidate>> = ids.iter().map(|&id| candidates(net, id, &position, costs)).collect();
    let mut parents: Vec<Vec<usize>> = vec![vec![]; ids.len()];
    for (class, list) in candidates.iter().enumerate() {
        for &child in list.iter().flat_map(|c| &c.children) {
            if parents[child].last() != Some(&class) {
                parents[child].push(class);
            }
        }
    }
    let best = settle(&candidates, &parents);
    let mut choice = Choice::default();
    // Depth first, to see that no class needs itself: sets may have gone stale while others improved.
    let mut state = vec![0u8; ids.len()];
    let mut stack: Vec<(usize, usize)> = vec![];
    for root in roots {
        stack.push((*position.get(&net.egraph.find(*root))?, 0));
        while let Some((class, next)) = stack.pop() {
            if state[class] == 2 {
                continue;
            }
            let candidate = &candidates[class][best[class].as_ref()?.candidate];
            if next == 0 {
                if state[class] == 1 {
                    return None;
                }
                state[class] = 1;
            }
            match candidate.children.get(next) {
                Some(&child) => {
                    stack.push((class, next + 1));
                    if state[child] == 1 {
                        return None;
                    }
                    stack.push((child, 0));
                }
                None => {
                    state[class] = 2;
                    let head = net.egraph.analysis.heads.get(candidate.head).clone();
                    choice.insert(ids[class], (head, candidate.args.clone()));
                }
            }
        }
    }
    Some(choice)
}

fn candidates(net: &Net, id: Id, position: &FxHashMap<Id, usize>, costs: &Costs<'_>) -> Vec<Candidate> {
    let facts = net.facts(id);
    let heads = &net.egraph.analysis.heads;
    let free = matches!(facts.known, Known::Folded(_));
    let mut list: Vec<Candidate> = vec![];
    for term in net.egraph[id].iter() {
        let head = heads.get(term.head);
        let Head::Op(op) = &**head else {
            return vec![Candidate { head: term.head, args: [].into(), children: vec![], cost: 0 }];
        };
        if matches!(op, nnc_ir::Op::Constant(_)) {
            return vec![Candidate { head: term.head, args: [].into(), children: vec![], cost: 0 }];
        }
        let args: Box<[Id]> = term.args.iter().map(|&a| net.egraph.find(a)).collect();
        let known = args.iter().all(|&a| net.is_known(a));
        let cost = if free && known {
            1
        } else {
            let types: Vec<_> = args.iter().map(|&a| net.ty(a)).collect();
            costs.of(op, &types.iter().map(|ty| &**ty).collect::<Vec<_>>(), &facts.ty)
        };
        let children = args.iter().filter_map(|a| position.get(a).copied()).collect();
        list.push(Candidate { head: term.head, args, children, cost });
    }
    list
}

/// Improves classes until nothing changes.
fn settle(candidates: &[Vec<Candidate>], parents: &[Vec<usize>]) -> Vec<Option<Best>> {
    let words = candidates.len().div_ceil(64);
    let mut best: Vec<Option<Best>> = vec![None; candidates.len()];
    let mut own: Vec<u64> = vec![0; candidates.len()];
    let mut dirty = vec![true; candidates.len()];
    // Each round settles at least one more class for good when costs only fall; the limit is for what is left.
    for _ in 0..candidates.len().min(200) + 1 {
        let mut changed = false;
        for class in 0..candidates.len() {
            if !std::mem::take(&mut dirty[class]) {
                continue;
            }
            let mut improved = false;
            for (index, candidate) in candidates[class].iter().enumerate() {
                let Some((needs, below)) = needs_of(candidate, class, &best, &own, words) else { continue };
                let total = below.saturating_add(candidate.cost);
                if best[class].as_ref().is_none_or(|b| total < b.total) {
                    let mut needs = needs;
                    needs[class / 64] |= 1 << (class % 64);
                    best[class] = Some(Best { candidate: index, needs, total });
                    own[class] = candidate.cost;
                    improved = true;
                }
            }
            if improved {
                changed = true;
                parents[class].iter().for_each(|&p| dirty[p] = true);
            }
        }
        if !changed {
            break;
        }
    }
    best
}

/// The classes below a candidate and what they cost together; `None` when one has no term yet or it needs itself.
fn needs_of(
    candidate: &Candidate,
    class: usize,
    best: &[Option<Best>],
    own: &[u64],
    words: usize,
) -> Option<(Vec<u64>, u64)> {
    let Some(&first) = candidate.children.first() else { return Some((vec![0; words], 0)) };
    // The most expensive operand first: only what the others add is counted one by one.
    let mut largest = first;
    for &child in &candidate.children {
        if best[child].as_ref()?.total > best[largest].as_ref()?.total {
            largest = child;
        }
    }
    let start = best[largest].as_ref()?;
    let (mut needs, mut total) = (start.needs.clone(), start.total);
    for &child in &candidate.children {
        for (word, (have, &more)) in needs.iter_mut().zip(&best[child].as_ref()?.needs).enumerate() {
            let mut fresh = more & !*have;
            *have |= more;
            while fresh != 0 {
                total = total.saturating_add(own[word * 64 + fresh.trailing_zeros() as usize]);
                fresh &= fresh - 1;
            }
        }
    }
    if needs[class / 64] >> (class % 64) & 1 == 1 { None } else { Some((needs, total)) }
}
