//! What extraction decides, apart from the e-graph: classes, and the candidates of each with their operands and costs.
//!
//! Beside the classes of the e-graph there are those of values *in memory*. A kernel reads the operands of a product or of a
//! sequential operation from memory; where no kernel ends in such an operand, it takes one more, whose cost is that of a
//! class between the two. So however many read it, it is paid for once.

use super::Selection;
use crate::fold_constants::Known;
use crate::regions::role::{Role, role};
use crate::rules::cost::{Costs, moves_units_only};
use crate::rules::language::{Head, HeadId};
use crate::rules::net::Net;
use egg::Id;
use nnc_ir::op::Op;
use rustc_hash::FxHashMap;

/// A way to have the value of a class.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The term; `None` for what only puts a value in memory.
    pub term: Option<(HeadId, Box<[Id]>)>,
    /// Classes it needs.
    pub children: Vec<usize>,
    /// What it costs itself.
    pub cost: u64,
}

/// Classes and what they are needed for.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The candidates of each class.
    pub classes: Vec<Vec<Candidate>>,
    /// The classes that are needed.
    pub roots: Vec<usize>,
    /// The e-graph's names of the first classes.
    pub ids: Vec<Id>,
}

impl Problem {
    /// The problem of an e-graph; `None` when a root is none of its classes.
    pub fn new(net: &Net, roots: &[Id], costs: &Costs<'_>) -> Option<Problem> {
        let mut ids: Vec<Id> = net.egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let position: FxHashMap<Id, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let roots = roots.iter().map(|root| position.get(&net.egraph.find(*root)).copied()).collect::<Option<_>>()?;
        let lies = in_memory(net, &ids, &position);
        let mut problem = Problem { classes: Vec::with_capacity(ids.len()), roots, ids };
        // The class of a class's value in memory.
        let mut stored: Vec<Option<usize>> = vec![None; problem.ids.len()];
        let mut next = problem.ids.len();
        for i in 0..problem.ids.len() {
            let id = problem.ids[i];
            let mut list = candidates(net, id, costs);
            for (candidate, from_memory) in &mut list {
                let args = candidate.term.iter().flat_map(|(_, args)| args.iter());
                let class = |arg: &Id| position.get(&net.egraph.find(*arg)).copied();
                let mut children: Vec<usize> = args.filter_map(class).collect();
                if *from_memory {
                    for child in children.iter_mut().filter(|child| !lies[**child]) {
                        *child = *stored[*child].get_or_insert_with(|| {
                            next += 1;
                            next - 1
                        });
                    }
                }
                candidate.children = children;
            }
            problem.classes.push(list.into_iter().map(|(candidate, _)| candidate).collect());
        }
        problem.classes.resize(next, vec![]);
        for (class, stored) in stored.into_iter().enumerate() {
            if let Some(stored) = stored {
                let cost = costs.stored(&net.facts(problem.ids[class]).ty);
                problem.classes[stored] = vec![Candidate { term: None, children: vec![class], cost }];
            }
        }
        Some(problem)
    }

    /// For each class the candidates that need it: class and number.
    pub fn parents(&self) -> Vec<Vec<(usize, usize)>> {
        let mut parents: Vec<Vec<(usize, usize)>> = vec![vec![]; self.classes.len()];
        for (class, list) in self.classes.iter().enumerate() {
            for (number, candidate) in list.iter().enumerate() {
                for &child in &candidate.children {
                    if parents[child].last() != Some(&(class, number)) {
                        parents[child].push((class, number));
                    }
                }
            }
        }
        parents
    }

    /// The classes that a selection needs, each after those it needs itself; `None` when one needs itself.
    pub fn order(&self, selection: &Selection) -> Option<Vec<usize>> {
        let mut order = vec![];
        // 0: not seen, 1: on the path to here, 2: in the order.
        let mut state = vec![0u8; self.classes.len()];
        let mut stack: Vec<(usize, usize)> = vec![];
        for &root in &self.roots {
            if state[root] == 0 {
                state[root] = 1;
                stack.push((root, 0));
            }
            while let Some((class, next)) = stack.pop() {
                match self.classes[class][selection[class]?].children.get(next) {
                    Some(&child) => {
                        stack.push((class, next + 1));
                        match state[child] {
                            0 => {
                                state[child] = 1;
                                stack.push((child, 0));
                            }
                            1 => return None,
                            _ => {}
                        }
                    }
                    None => {
                        state[class] = 2;
                        order.push(class);
                    }
                }
            }
        }
        Some(order)
    }

    /// What a selection costs; `None` when it has a cycle.
    #[cfg(test)]
    pub fn price(&self, selection: &Selection) -> Option<u64> {
        let cost = |class: usize| Some(self.classes[class][selection[class]?].cost);
        self.order(selection)?.into_iter().map(cost).sum()
    }
}

/// The terms of a class with their costs, and whether they read their operands from memory.
fn candidates(net: &Net, id: Id, costs: &Costs<'_>) -> Vec<(Candidate, bool)> {
    let facts = net.facts(id);
    let heads = &net.egraph.analysis.heads;
    let free = matches!(facts.known, Known::Folded(_));
    let mut list = vec![];
    for term in net.egraph[id].iter() {
        let args: Box<[Id]> = term.args.iter().map(|&a| net.egraph.find(a)).collect();
        let known = args.iter().all(|&a| net.is_known(a));
        let of = |cost, args| Candidate { term: Some((term.head, args)), children: vec![], cost };
        match &**heads.get(term.head) {
            Head::Op(Op::Constant(_)) | Head::Value(_) => return vec![(of(0, args), false)],
            Head::Op(_) if free && known => list.push((of(1, args), false)),
            Head::Op(op) => {
                let types: Vec<_> = args.iter().map(|&a| net.ty(a)).collect();
                let cost = costs.of(op, &types.iter().map(|ty| &**ty).collect::<Vec<_>>(), &facts.ty);
                list.push((of(cost, args), matches!(role(op), Role::Anchor | Role::Opaque)));
            }
        }
    }
    list
}

/// For each class whether its value is in memory anyway: some term is a kernel's result as it stands, or follows from one
/// elementwise, or is a view of such a value.
fn in_memory(net: &Net, ids: &[Id], position: &FxHashMap<Id, usize>) -> Vec<bool> {
    let heads = &net.egraph.analysis.heads;
    let at = |id: Id| position.get(&net.egraph.find(id)).copied();
    let mut lies: Vec<bool> = ids.iter().map(|&id| net.is_known(id)).collect();
    // Results of products and what follows from them elementwise.
    let mut ends = vec![false; ids.len()];
    loop {
        let mut changed = false;
        for (class, &id) in ids.iter().enumerate() {
            if ends[class] {
                continue;
            }
            for term in net.egraph[id].iter() {
                let any = |list: &[bool]| term.args.iter().any(|&arg| at(arg).is_some_and(|arg| list[arg]));
                let (end, lie) = match &**heads.get(term.head) {
                    Head::Value(_) => (false, true),
                    Head::Op(Op::Transpose { perm })
                        if term.args.first().is_some_and(|&x| !moves_units_only(&net.ty(x), perm)) =>
                    {
                        (false, true)
                    }
                    Head::Op(op) => match role(op) {
                        Role::Anchor => (true, true),
                        Role::Opaque => (false, true),
                        Role::Elementwise => (any(&ends), any(&ends)),
                        Role::View => (false, any(&lies)),
                        Role::Movement | Role::Reduction => (false, false),
                    },
                };
                changed |= end && !ends[class] || lie && !lies[class];
                ends[class] |= end;
                lies[class] |= lie;
            }
        }
        if !changed {
            return lies;
        }
    }
}
