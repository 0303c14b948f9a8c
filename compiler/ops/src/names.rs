//! Tables of names that can go back to what they were, for subgraphs translated in place.
//!
//! Copying a table for each subgraph would take time with the square of the model's size; here going back costs what
//! was changed.

use rustc_hash::FxHashMap;

/// What names stand for.
pub(crate) struct Names<'m, V> {
    now: FxHashMap<&'m str, V>,
    /// What the changed names stood for before, in order; kept while a mark is open.
    before: Vec<(&'m str, Option<V>)>,
    open: usize,
}

/// A state of a table to go back to.
#[must_use]
pub(crate) struct Mark(usize);

impl<'m, V: Clone> Names<'m, V> {
    pub fn get(&self, name: &str) -> Option<&V> {
        self.now.get(name)
    }

    pub fn insert(&mut self, name: &'m str, value: V) {
        let old = self.now.insert(name, value);
        self.note(name, old);
    }

    pub fn remove(&mut self, name: &'m str) {
        let old = self.now.remove(name);
        self.note(name, old);
    }

    fn note(&mut self, name: &'m str, old: Option<V>) {
        if self.open > 0 {
            self.before.push((name, old));
        }
    }

    /// Marks the state to go back to; marks nest.
    pub fn mark(&mut self) -> Mark {
        self.open += 1;
        Mark(self.before.len())
    }

    /// Undoes what was changed since.
    pub fn go_back(&mut self, mark: Mark) {
        while self.before.len() > mark.0 {
            match self.before.pop() {
                Some((name, Some(old))) => self.now.insert(name, old),
                Some((name, None)) => self.now.remove(name),
                None => break,
            };
        }
        self.open = self.open.saturating_sub(1);
    }
}

impl<'m, V> FromIterator<(&'m str, V)> for Names<'m, V> {
    fn from_iter<I: IntoIterator<Item = (&'m str, V)>>(pairs: I) -> Names<'m, V> {
        Names { now: pairs.into_iter().collect(), before: vec![], open: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_nest() {
        let mut names: Names<i32> = [("a", 1), ("b", 2)].into_iter().collect();
        names.insert("c", 3);
        let outer = names.mark();
        names.insert("a", 10);
        names.remove("b");
        let inner = names.mark();
        names.insert("a", 11);
        names.insert("d", 4);
        names.go_back(inner);
        assert_eq!((names.get("a"), names.get("b"), names.get("d")), (Some(&10), None, None));
        names.go_back(outer);
        assert_eq!((names.get("a"), names.get("b"), names.get("c")), (Some(&1), Some(&2), Some(&3)));
        assert!(names.before.is_empty());
    }
}
