//! What a rule is: a name, an effect on values, and a pattern or a function.

use super::net::Net;
use super::pattern::Pattern;
use super::saturate::Site;
use egg::Id;

/// A named rewrite.
pub struct Rule {
    /// Its name in reports and tests.
    pub name: &'static str,
    /// What it does to values.
    pub effect: Effect,
    /// How it finds what is equal.
    pub how: How,
}

/// What a rule does to values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Nothing: every bit stays.
    Exact,
    /// A zero may change its sign, nothing else.
    Signs,
    /// Finite values are rounded differently: see [`Effect::bound`].
    Rounds {
        /// Roundings of the two sides together, those of summing not counted.
        roundings: u32,
        /// What is rounded.
        touches: Touches,
    },
}

/// What a rule rounds differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// Single operations: such a rule does not apply where a discrete operation sees the result.
    Single,
    /// A sum of several terms, whose order no model prescribes: such a rule applies everywhere.
    Sum,
}

impl Effect {
    /// How far the two sides may lie apart, in units of `u * m`: `u` is the unit roundoff of the type (`2^-24` for `f32`),
    /// `m` the value of the left side with the magnitude of every operand in its place and subtractions done as additions
    /// (a divisor keeps its value). A sum of `terms` is rounded as often as it has terms, on both sides.
    ///
    /// Source: N. Higham, "Accuracy and Stability of Numerical Algorithms" (2nd ed., 2002), section 3.1; terms of the
    /// order of `u^2` are left out.
    pub fn bound(self, terms: usize) -> f64 {
        match self {
            Effect::Exact | Effect::Signs => 0.0,
            Effect::Rounds { roundings, touches } => {
                let of_sum = if touches == Touches::Sum { 2.0 * terms as f64 } else { 0.0 };
                f64::from(roundings) + of_sum
            }
        }
    }

    /// Whether single operations are rounded differently.
    pub fn touches_single(self) -> bool {
        matches!(self, Effect::Rounds { touches: Touches::Single, .. })
    }
}

/// How a rule finds what is equal to a term.
pub enum How {
    /// Text in the language of [`super::pattern`].
    Pattern {
        /// What terms look like, and the guards after `if`.
        left: &'static str,
        /// What they are equal to.
        right: &'static str,
    },
    /// A function, for what a pattern cannot say.
    Function {
        /// Classes equal to the term at hand; none when the rule does not apply.
        apply: Apply,
        /// How many operations deep it looks: a change that far below the term may make it apply.
        depth: usize,
    },
}

/// The function of a rule.
pub type Apply = fn(&mut Net, &Site) -> Vec<Id>;

/// A rule with its pattern compiled.
pub struct Ready<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// `None` for a function, and for a text with a mistake, which a test over all rows finds.
    pattern: Option<Pattern>,
}

impl<'a> Ready<'a> {
    /// Compiles a rule.
    pub fn new(rule: &'a Rule) -> Ready<'a> {
        let pattern = match rule.how {
            How::Pattern { left, right } => Pattern::parse(left, right).ok(),
            How::Function { .. } => None,
        };
        Ready { rule, pattern }
    }

    /// How many operations deep it looks, the term itself being one.
    pub fn depth(&self) -> usize {
        match self.rule.how {
            How::Pattern { .. } => self.pattern.as_ref().map_or(0, Pattern::depth),
            How::Function { depth, .. } => depth,
        }
    }

    /// Classes equal to a term.
    pub fn apply(&self, net: &mut Net, site: &Site) -> Vec<Id> {
        match self.rule.how {
            How::Pattern { .. } => self.pattern.as_ref().map_or_else(Vec::new, |pattern| pattern.apply(net, site)),
            How::Function { apply, .. } => apply(net, site),
        }
    }
}

const fn pattern(left: &'static str, right: &'static str) -> How {
    How::Pattern { left, right }
}

/// A pattern that keeps every bit.
pub(crate) const fn exact(name: &'static str, left: &'static str, right: &'static str) -> Rule {
    Rule { name, effect: Effect::Exact, how: pattern(left, right) }
}

/// A pattern that may change the sign of a zero.
pub(crate) const fn signs(name: &'static str, left: &'static str, right: &'static str) -> Rule {
    Rule { name, effect: Effect::Signs, how: pattern(left, right) }
}

/// A pattern of elementwise operations with so many roundings on both sides together.
pub(crate) const fn rounds(name: &'static str, roundings: u32, left: &'static str, right: &'static str) -> Rule {
    Rule { name, effect: Effect::Rounds { roundings, touches: Touches::Single }, how: pattern(left, right) }
}

/// A pattern around a sum, with so many roundings beside those of summing.
pub(crate) const fn sums(name: &'static str, roundings: u32, left: &'static str, right: &'static str) -> Rule {
    Rule { name, effect: Effect::Rounds { roundings, touches: Touches::Sum }, how: pattern(left, right) }
}

/// A function that keeps every bit and looks so many operations deep.
pub(crate) const fn exactly(name: &'static str, depth: usize, apply: Apply) -> Rule {
    Rule { name, effect: Effect::Exact, how: How::Function { apply, depth } }
}

/// A function with another effect.
pub(crate) const fn with_effect(name: &'static str, effect: Effect, depth: usize, apply: Apply) -> Rule {
    Rule { name, effect, how: How::Function { apply, depth } }
}
