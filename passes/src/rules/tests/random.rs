//! Random programs: chains and joins of operations over small shapes, under all rules at once.

use super::{agree, all_rules, check, inputs};
use crate::rules::rewrite;
use crate::testing::Random;
use nnc_desc::Target;
use nnc_ir::op::{BinaryOp, Op, PadMode, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Graph, Tensor, TensorType, ValueId};

/// A graph of about `size` operations on `f32`.
pub fn program(seed: u64, size: usize) -> Graph {
    let mut random = Random(seed);
    let mut graph = Graph { name: "random".into(), ..Graph::default() };
    let shapes: [&[i64]; 4] = [&[2, 3, 4], &[4, 6], &[2, 3, 2, 1], &[6]];
    let mut values: Vec<ValueId> = vec![];
    for (i, shape) in shapes.iter().enumerate() {
        let dims = shape.iter().map(|&d| Dim::from(d)).collect();
        values.push(graph.add_input(TensorType::new(DType::F32, dims), format!("x{i}")));
    }
    while graph.nodes.len() < size {
        let x = values[values.len() - 1 - random.below(values.len().min(6))];
        if let Some(result) = step(&mut graph, &mut random, x, &values) {
            values.push(result);
        }
    }
    graph.outputs = values.iter().rev().take(3).enumerate().map(|(i, &v)| (format!("y{i}"), v)).collect();
    graph
}

/// A random operation on `x`; `None` when it does not fit.
fn step(graph: &mut Graph, random: &mut Random, x: ValueId, values: &[ValueId]) -> Option<ValueId> {
    let shape: Vec<usize> = graph.ty(x).static_shape()?;
    let dims: Vec<Dim> = graph.shape(x).to_vec();
    let rank = shape.len();
    let axis = random.below(rank);
    let other = values[random.below(values.len())];
    let (op, args) = match random.below(12) {
        0 => (Op::Unary([UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Tanh, UnaryOp::Floor][random.below(4)]), vec![x]),
        1 | 2 => {
            let other = values.iter().copied().filter(|&v| graph.shape(v) == dims).nth(random.below(3))?;
            (Op::Binary([BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max][random.below(4)]), vec![x, other])
        }
        3 => {
            let constant = [-1.0, 0.0, 1.0, 2.0, 3.0][random.below(5)];
            let scalar = graph.push_const(Tensor::scalar_of(DType::F32, constant), "");
            let full = graph.push(Op::Broadcast { shape: dims, axes: vec![] }, &[scalar], "").ok()?[0];
            (Op::Binary([BinaryOp::Add, BinaryOp::Mul, BinaryOp::Min][random.below(3)]), vec![x, full])
        }
        4 | 5 if rank > 1 => (Op::Transpose { perm: random.permutation(rank) }, vec![x]),
        6 if rank > 1 => {
            // Merge two neighbours, or split one in two.
            let mut shape = dims;
            let axis = random.below(rank - 1);
            let merged = &shape[axis] * &shape[axis + 1];
            shape.splice(axis..axis + 2, [merged]);
            (Op::Reshape { shape }, vec![x])
        }
        7 if rank < 5 => {
            let mut shape = dims;
            let size = shape[axis].as_const()?;
            if size % 2 == 0 && random.below(2) == 0 {
                shape.splice(axis..=axis, [Dim::from(size / 2), Dim::from(2)]);
            } else {
                shape.insert(axis, Dim::ONE);
            }
            (Op::Reshape { shape }, vec![x])
        }
        8 if rank < 4 => {
            let mut shape = dims;
            shape.insert(axis, Dim::from(2));
            (Op::Broadcast { shape, axes: (0..=rank).filter(|&a| a != axis).collect() }, vec![x])
        }
        9 if rank > 1 => {
            (Op::Reduce { op: [ReduceOp::Sum, ReduceOp::Max][random.below(2)], axes: vec![axis] }, vec![x])
        }
        10 => {
            let start = random.below(shape[axis].max(1));
            let (mut starts, mut sizes) = (vec![Dim::ZERO; rank], dims);
            starts[axis] = Dim::from(start);
            sizes[axis] = Dim::from(shape[axis] - start);
            (Op::Slice { starts, sizes, steps: vec![1; rank] }, vec![x])
        }
        _ => match random.below(3) {
            0 => (Op::Concat { axis }, vec![x, other]),
            1 => {
                let value = graph.push_const(Tensor::scalar_of(DType::F32, 0.5), "");
                let mut low = vec![Dim::ZERO; rank];
                low[axis] = Dim::ONE;
                (Op::Pad { low, high: vec![Dim::ZERO; rank], mode: PadMode::Constant }, vec![x, value])
            }
            _ => {
                let right = graph.ty(other).static_shape()?;
                let pair = (random.below(rank), random.below(right.len()));
                (Op::Contract { batch: vec![], contract: vec![pair], out: DType::F32 }, vec![x, other])
            }
        },
    };
    let fits = |ty: &TensorType| {
        ty.static_shape().is_some_and(|s| s.iter().product::<usize>() <= 600 && (1..=5).contains(&s.len()))
    };
    let result = graph.push(op, &args, "").ok()?[0];
    if fits(graph.ty(result)) {
        return Some(result);
    }
    graph.nodes.pop();
    None
}

#[test]
fn random_programs() {
    let rules = all_rules();
    let target = Target::parse("x86_64-avx2").unwrap();
    for seed in 0..60 {
        let graph = program(seed, 12);
        if let Err(error) = check(&graph, &rules, seed + 1) {
            panic!("seed {seed}: {error}\n{}", nnc_ir::print::graph(&graph));
        }
        let (rewritten, _) = rewrite(graph.clone(), false, &rules, &target, &mut crate::fuel::Fuel::default());
        nnc_ir::verify::verify(&rewritten).unwrap();
        let inputs = inputs(&graph, seed);
        let before = nnc_eval::run(&graph, &inputs).unwrap();
        let after = nnc_eval::run(&rewritten, &inputs).unwrap();
        for (a, b) in before.iter().zip(&after) {
            agree(a, b).unwrap();
        }
    }
}
