//! Translating a graph inside another one: in a frame of its own, or in place; and loops that no file has, for operators
//! that repeat something.

use crate::context::{Context, Translator};
use crate::control::{Trips, core_loop};
use crate::error::{Result, invalid};
use crate::finish;
use crate::scope::{self, Frame, Passed};
use crate::stated;
use nnc_ir::{DType, Dim, Encoding, Node, Op, Symbol, TensorType, ValueId};
use nnc_onnx::Graph;
use std::sync::LazyLock;

/// What the file has of the body of a loop that an operator makes.
static NOTHING: LazyLock<Graph> = LazyLock::new(Graph::default);

/// What an iteration yields.
pub(crate) struct Iteration {
    /// Whether another one follows, a scalar; where it is left out, all do.
    pub again: Option<ValueId>,
    /// What is carried into the next one.
    pub carried: Vec<ValueId>,
}

impl<'m> Context<'_, 'm> {
    /// Translates the body of a loop, whose first parameter is the iteration's number, in a frame of its own. Its first
    /// parameters have the types given; captures are listed by the frame and not yet among the graph's inputs.
    pub(crate) fn nested(
        &mut self,
        onnx: &'m Graph,
        parameters: &[(TensorType, Option<Encoding>)],
    ) -> Result<Frame<'m>> {
        self.translator.in_frame(onnx, |translator| {
            let Some(frame) = translator.frames.last_mut() else { return Ok(vec![]) };
            for (input, (ty, encoding)) in onnx.inputs.iter().zip(parameters) {
                let value = frame.graph.add_input(ty.clone(), input.name.as_str());
                frame.bind(&input.name, Passed { value, encoding: *encoding });
            }
            frame.iterations.extend(frame.graph.inputs.first());
            translator.nodes(onnx)?;
            translator.outputs(onnx)
        })
    }

    /// As [`Context::nested`], for a branch, which may not run: what it assumes of the dimensions around it holds inside
    /// it alone, and is checked first when it runs.
    pub(crate) fn branch(&mut self, onnx: &'m Graph) -> Result<Frame<'m>> {
        let before: Vec<(Symbol, i64, i64)> = self.dims().iter().map(|(s, info)| (s, info.min, info.max)).collect();
        let mut frame = self.translator.in_frame(onnx, |translator| {
            if let Some(frame) = translator.frames.last_mut() {
                frame.may_not_run = true;
            }
            translator.nodes(onnx)?;
            translator.outputs(onnx)
        })?;
        let start = frame.graph.nodes.len();
        for (symbol, min, max) in before {
            let (low, high) = (self.dims().get(symbol).min, self.dims().get(symbol).max);
            if (low, high) == (min, max) {
                continue;
            }
            let dims = &mut self.frame_mut().graph.dims;
            dims.set_bounds(symbol, min, max);
            let checked = dims.fresh("assumed", low, high, None);
            let size = Op::Dims { dims: vec![Dim::sym(symbol)], scalar: true };
            let size = frame.push(size, &[], &self.origin)?;
            frame.push(Op::BindDims { symbols: vec![checked] }, &size, &self.origin)?;
        }
        // A captured value enters with the size that it has outside, and is all read.
        for i in 0..frame.captures.len() {
            let (outer, inner) = frame.captures[i];
            let (ty, sizes) = (self.ty(outer).clone(), frame.graph.shape(inner).to_vec());
            if ty.shape != sizes {
                let (starts, steps) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
                let whole = frame.graph.add_value(ty, "");
                let op = Op::Slice { starts, sizes, steps };
                let node = Node { op, inputs: vec![whole], outputs: vec![inner], origin: self.origin.clone() };
                frame.graph.nodes.push(node);
                frame.captures[i].1 = whole;
            }
        }
        let checks = frame.graph.nodes.split_off(start);
        frame.graph.nodes.splice(0..0, checks);
        Ok(frame)
    }

    /// As [`Context::nested`], for the body of a Scan as that of a loop: iteration number and condition come first, and
    /// each scanned value is captured and read at the iteration number.
    pub(crate) fn nested_scan(&mut self, onnx: &'m Graph, carried: &[Passed], scanned: &[Passed]) -> Result<Frame<'m>> {
        let types: Vec<(TensorType, Option<Encoding>)> =
            carried.iter().map(|state| (self.ty(state.value).clone(), state.encoding)).collect();
        let origin = self.origin.clone();
        self.translator.in_frame(onnx, |translator| {
            let depth = translator.frames.len() - 1;
            let frame = &mut translator.frames[depth];
            let iteration = frame.graph.add_input(TensorType::new(nnc_ir::DType::I64, vec![]), "");
            let condition = frame.graph.add_input(TensorType::new(nnc_ir::DType::Bool, vec![]), "");
            frame.iterations.push(iteration);
            for (input, (ty, encoding)) in onnx.inputs.iter().zip(types) {
                let value = frame.graph.add_input(ty, input.name.as_str());
                frame.bind(&input.name, Passed { value, encoding });
            }
            for (input, &Passed { value: outer, encoding }) in onnx.inputs[carried.len()..].iter().zip(scanned) {
                let inner = scope::capture(&mut translator.frames, depth, outer);
                let gather = Op::Gather { axis: 0, batch: 0 };
                let frame = &mut translator.frames[depth];
                let slices = frame.push(gather, &[inner, iteration], &origin)?;
                if let Some(&value) = slices.first() {
                    frame.bind(&input.name, Passed { value, encoding });
                }
            }
            translator.nodes(onnx)?;
            let mut outputs = vec![(String::new(), Passed::plain(condition))];
            outputs.extend(translator.outputs(onnx)?);
            Ok(outputs)
        })
    }

    /// A loop of at most `most` iterations. `step` is given the number of the iteration and what is carried into it, and
    /// writes the body with the context it is handed; values from around the loop it takes in with [`Context::taken_in`].
    /// Yields what the last iteration leaves.
    pub(crate) fn repeat(
        &mut self,
        most: i64,
        carried: &[ValueId],
        step: impl FnOnce(&mut Context<'_, 'm>, ValueId, &[ValueId]) -> Result<Iteration>,
    ) -> Result<Vec<ValueId>> {
        let types: Vec<TensorType> = carried.iter().map(|&value| self.ty(value).clone()).collect();
        let before = self.dims().len();
        let node = self.node;
        let mut always = true;
        let frame = self.translator.in_frame(&NOTHING, |translator| {
            let mut body = Context::new(translator, node);
            let mut input = |ty| body.frame_mut().graph.add_input(ty, "");
            let iteration = input(TensorType::new(DType::I64, vec![]));
            let condition = input(TensorType::new(DType::Bool, vec![]));
            let states: Vec<ValueId> = types.iter().map(|ty| input(ty.clone())).collect();
            body.frame_mut().iterations.push(iteration);
            let Iteration { again, carried } = step(&mut body, iteration, &states)?;
            always = again.is_none();
            let results = std::iter::once(again.unwrap_or(condition)).chain(carried);
            Ok(results.map(|value| (String::new(), Passed::plain(value))).collect())
        })?;
        let left = frame.graph.outputs.iter().skip(1).map(|(_, value)| frame.graph.ty(*value));
        if !left.eq(types.iter()) {
            return Err(invalid("an iteration leaves other types than it is entered with"));
        }
        let carried: Vec<Passed> = carried.iter().map(|&value| Passed::plain(value)).collect();
        let trips = if always { Trips::Exactly(Dim::from(most)) } else { Trips::AtMost(Dim::from(most)) };
        let operands = [self.int_scalar(most), self.scalar(DType::Bool, 1.0)];
        let results = core_loop(self, frame, &operands, &carried, trips, before)?;
        Ok(results.into_iter().map(|result| result.value).collect())
    }

    /// A value of the graph around the one under construction, as that one sees it.
    pub(crate) fn taken_in(&mut self, outer: ValueId) -> ValueId {
        let depth = self.translator.frames.len() - 1;
        scope::capture(&mut self.translator.frames, depth, outer)
    }

    /// What `translate` yields in the iteration of that number of a loop that is unrolled.
    pub(crate) fn iterated<T>(
        &mut self,
        number: ValueId,
        translate: impl FnOnce(&mut Context<'_, 'm>) -> Result<T>,
    ) -> Result<T> {
        self.frame_mut().iterations.push(number);
        let result = translate(self);
        self.frame_mut().iterations.pop();
        result
    }

    /// The number of each iteration that the node is in, from the outermost loop inwards.
    pub(crate) fn iterations(&mut self) -> Vec<ValueId> {
        let frames = &mut self.translator.frames;
        let mut found = vec![];
        for depth in 0..frames.len() {
            for mut value in frames[depth].iterations.clone() {
                for inner in depth + 1..frames.len() {
                    value = scope::capture(frames, inner, value);
                }
                found.push(value);
            }
        }
        found
    }

    /// Translates a subgraph in place, its parameters being the values given; yields its outputs.
    pub(crate) fn inline(&mut self, onnx: &'m Graph, arguments: &[Passed]) -> Result<Vec<Passed>> {
        if onnx.inputs.len() < arguments.len() {
            return Err(invalid(format!("a subgraph takes {} values, not {}", onnx.inputs.len(), arguments.len())));
        }
        let frame = self.frame_mut();
        let (names, compounds, initializers) = (frame.names.mark(), frame.compounds.mark(), frame.initializers.mark());
        let stated = std::mem::replace(&mut frame.stated, stated::types(onnx));
        for constant in &onnx.initializers {
            // The inner name hides the outer one.
            frame.names.remove(constant.name.as_str());
            frame.compounds.remove(constant.name.as_str());
            frame.initializers.insert(&constant.name, &constant.tensor);
        }
        for (input, &argument) in onnx.inputs.iter().zip(arguments) {
            frame.bind(&input.name, argument);
        }
        let results = self.translator.nodes(onnx).and_then(|()| self.translator.outputs(onnx));
        let frame = self.frame_mut();
        frame.stated = stated;
        frame.names.go_back(names);
        frame.compounds.go_back(compounds);
        frame.initializers.go_back(initializers);
        Ok(results?.into_iter().map(|(_, result)| result).collect())
    }
}

impl<'m> Translator<'m> {
    /// Runs `build`, which yields the outputs, with a new innermost frame.
    fn in_frame(
        &mut self,
        onnx: &'m Graph,
        build: impl FnOnce(&mut Translator<'m>) -> Result<Vec<(String, Passed)>>,
    ) -> Result<Frame<'m>> {
        let Some(around) = self.frames.last_mut() else { return Err(invalid("a subgraph stands alone")) };
        // The table of dimensions moves inwards; what depends on it is worked out before.
        around.symbolic.elements(&around.graph, ValueId(0));
        let (dims, budget) = (std::mem::take(&mut around.graph.dims), std::mem::take(&mut around.budget));
        self.frames.push(Frame::new(onnx, dims, budget));
        let outputs = build(self);
        let (Some(mut frame), Some(around)) = (self.frames.pop(), self.frames.last_mut()) else {
            return Err(invalid("a subgraph stands alone"));
        };
        around.graph.dims = frame.graph.dims.clone();
        around.budget = std::mem::take(&mut frame.budget);
        for (name, Passed { value, encoding }) in outputs? {
            frame.graph.outputs.push((name, value));
            frame.result_encodings.push(encoding);
        }
        finish::prune(&mut frame.graph);
        let used: Vec<bool> = usage(&frame);
        frame.captures.retain(|c| used[c.1.index()]);
        Ok(frame)
    }
}

/// For each value whether a node or an output uses it.
fn usage(frame: &Frame<'_>) -> Vec<bool> {
    let mut used = vec![false; frame.graph.values.len()];
    let outputs = frame.graph.outputs.iter().map(|o| o.1);
    for value in frame.graph.nodes.iter().flat_map(|n| n.inputs.iter().copied()).chain(outputs) {
        used[value.index()] = true;
    }
    used
}
