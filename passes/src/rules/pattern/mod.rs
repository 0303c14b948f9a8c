//! Rules written as two small terms: what is looked for, and what it is equal to.
//!
//! ```text
//! left   = term ["if" guard ("," guard)*]
//! term   = "?" name ["@" term]                        a class; with "@" one that holds such a term
//!        | number                                     a class all of whose elements have this value
//!        | "(" name ("|" name)* [":" name] term* ")"  an operation; ":a" takes its attributes as `a`
//! guard  = ["not"] name "(" name ("," name)* ")"      a function of `guards.rs` on classes and attributes
//! ```
//!
//! On the left, one name is one class, and operands of operations that commute are tried both ways; an operation without
//! `:a` may have any attributes. On the right, `(reshape:a ?x)` has the attributes taken as `a`; `(reshape ?x)` and
//! `(convert ?x)` yield the type of the whole, and a number takes its type from its neighbours. `root` is the class of the
//! whole term in guards.
//!
//! Rows are compiled once for a rewriting; a row with a mistake never applies, and a test compiles all rows.
//!
//! Source: the pattern syntax of egg, whose `Pattern` does not fit a language whose heads are interned with attributes.

#[cfg(test)]
mod example;
mod guards;
mod matching;
mod parse;

use super::net::Net;
use super::saturate::Site;
use egg::Id;
use guards::Guard;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// A compiled rule.
#[derive(Debug)]
pub struct Pattern {
    left: Left,
    right: Right,
    guards: Vec<Check>,
    /// Names of classes; the first is the root.
    classes: Vec<String>,
    /// Names of attributes.
    attributes: Vec<String>,
}

/// A term looked for.
#[derive(Debug)]
enum Left {
    Any(usize),
    Number(f64),
    Named(usize, Box<Left>),
    Term { functions: Vec<Function>, attributes: Option<usize>, operands: Vec<Left> },
}

/// A term to make.
#[derive(Debug)]
enum Right {
    Class(usize),
    Number(f64),
    Term { function: Function, attributes: Option<usize>, operands: Vec<Right> },
}

/// What an operation is, apart from its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Unary(UnaryOp),
    Binary(BinaryOp),
    /// By the name of its row.
    Named(&'static str),
}

impl Function {
    fn is_of(self, op: &Op) -> bool {
        match (self, op) {
            (Function::Unary(f), Op::Unary(g)) => f == *g,
            (Function::Binary(f), Op::Binary(g)) => f == *g,
            (Function::Named(name), op) => name == op.name(),
            _ => false,
        }
    }

    fn commutes(self) -> bool {
        use BinaryOp::*;
        matches!(self, Function::Binary(Add | Mul | Max | Min | And | Or | Xor | Eq | Ne))
    }
}

/// A guard and what it is asked of.
#[derive(Debug)]
struct Check {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests make examples by it"))]
    name: &'static str,
    negated: bool,
    guard: Guard,
    /// Indices of attributes, then of classes.
    attributes: Vec<usize>,
    classes: Vec<usize>,
}

/// What the names of a pattern stand for.
#[derive(Clone, Debug)]
struct Bindings {
    classes: Vec<Option<Id>>,
    attributes: Vec<Option<Op>>,
}

impl Pattern {
    /// How many operations deep it looks.
    pub fn depth(&self) -> usize {
        fn depth(left: &Left) -> usize {
            match left {
                Left::Any(_) | Left::Number(_) => 0,
                Left::Named(_, inner) => depth(inner),
                Left::Term { operands, .. } => 1 + operands.iter().map(depth).max().unwrap_or(0),
            }
        }
        depth(&self.left)
    }

    /// Classes equal to a term.
    pub fn apply(&self, net: &mut Net, site: &Site) -> Vec<Id> {
        let Left::Term { functions, .. } = &self.left else { return vec![] };
        if !functions.iter().any(|f| f.is_of(site.op)) {
            return vec![];
        }
        let mut found = vec![];
        for bindings in matching::matches(self, net, site) {
            if self.guards.iter().all(|check| check.holds(net, &bindings)) {
                found.extend(matching::build(&self.right, net, &bindings));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
