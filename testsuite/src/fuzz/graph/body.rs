//! A graph inside another one, while it grows.

use nnc_ir::{Dim, Graph, Op, Tensor, TensorType, ValueId};

use super::builder::Builder;
use super::steps::BODY;
use crate::fuzz::onnx::range::Range;

/// A subgraph and what it takes from around it. What it would make an input of is made one of the graph around.
pub(super) struct Body {
    pub inner: Builder,
    /// The values around it that its inputs after the parameters are.
    pub captures: Vec<ValueId>,
    parameters: usize,
}

impl Body {
    /// An empty one, with parameters of its own and some values of the graph around.
    pub fn new(b: &mut Builder, parameters: Vec<(TensorType, Range)>, captures: &[ValueId]) -> Body {
        let graph = Graph { name: "body".to_owned(), dims: b.graph.dims.clone(), ..Graph::default() };
        let random = b.random.fork();
        let mut inner =
            Builder { random, graph, ranges: vec![], sizes: b.sizes.clone(), depth: b.depth + 1, float: b.float };
        let count = parameters.len();
        let captured = captures.iter().map(|&v| (b.graph.ty(v).clone(), b.range_of(v)));
        for (ty, range) in parameters.into_iter().chain(captured) {
            inner.input(ty.dtype, ty.shape, range);
        }
        Body { inner, captures: captures.to_vec(), parameters: count }
    }

    /// Appends a few nodes.
    pub fn grow(&mut self) {
        let wanted = self.inner.graph.nodes.len() + 1 + self.inner.random.below(4);
        for _ in 0..20 {
            if self.inner.graph.nodes.len() >= wanted {
                return;
            }
            let step = *self.inner.random.of(BODY);
            let _ = step(&mut self.inner);
        }
    }

    /// Gives the graph around the inputs that were made inside, and the symbols.
    pub fn close(&mut self, b: &mut Builder) {
        b.graph.dims = self.inner.graph.dims.clone();
        b.sizes.clone_from(&self.inner.sizes);
        for &input in &self.inner.graph.inputs[self.parameters + self.captures.len()..] {
            let ty = self.inner.graph.ty(input).clone();
            self.captures.push(b.input(ty.dtype, ty.shape, self.inner.range_of(input)));
        }
    }

    /// The inner value that a captured one is.
    pub fn inside(&self, captured: usize) -> ValueId {
        self.inner.graph.inputs[self.parameters + captured]
    }

    /// One number everywhere, in a shape.
    pub fn full(&mut self, ty: &TensorType, value: f64) -> Option<ValueId> {
        let scalar = self.inner.constant(Tensor::scalar_of(ty.dtype, value));
        let range = self.inner.range_of(scalar);
        self.inner.push(Op::Broadcast { shape: ty.shape.clone(), axes: vec![] }, &[scalar], range)
    }

    /// The graph, with these results.
    pub fn finish(&self, results: &[ValueId]) -> Box<Graph> {
        let mut graph = self.inner.graph.clone();
        graph.outputs = results.iter().enumerate().map(|(i, &v)| (format!("r{i}"), v)).collect();
        Box::new(graph)
    }
}

/// Values that a body may read.
pub(super) fn captures(b: &mut Builder) -> Vec<ValueId> {
    let mut captured = vec![];
    for _ in 0..1 + b.random.below(3) {
        let small = |b: &Builder, v: ValueId| b.range_of(v).magnitude() < 1e4;
        captured.extend(b.pick(small).filter(|v| !captured.contains(v)));
    }
    captured
}

/// The most that a size can be, by symbols with numbers below `before`.
pub(super) fn most(b: &Builder, size: &Dim, before: usize) -> Option<Dim> {
    let inside = |size: &Dim| size.symbols().iter().any(|s| s.0 as usize >= before);
    let mut size = size.clone();
    while inside(&size) {
        size = b.graph.dims.get(size.as_symbol()?).upper.clone()?;
    }
    Some(size)
}
