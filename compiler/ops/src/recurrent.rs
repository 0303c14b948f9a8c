//! Recurrent layers: LSTM (<https://onnx.ai/onnx/operators/onnx__LSTM.html>), GRU
//! (<https://onnx.ai/onnx/operators/onnx__GRU.html>) and RNN (<https://onnx.ai/onnx/operators/onnx__RNN.html>), opsets 7
//! on; and ONNX Runtime's DynamicQuantizeLSTM
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
//!
//! 16-bit floats are computed in f32, from the first step to the last. Weights of 8 bits become the floats that they mean:
//! inputs and states are not rounded to 8 bits as ONNX Runtime does before each product, so results are nearer to those of
//! the layer that was quantised.
//!
//! The input projection of all steps is one contraction; what remains per step is the core op `recurrent`, one per
//! direction.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_eval::{Env, eval_op};
use nnc_ir::op::{Activation, BinaryOp, CellKind, Recurrent};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// LSTM: outputs Y, Y_h, Y_c.
pub fn lstm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    layer(ctx, CellKind::Lstm, 4, &["Sigmoid", "Tanh", "Tanh"])
}

/// GRU: outputs Y, Y_h.
pub fn gru(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let linear_before_reset = ctx.flag("linear_before_reset", false)?;
    layer(ctx, CellKind::Gru { linear_before_reset }, 3, &["Sigmoid", "Tanh"])
}

/// RNN: outputs Y, Y_h.
pub fn rnn(ctx: &mut Context) -> Result<Vec<ValueId>> {
    layer(ctx, CellKind::Rnn, 1, &["Tanh"])
}

/// LSTM with weights of 8 bits, `[directions, input, 4 * hidden]`: outputs Y, Y_h, Y_c.
pub fn dynamic_quantize_lstm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (w, r) = (dequantized(ctx, 1, 8)?, dequantized(ctx, 2, 10)?);
    layer_of(ctx, CellKind::Lstm, 4, &["Sigmoid", "Tanh", "Tanh"], [w, r])
}

/// Weights with their scale in input `parameters` and their zero point behind it, of each direction or of each of its
/// columns, as floats `[directions, 4 * hidden, input]`.
fn dequantized(ctx: &mut Context, weights: usize, parameters: usize) -> Result<ValueId> {
    let (x, scale, zero) = (ctx.input(weights)?, ctx.input(parameters)?, ctx.input(parameters + 1)?);
    ctx.require_rank(x, 3, "a tensor of weights")?;
    let shape = ctx.shape(x);
    let mut y = on_weights(ctx, Op::Convert(DType::F32), &[x])?;
    for (parameter, op) in [(zero, BinaryOp::Sub), (scale, BinaryOp::Mul)] {
        let parameter = ctx.convert(parameter, DType::F32)?;
        let axes = match ctx.rank(parameter) {
            1 => vec![0],
            2 => vec![0, 2],
            _ => return Err(invalid(format!("a scale or zero point is {}, of three axes", ctx.show(parameter)))),
        };
        let spread = on_weights(ctx, Op::Broadcast { shape: shape.clone(), axes }, &[parameter])?;
        y = on_weights(ctx, Op::Binary(op), &[y, spread])?;
    }
    on_weights(ctx, Op::Transpose { perm: vec![0, 2, 1] }, &[y])
}

/// The operands, of which the ones left out are `None`.
struct Operands {
    /// `[time, batch, input]`.
    x: ValueId,
    w: ValueId,
    r: ValueId,
    bias: Option<ValueId>,
    lengths: Option<ValueId>,
    /// `[directions, batch, hidden]`.
    h0: Option<ValueId>,
    c0: Option<ValueId>,
    peepholes: Option<ValueId>,
    hidden: Dim,
}

fn layer(ctx: &mut Context, kind: CellKind, gates: usize, defaults: &[&str]) -> Result<Vec<ValueId>> {
    let weights = [ctx.input(1)?, ctx.input(2)?];
    layer_of(ctx, kind, gates, defaults, weights)
}

/// A layer with the weights W and R.
fn layer_of(
    ctx: &mut Context,
    kind: CellKind,
    gates: usize,
    defaults: &[&str],
    weights: [ValueId; 2],
) -> Result<Vec<ValueId>> {
    let lstm = kind == CellKind::Lstm;
    let batch_first = ctx.flag("layout", false)?;
    let reverse: &[bool] = match ctx.string("direction", "forward")?.as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(invalid(format!("direction `{other}` is not one of forward, reverse, bidirectional"))),
    };
    let activations = activations(ctx, reverse.len(), defaults)?;
    let clip = ctx.optional_float("clip")?.filter(|&c| c > 0.0);
    let input_forget = lstm && ctx.flag("input_forget", false)?;
    let dtype = {
        let x = ctx.input(0)?;
        ctx.dtype(x)
    };
    let operands = operands(ctx, lstm, batch_first, (gates, reverse.len()), weights)?.roomy(ctx)?;
    let mut results: Vec<Vec<ValueId>> = vec![];
    for (direction, &reverse) in reverse.iter().enumerate() {
        let cell = Recurrent {
            kind,
            reverse,
            activations: activations[direction].clone(),
            clip,
            input_forget,
            peepholes: operands.peepholes.is_some(),
            sequence_lengths: operands.lengths.is_some(),
        };
        results.push(one_direction(ctx, &operands, cell, gates, direction)?);
    }
    let mut outputs = vec![];
    // Y is [time, directions, batch, hidden], the states [directions, batch, hidden].
    for (i, axis) in [(0, 1), (1, 0), (2, 0)].into_iter().take(if lstm { 3 } else { 2 }) {
        let parts = results.iter().map(|r| ctx.unsqueeze(r[i], &[axis])).collect::<Result<Vec<_>>>()?;
        let joined = ctx.concat(&parts, axis)?;
        let joined = ctx.convert(joined, dtype)?;
        outputs.push(match (batch_first, i) {
            (false, _) => joined,
            (true, 0) => ctx.transpose(joined, &[2, 0, 1, 3])?,
            (true, _) => ctx.transpose(joined, &[1, 0, 2])?,
        });
    }
    Ok(outputs)
}

impl Operands {
    /// The same with 16-bit floats as f32.
    fn roomy(mut self, ctx: &mut Context) -> Result<Operands> {
        if !matches!(ctx.dtype(self.x), DType::F16 | DType::BF16) {
            return Ok(self);
        }
        let optional = [&mut self.bias, &mut self.h0, &mut self.c0, &mut self.peepholes];
        for value in [&mut self.x, &mut self.w, &mut self.r].into_iter().chain(optional.into_iter().flatten()) {
            *value = on_weights(ctx, Op::Convert(DType::F32), &[*value])?;
        }
        Ok(self)
    }
}

fn operands(
    ctx: &mut Context,
    lstm: bool,
    batch_first: bool,
    (gates, directions): (usize, usize),
    [w, r]: [ValueId; 2],
) -> Result<Operands> {
    let mut x = ctx.input(0)?;
    for (value, what) in [(x, "X"), (w, "W"), (r, "R")] {
        ctx.require_rank(value, 3, what)?;
    }
    let hidden = ctx.dim(r, 2);
    if let Some(stated) = ctx.optional_int("hidden_size")?
        && hidden.as_const().is_some_and(|h| h != stated)
    {
        return Err(invalid(format!("hidden_size is {stated}, R is {}", ctx.show(r))));
    }
    let rows = &hidden * Dim::from(gates);
    for (value, what) in [(w, "W"), (r, "R")] {
        if !ctx.dim(value, 0).is_const(directions as i64) || ctx.dim(value, 1) != rows {
            return Err(invalid(format!(
                "{what} is {}, it must be [{directions}, {gates} * hidden, ..]",
                ctx.show(value)
            )));
        }
    }
    if batch_first {
        x = ctx.transpose(x, &[1, 0, 2])?;
    }
    let state = |ctx: &mut Context, index: usize| -> Result<Option<ValueId>> {
        let Some(state) = ctx.optional_input(index)? else { return Ok(None) };
        ctx.require_rank(state, 3, "a state")?;
        Ok(Some(if batch_first { ctx.transpose(state, &[1, 0, 2])? } else { state }))
    };
    let bias = ctx.optional_input(3)?;
    let peepholes = if lstm { ctx.optional_input(7)? } else { None };
    for (value, what) in [(bias, "B"), (peepholes, "P")] {
        if let Some(value) = value {
            ctx.require_rank(value, 2, what)?;
        }
    }
    let lengths = match ctx.optional_input(4)? {
        Some(lengths) => {
            ctx.require_rank(lengths, 1, "sequence_lens")?;
            Some(ctx.convert(lengths, DType::I64)?)
        }
        None => None,
    };
    let h0 = state(ctx, 5)?;
    let c0 = if lstm { state(ctx, 6)? } else { None };
    Ok(Operands { x, w, r, bias, lengths, h0, c0, peepholes, hidden })
}

fn one_direction(
    ctx: &mut Context,
    operands: &Operands,
    cell: Recurrent,
    gates: usize,
    direction: usize,
) -> Result<Vec<ValueId>> {
    let dtype = ctx.dtype(operands.x);
    let batch = ctx.dim(operands.x, 1);
    let rows = &operands.hidden * Dim::from(gates);
    let w = part(ctx, operands.w, direction)?;
    let r = part(ctx, operands.r, direction)?;
    let r = on_weights(ctx, Op::Transpose { perm: vec![1, 0] }, &[r])?;
    let op = Op::Contract { batch: vec![], contract: vec![(2, 1)], out: dtype };
    let mut projected = ctx.one(op, &[operands.x, w])?;
    let recurrent_bias = match operands.bias {
        Some(bias) => {
            let bias = part(ctx, bias, direction)?;
            let input = ctx.slice_axis(bias, 0, Dim::ZERO, rows.clone())?;
            projected = ctx.add(projected, input)?;
            ctx.slice_axis(bias, 0, rows.clone(), rows)?
        }
        None => ctx.full(dtype, 0.0, &[rows])?,
    };
    let state = |ctx: &mut Context, state: Option<ValueId>| match state {
        Some(state) => part(ctx, state, direction),
        None => ctx.full(dtype, 0.0, &[batch.clone(), operands.hidden.clone()]),
    };
    let mut inputs = vec![projected, r, recurrent_bias, state(ctx, operands.h0)?];
    if cell.kind == CellKind::Lstm {
        inputs.push(state(ctx, operands.c0)?);
    }
    if let Some(peepholes) = operands.peepholes {
        inputs.push(part(ctx, peepholes, direction)?);
    }
    inputs.extend(operands.lengths);
    ctx.push(Op::Recurrent(cell), &inputs)
}

/// The elements at `direction` along the first axis.
fn part(ctx: &mut Context, x: ValueId, direction: usize) -> Result<ValueId> {
    let mut sizes = ctx.shape(x);
    let shape = sizes.get(1..).unwrap_or_default().to_vec();
    let mut starts = vec![Dim::ZERO; sizes.len()];
    (starts[0], sizes[0]) = (Dim::from(direction), Dim::ONE);
    let steps = vec![1; sizes.len()];
    let x = if ctx.dim(x, 0).is_const(1) { x } else { on_weights(ctx, Op::Slice { starts, sizes, steps }, &[x])? };
    if ctx.constant_value(x).is_some() {
        return on_weights(ctx, Op::Reshape { shape }, &[x]);
    }
    ctx.reshape(x, &shape)
}

/// An operation on weights: computed here when they are constants, however large, as later passes look at the constant.
fn on_weights(ctx: &mut Context, op: Op, operands: &[ValueId]) -> Result<ValueId> {
    if let Some(tensors) = operands.iter().map(|&x| ctx.constant_value(x)).collect::<Option<Vec<_>>>() {
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        if let Ok(mut results) = eval_op(&op, &tensors, &ctx.graph().consts, &mut Env::with_table(ctx.dims()))
            && let Some(result) = results.pop()
        {
            return Ok(ctx.constant(result));
        }
    }
    ctx.one(op, operands)
}

/// The activations of each direction. Parameters are consumed in order by the functions that have them.
fn activations(ctx: &mut Context, directions: usize, defaults: &[&str]) -> Result<Vec<Vec<Activation>>> {
    let names = match ctx.strings("activations")? {
        Some(names) if !names.is_empty() => names,
        _ => defaults.iter().map(|d| (*d).to_owned()).cycle().take(defaults.len() * directions).collect(),
    };
    if names.len() != defaults.len() * directions {
        return Err(invalid(format!("{} activations, not {}", names.len(), defaults.len() * directions)));
    }
    let mut alphas = ctx.floats("activation_alpha")?.unwrap_or_default().iter().copied();
    let mut betas = ctx.floats("activation_beta")?.unwrap_or_default().iter().copied();
    let mut alpha = |default: f32| alphas.next().unwrap_or(default);
    let mut beta = |default: f32| betas.next().unwrap_or(default);
    let mut found = vec![];
    for name in &names {
        found.push(match name.to_ascii_lowercase().as_str() {
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "relu" => Activation::Relu,
            "affine" => Activation::Affine { alpha: alpha(1.0), beta: beta(0.0) },
            "leakyrelu" => Activation::LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(1.0) },
            "scaledtanh" => Activation::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
            "hardsigmoid" => Activation::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "elu" => Activation::Elu { alpha: alpha(1.0) },
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            _ => return Err(unsupported(format!("activation `{name}` is not known"))),
        });
    }
    Ok(found.chunks(defaults.len()).map(<[Activation]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_ir::Op;
    use nnc_onnx::ElemType::{Float, Float16, Uint8};

    #[test]
    fn shapes() {
        for (operator, gates, direction, layout, results) in [
            ("LSTM", 4, "forward", 0, ["f32[t, 1, n, 5]", "f32[1, n, 5]"]),
            ("GRU", 3, "reverse", 0, ["f32[t, 1, n, 5]", "f32[1, n, 5]"]),
            ("RNN", 1, "bidirectional", 0, ["f32[t, 2, n, 5]", "f32[2, n, 5]"]),
            ("LSTM", 4, "bidirectional", 1, ["f32[n, t, 2, 5]", "f32[n, 2, 5]"]),
        ] {
            let directions = if direction == "bidirectional" { 2 } else { 1 };
            for (output, result) in ["y", "h"].into_iter().zip(results) {
                let sketch = sketch().input("x", Float, if layout == 0 { "t n 3" } else { "n t 3" });
                let sketch = sketch.input("w", Float, &format!("{directions} {} 3", gates * 5));
                let sketch = sketch.input("r", Float, &format!("{directions} {} 5", gates * 5));
                let sketch = sketch.node(operator, "x w r -> y h").string("direction", direction);
                let sketch = sketch.int("layout", layout).int("hidden_size", 5).output(output);
                assert_eq!(sketch.result_type(), result, "{operator}");
            }
        }
    }

    #[test]
    fn weights_arrive_as_transposed_constants() {
        let r: Vec<f32> = (0..2 * 6 * 2).map(|v| v as f32).collect();
        let sketch =
            sketch().input("x", Float, "t n 1").floats("w", &[2, 6, 1], &[0.0; 12]).floats("r", &[2, 6, 2], &r);
        let sketch = sketch.node("GRU", "x w r -> y").string("direction", "bidirectional").output("y");
        let graph = sketch.translate().unwrap();
        let definitions = graph.definitions();
        let mut found = vec![];
        for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::Recurrent(_))) {
            let definition = definitions[node.inputs[1].index()].unwrap();
            let Op::Constant(id) = graph.nodes[definition.index()].op else { panic!("R is computed") };
            found.push((graph.consts.get(id).shape.clone(), graph.consts.get(id).get_f64(1)));
        }
        assert_eq!(found, [(vec![2, 6], 2.0), (vec![2, 6], 14.0)]);
    }

    #[test]
    fn values() {
        // One unit that adds its input to its state, over two sequences, the second of length 1.
        let x = [1.0f32, 2.0, 3.0, 4.0];
        for (direction, expected) in [("forward", "f32[2, 1, 2, 1] 1 2 4 0"), ("reverse", "f32[2, 1, 2, 1] 4 2 3 0")] {
            let sketch = sketch().given("x", &[2, 2, 1], &x).floats("w", &[1, 1, 1], &[1.0]);
            let sketch = sketch.floats("r", &[1, 1, 1], &[1.0]).given("l", &[2], &[2i32, 1]);
            let mut sketch = sketch.node("RNN", "x w r _ l -> y").string("direction", direction);
            sketch = sketch.attribute("activations", nnc_onnx::Attribute::Strings(vec![b"Affine".to_vec()]));
            sketch = sketch.attribute("activation_alpha", nnc_onnx::Attribute::Floats(vec![1.0]));
            assert_eq!(sketch.output("y").run(), expected);
        }
    }

    #[test]
    fn refusals() {
        for (activations, text) in [(vec!["Tanh"; 2], "2 activations, not 1"), (vec!["Sine"], "`Sine` is not known")] {
            let sketch = sketch().input("x", Float, "t n 3").input("w", Float, "1 5 3").input("r", Float, "1 5 5");
            let names = activations.iter().map(|a| a.as_bytes().to_vec()).collect();
            let sketch = sketch.node("RNN", "x w r -> y").attribute("activations", nnc_onnx::Attribute::Strings(names));
            let found = sketch.output("y").result_type();
            assert!(found.contains(text), "{found}");
        }
    }

    /// The same layer with weights of 8 bits and with the floats that they mean.
    #[test]
    fn weights_of_bytes() {
        let x = sketch().given("x", &[2, 1, 1], &[1.0f32, -2.0]);
        let weights = [[1u8, 3, 5, 9], [7, 2, 4, 6]];
        let [w, r] = weights.map(|bytes| bytes.map(|byte| (f32::from(byte) - 4.0) * 0.25));
        let floats = x.clone().floats("w", &[1, 4, 1], &w).floats("r", &[1, 4, 1], &r);
        let floats = floats.node("LSTM", "x w r -> y").int("hidden_size", 1).output("y").run();
        let [w, r] = weights.map(|bytes| bytes.to_vec());
        let bytes = x.initializer("w", Uint8, &[1, 1, 4], w).initializer("r", Uint8, &[1, 1, 4], r);
        let bytes = bytes.floats("s", &[1], &[0.25]).initializer("z", Uint8, &[1], vec![4]);
        let bytes = bytes.floats("t", &[1, 4], &[0.25; 4]).initializer("u", Uint8, &[1, 4], vec![4; 4]);
        let node = bytes.node("DynamicQuantizeLSTM", "x w r _ _ _ _ _ s z t u -> y").domain("com.microsoft");
        assert_eq!(node.int("hidden_size", 1).output("y").run(), floats);
    }

    #[test]
    fn halves_are_computed_in_floats() {
        let sketch = sketch().input("x", Float16, "t n 3").input("w", Float16, "1 5 3").input("r", Float16, "1 5 5");
        let graph = sketch.node("RNN", "x w r -> y").output("y").translate().expect("a graph");
        let layer = graph.nodes.iter().find(|n| matches!(n.op, Op::Recurrent(_))).expect("a layer");
        assert!(layer.inputs.iter().all(|&x| graph.ty(x).dtype == nnc_ir::DType::F32));
        assert_eq!(graph.ty(graph.outputs[0].1).dtype, nnc_ir::DType::F16);
    }
}
