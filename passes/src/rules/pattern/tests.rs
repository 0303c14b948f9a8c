//! Every row compiles, and the language says what it is meant to.

use super::Pattern;
use crate::rules::rule::{How, Ready};
use crate::rules::tests::all_rules;

#[test]
fn every_row_compiles() {
    for rule in all_rules() {
        if let How::Pattern { left, right } = rule.how {
            Pattern::parse(left, right).unwrap_or_else(|error| panic!("{}: {error}", rule.name));
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (left, right, expected) in [
        ("(add ?x", "?x", "\"\" is no number"),
        ("(add ?x ?y ?z)", "?x", "Binary(Add) has 2 operands, not 3"),
        ("(plus ?x ?y)", "?x", "no operation \"plus\""),
        ("?x", "?x", "the left side is no operation"),
        ("(neg ?x)", "?y", "\"y\" is not on the left side"),
        ("(neg ?x) if odd(x)", "?x", "no guard \"odd\""),
        ("(neg ?x) if float(x, x)", "?x", "float takes other operands"),
        ("(neg ?x) if float(y)", "?x", "\"y\" is not on the left side"),
        ("(neg ?x) if float(x) bool(x)", "?x", "expected \",\" before \"bool(x)\""),
        ("(neg ?x) ?x", "?x", "\"?x\" is too much"),
        ("(transpose:p ?x)", "(transpose ?x)", "attributes are missing, or there are none"),
        ("(transpose:p ?x)", "(transpose:q ?x)", "\"q\" is not on the left side"),
    ] {
        assert_eq!(Pattern::parse(left, right).map(|_| ()), Err(expected.to_owned()), "{left}");
    }
}

/// The depth that saturation looks above a change by is that of the deepest rule.
#[test]
fn depths() {
    let depth = |left, right| Pattern::parse(left, right).unwrap().depth();
    assert_eq!(depth("(neg ?x)", "?x"), 1);
    assert_eq!(depth("(add ?x ?y@(neg (abs ?z)))", "?x"), 3);
    assert_eq!(all_rules().iter().map(|rule| Ready::new(rule).depth()).max(), Some(5));
}
