//! Evaluation of small tensors as symbolic values.
//!
//! Exporters compute shapes as data: Shape, Gather, Add, Concat, Reshape. [`SymbolicValues`] follows such chains while
//! a graph is built and answers with exact [`Dim`]s, so that the shapes they lead to are symbolic, not unknown.
//!
//! Invariants:
//! - an element that is known equals what the program computes for every value of the symbols within their bounds,
//!   under two assumptions: 32- and 64-bit arithmetic on sizes does not wrap, and sizes converted to floats are below
//!   2^24 (a model for which these fail computes no sensible shapes);
//! - comparisons, minima and divisions are decided by bounds where possible, else kept as expressions.
//!
//! Source: the idea is ONNX Runtime's `symbolic_shape_infer.py` and ONNX's data propagation; here it works on core ops.

mod arithmetic;
mod movement;
#[cfg(test)]
mod tests;

use crate::graph::{Graph, Node, ValueId};
use crate::op::Op;
use crate::{DType, Dim, Tensor};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Larger tensors of integers are not followed.
const MAX_ELEMENTS: usize = 4096;
/// Larger tensors of floats are not followed: they are weights, not shape arithmetic.
const MAX_FLOATS: usize = 64;

/// What is known of one element.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// Nothing.
    Unknown,
    /// An integer or a bool (0 or 1).
    Int(Dim),
    /// A float that is known.
    Float(f64),
    /// A float that is `numerator / denominator`; the denominator is positive.
    Ratio(Dim, i64),
}

/// The elements known of the values of one graph, which may only grow.
#[derive(Clone, Debug, Default)]
pub struct SymbolicValues {
    elements: FxHashMap<ValueId, Arc<[Element]>>,
    /// Nodes of the graph that have been evaluated.
    done: usize,
}

impl SymbolicValues {
    /// Every element of an integer or bool value, row-major; `None` when one is not known.
    pub fn of(&mut self, graph: &Graph, value: ValueId) -> Option<Vec<Dim>> {
        let known = self.elements(graph, value)?;
        let int = |element: &Element| match element {
            Element::Int(dim) => Some(dim.clone()),
            _ => None,
        };
        known.iter().map(int).collect()
    }

    /// What is known of a value's elements, row-major; `None` when nothing is.
    pub fn elements(&mut self, graph: &Graph, value: ValueId) -> Option<Arc<[Element]>> {
        for node in graph.nodes.iter().skip(self.done) {
            self.evaluate(graph, node);
        }
        self.done = self.done.max(graph.nodes.len());
        self.elements.get(&value).cloned()
    }

    /// States the elements of a value that no node defines, e.g. a capture of a subgraph.
    pub fn assume(&mut self, value: ValueId, elements: Vec<Element>) {
        self.elements.insert(value, elements.into());
    }

    fn evaluate(&mut self, graph: &Graph, node: &Node) {
        if let (Op::BindDims { symbols }, [sizes]) = (&node.op, node.inputs.as_slice()) {
            // From here on the elements are the symbols, by definition.
            let unknown = || vec![Element::Unknown; symbols.len()];
            let mut known = self.elements.get(sizes).map_or_else(unknown, |e| e.to_vec());
            for (element, &symbol) in known.iter_mut().zip(symbols) {
                if *element == Element::Unknown {
                    *element = Element::Int(Dim::sym(symbol));
                }
            }
            self.elements.insert(*sizes, known.into());
            return;
        }
        let [output] = node.outputs.as_slice() else { return };
        let Some(out) = Operand::shape_of(graph, *output) else { return };
        let found = match &node.op {
            Op::Constant(id) if id.index() < graph.consts.len() => Some(constant(graph.consts.get(*id))),
            Op::Dims { dims, .. } => Some(dims.iter().cloned().map(Element::Int).collect()),
            op => {
                let operands: Option<Vec<Operand>> = node.inputs.iter().map(|&v| self.operand(graph, v)).collect();
                operands.and_then(|operands| {
                    movement::evaluate(op, &operands, &out)
                        .or_else(|| arithmetic::evaluate(op, &operands, &out, &graph.dims))
                })
            }
        };
        let Some(found) = found.filter(|f| f.len() == out.count()) else { return };
        if found.iter().any(|e| *e != Element::Unknown) {
            self.elements.insert(*output, found.into());
        }
    }

    fn operand(&self, graph: &Graph, value: ValueId) -> Option<Operand> {
        let mut operand = Operand::shape_of(graph, value)?;
        operand.elements = match self.elements.get(&value) {
            Some(known) => known.clone(),
            // Concat and Select may know the others.
            None => vec![Element::Unknown; operand.count()].into(),
        };
        (operand.elements.len() == operand.count()).then_some(operand)
    }
}

/// A small tensor of elements; as the description of a result, without them.
struct Operand {
    dtype: DType,
    shape: Vec<usize>,
    elements: Arc<[Element]>,
}

impl Operand {
    /// Type and shape of a value when it is small enough to be followed.
    fn shape_of(graph: &Graph, value: ValueId) -> Option<Operand> {
        let ty = &graph.values.get(value.index())?.ty;
        let shape = ty.static_shape()?;
        let count = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
        let limit = if ty.dtype.is_float() { MAX_FLOATS } else { MAX_ELEMENTS };
        (count <= limit).then(|| Operand { dtype: ty.dtype, shape, elements: Arc::new([]) })
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The element at a coordinate; `Unknown` outside.
    fn at(&self, index: &[usize]) -> Element {
        let mut flat = 0usize;
        for (&i, &size) in index.iter().zip(&self.shape) {
            if i >= size {
                return Element::Unknown;
            }
            flat = flat * size + i;
        }
        self.elements.get(flat).cloned().unwrap_or(Element::Unknown)
    }
}

fn constant(tensor: &Tensor) -> Vec<Element> {
    let element = |i| match tensor.dtype {
        dtype if dtype.is_float() => Element::Float(tensor.get_f64(i)),
        DType::U64 if tensor.get_i64(i) < 0 => Element::Unknown,
        DType::Bool => Element::Int(Dim::from(i64::from(tensor.get_i64(i) != 0))),
        _ => Element::Int(Dim::from(tensor.get_i64(i))),
    };
    (0..tensor.len()).map(element).collect()
}
