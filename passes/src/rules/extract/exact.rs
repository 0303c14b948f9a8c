//! The cheapest selection, by branch and bound: the judge of the heuristic, for small problems.

use super::Problem;

struct Search<'a> {
    problem: &'a Problem,
    /// The least that a candidate of each class costs.
    least: Vec<u64>,
    chosen: Vec<Option<usize>>,
    best: u64,
    steps: usize,
}

/// What the cheapest selection costs, at most `known`; `None` when that takes more than `steps`.
pub fn optimum(problem: &Problem, known: u64, steps: usize) -> Option<u64> {
    let least = problem.classes.iter().map(|list| list.iter().map(|c| c.cost).min().unwrap_or(0)).collect();
    let mut search = Search { problem, least, chosen: vec![None; problem.classes.len()], best: known, steps };
    let mut open = vec![];
    let bound = search.open(&problem.roots, &mut open);
    search.branch(open, bound).then_some(search.best)
}

impl Search<'_> {
    /// Adds classes to those to decide; what they cost at least.
    fn open(&self, classes: &[usize], open: &mut Vec<usize>) -> u64 {
        let mut added = 0;
        for &class in classes {
            if self.chosen[class].is_none() && !open.contains(&class) {
                open.push(class);
                added += self.least[class];
            }
        }
        added
    }

    /// Decides the last of `open`, when all decided and open classes cost at least `bound`; whether steps were enough.
    fn branch(&mut self, mut open: Vec<usize>, bound: u64) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        if bound >= self.best {
            return true;
        }
        // Classes without a choice first: they raise the bound for nothing.
        let Some(at) = (0..open.len()).min_by_key(|&i| self.problem.classes[open[i]].len()) else {
            self.best = bound;
            return true;
        };
        let class = open.swap_remove(at);
        let mut numbers: Vec<usize> = (0..self.problem.classes[class].len()).collect();
        numbers.sort_by_key(|&number| self.problem.classes[class][number].cost);
        for number in numbers {
            let candidate = &self.problem.classes[class][number];
            self.chosen[class] = Some(number);
            if self.has_cycle(class) {
                continue;
            }
            let mut open = open.clone();
            let bound = bound - self.least[class] + candidate.cost + self.open(&candidate.children, &mut open);
            if !self.branch(open, bound) {
                return false;
            }
        }
        self.chosen[class] = None;
        true
    }

    /// Whether a class needs itself by what is decided.
    fn has_cycle(&self, class: usize) -> bool {
        let (mut seen, mut stack) = (vec![false; self.chosen.len()], vec![class]);
        while let Some(next) = stack.pop() {
            let Some(number) = self.chosen[next] else { continue };
            for &child in &self.problem.classes[next][number].children {
                if child == class {
                    return true;
                }
                if !std::mem::replace(&mut seen[child], true) {
                    stack.push(child);
                }
            }
        }
        false
    }
}
