//! LinearAttention (<https://onnx.ai/onnx/operators/onnx__LinearAttention.html>), opsets 27 on.
//!
//! One step updates a state matrix per head and reads it. A single step, as in decoding, stands in the graph itself;
//! more are a core loop. The steps compute in `f32`.

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unfit_types};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Graph, Op, TensorType, ValueId};

/// Where the ops of a step go: the graph under construction or a loop's body.
trait Emit {
    fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId>;
    fn shape_of(&self, value: ValueId) -> Vec<Dim>;

    /// `f(x, y)` with `y` repeated along the axes of `x` that are not among `axes`.
    fn spread(&mut self, op: BinaryOp, x: ValueId, y: ValueId, axes: &[usize]) -> Result<ValueId> {
        let shape = self.shape_of(x);
        let y =
            if self.shape_of(y) == shape { y } else { self.emit(Op::Broadcast { shape, axes: axes.to_vec() }, &[y])? };
        self.emit(Op::Binary(op), &[x, y])
    }
}

impl Emit for Context<'_, '_> {
    fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.one(op, inputs)
    }

    fn shape_of(&self, value: ValueId) -> Vec<Dim> {
        self.shape(value)
    }
}

/// A loop's body.
struct Body {
    graph: Graph,
    origin: String,
}

impl Emit for Body {
    fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let results = self.graph.push(op, inputs, &self.origin).map_err(|e| unfit_types(&e, &self.graph.dims))?;
        results.first().copied().ok_or_else(|| invalid("the operation has no result"))
    }

    fn shape_of(&self, value: ValueId) -> Vec<Dim> {
        self.graph.shape(value).to_vec()
    }
}

/// What the steps read, time first: queries `[T, B, H, group, k]`, keys `[T, B, H, k]`, values `[T, B, H, v]`, factors of
/// the state `[T, B, H, k]` and update rates `[T, B, H]`.
#[derive(Clone, Copy)]
struct Steps<T> {
    query: T,
    key: T,
    value: T,
    decay: Option<T>,
    rate: Option<T>,
}

impl<T: Copy> Steps<T> {
    fn list(&self) -> Vec<T> {
        [Some(self.query), Some(self.key), Some(self.value), self.decay, self.rate].into_iter().flatten().collect()
    }

    fn map<U>(&self, mut f: impl FnMut(T) -> Result<U>) -> Result<Steps<U>> {
        Ok(Steps {
            query: f(self.query)?,
            key: f(self.key)?,
            value: f(self.value)?,
            decay: self.decay.map(&mut f).transpose()?,
            rate: self.rate.map(&mut f).transpose()?,
        })
    }
}

/// The state `[B, H, k, v]` after a step, and what the step reads, `[B, H, group, v]`.
fn step(to: &mut impl Emit, mut state: ValueId, at: Steps<ValueId>) -> Result<(ValueId, ValueId)> {
    let heads = vec![(0, 0), (1, 1)];
    let contract = |axes| Op::Contract { batch: heads.clone(), contract: vec![axes], out: DType::F32 };
    if let Some(decay) = at.decay {
        state = to.spread(BinaryOp::Mul, state, decay, &[0, 1, 2])?;
    }
    let mut value = at.value;
    if let Some(rate) = at.rate {
        let held = to.emit(contract((2, 2)), &[state, at.key])?;
        value = to.emit(Op::Binary(BinaryOp::Sub), &[value, held])?;
        value = to.spread(BinaryOp::Mul, value, rate, &[0, 1])?;
    }
    let shape = to.shape_of(state);
    let key = to.emit(Op::Broadcast { shape, axes: vec![0, 1, 2] }, &[at.key])?;
    let update = to.spread(BinaryOp::Mul, key, value, &[0, 1, 3])?;
    let state = to.emit(Op::Binary(BinaryOp::Add), &[state, update])?;
    let read = to.emit(contract((3, 2)), &[at.query, state])?;
    Ok((state, read))
}

/// `[B, T, H * size]` as `[T, B, H, size]`, in `f32`.
fn steps_of(ctx: &mut Context, x: ValueId, heads: i64, what: &str) -> Result<ValueId> {
    ctx.require_rank(x, 3, what)?;
    let (batch, time) = (ctx.dim(x, 0), ctx.dim(x, 1));
    let hidden = ctx.dim(x, 2);
    let size = hidden.div_exact(&Dim::from(heads)).filter(|_| heads > 0);
    let size =
        size.ok_or_else(|| unfit([&hidden], format_args!("{what} {} does not split into {heads} heads", ctx.show(x))))?;
    let x = ctx.convert(x, DType::F32)?;
    let x = ctx.reshape(x, &[batch, time, Dim::from(heads), size])?;
    ctx.transpose(x, &[1, 0, 2, 3])
}

/// Outputs the results and the state after the last step.
pub fn linear_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let rule = ctx.string("update_rule", "gated_delta")?;
    let (gated, delta) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(invalid(format!("update_rule `{other}` is not known"))),
    };
    ctx.no_effect("chunk_size");
    let heads = ctx.int("kv_num_heads", 0)?;
    let query_heads = ctx.int("q_num_heads", 0)?;
    if heads < 1 || query_heads < 1 || query_heads % heads != 0 {
        return Err(invalid(format!("{query_heads} query heads do not share {heads} key heads evenly")));
    }
    let (query, key, value) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let dtype = ctx.dtype(query);
    let query = steps_of(ctx, query, query_heads, "the query")?;
    let key = steps_of(ctx, key, heads, "the key")?;
    let value = steps_of(ctx, value, heads, "the value")?;
    let shape = ctx.shape(query);
    let (time, batch, width, depth) = (shape[0].clone(), shape[1].clone(), shape[3].clone(), ctx.dim(value, 3));
    let scale = match ctx.float("scale", 0.0)? {
        0.0 => {
            let width = width.as_const().filter(|&n| n > 0);
            1.0 / (width.ok_or_else(|| invalid("the head size must be known to scale by it"))? as f64).sqrt()
        }
        scale => scale.into(),
    };
    let query = ctx.binary_scalar(BinaryOp::Mul, query, scale)?;
    let head = Dim::from(heads);
    let group = Dim::from(query_heads / heads);
    let query = ctx.reshape(query, &[time.clone(), batch.clone(), head.clone(), group, width.clone()])?;
    let decay = if gated {
        let decay = ctx.optional_input(4)?.ok_or_else(|| invalid(format!("update_rule `{rule}` needs decay")))?;
        let decay = steps_of(ctx, decay, heads, "the decay")?;
        let decay = ctx.unary(UnaryOp::Exp, decay)?;
        Some(ctx.broadcast_to(decay, &[time.clone(), batch.clone(), head.clone(), width.clone()])?)
    } else {
        None
    };
    let rate = if delta {
        let rate = ctx.optional_input(5)?.ok_or_else(|| invalid(format!("update_rule `{rule}` needs beta")))?;
        ctx.require_rank(rate, 3, "beta")?;
        let rate = ctx.convert(rate, DType::F32)?;
        let rate = ctx.transpose(rate, &[1, 0, 2])?;
        Some(ctx.broadcast_to(rate, &[time.clone(), batch.clone(), head.clone()])?)
    } else {
        None
    };
    let (state, state_type) = match ctx.optional_input(3)? {
        Some(state) => (ctx.convert(state, DType::F32)?, ctx.dtype(state)),
        None => (ctx.full(DType::F32, 0.0, &[batch.clone(), head, width, depth.clone()])?, dtype),
    };
    let steps = Steps { query, key, value, decay, rate };
    let (state, reads) = if time.is_const(1) {
        let at = steps.map(|v| ctx.squeeze(v, &[0]))?;
        let (state, read) = step(ctx, state, at)?;
        (state, ctx.unsqueeze(read, &[0])?)
    } else {
        looped(ctx, state, steps, &time)?
    };
    // [T, B, H, group, v]
    let y = ctx.transpose(reads, &[1, 0, 2, 3, 4])?;
    let y = ctx.reshape(y, &[batch, time, depth * Dim::from(query_heads)])?;
    Ok(vec![ctx.convert(y, dtype)?, ctx.convert(state, state_type)?])
}

/// All steps as a loop: the last state, and what the steps read.
fn looped(ctx: &mut Context, state: ValueId, steps: Steps<ValueId>, time: &Dim) -> Result<(ValueId, ValueId)> {
    let mut body = Body { graph: Graph { dims: ctx.dims().clone(), ..Graph::default() }, origin: ctx.origin.clone() };
    let iteration = body.graph.add_input(TensorType::new(DType::I64, vec![]), "");
    let condition = body.graph.add_input(TensorType::new(DType::Bool, vec![]), "");
    let before = body.graph.add_input(ctx.ty(state).clone(), "");
    let at = steps.map(|outer| {
        let inner = body.graph.add_input(ctx.ty(outer).clone(), "");
        body.emit(Op::Gather { axis: 0, batch: 0 }, &[inner, iteration])
    })?;
    let (after, read) = step(&mut body, before, at)?;
    let outputs = [condition, after, read];
    body.graph.outputs = outputs.into_iter().map(|value| (String::new(), value)).collect();

    let (least, most) = time.bounds(ctx.dims());
    let trips = ctx.fresh_dim("trips", (least.max(0), most), Some(time.clone()));
    let mut inputs = vec![ctx.dim_scalar(time.clone())?, ctx.scalar(DType::Bool, 1.0), state];
    inputs.extend(steps.list());
    let (varying, sizes) = (vec![], vec![]);
    let op = Op::Loop { body: Box::new(body.graph), carried: 1, varying, sizes, trips };
    let results = ctx.push(op, &inputs)?;
    let [state, reads] = results[..] else { return Err(invalid("the loop has other results than its body")) };
    // The slice takes everything; it says how many steps there are.
    let mut sizes = ctx.shape(reads);
    sizes[0] = time.clone();
    let (starts, strides) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
    Ok((state, ctx.one(Op::Slice { starts, sizes, steps: strides }, &[reads])?))
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    /// One step after another gives what both together give.
    #[test]
    fn steps_and_loop_agree() {
        let (q, k, v) = ([1.0f32, 2.0, -1.0, 0.5], [0.5f32, 0.25, 1.0, -0.5], [3.0f32, 1.0, 2.0, -2.0]);
        let both = sketch().opset(27).given("q", &[1, 2, 2], &q).given("k", &[1, 2, 2], &k).given("v", &[1, 2, 2], &v);
        let both = both.node("LinearAttention", "q k v -> y s").int("q_num_heads", 1).int("kv_num_heads", 1);
        let both = both.string("update_rule", "linear").output("s").run();
        let part = |s: [f32; 4], i: usize| {
            let sketch = sketch().opset(27).given("q", &[1, 1, 2], &q[i..i + 2]).given("k", &[1, 1, 2], &k[i..i + 2]);
            let sketch = sketch.given("v", &[1, 1, 2], &v[i..i + 2]).given("s", &[1, 1, 2, 2], &s);
            let sketch = sketch.node("LinearAttention", "q k v s -> y n").int("q_num_heads", 1).int("kv_num_heads", 1);
            sketch.string("update_rule", "linear").output("n").run()
        };
        let first = part([0.0; 4], 0);
        let numbers: Vec<f32> = first.split(' ').skip(4).map(|v| v.parse().unwrap()).collect();
        assert_eq!(part([numbers[0], numbers[1], numbers[2], numbers[3]], 2), both);
    }
}
