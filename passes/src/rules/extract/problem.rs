//! What extraction decides, apart from the e-graph: classes, and the candidates of each with their operands and costs.
//!
//! Beside the classes of the e-graph there are those of values *in memory*. A kernel reads the operands of a product or of a
//! sequential operation from memory. Some terms put their value there as they are: results of kernels, what follows from a
//! product elementwise, and views of such. Others take one more kernel; however many read it, it is paid for once.

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
    /// The e-graph's names of the classes; of values in memory, those of the values.
    pub ids: Vec<Id>,
}

impl Problem {
    /// The problem of an e-graph; `None` when a root is none of its classes.
    pub fn new(net: &Net, roots: &[Id], costs: &Costs<'_>) -> Option<Problem> {
        let mut ids: Vec<Id> = net.egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let position: FxHashMap<Id, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let roots = roots.iter().map(|root| position.get(&net.egraph.find(*root)).copied()).collect::<Option<_>>()?;
        let ends = epilogues(net, &ids, &position);
        let listed = |&id: &Id| candidates(net, id, &position, &ends, costs);
        let terms: Vec<Vec<Listed>> = ids.iter().map(listed).collect();
        let mut builder =
            Builder { net, costs, always: always_in_memory(&terms), memory: vec![None; ids.len()], wanted: vec![] };
        let mut classes: Vec<Vec<Candidate>> = vec![];
        for list in &terms {
            let candidate = |listed: &Listed| {
                let mut candidate = listed.candidate.clone();
                if listed.reads_memory {
                    candidate.children.iter_mut().for_each(|child| *child = builder.in_memory(*child));
                }
                candidate
            };
            classes.push(list.iter().map(candidate).collect());
        }
        // More are wanted as views are followed.
        let mut next = 0;
        while let Some(&class) = builder.wanted.get(next) {
            next += 1;
            let cost = builder.costs.stored(&builder.net.facts(ids[class]).ty);
            let mut list = vec![];
            for (listed, candidate) in terms[class].iter().zip(&classes[class]) {
                match listed.lies {
                    Lies::No => continue,
                    Lies::Yes => list.push(candidate.clone()),
                    Lies::AsOperand => {
                        let children = candidate.children.iter().map(|&child| builder.in_memory(child)).collect();
                        list.push(Candidate { children, ..candidate.clone() });
                    }
                }
            }
            if !list.is_empty() {
                // What is in memory can be read from there.
                let at = classes.len();
                classes[class].push(Candidate { term: None, children: vec![at], cost: 0 });
            }
            list.push(Candidate { term: None, children: vec![class], cost });
            classes.push(list);
        }
        let of: Vec<usize> = (0..ids.len()).chain(builder.wanted).collect();
        Some(Problem { classes, roots, ids: of.into_iter().map(|class| ids[class]).collect() })
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

/// Whether a term puts its value in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    /// It takes a kernel more.
    No,
    /// A kernel ends in it.
    Yes,
    /// If its operand is there.
    AsOperand,
}

/// A term as a candidate.
struct Listed {
    candidate: Candidate,
    /// Whether it reads its operands from memory.
    reads_memory: bool,
    lies: Lies,
}

/// Hands out the classes of values in memory.
struct Builder<'a> {
    net: &'a Net,
    costs: &'a Costs<'a>,
    /// Classes that are in memory whatever term is chosen.
    always: Vec<bool>,
    /// The class of each class's value in memory.
    memory: Vec<Option<usize>>,
    /// The classes that have one.
    wanted: Vec<usize>,
}

impl Builder<'_> {
    fn in_memory(&mut self, class: usize) -> usize {
        if self.always.get(class).is_none_or(|&always| always) {
            return class;
        }
        let next = self.memory.len() + self.wanted.len();
        *self.memory[class].get_or_insert_with(|| {
            self.wanted.push(class);
            next
        })
    }
}

/// The classes all of whose terms put their value in memory.
fn always_in_memory(terms: &[Vec<Listed>]) -> Vec<bool> {
    let mut always = vec![true; terms.len()];
    loop {
        let lies = |listed: &Listed| match listed.lies {
            Lies::No => false,
            Lies::Yes => true,
            Lies::AsOperand => listed.candidate.children.iter().all(|&child| always[child]),
        };
        let next: Vec<bool> = terms.iter().zip(&always).map(|(list, &was)| was && list.iter().all(lies)).collect();
        if next == always {
            return always;
        }
        always = next;
    }
}

/// Whether an operation moves data to another order.
fn reorders(net: &Net, op: &Op, args: &[Id]) -> bool {
    match (op, args) {
        (Op::Transpose { perm }, &[x]) => !moves_units_only(&net.ty(x), perm),
        _ => false,
    }
}

/// The classes that hold a product, or what follows from one elementwise; and what a kernel reorders, or what follows from
/// that elementwise or as a view: the reordering is done on the way.
fn epilogues(net: &Net, ids: &[Id], position: &FxHashMap<Id, usize>) -> Vec<bool> {
    let product = |op: &Op, _: &[Id]| role(op) == Role::Anchor;
    let mut ends = reached(net, ids, position, &product, &[Role::Elementwise]);
    let reorder = |op: &Op, args: &[Id]| reorders(net, op, args);
    let moves = reached(net, ids, position, &reorder, &[Role::Elementwise, Role::View]);
    ends.iter_mut().zip(moves).for_each(|(end, moved)| *end |= moved);
    ends
}

/// The classes that hold a term of a kind, or one with such an operand through operations of some roles.
fn reached(
    net: &Net,
    ids: &[Id],
    position: &FxHashMap<Id, usize>,
    kind: &dyn Fn(&Op, &[Id]) -> bool,
    through: &[Role],
) -> Vec<bool> {
    let heads = &net.egraph.analysis.heads;
    let mut found = vec![false; ids.len()];
    loop {
        let mut changed = false;
        for (class, &id) in ids.iter().enumerate().filter(|(_, id)| !net.is_known(**id)) {
            let below = |&arg: &Id| position.get(&net.egraph.find(arg)).is_some_and(|&arg| found[arg]);
            let holds = !found[class]
                && net.egraph[id].iter().any(|term| match &**heads.get(term.head) {
                    Head::Op(op) => kind(op, &term.args) || through.contains(&role(op)) && term.args.iter().any(below),
                    Head::Value(_) => false,
                });
            changed |= holds;
            found[class] |= holds;
        }
        if !changed {
            return found;
        }
    }
}

/// The terms of a class with their costs. A constant costs nothing but where it could be computed from something else than
/// constants: most can not, and are read whatever is chosen.
fn candidates(net: &Net, id: Id, position: &FxHashMap<Id, usize>, ends: &[bool], costs: &Costs<'_>) -> Vec<Listed> {
    let facts = net.facts(id);
    let heads = &net.egraph.analysis.heads;
    let free = matches!(facts.known, Known::Folded(_));
    let computed = net.egraph[id].iter().any(|term| !term.args.iter().all(|&arg| net.is_known(arg)));
    let mut list = vec![];
    for term in net.egraph[id].iter() {
        let args: Box<[Id]> = term.args.iter().map(|&a| net.egraph.find(a)).collect();
        let known = args.iter().all(|&a| net.is_known(a));
        let children: Vec<usize> = args.iter().filter_map(|arg| position.get(arg).copied()).collect();
        let follows = children.iter().any(|&child| ends[child]);
        let of = |cost, args| Candidate { term: Some((term.head, args)), children: children.clone(), cost };
        let leaf = |candidate| Listed { candidate, reads_memory: false, lies: Lies::Yes };
        match &**heads.get(term.head) {
            Head::Value(_) => return vec![leaf(of(0, args))],
            Head::Op(Op::Constant(_)) if !computed => return vec![leaf(of(0, args))],
            Head::Op(Op::Constant(_)) => list.push(leaf(of(costs.read(&facts.ty), args))),
            Head::Op(_) if free && known => list.push(leaf(of(1, args))),
            Head::Op(op) => {
                let types: Vec<_> = args.iter().map(|&a| net.ty(a)).collect();
                let types: Vec<_> = types.iter().map(|ty| &**ty).collect();
                let lies = match role(op) {
                    _ if reorders(net, op, &term.args) => Lies::Yes,
                    Role::Anchor | Role::Opaque => Lies::Yes,
                    Role::Elementwise if follows => Lies::Yes,
                    Role::View if known => Lies::Yes,
                    Role::View if !children.is_empty() => Lies::AsOperand,
                    // Counted indices have to be written down, too.
                    Role::View | Role::Elementwise | Role::Movement | Role::Reduction => Lies::No,
                };
                let reads_memory = matches!(role(op), Role::Anchor | Role::Opaque);
                list.push(Listed { candidate: of(costs.of(op, &types, &facts.ty), args), reads_memory, lies });
            }
        }
    }
    list
}
