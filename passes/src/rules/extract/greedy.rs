//! The first selection: from the leaves up, each class takes the term that is cheapest together with all that it needs.
//!
//! Each class has the set of classes its best term needs, and costs what the members cost together. Terms are tried until
//! no class gets cheaper.
//!
//! Source: the greedy DAG extractor of egraphs-good/extraction-gym (`faster_greedy_dag.rs`), with bit sets.

use super::{Candidate, Problem, Selection};

/// What is best so far for a class.
#[derive(Clone)]
struct Best {
    candidate: usize,
    needs: Vec<u64>,
    total: u64,
}

/// The selection; `None` when what is needed has a cycle.
pub(super) fn select(problem: &Problem) -> Option<Selection> {
    let selection: Selection =
        settle(&problem.classes, &problem.parents()).into_iter().map(|best| Some(best?.candidate)).collect();
    // Sets may have gone stale while others improved, so that there may be a cycle after all.
    problem.order(&selection).is_some().then_some(selection)
}

/// Improves classes until nothing changes.
fn settle(candidates: &[Vec<Candidate>], parents: &[Vec<(usize, usize)>]) -> Vec<Option<Best>> {
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
                parents[class].iter().for_each(|&(p, _)| dirty[p] = true);
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
