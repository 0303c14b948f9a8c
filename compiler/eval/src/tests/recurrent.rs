//! `recurrent`, with hidden size 1 or 2 and weights that make the steps easy to follow.

use super::*;
use nnc_ir::op::{Activation, CellKind, Recurrent};

const LINEAR: Activation = Activation::Affine { alpha: 1.0, beta: 0.0 };

fn layer(kind: CellKind, activations: &[Activation]) -> Recurrent {
    Recurrent {
        kind,
        reverse: false,
        activations: activations.to_vec(),
        clip: None,
        input_forget: false,
        peepholes: false,
        sequence_lengths: false,
    }
}

fn steps(x: &[f32]) -> Tensor {
    tensor(&[x.len(), 1, 1], x)
}

/// `y` and `h` of a linear RNN of one unit that halves its state at each step and starts at 8.
fn rnn(layer: Recurrent, extra: &[&Tensor]) -> Vec<Tensor> {
    let (r, bias, h0) = (tensor(&[1, 1], &[0.5f32]), row(&[0.0f32]), tensor(&[1, 1], &[8.0f32]));
    let gates = steps(&[1.0, 2.0, 3.0]);
    eval(&Op::Recurrent(layer), &[&[&gates, &r, &bias, &h0], extra].concat())
}

#[test]
fn rnn_steps() {
    let found = rnn(layer(CellKind::Rnn, &[LINEAR]), &[]);
    check(&found[0], &[3, 1, 1], &[5.0f32, 4.5, 5.25]);
    check(&found[1], &[1, 1], &[5.25f32]);
    let reverse = Recurrent { reverse: true, ..layer(CellKind::Rnn, &[LINEAR]) };
    let found = rnn(reverse.clone(), &[]);
    check(&found[0], &[3, 1, 1], &[3.75f32, 5.5, 7.0]);
    check(&found[1], &[1, 1], &[3.75f32]);
    // Two of three steps count: from the second back to the first.
    let found = rnn(Recurrent { sequence_lengths: true, ..reverse.clone() }, &[&row(&[2i64])]);
    check(&found[0], &[3, 1, 1], &[4.0f32, 6.0, 0.0]);
    check(&found[1], &[1, 1], &[4.0f32]);
    let found = rnn(Recurrent { sequence_lengths: true, ..reverse }, &[&row(&[0i64])]);
    check(&found[0], &[3, 1, 1], &[0.0f32; 3]);
    check(&found[1], &[1, 1], &[8.0f32]);
    let found = rnn(Recurrent { clip: Some(4.0), ..layer(CellKind::Rnn, &[LINEAR]) }, &[]);
    check(&found[0], &[3, 1, 1], &[4.0f32, 4.0, 4.0]);
}

/// Without peepholes an infinite state reaches no gate.
#[test]
fn infinite_state() {
    let activations = [Activation::Sigmoid, LINEAR, Activation::Softplus];
    let (gates, r, bias) = (tensor(&[1, 1, 4], &[0.0f32; 4]), tensor(&[1, 4], &[0.0f32; 4]), row(&[0.0f32; 4]));
    let (h0, c0) = (tensor(&[1, 1], &[0.0f32]), tensor(&[1, 1], &[f32::NEG_INFINITY]));
    let found = eval(&Op::Recurrent(layer(CellKind::Lstm, &activations)), &[&gates, &r, &bias, &h0, &c0]);
    check(&found[0], &[1, 1, 1], &[0.0f32]);
}

#[test]
fn lengths_differ_within_a_batch() {
    let layer = Recurrent { sequence_lengths: true, ..layer(CellKind::Rnn, &[LINEAR]) };
    let gates = tensor(&[2, 2, 1], &[1.0f32, 10.0, 2.0, 20.0]);
    let (r, bias, h0) = (tensor(&[1, 1], &[1.0f32]), row(&[0.0f32]), tensor(&[2, 1], &[0.0f32, 0.0]));
    let found = eval(&Op::Recurrent(layer.clone()), &[&gates, &r, &bias, &h0, &row(&[1i64, 2])]);
    check(&found[0], &[2, 2, 1], &[1.0f32, 10.0, 0.0, 30.0]);
    check(&found[1], &[2, 1], &[1.0f32, 30.0]);
    let message = error(&Op::Recurrent(layer), &[&gates, &r, &bias, &h0, &row(&[1i64, 3])]);
    assert!(message.contains("sequence length 3 of 2 steps"), "{message}");
}

/// One LSTM unit whose gates are linear: x = (i, o, f, c) per step, no recurrence unless `r` says so.
fn lstm(layer: Recurrent, x: &[f32; 4], peepholes: Option<[f32; 3]>) -> [f64; 3] {
    let (gates, r) = (tensor(&[1, 1, 4], x), tensor(&[1, 4], &[0.0f32, 0.0, 0.0, 1.0]));
    let (bias, h0, c0) = (row(&[0.0f32; 4]), tensor(&[1, 1], &[2.0f32]), tensor(&[1, 1], &[3.0f32]));
    let p = peepholes.map(|p| row(&p));
    let mut inputs = vec![&gates, &r, &bias, &h0, &c0];
    inputs.extend(&p);
    let found = eval(&Op::Recurrent(layer), &inputs);
    assert_eq!([&found[0].shape[..], &found[1].shape, &found[2].shape], [&[1, 1, 1][..], &[1, 1], &[1, 1]]);
    [0, 1, 2].map(|i| found[i].get_f64(0))
}

#[test]
fn lstm_steps() {
    let plain = layer(CellKind::Lstm, &[LINEAR; 3]);
    // i = 2, o = 10, f = 3, candidate = 4 + 1 * h0 = 6: c = 3 * 3 + 2 * 6 = 21, h = 10 * 21.
    assert_eq!(lstm(plain.clone(), &[2.0, 10.0, 3.0, 4.0], None), [210.0, 210.0, 21.0]);
    // f = 1 - i = -1: c = -3 + 12 = 9.
    let coupled = Recurrent { input_forget: true, ..plain.clone() };
    assert_eq!(lstm(coupled, &[2.0, 10.0, 3.0, 4.0], None), [90.0, 90.0, 9.0]);
    // Peepholes (i, o, f) = (1, 2, 3): i = 2 + 3, f = 3 + 9, c = 12 * 3 + 5 * 6 = 66, o = 10 + 2 * 66.
    let peeping = Recurrent { peepholes: true, ..plain.clone() };
    assert_eq!(lstm(peeping, &[2.0, 10.0, 3.0, 4.0], Some([1.0, 2.0, 3.0]))[1..], [142.0 * 66.0, 66.0]);
    // The clip bounds gates, not the cell: every gate is 2, c = 2 * 3 + 2 * 2 = 10.
    let clipped = Recurrent { clip: Some(2.0), ..plain };
    assert_eq!(lstm(clipped, &[2.0, 10.0, 3.0, 4.0], None), [20.0, 20.0, 10.0]);
    let usual = layer(CellKind::Lstm, &[Activation::Sigmoid, Activation::Tanh, Activation::Tanh]);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let c = sigmoid(3.0) * 3.0 + sigmoid(2.0) * 6f64.tanh();
    let h = sigmoid(-1.0) * c.tanh();
    let found = lstm(usual, &[2.0, -1.0, 3.0, 4.0], None);
    assert!((found[1] - h).abs() < 1e-7 && (found[2] - c).abs() < 2e-7, "{found:?}");
}

#[test]
fn gru_steps() {
    // Two units, z, r, h gates; R mixes the units only in the candidate: [[0, 1], [1, 0]].
    let gates = tensor(&[1, 1, 6], &[0.5f32, 0.25, 2.0, 3.0, 1.0, 1.0]);
    let mut r = [0.0f32; 12];
    (r[5], r[10]) = (1.0, 1.0);
    let (r, h0) = (tensor(&[2, 6], &r), tensor(&[1, 2], &[4.0f32, 8.0]));
    let bias = row(&[0.0f32, 0.0, 0.0, 0.0, 10.0, 20.0]);
    let run = |linear_before_reset| {
        let layer = layer(CellKind::Gru { linear_before_reset }, &[LINEAR, LINEAR]);
        eval(&Op::Recurrent(layer), &[&gates, &r, &bias, &h0]).remove(1)
    };
    // Reset states (8, 24), swapped and biased: candidates 1 + 24 + 10 = 35 and 1 + 8 + 20 = 29.
    check(&run(false), &[1, 2], &[0.5f32 * 35.0 + 0.5 * 4.0, 0.75 * 29.0 + 0.25 * 8.0]);
    // Biased first: 1 + 2 * (8 + 10) = 37 and 1 + 3 * (4 + 20) = 73.
    check(&run(true), &[1, 2], &[0.5f32 * 37.0 + 0.5 * 4.0, 0.75 * 73.0 + 0.25 * 8.0]);
}

#[test]
fn activations() {
    use Activation::*;
    for (f, x, y) in [
        (Sigmoid, 0.0, 0.5),
        (Tanh, 1.0, 1f64.tanh()),
        (Relu, -1.0, 0.0),
        (Affine { alpha: 2.0, beta: 1.0 }, 3.0, 7.0),
        (LeakyRelu { alpha: 0.5 }, -2.0, -1.0),
        (ThresholdedRelu { alpha: 1.0 }, 1.0, 0.0),
        (ThresholdedRelu { alpha: 1.0 }, 1.5, 1.5),
        (ScaledTanh { alpha: 2.0, beta: 0.5 }, 2.0, 2.0 * 1f64.tanh()),
        (HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
        (HardSigmoid { alpha: 0.25, beta: 0.5 }, -9.0, 0.0),
        (Elu { alpha: 2.0 }, -1.0, 2.0 * (-1f64).exp_m1()),
        (Softsign, -3.0, -0.75),
        (Softplus, 1.0, 1f64.exp().ln_1p()),
        (Softplus, 800.0, 800.0),
    ] {
        let (r, bias, h0) = (tensor(&[1, 1], &[0.0f64]), row(&[0.0f64]), tensor(&[1, 1], &[0.0f64]));
        let gates = tensor(&[1, 1, 1], &[x]);
        let found = eval(&Op::Recurrent(layer(CellKind::Rnn, &[f])), &[&gates, &r, &bias, &h0])[1].get_f64(0);
        assert!((found - y).abs() < 1e-15, "{f:?} of {x} is {found}");
    }
}

#[test]
fn wrong_operands() {
    let op = Op::Recurrent(layer(CellKind::Rnn, &[LINEAR]));
    let (gates, r, bias, h0) = (steps(&[1.0]), tensor(&[1, 1], &[0.5f32]), row(&[0.0f32]), tensor(&[1, 1], &[8.0f32]));
    assert!(error(&op, &[&gates, &r, &bias]).contains("too few"));
    assert!(error(&op, &[&gates, &r, &bias, &h0, &h0]).contains("too many"));
    assert!(error(&op, &[&gates, &r, &r, &h0]).contains("should be f32 [1]"));
    let op = Op::Recurrent(layer(CellKind::Rnn, &[]));
    assert!(error(&op, &[&gates, &r, &bias, &h0]).contains("0 activations instead of 1"));
}
