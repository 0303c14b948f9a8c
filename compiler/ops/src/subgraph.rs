//! Translating a graph inside another one: in a frame of its own, or in place; and loops that no file has, for operators
//! that repeat something.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid};
use crate::finish;
use crate::item::{Form, Item};
use crate::repeat::{Repeat, Rolled, repeat};
use crate::scope::{self, Frame};
use crate::stated;
use nnc_ir::{DType, Dim, Node, Op, Symbol, ValueId};
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
    /// Translates a branch in a frame of its own, and what it yields in these forms, where such are given. It may not run:
    /// what it assumes of the dimensions around it holds inside it alone, and is checked first when it runs.
    pub(crate) fn branch(&mut self, onnx: &'m Graph, forms: Option<&[Form]>) -> Result<Frame<'m>> {
        let before: Vec<(Symbol, i64, i64)> = self.dims().iter().map(|(s, info)| (s, info.min, info.max)).collect();
        let node = self.node;
        let mut frame = self.translator.in_frame(onnx, |translator| {
            if let Some(frame) = translator.frames.last_mut() {
                frame.may_not_run = true;
            }
            translator.nodes(onnx)?;
            let mut results = translator.outputs(onnx)?;
            let mut inner = Context::new(translator, node);
            for (i, (_, item)) in results.iter_mut().enumerate() {
                let own = item.form(inner.graph());
                let form = forms.and_then(|forms| forms.get(i)).unwrap_or(&own);
                *item = inner.conform(item, form)?;
            }
            Ok(results)
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

    /// A loop of at most `most` iterations. `step` is given the number of the iteration and what is carried into it, and
    /// writes the body with the context it is handed; values from around the loop it takes in with [`Context::taken_in`].
    /// Yields what the last iteration leaves.
    pub(crate) fn repeat(
        &mut self,
        most: i64,
        carried: &[ValueId],
        step: impl Fn(&mut Context<'_, 'm>, ValueId, &[ValueId]) -> Result<Iteration>,
    ) -> Result<Vec<ValueId>> {
        let node = self.node;
        let (trip, first) = (self.int_scalar(most), self.scalar(DType::Bool, 1.0));
        let looped = Repeat {
            onnx: &NOTHING,
            trip,
            condition: first,
            names: &[],
            step: &|translator, [iteration, condition], state| {
                let state = state.iter().map(Item::number).collect::<Result<Vec<ValueId>>>()?;
                let Iteration { again, carried } = step(&mut Context::new(translator, node), iteration, &state)?;
                let results = std::iter::once(again.unwrap_or(condition)).chain(carried);
                Ok(results.map(|value| (String::new(), Item::Numbers(value))).collect())
            },
        };
        let carried: Vec<Item> = carried.iter().map(|&value| Item::Numbers(value)).collect();
        let left = repeat(self, &looped, &carried, false).map_err(Rolled::error)?;
        left.iter().map(Item::number).collect()
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
    pub(crate) fn inline(&mut self, onnx: &'m Graph, arguments: &[Item]) -> Result<Vec<Item>> {
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
        for (input, argument) in onnx.inputs.iter().zip(arguments) {
            frame.bind(&input.name, argument.clone());
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
    pub(crate) fn in_frame(
        &mut self,
        onnx: &'m Graph,
        build: impl FnOnce(&mut Translator<'m>) -> Result<Vec<(String, Item)>>,
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
        frame.results = outputs?;
        for (name, item) in &frame.results {
            frame.graph.outputs.extend(item.values().into_iter().map(|value| (name.clone(), value)));
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
