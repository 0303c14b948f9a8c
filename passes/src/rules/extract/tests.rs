//! The heuristic against the optimum.

use super::exact::optimum;
use super::{Candidate, Problem};
use crate::fuel::Fuel;
use crate::rules::cost::Costs;
use crate::rules::load::load;
use crate::rules::saturate::{Limits, saturate};
use crate::rules::tests::examples::text;
use crate::rules::tests::{all_rules, parse, random};
use crate::testing::Random;
use nnc_desc::Target;
use nnc_ir::Graph;

/// Steps of the exact search.
const STEPS: usize = 200_000;

/// What the heuristic's selection costs, and the optimum, if it can be found.
fn compare(problem: &Problem) -> (u64, Option<u64>) {
    let found = problem.price(&problem.solve().unwrap()).unwrap();
    (found, optimum(problem, found, STEPS))
}

/// The problem of a graph under all rules.
fn saturated(graph: &Graph) -> Problem {
    let mut loaded = load(graph, false);
    saturate(&mut loaded.net, &all_rules(), Limits::default(), &mut Fuel::default());
    let roots: Vec<_> = graph.outputs.iter().filter_map(|(_, v)| loaded.classes[v.index()]).collect();
    let target = Target::parse("x86_64-avx2").unwrap();
    Problem::new(&loaded.net, &roots, &Costs::new(&target, &graph.dims)).unwrap()
}

/// Classes with candidates that need earlier classes, and now and then a later one.
fn problem(random: &mut Random) -> Problem {
    let count = 6 + random.below(20);
    let class = |i: usize, random: &mut Random| {
        let list = (0..1 + random.below(3)).map(|number| {
            let reach = if number > 0 && random.below(6) == 0 { count } else { i };
            let needed = if reach == 0 { 0 } else { random.below(3) };
            let children = (0..needed).map(|_| random.below(reach)).collect();
            Candidate { term: None, children, cost: 1 + random.below(30) as u64 }
        });
        list.collect()
    };
    let classes = (0..count).map(|i| class(i, random)).collect();
    Problem { classes, roots: (0..1 + random.below(3)).map(|_| random.below(count)).collect(), ids: vec![] }
}

/// How far the heuristic is off, in percent: the worst, the mean, and in how many cases by more than 1.
fn off(list: &[(u64, u64)]) -> (f64, f64, usize) {
    let each = list.iter().map(|&(found, best)| 100.0 * (found as f64 / best.max(1) as f64 - 1.0));
    let mean = each.clone().sum::<f64>() / list.len() as f64;
    (each.clone().fold(0.0, f64::max), mean, each.filter(|&percent| percent > 1.0).count())
}

#[test]
fn random_problems() {
    let mut list = vec![];
    for seed in 1..2000 {
        let (found, best) = compare(&problem(&mut Random(seed)));
        list.extend(best.map(|best| (found, best)));
    }
    let (worst, mean, often) = off(&list);
    assert!(list.len() > 1900, "{}", list.len());
    assert!(worst < 25.0 && mean < 0.1 && often <= 20, "{worst} {mean} {often}");
}

#[test]
fn random_graphs() {
    let mut list = vec![];
    for seed in 0..300 {
        let (found, best) = compare(&saturated(&random::program(seed, 8 + seed as usize % 16)));
        list.extend(best.map(|best| (found, best)));
    }
    let (worst, mean, often) = off(&list);
    assert!(list.len() > 290, "{}", list.len());
    assert!(worst < 40.0 && mean < 0.2 && often <= 3, "{worst} {mean} {often}");
}

/// Of the golden graphs the cheapest is found.
#[test]
fn golden_graphs() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../testsuite/golden");
    let mut proved = 0;
    for pass in ["simplify", "fold_scales"] {
        for entry in std::fs::read_dir(format!("{golden}/{pass}")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().take_while(|line| *line != "; ----").filter(|line| !line.starts_with(';'));
            let graph = parse(&lines.collect::<Vec<_>>().join("\n"));
            let (found, best) = compare(&saturated(&graph));
            assert_eq!(found, best.unwrap_or(found), "{}", path.display());
            proved += usize::from(best.is_some());
        }
    }
    assert!(proved >= 8, "{proved}");
}

/// Three parts of one product are slices of it where that is cheaper, though each alone would rather be a product.
#[test]
fn what_is_shared_is_brought_in() {
    let product = Candidate { term: None, children: vec![], cost: 100 };
    let part =
        || vec![Candidate { cost: 40, ..product.clone() }, Candidate { children: vec![0], cost: 1, ..product.clone() }];
    let whole =
        Problem { classes: vec![vec![product.clone()], part(), part(), part()], roots: vec![1, 2, 3], ids: vec![] };
    assert_eq!(compare(&whole), (103, Some(103)));
    let two = Problem { roots: vec![1, 2], ..whole };
    assert_eq!(compare(&two), (80, Some(80)));
}

/// What a product reads from memory, and no kernel ends in, is stored once however many read it.
#[test]
fn operands_of_products_are_stored_once() {
    let cost = |body: &str, outputs: &[usize]| {
        let mut graph = parse(&text("f32[40, 30], f32[30, 20], f32[30, 20]", body));
        let value = |&node: &usize| (format!("y{node}"), graph.nodes[node].outputs[0]);
        graph.outputs = outputs.iter().map(value).collect();
        let loaded = load(&graph, false);
        let roots: Vec<_> = graph.outputs.iter().filter_map(|(_, v)| loaded.classes[v.index()]).collect();
        let target = Target::parse("x86_64-avx2").unwrap();
        let problem = Problem::new(&loaded.net, &roots, &Costs::new(&target, &graph.dims)).unwrap();
        problem.price(&problem.solve().unwrap()).unwrap()
    };
    let product = |out: usize, x: usize, w: usize| {
        format!("%{out} = contract %{x}, %{w} batch=[] contract=[(1, 0)] out=f32 : f32[40, 20]")
    };
    let exp = "%10 = exp %0 : f32[40, 30]";
    let (plain, twice) = (product(11, 0, 1), product(12, 0, 2));
    let apart = cost(&format!("{exp}\n{plain}\n{twice}"), &[0, 1, 2]);
    let one = cost(&format!("{exp}\n{}\n{twice}", product(11, 10, 1)), &[0, 1, 2]);
    let both = cost(&format!("{exp}\n{}\n{}", product(11, 10, 1), product(12, 10, 2)), &[0, 1, 2]);
    assert!(one > apart, "{one} {apart}");
    assert_eq!(both, one);
    // The epilogue of a product is in memory when the product is done.
    let after = format!(
        "{plain}\n%12 = exp %11 : f32[40, 20]\n%13 = contract %12, %1 batch=[] contract=[(1, 1)] out=f32 : f32[40, 30]"
    );
    let without = format!(
        "{plain}\n%12 = exp %11 : f32[40, 20]\n%13 = contract %11, %1 batch=[] contract=[(1, 1)] out=f32 : f32[40, 30]"
    );
    assert_eq!(cost(&after, &[1, 2]), cost(&without, &[1, 2]));
}
