//! An example or more for every rule: the rule alone must find something to rewrite, and be right. Patterns without
//! attributes are their own examples.

use super::table::EXAMPLES;
use super::{all_rules, check, parse};
use crate::rules::Rule;
use crate::rules::pattern::Pattern;
use crate::rules::rule::How;

/// The whole text of an example.
pub fn text(signature: &str, body: &str) -> String {
    let mut inputs = vec![];
    let mut depth = 0;
    let mut start = 0;
    for (i, c) in signature.char_indices().chain([(signature.len(), ',')]) {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                inputs.push(format!("%{} x{}: {}", inputs.len(), inputs.len(), signature[start..i].trim()));
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = body.lines().last().unwrap_or_default();
    let result = last.split_whitespace().next().unwrap_or_default();
    format!("graph @test({}) -> (y: {result}) {{\n{body}\n}}\n", inputs.join(", "))
}

/// The graphs that a rule's pattern describes; none when it has attributes, or is a function.
pub(super) fn generated(rule: &Rule) -> Vec<(String, String)> {
    let How::Pattern { left, right } = rule.how else { return vec![] };
    let well_formed = |(signature, body): &(String, String)| {
        nnc_ir::parse::graph(&text(signature, body)).is_ok_and(|graph| nnc_ir::verify::verify(&graph).is_ok())
    };
    Pattern::parse(left, right).unwrap().examples().into_iter().filter(well_formed).collect()
}

/// Examples with constants too large to write down: a triangle of each kind.
fn large(rule: &Rule) -> Vec<(String, String)> {
    let triangle = |(dtype, up_to, beyond, diagonal): (&str, &str, &str, usize)| {
        let value = |i: usize| if i % 40 < i / 40 + diagonal { up_to } else { beyond };
        let values: Vec<&str> = (0..36 * 40).map(value).collect();
        (
            "f32[1]".to_owned(),
            format!(
                "%9 = constant {dtype}[1, 36, 40] [{}]\n%10 = reshape %9 shape=[36, 40] : {dtype}[36, 40]",
                values.join(", ")
            ),
        )
    };
    let kinds =
        [("bool", "true", "false", 1), ("bool", "false", "true", 0), ("f32", "0", "-inf", 4), ("i32", "3", "0", 1)];
    if rule.name == "constant-triangle" { kinds.into_iter().map(triangle).collect() } else { vec![] }
}

/// Every example of a rule.
pub(super) fn of(rule: &Rule) -> Vec<(String, String)> {
    let by_hand = EXAMPLES.iter().filter(|e| e.0 == rule.name).map(|e| (e.1.to_owned(), e.2.to_owned()));
    by_hand.chain(generated(rule)).chain(large(rule)).collect()
}

#[test]
fn each_rule_alone() {
    let mut failures = vec![];
    for rule in all_rules() {
        let (by_hand, all) = (EXAMPLES.iter().filter(|e| e.0 == rule.name).count(), of(rule));
        let mut applied = 0;
        for (i, (signature, body)) in all.iter().enumerate() {
            let graph = parse(&text(signature, body));
            for seed in 1..4 {
                match check(&graph, &[rule], seed) {
                    Ok(found) if found.contains_key(rule.name) => applied += 1,
                    Ok(_) if i < by_hand => failures.push(format!("{} does not apply to\n{body}", rule.name)),
                    Ok(_) => {}
                    Err(error) => failures.push(format!("{}: {error}\nin\n{body}", rule.name)),
                }
            }
        }
        // Small constants are evaluated while loading, so `evaluate` needs what only rewriting makes constant.
        if applied == 0 && rule.name != "evaluate" {
            failures.push(format!("{} has no example", rule.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn names_are_distinct() {
    let names: std::collections::BTreeSet<_> = all_rules().iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), all_rules().len());
    assert!(EXAMPLES.iter().all(|e| names.contains(e.0)));
}

#[test]
fn all_rules_together() {
    for rule in all_rules() {
        for (signature, body) in of(rule) {
            if let Err(error) = check(&parse(&text(&signature, &body)), &all_rules(), 7) {
                panic!("{}: {error}\nin\n{body}", rule.name);
            }
        }
    }
}

#[test]
fn evaluates_what_becomes_constant() {
    let body = "%7 = constant bool[3] splat=true\n%8 = constant f32[3] random=1\n%9 = select %7, %8, %0 : f32[3]\n%10 = exp %9 : f32[3]";
    let applied = check(&parse(&text("f32[3]", body)), &all_rules(), 1).unwrap();
    assert!(applied.contains_key("evaluate"), "{applied:?}");
}

/// A border of anything but zeros is no border of a convolution; the judge would see that a rule took it for one.
#[test]
fn borders_of_other_values_stay() {
    for value in ["0.5", "0"] {
        let body = format!(
            "%5 = constant f32[] [{value}]\n%6 = pad %0, %5 low=[0, 1, 0] high=[0, 1, 0] mode=constant : f32[1, 6, 2]\n%7 = constant f32[3, 2, 1] random=1\n%8 = conv %6, %7 window={{size=[3] strides=[1] dilations=[1] pad_low=[0] pad_high=[0]}} groups=1 out=f32 : f32[1, 4, 1]"
        );
        let applied = check(&parse(&text("f32[1, 4, 2]", &body)), &all_rules(), 1).unwrap();
        assert_eq!(applied.contains_key("conv-pad"), value == "0");
    }
}
