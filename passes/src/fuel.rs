//! Fuel: how many rewrites and passes may be applied, how many were, and what the last one was.
//!
//! Each rewrite of the e-graph costs one, any other pass costs one. The same graph spends the same fuel on the same things
//! in the same order, so the one that breaks a model is found by bisection ([`crate::blame`]).

/// What a unit of fuel was spent on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The rule or pass.
    pub what: &'static str,
    /// The node it was applied to; empty for a pass over the whole graph.
    pub origin: String,
}

/// A supply of fuel.
#[derive(Clone, Debug, Default)]
pub struct Fuel {
    left: Option<usize>,
    spent: usize,
    last: Option<Applied>,
}

impl Fuel {
    /// That much of it; without limit when `None`.
    pub fn new(left: Option<usize>) -> Fuel {
        Fuel { left, spent: 0, last: None }
    }

    /// Whether nothing more may be applied.
    pub fn is_empty(&self) -> bool {
        self.left == Some(0)
    }

    /// How much there is; no limit when `None`.
    pub fn left(&self) -> Option<usize> {
        self.left
    }

    /// How much was used.
    pub fn spent(&self) -> usize {
        self.spent
    }

    /// What the last unit was used for.
    pub fn last(&self) -> Option<&Applied> {
        self.last.as_ref()
    }

    /// Uses a unit.
    pub(crate) fn spend(&mut self, what: &'static str) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.spent += 1;
        self.last = Some(Applied { what, origin: String::new() });
    }

    /// Says which node the last unit was used for.
    pub(crate) fn locate(&mut self, origin: &str) {
        if let Some(last) = &mut self.last {
            origin.clone_into(&mut last.origin);
        }
    }
}
