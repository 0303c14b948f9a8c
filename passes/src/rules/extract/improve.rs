//! Decides again what was selected, given what else is selected, until nothing gets cheaper.
//!
//! Two moves: a class takes another of its terms; or a class that nothing needs is brought in, and the classes above it
//! take it up where they gain, as where the parts of one product are slices of it. What a move costs is what is needed
//! anew less what nothing needs any more, which counts of uses tell. What is not needed keeps a term ready: the one that
//! takes the least beside what is.
//!
//! Invariants: no move makes a selection dearer, or gives it a cycle; moves are tried in the order of classes and candidates.

use super::{Problem, Selection};
use std::collections::VecDeque;

/// Rounds over all classes, whatever is left to gain.
const MOST_ROUNDS: usize = 8;
/// Classes above one that is brought in whose terms are looked at.
const MOST_ABOVE: usize = 32;

/// A class, the term it had ready, and what that took.
type Before = (usize, Option<usize>, u64);

struct State<'a> {
    problem: &'a Problem,
    selection: Selection,
    /// How often the selected terms need each class.
    uses: Vec<u32>,
    /// Places in an order where each class comes after what it needs; the greatest number for classes not in it.
    place: Vec<usize>,
    /// What each class takes beside what is needed, at most; 0 for what is needed itself.
    toll: Vec<u64>,
    /// The candidates that need each class, with their classes.
    parents: Vec<Vec<(usize, usize)>>,
    /// When each class was last seen by a search.
    seen: Vec<u32>,
    search: u32,
}

/// A selection as cheap as moves make it.
pub(super) fn improve(problem: &Problem, selection: Selection) -> Selection {
    let count = problem.classes.len();
    let mut state = State {
        problem,
        selection,
        uses: vec![0; count],
        place: vec![usize::MAX; count],
        toll: vec![0; count],
        parents: problem.parents(),
        seen: vec![0; count],
        search: 0,
    };
    for &root in &problem.roots {
        state.acquire(root);
    }
    if !state.refresh() {
        return state.selection;
    }
    for _ in 0..MOST_ROUNDS {
        let mut gained = 0;
        state.make_ready();
        for class in 0..count {
            for number in 0..problem.classes[class].len() {
                gained += state.gain(class, number);
            }
        }
        state.make_ready();
        for class in 0..count {
            gained += state.bring_in(class);
        }
        if gained == 0 {
            break;
        }
    }
    state.selection
}

impl<'a> State<'a> {
    fn children(&self, class: usize, number: usize) -> &'a [usize] {
        let problem = self.problem;
        &problem.classes[class][number].children
    }

    fn cost(&self, class: usize, number: usize) -> i128 {
        i128::from(self.problem.classes[class][number].cost)
    }

    /// One more use of a class; what is needed anew costs this much.
    fn acquire(&mut self, class: usize) -> i128 {
        let (mut added, mut stack) = (0, vec![class]);
        while let Some(class) = stack.pop() {
            self.uses[class] += 1;
            if let (1, Some(number)) = (self.uses[class], self.selection[class]) {
                added += self.cost(class, number);
                stack.extend(self.children(class, number));
            }
        }
        added
    }

    /// One use less; what nothing needs any more cost this much.
    fn release(&mut self, class: usize) -> i128 {
        let (mut freed, mut stack) = (0, vec![class]);
        while let Some(class) = stack.pop() {
            self.uses[class] -= 1;
            if let (0, Some(number)) = (self.uses[class], self.selection[class]) {
                freed += self.cost(class, number);
                stack.extend(self.children(class, number));
            }
        }
        freed
    }

    /// Selects a term; what everything costs more by that.
    fn select(&mut self, class: usize, number: usize) -> i128 {
        let Some(old) = self.selection[class].replace(number).filter(|_| self.uses[class] > 0) else { return 0 };
        let mut more = self.cost(class, number) - self.cost(class, old);
        for &child in self.children(class, number) {
            more += self.acquire(child);
        }
        for &child in self.children(class, old) {
            more -= self.release(child);
        }
        more
    }

    /// Orders the classes anew; whether there is no cycle.
    fn refresh(&mut self) -> bool {
        let Some(order) = self.problem.order(&self.selection) else { return false };
        self.place.fill(usize::MAX);
        order.iter().enumerate().for_each(|(place, &class)| self.place[class] = place);
        true
    }

    /// Whether a candidate's operands need the class itself, or something that has no term.
    fn needs_itself(&mut self, class: usize, number: usize) -> bool {
        self.search += 1;
        let mut stack = self.children(class, number).to_vec();
        while let Some(next) = stack.pop() {
            if next == class {
                return true;
            }
            // What comes before the class needs nothing that comes after.
            if self.place[next] < self.place[class] || self.seen[next] == self.search {
                continue;
            }
            self.seen[next] = self.search;
            let Some(number) = self.selection[next] else { return true };
            stack.extend(self.children(next, number));
        }
        false
    }

    /// Takes a term if everything gets cheaper, by what it returns.
    fn gain(&mut self, class: usize, number: usize) -> i128 {
        let Some(old) = self.selection[class].filter(|&old| old != number && self.uses[class] > 0) else { return 0 };
        if self.needs_itself(class, number) {
            return 0;
        }
        let more = self.select(class, number);
        if more < 0 && self.refresh() {
            return -more;
        }
        self.select(class, old);
        0
    }

    /// What a candidate takes beside what is needed.
    fn toll_of(&self, class: usize, number: usize) -> u64 {
        let below = self.children(class, number).iter().map(|&child| self.toll[child]);
        below.fold(self.problem.classes[class][number].cost, u64::saturating_add)
    }

    /// Keeps the best term ready of each class that is not needed.
    fn make_ready(&mut self) {
        let needed = |uses: &u32| if *uses > 0 { 0 } else { u64::MAX };
        self.toll = self.uses.iter().map(needed).collect();
        let mut work: VecDeque<usize> = (0..self.uses.len()).collect();
        while let Some(class) = work.pop_front() {
            for number in 0..self.problem.classes[class].len() {
                let toll = self.toll_of(class, number);
                if toll < self.toll[class] {
                    self.toll[class] = toll;
                    self.selection[class] = Some(number);
                    work.extend(self.parents[class].iter().map(|&(parent, _)| parent));
                }
            }
        }
    }

    /// Makes ready what a class newly needed is of use to; the classes above it, and what they were before.
    fn lower_tolls(&mut self, class: usize) -> (Vec<usize>, Vec<Before>) {
        let mut above = vec![class];
        let mut before = vec![(class, self.selection[class], self.toll[class])];
        self.toll[class] = 0;
        let mut at = 0;
        while let Some(&next) = above.get(at) {
            at += 1;
            for i in 0..self.parents[next].len() {
                let (parent, number) = self.parents[next][i];
                let toll = self.toll_of(parent, number);
                if self.uses[parent] == 0 && toll < self.toll[parent] && above.len() < MOST_ABOVE {
                    before.push((parent, self.selection[parent], self.toll[parent]));
                    self.toll[parent] = toll;
                    self.selection[parent] = Some(number);
                    above.push(parent);
                }
            }
        }
        (above, before)
    }

    /// Brings in a class that nothing needs if everything gets cheaper by what takes it up, by what it returns.
    fn bring_in(&mut self, class: usize) -> i128 {
        if self.uses[class] > 0 || self.toll[class] == u64::MAX || self.parents[class].len() < 2 {
            return 0;
        }
        let mut gained = -self.acquire(class);
        let (above, before) = self.lower_tolls(class);
        let mut taken = vec![];
        for class in above {
            for i in 0..self.parents[class].len() {
                let (parent, number) = self.parents[class][i];
                let old = self.selection[parent];
                let less = self.gain(parent, number);
                if let (1.., Some(old)) = (less, old) {
                    gained += less;
                    taken.push((parent, old));
                }
            }
        }
        gained += self.release(class);
        if gained > 0 {
            self.make_ready();
            return gained;
        }
        if !taken.is_empty() {
            for (parent, old) in taken.into_iter().rev() {
                self.select(parent, old);
            }
            self.refresh();
        }
        for (class, selected, toll) in before.into_iter().rev() {
            self.selection[class] = selected;
            self.toll[class] = toll;
        }
        0
    }
}
