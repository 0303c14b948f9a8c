//! Random operations on random operands: nothing panics, every result keeps the invariant of tensors, and where
//! type inference accepts the operands its types are those of the results.

use super::*;
use nnc_ir::graph::TensorType;
use nnc_ir::op::{
    Activation, BinaryOp, CellKind, Distribution, PadMode, Recurrent, ReduceOp, ScatterOp, UnaryOp, Window,
};
use nnc_ir::{Symbol, infer};
use proptest::prelude::*;

/// Choices drawn one after the other from proptest's bytes; 0 when they run out.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn list(&mut self, length: usize, below: usize) -> Vec<usize> {
        (0..length).map(|_| self.below(below)).collect()
    }

    /// Mostly small sizes, sometimes ones that must be refused.
    fn dims(&mut self, length: usize) -> Vec<Dim> {
        let sizes = [0, 1, 1, 2, 2, 3, 4, 4, 6, -1, i64::MAX, i64::MIN, 1 << 40];
        let mut size = || {
            let among = if self.below(16) == 1 { sizes.len() } else { 9 };
            Dim::from(sizes[self.below(among)])
        };
        (0..length).map(|_| size()).collect()
    }

    fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let extremes = [f64::NAN, f64::INFINITY, f64::MIN, 1e300, -1.0, 1e-40];
        let values: Vec<f64> = (0..shape.iter().product::<usize>())
            .map(|_| if self.below(16) == 1 { self.of(&extremes) } else { self.below(4) as f64 })
            .collect();
        Tensor::from_f64s(dtype, shape, &values)
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.below(5);
        // Often one size for every axis, so that axes fit each other.
        if self.flag() { vec![2; rank] } else { self.list(rank, 4) }
    }

    fn operand(&mut self) -> Tensor {
        let (dtype, shape) = (self.of(&DType::ALL), self.shape());
        self.tensor(dtype, &shape)
    }

    /// Operands that often fit the operation.
    fn operands(&mut self, op: &Op) -> Vec<Tensor> {
        let dtype = self.of(&[DType::F32, DType::F32, DType::I64, DType::U8, DType::Bool, DType::F16, DType::U64]);
        let shape = self.shape();
        let x = self.tensor(dtype, &shape);
        let mut operands = match op {
            Op::Dims { .. } | Op::Iota { .. } => vec![],
            Op::Unary(UnaryOp::Not) => vec![self.tensor(DType::Bool, &shape)],
            Op::Binary(_) => vec![x, self.tensor(dtype, &shape)],
            Op::Select => vec![self.tensor(DType::Bool, &shape), x, self.tensor(dtype, &shape)],
            Op::Concat { .. } => vec![x.clone(), x],
            Op::Contract { .. } => vec![x, self.tensor(dtype, &shape)],
            Op::Pad { .. } => vec![x, self.tensor(dtype, &[])],
            Op::Pool { window, .. } | Op::PoolIndex { window } => {
                let shape = self.list(window.size.len() + 2, 5);
                vec![self.tensor(dtype, &shape)]
            }
            Op::Conv { window, groups, out } => {
                let mut shape = self.list(window.size.len() + 1, 5);
                let per_group = self.below(3);
                shape.push(per_group * groups);
                let sizes = window.size.iter().map(|&s| s.min(4));
                let kernel: Vec<usize> = sizes.chain([per_group, self.below(3) * groups]).collect();
                vec![self.tensor(*out, &shape), self.tensor(*out, &kernel)]
            }
            Op::Gather { batch, .. } | Op::GatherNd { batch } => {
                let mut index = shape.clone();
                index.truncate((*batch).max(1));
                index.push(self.below(3));
                vec![x, self.tensor(DType::I64, &index)]
            }
            Op::GatherElements { .. } => vec![x, self.tensor(DType::I64, &shape)],
            Op::ScatterElements { .. } => vec![x, self.tensor(DType::I64, &shape), self.tensor(dtype, &shape)],
            Op::ScatterNd(_) => {
                let depth = self.below(shape.len() + 1);
                let updates = [&[2], &shape[depth..]].concat();
                vec![x, self.tensor(DType::I64, &[2, depth]), self.tensor(dtype, &updates)]
            }
            Op::Unique { .. } => {
                let n = self.below(6);
                vec![self.tensor(dtype, &[n])]
            }
            Op::NonMaxSuppression { .. } => {
                let (batch, classes, n) = (self.below(3), self.below(3), self.below(6));
                let boxes = self.tensor(DType::F32, &[batch, n, 4]);
                let scores = self.tensor(DType::F32, &[batch, classes, n]);
                let scalars = [DType::I64, DType::F32, DType::F32].map(|t| self.tensor(t, &[]));
                [boxes, scores].into_iter().chain(scalars).collect()
            }
            Op::Recurrent(layer) => {
                let gates = match layer.kind {
                    CellKind::Lstm => 4,
                    CellKind::Gru { .. } => 3,
                    CellKind::Rnn => 1,
                };
                let (time, batch, hidden) = (self.below(3), self.below(3), self.below(3));
                let wide = gates * hidden;
                let mut shapes = vec![vec![time, batch, wide], vec![hidden, wide], vec![wide], vec![batch, hidden]];
                if layer.kind == CellKind::Lstm {
                    shapes.push(vec![batch, hidden]);
                }
                if layer.peepholes {
                    shapes.push(vec![3 * hidden]);
                }
                let mut operands: Vec<Tensor> = shapes.iter().map(|s| self.tensor(DType::F32, s)).collect();
                if layer.sequence_lengths {
                    operands.push(self.tensor(DType::I64, &[batch]));
                }
                operands
            }
            Op::TreeLeaf { .. } => {
                let nodes = self.below(4);
                let x = self.tensor(DType::F32, &[2, 2]);
                let table = self.tensor(DType::I32, &[nodes, 4]);
                vec![x, self.tensor(DType::F32, &[nodes]), table, self.tensor(DType::I32, &[2])]
            }
            Op::FindString | Op::RunAutomaton => {
                let (strings, size) = (self.below(3), self.below(6));
                let mut operands = vec![self.tensor(DType::I64, &[strings]), self.tensor(DType::U8, &[size])];
                let shapes: [(DType, Vec<usize>); 2] = match op {
                    Op::FindString => [(DType::I64, vec![self.below(4)]), (DType::U8, vec![self.below(4)])],
                    _ => [(DType::U8, vec![256]), (DType::I64, vec![self.below(4), self.below(4)])],
                };
                operands.extend(shapes.map(|(dtype, shape)| self.tensor(dtype, &shape)));
                operands
            }
            Op::SplitStrings { .. } => {
                let (strings, size) = (self.below(3), self.below(6));
                vec![self.tensor(DType::I64, &[strings]), self.tensor(DType::U8, &[size])]
            }
            Op::CompareStrings => {
                let (strings, size, n) = (self.below(3), self.below(6), self.below(3));
                let table = [self.tensor(DType::I64, &[strings]), self.tensor(DType::U8, &[size])];
                table.into_iter().chain([0, 1].map(|_| self.tensor(DType::I64, &[n]))).collect()
            }
            Op::LowerBound => {
                let count = self.below(6);
                vec![x, self.tensor(dtype, &[count])]
            }
            Op::BindDims { symbols } => vec![self.tensor(DType::I64, &[symbols.len()])],
            Op::Random { .. } => vec![self.tensor(DType::I64, &[])],
            _ => vec![x],
        };
        match self.below(12) {
            0 => operands.push(self.operand()),
            1 if !operands.is_empty() => {
                let at = self.below(operands.len());
                operands[at] = self.operand();
            }
            2 => drop(operands.pop()),
            _ => {}
        }
        operands
    }

    fn window(&mut self) -> Window {
        let rank = self.below(3);
        let vector = |c: &mut Self, low: usize| {
            let huge = if c.below(50) == 1 { 1 << 60 } else { 0 };
            c.list(rank, 3).into_iter().map(|v| v + low + huge).collect()
        };
        let low = usize::from(self.below(20) != 1);
        Window {
            size: vector(self, low),
            strides: vector(self, low),
            dilations: vector(self, low),
            pad_low: vector(self, 0),
            pad_high: vector(self, 0),
        }
    }

    fn pairs(&mut self) -> Vec<(usize, usize)> {
        (0..self.below(3)).map(|_| (self.below(3), self.below(3))).collect()
    }

    fn op(&mut self) -> Op {
        use BinaryOp::*;
        let rank = self.below(4);
        let axis = self.below(4);
        let reduction = self.of(&[ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min]);
        let scatter = self.of(&[ScatterOp::Replace, ScatterOp::Add, ScatterOp::Mul, ScatterOp::Max, ScatterOp::Min]);
        let dtype = self.of(&DType::ALL);
        let count = Symbol(0);
        match self.below(42) {
            0 => Op::Dims { dims: self.dims(rank), scalar: self.flag() },
            1 => Op::Iota { dtype, shape: self.dims(rank), axis },
            2 => Op::Unary(self.of(&[UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Sign, UnaryOp::Erf, UnaryOp::BitNot])),
            3 => Op::Unary(self.of(&[UnaryOp::Not, UnaryOp::IsNan, UnaryOp::IsInf, UnaryOp::Round, UnaryOp::Tan])),
            4 => Op::Binary(self.of(&[Add, Sub, Mul, Div, Mod, Rem, Pow, Max, Min])),
            5 => Op::Binary(self.of(&[Atan2, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt, Ge])),
            6 => Op::Select,
            7 => Op::Convert(dtype),
            8 => Op::Bitcast(dtype),
            9 => Op::Broadcast {
                shape: self.dims(rank),
                axes: if self.flag() { (0..rank).collect() } else { self.list(axis, 4) },
            },
            10 => Op::Reshape { shape: self.dims(rank) },
            11 => Op::Transpose { perm: if self.flag() { (0..rank).rev().collect() } else { self.list(rank, 4) } },
            12 | 13 => Op::Slice {
                starts: self.dims(rank),
                sizes: self.dims(rank),
                steps: (0..rank).map(|_| self.of(&[1, 1, -1, 2, -2, 0, i64::MAX, i64::MIN])).collect(),
            },
            14 => Op::Pad {
                low: self.dims(rank),
                high: self.dims(rank),
                mode: self.of(&[PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap]),
            },
            15 => Op::Concat { axis },
            16 => Op::Reduce { op: reduction, axes: (0..4).filter(|_| self.flag()).collect() },
            17 => Op::ArgReduce { axis, max: self.flag(), last: self.flag() },
            18 | 19 if self.flag() => Op::Contract { batch: vec![], contract: vec![(axis, axis)], out: DType::F32 },
            18 | 19 => Op::Contract {
                batch: self.pairs(),
                contract: self.pairs(),
                out: self.of(&[DType::F32, DType::I32, dtype]),
            },
            20 => Op::Conv { window: self.window(), groups: self.below(4), out: self.of(&[DType::F32, DType::I32]) },
            21 => Op::Pool { op: reduction, window: self.window() },
            22 => Op::PoolIndex { window: self.window() },
            23 => Op::Gather { axis, batch: rank },
            24 => Op::GatherElements { axis },
            25 => Op::GatherNd { batch: rank },
            26 => Op::ScatterNd(scatter),
            27 => Op::ScatterElements { axis, op: scatter },
            28 => Op::Cumulative { op: reduction, axis, exclusive: self.flag(), reverse: self.flag() },
            29 => Op::TopK { axis, k: self.dims(1).remove(0), largest: self.flag() },
            30 => Op::NonZero { count },
            31 => Op::Unique { sorted: self.flag(), count },
            32 => Op::NonMaxSuppression { center: self.flag(), count },
            33 => Op::TreeLeaf { missing: self.flag() },
            34 => Op::LowerBound,
            35 => Op::FindString,
            36 => Op::RunAutomaton,
            37 => Op::CompareStrings,
            38 => Op::SplitStrings {
                delimiter: if self.flag() { String::new() } else { "\u{1}".to_owned() },
                most: self.of(&[0, 1, i64::MAX]),
                count,
            },
            _ => match self.below(3) {
                0 => Op::BindDims { symbols: vec![count; rank] },
                1 => Op::Random {
                    distribution: Distribution::Normal { mean: 0.0, std: 1.0 },
                    dtype,
                    shape: self.dims(rank),
                    seed: 1,
                },
                _ => Op::Recurrent(Recurrent {
                    kind: self.of(&[CellKind::Lstm, CellKind::Gru { linear_before_reset: true }, CellKind::Rnn]),
                    reverse: self.flag(),
                    activations: vec![Activation::HardSigmoid { alpha: f32::NAN, beta: 0.0 }; 3],
                    clip: Some(f32::NAN),
                    input_forget: self.flag(),
                    peepholes: self.flag(),
                    sequence_lengths: self.flag(),
                }),
            },
        }
    }
}

fn type_of(tensor: &Tensor) -> TensorType {
    TensorType::new(tensor.dtype, tensor.shape.iter().map(|&d| Dim::from(d)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    /// So few cases keep the tests fast; 2 million passed when this was written.
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut choices = Choices(bytes.iter());
        let op = choices.op();
        let inputs = choices.operands(&op);
        let operands: Vec<&Tensor> = inputs.iter().collect();
        let mut env = Env::new();
        let Ok(results) = eval_op(&op, &operands, &ConstPool::default(), &mut env) else { return Ok(()) };
        for result in &results {
            prop_assert!(Tensor::new(result.dtype, result.shape.clone(), result.data.clone()).is_some());
            let sound = result.dtype != DType::Bool || result.data.bytes().iter().all(|&b| b < 2);
            prop_assert!(sound);
        }
        let types: Vec<TensorType> = inputs.iter().map(type_of).collect();
        if let Ok(inferred) = infer::infer(&op, &types.iter().collect::<Vec<_>>(), &ConstPool::default()) {
            let shape = |t: &TensorType| env.shape(&t.shape).map(|s| (t.dtype, s));
            let inferred: Vec<_> = inferred.iter().map(shape).collect::<Result<_, _>>().unwrap();
            let found: Vec<_> = results.iter().map(|r| (r.dtype, r.shape.clone())).collect();
            prop_assert_eq!(inferred, found, "{:?}", op);
        }
    }
}
