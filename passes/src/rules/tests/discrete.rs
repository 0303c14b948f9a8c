//! No rule that rounds differently applies where a discrete operation sees the result, and no constant is merged out of
//! range.

use super::examples::{of, text};
use super::{all_rules, check, inputs, parse};
use crate::pipeline::{PipelineOptions, optimize};
use crate::rules::approx;
use nnc_desc::Target;
use nnc_ir::{DType, Graph, Tensor};

/// Names of the rules that apply to a graph, all tables together.
fn applied(graph: &Graph) -> Vec<&'static str> {
    check(graph, &all_rules(), 3).unwrap().into_keys().collect()
}

/// Whether a rule applies to a graph, alone.
fn applies_alone(graph: &Graph, rule: &crate::rules::Rule) -> bool {
    check(graph, &[rule], 3).unwrap().contains_key(rule.name)
}

/// Each row, with each discrete operation behind its example: elementwise ones do not apply, those within sums do.
#[test]
fn discrete_operations_are_respected() {
    for rule in approx::RULES.iter().chain(approx::AFFINE) {
        let name = rule.name;
        let applies = |(signature, body): &(String, String)| {
            signature.contains("f32") && applies_alone(&parse(&text(signature, body)), rule)
        };
        let examples: Vec<_> = of(rule).into_iter().filter(applies).collect();
        assert!(!examples.is_empty(), "{name}");
        for (signature, body) in &examples {
            let plain = parse(&text(signature, body));
            let shape = plain.ty(plain.outputs[0].1).static_shape().unwrap();
            let last = body.lines().last().unwrap().split_whitespace().next().unwrap();
            let moved = format!("%90 = abs {last} : f32{shape:?}\n%91 = reshape %90 shape={shape:?} : f32{shape:?}\n");
            for seen in [
                format!("%99 = floor %91 : f32{shape:?}"),
                format!("%99 = round %91 : f32{shape:?}"),
                format!("%99 = convert %91 to=u8 : u8{shape:?}"),
                format!("%99 = gt %91, %91 : bool{shape:?}"),
                format!("%99 = mod %91, %91 : f32{shape:?}"),
                format!("%99 = bitcast %91 to=i32 : i32{shape:?}"),
                format!("%99 = arg_reduce %91 axis=0 max=true last=false : i64{:?}", &shape[1..]),
            ] {
                let graph = parse(&text(signature, &format!("{body}\n{moved}{seen}")));
                let applies = applies_alone(&graph, rule);
                assert_eq!(applies, !rule.effect.touches_single(), "{name} before {seen}");
            }
        }
    }
}

/// A sum ends the way to a discrete operation, a loop or what a subgraph yields does not.
#[test]
fn sums_end_the_way() {
    let scaled = "%8 = constant f32[4] splat=41\n%9 = div %0, %8 : f32[4]\n";
    let applies =
        |end: &str| applied(&parse(&text("f32[4]", &format!("{scaled}{end}")))).contains(&"divide-by-constant");
    assert!(applies("%10 = reduce %9 op=sum axes=[0] : f32[]\n%11 = floor %10 : f32[]"));
    assert!(!applies("%10 = reduce %9 op=max axes=[0] : f32[]\n%11 = floor %10 : f32[]"));
    assert!(!applies(
        "%10 = cumulative %9 op=sum axis=0 exclusive=false reverse=false : f32[4]\n%11 = floor %10 : f32[4]"
    ));
    let graph = parse(&text("f32[4]", &format!("{scaled}%10 = abs %9 : f32[4]")));
    assert!(crate::rules::discrete::values(&graph, true).iter().filter(|&&d| d).count() >= 3);
    assert!(!crate::rules::discrete::values(&graph, false).contains(&true));
    // A product of one term is no sum.
    let outer = "%7 = constant f32[1, 3] random=3\n%8 = contract %0, %7 batch=[] contract=[(1, 0)] out=f32 : f32[2, 3]\n%9 = constant f32[2, 3] splat=0.3\n%10 = mul %8, %9 : f32[2, 3]";
    assert!(!applied(&parse(&text("f32[2, 1]", outer))).contains(&"contract-scale"));
}

/// A softmax's divisor is at least 1; the largest element of a row may be anything.
#[test]
fn divisors_are_known_to_be_normal() {
    let softmax = "%2 = reduce %0 op=max axes=[1] : f32[2]\n%3 = broadcast %2 shape=[2, 3] axes=[0] : f32[2, 3]\n%4 = sub %0, %3 : f32[2, 3]\n%5 = exp %4 : f32[2, 3]\n%6 = reduce %5 op=sum axes=[1] : f32[2]\n%7 = broadcast %6 shape=[2, 3] axes=[0] : f32[2, 3]\n%8 = div %5, %7 : f32[2, 3]";
    assert!(applied(&parse(&text("f32[2, 3]", softmax))).contains(&"divide-by-broadcast"));
    for divisor in
        ["%2 = reduce %0 op=max axes=[1] : f32[2]", "%1 = abs %0 : f32[2, 3]\n%2 = reduce %1 op=sum axes=[1] : f32[2]"]
    {
        let body =
            format!("{divisor}\n%3 = broadcast %2 shape=[2, 3] axes=[0] : f32[2, 3]\n%4 = div %0, %3 : f32[2, 3]");
        assert!(!applied(&parse(&text("f32[2, 3]", &body))).contains(&"divide-by-broadcast"), "{divisor}");
    }
}

/// Zeros have signs: the reciprocal root of `-0` is `-inf`, its power of -0.5 is `inf`.
#[test]
fn powers_of_zero_stay() {
    let applies = |base: &str| {
        let power = "%8 = constant f32[4] splat=-0.5\n%9 = pow %3, %8 : f32[4]";
        applied(&parse(&text("f32[4]", &format!("{base}\n{power}")))).contains(&"power-minus-half")
    };
    assert!(!applies("%3 = sqrt %0 : f32[4]"));
    assert!(applies("%1 = abs %0 : f32[4]\n%2 = constant f32[4] splat=1\n%3 = add %1, %2 : f32[4]"));
}

/// A size that is not known may be 1, and one term is no sum.
#[test]
fn sums_of_unknown_sizes() {
    let mut dims = nnc_ir::DimTable::default();
    let op = nnc_ir::Op::Reduce { op: nnc_ir::op::ReduceOp::Sum, axes: vec![0] };
    for (min, expected) in [(0, false), (1, false), (2, true)] {
        let n = dims.new_symbol(nnc_ir::SymbolInfo { min, ..nnc_ir::SymbolInfo::input("n") });
        let ty = nnc_ir::TensorType::new(DType::F32, vec![nnc_ir::Dim::sym(n)]);
        assert_eq!(crate::rules::discrete::sums(&op, &[&ty], &dims), expected, "{min}");
    }
}

/// The results of the whole pipeline and of the graph as it is, for given inputs.
fn both(signature: &str, body: &str, inputs: &[Tensor]) -> (Vec<f64>, Vec<f64>) {
    let graph = parse(&text(signature, body));
    let target = Target::parse("x86_64-avx2").unwrap();
    let optimized = optimize(graph.clone(), &target, &PipelineOptions::default()).unwrap();
    let run = |graph: &Graph| nnc_eval::run(graph, inputs).unwrap()[0].to_f64s();
    (run(&graph), run(&optimized))
}

#[test]
fn constants_stay_in_range() {
    let x = Tensor::from_slice(&[4], &[0f32, 1e-30, 1e-40, 1e38]);
    for (a, b) in [(1e25, 1e25), (1e-25, 1e-25), (1e-40, 2.0), (f64::INFINITY, 0.5)] {
        let body = format!(
            "%6 = constant f32[4] splat={a}\n%7 = mul %0, %6 : f32[4]\n%8 = constant f32[4] splat={b}\n%9 = mul %7, %8 : f32[4]"
        );
        let (before, after) = both("f32[4]", &body, std::slice::from_ref(&x));
        assert!(before.iter().zip(&after).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{before:?} {after:?}");
    }
}

/// A large number added and subtracted rounds to integers, on purpose.
#[test]
fn rounding_by_a_large_number_stays() {
    let x = Tensor::from_slice(&[4], &[0.3f32, 0.5, 1.5, 2.7]);
    for (f, b) in [("sub", 12582912.0), ("add", -12582912.0)] {
        let body = format!(
            "%6 = constant f32[4] splat=12582912\n%7 = add %0, %6 : f32[4]\n%8 = constant f32[4] splat={b}\n%9 = {f} %7, %8 : f32[4]"
        );
        let (before, after) = both("f32[4]", &body, std::slice::from_ref(&x));
        assert_eq!((before.as_slice(), after), (&[0.0, 0.0, 2.0, 3.0][..], before.clone()));
    }
}

#[test]
fn quotients_of_integers_are_exact() {
    let values: Vec<f32> = (0..1000).map(|v| v as f32).collect();
    let x = Tensor::from_slice(&[1000], &values);
    let body = "%6 = constant f32[1000] splat=41\n%7 = div %0, %6 : f32[1000]\n%8 = floor %7 : f32[1000]\n%9 = convert %8 to=i64 : i64[1000]";
    let (before, after) = both("f32[1000]", body, &[x]);
    assert_eq!(before, after);
    assert_eq!(after[41], 1.0);
}

/// Kernels compute 16-bit floats in `f32`: merging their constants would round more.
#[test]
fn half_precision_is_left_alone() {
    for (rule, (signature, body)) in
        approx::RULES.iter().chain(approx::AFFINE).flat_map(|r| of(r).into_iter().map(move |e| (r, e)))
    {
        let name = rule.name;
        // Square roots merge nothing, and negation is exact.
        if !signature.contains("f32") || ["power-half", "power-minus-half", "subtract-constant"].contains(&rule.name) {
            continue;
        }
        let graph = parse(&text(&signature.replace("f32", "f16"), &body.replace("f32", "f16")));
        assert_eq!(inputs(&graph, 1)[0].dtype, DType::F16);
        assert!(!applied(&graph).contains(&name), "{name}");
    }
}
