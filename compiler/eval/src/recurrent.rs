//! `recurrent`: one direction of LSTM, GRU and RNN.
//!
//! Rules: states stay in `f64` from step to step and are rounded once, in the results. Past an element's sequence
//! length `y` is 0 and the state stays; a reverse layer starts at the last step within the length. The clip applies
//! to the input of every gate, not to the cell state.
//!
//! Source: the ONNX operators `LSTM`, `GRU` and `RNN`, <https://onnx.ai/onnx/operators/onnx__LSTM.html>.

use crate::error::{Eval, unfit};
use crate::gather::indices;
use crate::values::{floats, from_floats};
use nnc_ir::Tensor;
use nnc_ir::op::{Activation, CellKind, Recurrent};

fn activate(f: Activation, x: f64) -> f64 {
    match f {
        Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
        Activation::Tanh => libm::tanh(x),
        Activation::Relu if x.is_nan() => x,
        Activation::Relu => x.max(0.0),
        Activation::Affine { alpha, beta } => f64::from(alpha) * x + f64::from(beta),
        Activation::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
        Activation::LeakyRelu { .. } => x,
        Activation::ThresholdedRelu { alpha } if x > f64::from(alpha) || x.is_nan() => x,
        Activation::ThresholdedRelu { .. } => 0.0,
        Activation::ScaledTanh { alpha, beta } => f64::from(alpha) * libm::tanh(f64::from(beta) * x),
        Activation::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Activation::Elu { alpha } if x < 0.0 => f64::from(alpha) * libm::expm1(x),
        Activation::Elu { .. } => x,
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Softplus if x.is_nan() => x,
        Activation::Softplus => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
    }
}

/// Everything a step reads besides the gates' input, and the functions it applies.
struct Cell<'a> {
    layer: &'a Recurrent,
    hidden: usize,
    /// `[hidden, G * hidden]`.
    r: Vec<f64>,
    /// `[G * hidden]`.
    bias: Vec<f64>,
    /// `[3 * hidden]`: i, o, f; zeros when there are none.
    peepholes: Vec<f64>,
    /// Activations f, g, h.
    activations: [Activation; 3],
}

impl Cell<'_> {
    fn clip(&self, x: f64) -> f64 {
        match self.layer.clip.map(f64::from) {
            // Not `clamp`, which refuses a negative or NaN limit.
            Some(limit) if x > limit => limit,
            Some(limit) if x < -limit => -limit,
            _ => x,
        }
    }

    fn gate(&self, activation: usize, x: f64) -> f64 {
        activate(self.activations[activation], self.clip(x))
    }

    /// `(state * r)[column]`.
    fn project(&self, state: &[f64], column: usize) -> f64 {
        let columns = self.bias.len();
        state.iter().enumerate().fold(0.0, |sum, (i, s)| sum + s * self.r[i * columns + column])
    }

    /// One step of one batch element: `x` holds the gates' inputs; `h` and `c` change in place.
    fn step(&self, x: &[f64], h: &mut Vec<f64>, c: &mut [f64]) {
        let n = self.hidden;
        let sums: Vec<f64> = (0..self.bias.len()).map(|j| self.project(h, j) + self.bias[j]).collect();
        match self.layer.kind {
            CellKind::Rnn => *h = (0..n).map(|j| self.gate(0, x[j] + sums[j])).collect(),
            CellKind::Lstm => {
                for j in 0..n {
                    let (o, f, g) = (n + j, 2 * n + j, 3 * n + j);
                    // None is not a weight of 0, which an infinite state would make NaN.
                    let peep = |p: usize, c: f64| if self.layer.peepholes { self.peepholes[p] * c } else { 0.0 };
                    let input = self.gate(0, x[j] + sums[j] + peep(j, c[j]));
                    let forget = match self.layer.input_forget {
                        true => 1.0 - input,
                        false => self.gate(0, x[f] + sums[f] + peep(f, c[j])),
                    };
                    c[j] = forget * c[j] + input * self.gate(1, x[g] + sums[g]);
                    let output = self.gate(0, x[o] + sums[o] + peep(o, c[j]));
                    h[j] = output * activate(self.activations[2], c[j]);
                }
            }
            CellKind::Gru { linear_before_reset } => {
                let update: Vec<f64> = (0..n).map(|j| self.gate(0, x[j] + sums[j])).collect();
                let reset: Vec<f64> = (n..2 * n).map(|j| self.gate(0, x[j] + sums[j])).collect();
                let kept: Vec<f64> = h.iter().zip(&reset).map(|(h, r)| h * r).collect();
                for j in 0..n {
                    let g = 2 * n + j;
                    let recurrent = match linear_before_reset {
                        true => reset[j] * sums[g],
                        false => self.project(&kept, g) + self.bias[g],
                    };
                    h[j] = (1.0 - update[j]) * self.gate(1, x[g] + recurrent) + update[j] * h[j];
                }
            }
        }
    }
}

pub(super) fn recurrent(inputs: &[&Tensor], layer: &Recurrent) -> Eval<Vec<Tensor>> {
    let lstm = layer.kind == CellKind::Lstm;
    let (gate_count, activation_count) = match layer.kind {
        CellKind::Lstm => (4, 3),
        CellKind::Gru { .. } => (3, 2),
        CellKind::Rnn => (1, 1),
    };
    let mut operands = inputs.iter().copied();
    let mut next = || operands.next().ok_or_else(|| unfit(format!("{} operands are too few", inputs.len())));
    let (gates, r, bias, h0) = (next()?, next()?, next()?, next()?);
    let c0 = if lstm { Some(next()?) } else { None };
    let peepholes = if lstm && layer.peepholes { Some(next()?) } else { None };
    let lengths = if layer.sequence_lengths { Some(next()?) } else { None };
    if next().is_ok() {
        return Err(unfit(format!("{} operands are too many", inputs.len())));
    }
    let (&[time, batch, columns], &[_, hidden]) = (gates.shape.as_slice(), h0.shape.as_slice()) else {
        return Err(unfit(format!("gates {:?} with state {:?}", gates.shape, h0.shape)));
    };
    let expected = [
        (Some(gates), vec![time, batch, gate_count * hidden]),
        (Some(r), vec![hidden, columns]),
        (Some(bias), vec![columns]),
        (Some(h0), vec![batch, hidden]),
        (c0, vec![batch, hidden]),
        (peepholes, vec![3 * hidden]),
    ];
    for (operand, shape) in expected {
        if let Some(t) = operand
            && (t.shape != shape || t.dtype != gates.dtype || !t.dtype.is_float())
        {
            return Err(unfit(format!("operand {} {:?} should be {} {shape:?}", t.dtype, t.shape, gates.dtype)));
        }
    }
    let lengths = match lengths {
        Some(t) if t.shape == [batch] => indices(t)?,
        Some(t) => return Err(unfit(format!("sequence lengths {:?} for batch {batch}", t.shape))),
        None => vec![time as i64; batch],
    };
    if layer.activations.len() < activation_count {
        return Err(unfit(format!("{} activations instead of {activation_count}", layer.activations.len())));
    }
    let activation = |i: usize| layer.activations.get(i).copied().unwrap_or(Activation::Tanh);
    let cell = Cell {
        layer,
        hidden,
        r: floats(r),
        bias: floats(bias),
        peepholes: peepholes.map_or_else(|| vec![0.0; 3 * hidden], floats),
        activations: [activation(0), activation(1), activation(2)],
    };
    let (x, mut h, mut c) = (floats(gates), floats(h0), c0.map(floats).unwrap_or_default());
    let mut y = vec![0.0; if hidden == 0 { 0 } else { time * batch * hidden }];
    for (b, &length) in lengths.iter().enumerate().filter(|_| hidden != 0) {
        let length = match usize::try_from(length) {
            Ok(n) if n <= time => n,
            _ => return Err(unfit(format!("sequence length {length} of {time} steps"))),
        };
        let mut state = h[b * hidden..(b + 1) * hidden].to_vec();
        let mut memory = if lstm { c[b * hidden..(b + 1) * hidden].to_vec() } else { vec![] };
        for step in 0..length {
            let t = if layer.reverse { length - 1 - step } else { step };
            cell.step(&x[(t * batch + b) * columns..][..columns], &mut state, &mut memory);
            y[(t * batch + b) * hidden..][..hidden].copy_from_slice(&state);
        }
        h[b * hidden..(b + 1) * hidden].copy_from_slice(&state);
        if lstm {
            c[b * hidden..(b + 1) * hidden].copy_from_slice(&memory);
        }
    }
    let mut results = vec![from_floats(gates.dtype, vec![time, batch, hidden], y)];
    results.push(from_floats(gates.dtype, vec![batch, hidden], h));
    if lstm {
        results.push(from_floats(gates.dtype, vec![batch, hidden], c));
    }
    Ok(results)
}
