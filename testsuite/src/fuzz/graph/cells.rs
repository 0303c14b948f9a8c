//! Recurrent layers. Weights are small enough that no state grows without end.

use nnc_ir::op::{Activation, BinaryOp, CellKind, Recurrent};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use crate::fuzz::onnx::range::Range;

/// What gates are squashed by.
const GATES: &[Activation] =
    &[Activation::Sigmoid, Activation::Sigmoid, Activation::HardSigmoid { alpha: 0.25, beta: 0.5 }];
/// What states are made by; none is steeper than 1.
const STATES: &[Activation] = &[
    Activation::Tanh,
    Activation::Tanh,
    Activation::Relu,
    Activation::Softsign,
    Activation::Softplus,
    Activation::Affine { alpha: 0.5, beta: 0.25 },
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::ScaledTanh { alpha: 1.0, beta: 0.5 },
    Activation::Elu { alpha: 0.5 },
];

pub(super) fn recurrent(b: &mut Builder) -> Option<ValueId> {
    let kinds = [
        (CellKind::Lstm, 4),
        (CellKind::Gru { linear_before_reset: false }, 3),
        (CellKind::Gru { linear_before_reset: true }, 3),
        (CellKind::Rnn, 1),
    ];
    let &(kind, gates) = b.random.of(&kinds);
    let lstm = kind == CellKind::Lstm;
    let hidden = *b.random.of(&[1usize, 2, 3, 4, 8, 17]);
    let dtype = *b.random.of(&[DType::F32, DType::F32, DType::F64]);
    let x = input(b, dtype, gates * hidden);
    let (time, batch) = (b.dims(x)[0].clone(), b.dims(x)[1].clone());
    let state = vec![batch.clone(), Dim::from(hidden)];
    let most = 0.5 / hidden as f64;
    // A matrix that only the run knows has another way to the product.
    let r = match b.random.percent(30) {
        true => b.input(dtype, [hidden, gates * hidden].map(Dim::from).to_vec(), Range::rounded(-most, most)),
        false => weight(b, dtype, &[hidden, gates * hidden], most),
    };
    let bias = weight(b, dtype, &[gates * hidden], 0.5);
    let mut args = vec![x, r, bias];
    for _ in 0..1 + usize::from(lstm) {
        args.push(b.input(dtype, state.clone(), Range::rounded(-1.0, 1.0)));
    }
    let peepholes = lstm && b.random.percent(30);
    if peepholes {
        args.push(weight(b, dtype, &[3 * hidden], 0.25));
    }
    let sequence_lengths = b.random.percent(30);
    if sequence_lengths {
        args.push(lengths(b, time, batch)?);
    }
    let activations = match kind {
        CellKind::Lstm => vec![*b.random.of(GATES), *b.random.of(STATES), *b.random.of(STATES)],
        CellKind::Gru { .. } => vec![*b.random.of(GATES), *b.random.of(STATES)],
        CellKind::Rnn => vec![*b.random.of(STATES)],
    };
    let cell = Recurrent {
        kind,
        reverse: b.random.percent(40),
        activations,
        clip: b.random.percent(20).then_some(1.5),
        input_forget: lstm && b.random.percent(20),
        peepholes,
        sequence_lengths,
    };
    b.push(Op::Recurrent(cell), &args, Range::rounded(-2000.0, 2000.0))
}

/// The projections of the gates, `[time, batch, width]`.
fn input(b: &mut Builder, dtype: DType, width: usize) -> ValueId {
    let fits = |b: &Builder, v: ValueId| {
        let dims = b.graph.shape(v);
        b.dtype(v) == dtype
            && dims.len() == 3
            && dims[2].is_const(width as i64)
            && b.nameable(&dims[1..2])
            && b.range_of(v).magnitude() < 10.0
    };
    if let Some(x) = b.pick(fits) {
        return x;
    }
    let mut shape = b.shape(2);
    shape.push(Dim::from(width));
    b.input(dtype, shape, Range::rounded(-2.0, 2.0))
}

/// A constant of small numbers; one number everywhere where its text could not say all.
fn weight(b: &mut Builder, dtype: DType, shape: &[usize], most: f64) -> ValueId {
    let count: usize = shape.iter().product();
    let values = match count <= 16 {
        true => (0..count).map(|_| (2.0 * b.random.unit() - 1.0) * most).collect(),
        false => vec![most; count],
    };
    b.constant(Tensor::from_f64s(dtype, shape, &values))
}

/// Numbers of steps, none greater than there are.
fn lengths(b: &mut Builder, time: Dim, batch: Dim) -> Option<ValueId> {
    let range = Range::exact(0.0, 9.0, 0);
    let wanted = b.input(DType::I64, vec![batch.clone()], range);
    let most = b.push(Op::Dims { dims: vec![time], scalar: true }, &[], Range::exact(0.0, 5000.0, 0))?;
    let most = b.push(Op::Broadcast { shape: vec![batch], axes: vec![] }, &[most], Range::exact(0.0, 5000.0, 0))?;
    b.push(Op::Binary(BinaryOp::Min), &[wanted, most], range)
}
