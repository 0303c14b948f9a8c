//! The driver: order, fuel, dumps and stops.

use super::*;
use std::cell::RefCell;

const TEXT: &str = "graph @g(%0 x: f32[2, 3]) -> (y: %5) {
  %1 = neg %0 : f32[2, 3]
  %2 = neg %1 : f32[2, 3]
  %3 = transpose %2 perm=[1, 0] : f32[3, 2]
  %4 = exp %3 : f32[3, 2]
  %5 = transpose %4 perm=[1, 0] : f32[2, 3]
}
";

fn run(options: &PipelineOptions) -> Result<Vec<&'static str>, PassError> {
    let graph = nnc_ir::parse::graph(TEXT).unwrap();
    let graph = optimize(graph, &Target::parse("x86_64").unwrap(), options)?;
    Ok(graph.nodes.iter().map(|node| node.op.name()).collect())
}

#[test]
fn everything() {
    assert_eq!(run(&PipelineOptions::default()), Ok(vec!["exp"]));
}

#[test]
fn fuel_limits_rewrites() {
    let with = |fuel| run(&PipelineOptions { fuel: Some(fuel), ..PipelineOptions::default() }).unwrap().len();
    assert_eq!(with(0), 5);
    // Two units go to the passes before the rewriting.
    let sizes: Vec<usize> = (2..12).map(with).collect();
    assert_eq!((sizes.first(), sizes.last()), (Some(&5), Some(&1)));
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
}

#[test]
fn stops_and_dumps() {
    let seen = RefCell::new(vec![]);
    let observe = |event: &Event| seen.borrow_mut().push((event.pass, event.dump));
    let options = PipelineOptions {
        stop_after: Some("simplify".into()),
        dump_after: Some("fold_constants".into()),
        observer: Some(&observe),
        ..PipelineOptions::default()
    };
    run(&options).unwrap();
    let expected = [("remove_dead", false), ("fold_constants", true), ("simplify", false)];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn unknown_pass() {
    let options = PipelineOptions { stop_after: Some("tidy".into()), ..PipelineOptions::default() };
    let message = run(&options).unwrap_err().to_string();
    assert_eq!(
        message,
        "there is no pass \"tidy\": there are remove_dead, fold_constants, simplify, fold_scales, keep_narrow, fold_weights, \
         merge_contracts, sweep, hand_in_constants, fuse, lay_out, choose, lower, collapse, parallelise, split, unswitch, count_work, chain, join, share, \
         allocate, plan_memory"
    );
}

#[test]
fn what_is_disabled_does_nothing() {
    let with = |names: &[&str]| {
        let disabled = names.iter().map(|&name| name.to_owned()).collect();
        run(&PipelineOptions { disabled, ..PipelineOptions::default() })
    };
    assert_eq!(with(&["simplify", "fold_scales"]).unwrap().len(), 5);
    let without_transposes = with(&["transpose"]).unwrap();
    assert!(without_transposes.contains(&"transpose") && !without_transposes.contains(&"neg"));
    for name in ["sorcery", "lower"] {
        let message = with(&[name]).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains("transpose-contract"), "{message}");
    }
}

#[test]
fn subgraphs_are_rewritten() {
    let text = "graph @g(%0 c: bool[], %1 x: f32[2]) -> (y: %2) {
  %2 = if %0, %1 varying=[] sizes=[] then=graph @t(%0: f32[2]) -> (r: %2) {
    %1 = neg %0 : f32[2]
    %2 = neg %1 : f32[2]
  } otherwise=graph @e(%0: f32[2]) -> (r: %0) {
  } : f32[2]
}
";
    let graph = nnc_ir::parse::graph(text).unwrap();
    let graph = optimize(graph, &Target::parse("x86_64").unwrap(), &PipelineOptions::default()).unwrap();
    let [then, _] = graph.nodes[0].op.subgraphs()[..] else { panic!("{graph:?}") };
    assert!(then.nodes.is_empty());
}
