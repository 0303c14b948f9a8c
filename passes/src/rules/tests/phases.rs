//! Graphs for which saturation finds a cheaper program than any order of the same rules.
//!
//! The rival applies rules as a compiler of passes does: each wherever it matches until it no longer does, the result in
//! place of what was there, one rule after the other. All orders are tried. It loses where a rule pays in one place and
//! costs in another, and where one rule makes room for an earlier one.

use super::examples::text;
use super::{agree, all_rules, inputs, parse};
use crate::fuel::Fuel;
use crate::rules::cost::Costs;
use crate::rules::extract::{Choice, Problem};
use crate::rules::load::load;
use crate::rules::rule::Ready;
use crate::rules::saturate::Site;
use crate::rules::{Rule, emit, rewrite_part};
use nnc_desc::Target;
use nnc_ir::{Graph, Op};

/// What a graph costs when all that depends on constants alone is computed before.
fn cost(graph: &Graph, target: &Target) -> u64 {
    let graph = crate::dead_code::sweep(crate::fold_constants::fold_weights(crate::dead_code::sweep(graph.clone())));
    let loaded = load(&graph, false);
    let roots: Vec<_> = graph.outputs.iter().filter_map(|(_, v)| loaded.classes[v.index()]).collect();
    let problem = Problem::new(&loaded.net, &roots, &Costs::new(target, &graph.dims)).unwrap();
    problem.price(&problem.solve().unwrap()).unwrap()
}

/// The graph with a rule applied once, at the first place where it changes something.
fn step(graph: &Graph, rule: &Rule) -> Option<Graph> {
    let ready = Ready::new(rule);
    for node in &graph.nodes {
        let mut loaded = load(graph, false);
        let net = &mut loaded.net;
        let class = loaded.classes[node.outputs[0].index()]?;
        let args: Vec<_> = node.inputs.iter().filter_map(|x| loaded.classes[x.index()]).collect();
        let known = net.is_known(class);
        let found = ready.apply(net, &Site { class, op: &node.op, args: &args });
        let Some(&other) = found.iter().find(|&&other| !net.equal(class, other)) else { continue };
        if known {
            continue;
        }
        net.egraph.rebuild();
        // Nothing was united, so every class has one term.
        let mut choice = Choice::default();
        for class in net.egraph.classes() {
            let term = class.iter().next()?;
            choice.insert(class.id, (net.egraph.analysis.heads.get(term.head).clone(), term.args.clone()));
        }
        let term = choice.get(&net.egraph.find(other))?.clone();
        choice.insert(class, term);
        let rewritten = crate::dead_code::sweep(emit::emit(graph, &loaded, &choice)?);
        if rewritten.nodes != graph.nodes {
            return Some(rewritten);
        }
    }
    None
}

/// The graph after each rule was applied until nothing changed, in this order.
fn in_order(graph: &Graph, rules: &[&Rule]) -> Graph {
    const MOST: usize = 100;
    let mut graph = graph.clone();
    for rule in rules {
        for _ in 0..MOST {
            match step(&graph, rule) {
                Some(next) => graph = next,
                None => break,
            }
        }
    }
    graph
}

/// All orders of a list.
fn orders<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    if list.is_empty() {
        return vec![vec![]];
    }
    let mut found = vec![];
    for i in 0..list.len() {
        let mut rest = list.to_vec();
        let first = rest.remove(i);
        found.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, first.clone());
            order
        }));
    }
    found
}

/// Saturation with these rules beats every order of them.
fn beats_every_order(names: &[&str], signature: &str, body: &str, outputs: &[usize]) {
    let mut graph = parse(&text(signature, body));
    let value = |number: &usize| {
        let line = body.lines().position(|line| line.starts_with(&format!("%{number} "))).unwrap();
        graph.nodes[line].outputs[0]
    };
    graph.outputs = outputs.iter().map(|number| (format!("y{number}"), value(number))).collect();
    let target = Target::parse("x86_64-avx2").unwrap();
    let rules: Vec<&Rule> = all_rules().into_iter().filter(|rule| names.contains(&rule.name)).collect();
    assert_eq!(rules.len(), names.len(), "{names:?}");
    let (best, _) = rewrite_part(graph.clone(), false, &rules, &target, &mut Fuel::default());
    same(&graph, &best);
    let best_cost = cost(&best, &target);
    for order in orders(&rules) {
        let rival = in_order(&graph, &order);
        same(&graph, &rival);
        let rival_cost = cost(&rival, &target);
        let order: Vec<&str> = order.iter().map(|rule| rule.name).collect();
        assert!(
            best_cost < rival_cost,
            "{order:?} costs {rival_cost}, saturation {best_cost}\n{}\nagainst\n{}",
            nnc_ir::print::graph(&rival),
            nnc_ir::print::graph(&best)
        );
    }
    assert!(best_cost < cost(&graph, &target));
}

fn same(a: &Graph, b: &Graph) {
    let inputs = inputs(a, 9);
    for (x, y) in nnc_eval::run(a, &inputs).unwrap().iter().zip(&nnc_eval::run(b, &inputs).unwrap()) {
        agree(x, y).unwrap();
    }
}

/// A transpose that sinks meets its inverse in one place and multiplies in another.
#[test]
fn transposes_cancel_here_and_stay_there() {
    beats_every_order(
        &["elementwise-transpose", "transpose-transpose"],
        "f32[40, 30], f32[40, 30], f32[30, 40]",
        "%10 = transpose %0 perm=[1, 0] : f32[30, 40]\n%11 = exp %10 : f32[30, 40]\n%12 = transpose %11 perm=[1, 0] : f32[40, 30]\n%13 = transpose %1 perm=[1, 0] : f32[30, 40]\n%14 = mul %13, %2 : f32[30, 40]\n%15 = add %14, %2 : f32[30, 40]",
        &[12, 15],
    );
}

/// A small transpose before a broadcast is a large one after it, unless that is where it cancels.
#[test]
fn transposes_before_broadcasts() {
    beats_every_order(
        &["broadcast-transpose", "transpose-transpose"],
        "f32[8, 6], f32[8, 6]",
        "%10 = transpose %0 perm=[1, 0] : f32[6, 8]\n%11 = broadcast %10 shape=[6, 8, 50] axes=[0, 1] : f32[6, 8, 50]\n%12 = transpose %11 perm=[1, 0, 2] : f32[8, 6, 50]\n%13 = transpose %1 perm=[1, 0] : f32[6, 8]\n%14 = broadcast %13 shape=[6, 8, 50] axes=[0, 1] : f32[6, 8, 50]",
        &[12, 14],
    );
}

/// Two products with constants are one where the middle is wide, not where it is narrow.
#[test]
fn products_of_products() {
    beats_every_order(
        &["associate", "concat-products"],
        "f32[16, 64], f32[16, 64]",
        "%10 = constant f32[64, 128] random=1\n%11 = constant f32[128, 8] random=2\n%12 = constant f32[64, 4] random=3\n%13 = constant f32[4, 128] random=4\n%14 = contract %0, %10 batch=[] contract=[(1, 0)] out=f32 : f32[16, 128]\n%15 = contract %14, %11 batch=[] contract=[(1, 0)] out=f32 : f32[16, 8]\n%16 = contract %1, %12 batch=[] contract=[(1, 0)] out=f32 : f32[16, 4]\n%17 = contract %16, %13 batch=[] contract=[(1, 0)] out=f32 : f32[16, 128]",
        &[15, 17],
    );
}

/// What one comparison decides makes room for another.
#[test]
fn branches_die_one_after_the_other() {
    beats_every_order(
        &["compare-by-range", "select-true"],
        "i64[700], i64[700], i64[700]",
        "%10 = iota dtype=i64 shape=[700] axis=0 : i64[700]\n%11 = constant i64[] [700]\n%12 = broadcast %11 shape=[700] axes=[] : i64[700]\n%13 = constant i64[] [0]\n%14 = broadcast %13 shape=[700] axes=[] : i64[700]\n%15 = lt %10, %12 : bool[700]\n%16 = select %15, %10, %0 : i64[700]\n%17 = ge %16, %14 : bool[700]\n%18 = select %17, %1, %2 : i64[700]",
        &[18],
    );
}

/// A product reads its operand transposed, and yields its result transposed: it depends on which is larger.
#[test]
fn transposed_operands() {
    beats_every_order(
        &["contract-transpose", "transpose-transpose"],
        "f32[6, 40, 50], f32[6, 4, 5], f32[5, 300]",
        "%10 = constant f32[50, 2] random=1\n%11 = transpose %0 perm=[1, 0, 2] : f32[40, 6, 50]\n%12 = contract %11, %10 batch=[] contract=[(2, 0)] out=f32 : f32[40, 6, 2]\n%13 = transpose %1 perm=[1, 0, 2] : f32[4, 6, 5]\n%14 = contract %13, %2 batch=[] contract=[(2, 0)] out=f32 : f32[4, 6, 300]",
        &[12, 14],
    );
}

/// A factor belongs where there are fewer elements: before one product, after the other.
#[test]
fn factors_before_and_after_products() {
    beats_every_order(
        &["scaled-operand", "merge-factors"],
        "f32[400, 30], f32[30, 4], f32[4, 30], f32[30, 400]",
        "%10 = constant f32[400, 30] splat=0.3\n%11 = mul %0, %10 : f32[400, 30]\n%12 = contract %11, %1 batch=[] contract=[(1, 0)] out=f32 : f32[400, 4]\n%13 = constant f32[4, 30] splat=0.3\n%14 = mul %2, %13 : f32[4, 30]\n%15 = contract %14, %3 batch=[] contract=[(1, 0)] out=f32 : f32[4, 400]",
        &[12, 15],
    );
}

/// A border moves before a transpose that cancels; before another it makes the transpose larger.
#[test]
fn borders_and_transposes() {
    beats_every_order(
        &["pad-transpose", "transpose-transpose"],
        "f32[20, 30], f32[20, 30], f32[]",
        "%10 = transpose %0 perm=[1, 0] : f32[30, 20]\n%11 = pad %10, %2 low=[40, 40] high=[0, 0] mode=constant : f32[70, 60]\n%12 = transpose %11 perm=[1, 0] : f32[60, 70]\n%13 = transpose %1 perm=[1, 0] : f32[30, 20]\n%14 = pad %13, %2 low=[40, 40] high=[0, 0] mode=constant : f32[70, 60]",
        &[12, 14],
    );
}

/// The rival does find what one pass of each rule finds.
#[test]
fn the_rival_is_able() {
    let body = "%10 = transpose %0 perm=[1, 0] : f32[3, 2]\n%11 = exp %10 : f32[3, 2]\n%12 = transpose %11 perm=[1, 0] : f32[2, 3]";
    let graph = parse(&text("f32[2, 3]", body));
    let find = |name| all_rules().into_iter().find(|rule| rule.name == name).unwrap();
    let done = in_order(&graph, &[find("elementwise-transpose"), find("transpose-transpose")]);
    assert!(done.nodes.iter().all(|node| matches!(node.op, Op::Unary(_))), "{}", nnc_ir::print::graph(&done));
}
