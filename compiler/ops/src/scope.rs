//! Graphs under construction: names, constants and values known at compile time.
//!
//! A [`Frame`] is one graph (the model's, or a branch or loop body inside it). A name is looked up from the innermost
//! frame outwards; one found further out becomes a captured input of every frame between, except that constants are
//! copied in (their bytes are shared).

use crate::error::{Result, invalid};
use crate::tensors;
use nnc_ir::{Dim, Graph, TensorType, ValueId};
use rustc_hash::FxHashMap;

/// A graph under construction.
pub(crate) struct Frame<'m> {
    /// What it is made of.
    pub onnx: &'m nnc_onnx::Graph,
    /// What was made so far. The innermost frame's graph holds the live table of dimensions.
    pub graph: Graph,
    /// Values by their ONNX names.
    pub names: FxHashMap<&'m str, ValueId>,
    /// Initialisers by name; they enter the graph when first used.
    pub initializers: FxHashMap<&'m str, &'m nnc_onnx::Tensor>,
    /// Values of the frame around this one that were captured, with the inputs that stand for them.
    pub captures: Vec<(ValueId, ValueId)>,
    /// Values that are constants.
    pub constants: FxHashMap<ValueId, nnc_ir::ConstId>,
    /// Integer values whose elements are known dimensions.
    pub symbolic: FxHashMap<ValueId, Vec<Dim>>,
}

impl<'m> Frame<'m> {
    pub fn new(onnx: &'m nnc_onnx::Graph, dims: nnc_ir::DimTable) -> Frame<'m> {
        let graph = Graph { name: onnx.name.clone(), dims, ..Graph::default() };
        Frame {
            onnx,
            graph,
            names: FxHashMap::default(),
            initializers: onnx.initializers.iter().map(|i| (i.name.as_str(), &i.tensor)).collect(),
            captures: vec![],
            constants: FxHashMap::default(),
            symbolic: FxHashMap::default(),
        }
    }

    /// Appends a constant, or finds the node that is there for it.
    pub fn push_const(&mut self, tensor: nnc_ir::Tensor, origin: &str) -> ValueId {
        let value = self.graph.push_const(tensor, origin);
        if let Some(nnc_ir::Op::Constant(id)) = self.graph.nodes.last().map(|n| &n.op) {
            self.constants.insert(value, *id);
        }
        value
    }

    pub fn constant(&self, value: ValueId) -> Option<&nnc_ir::Tensor> {
        self.constants.get(&value).map(|&id| self.graph.consts.get(id))
    }

    /// The value of that name if this very graph has one.
    fn find_here(&mut self, name: &'m str) -> Result<Option<ValueId>> {
        if let Some(&value) = self.names.get(name) {
            return Ok(Some(value));
        }
        let Some(tensor) = self.initializers.get(name) else { return Ok(None) };
        let tensor = tensors::import(tensor).map_err(|e| invalid(format!("initializer `{name}`: {}", e.message)))?;
        let value = self.push_const(tensor, "");
        self.graph.values[value.index()].name = name.to_owned();
        self.names.insert(name, value);
        Ok(Some(value))
    }
}

/// The value of that name, seen from the innermost frame.
pub(crate) fn resolve<'m>(frames: &mut [Frame<'m>], name: &'m str) -> Result<ValueId> {
    let mut found = None;
    for depth in (0..frames.len()).rev() {
        if let Some(value) = frames[depth].find_here(name)? {
            found = Some((depth, value));
            break;
        }
    }
    let Some((depth, mut value)) = found else {
        return Err(invalid(format!("the value `{name}` is not defined before it is used; export the model again")));
    };
    for depth in depth + 1..frames.len() {
        value = capture(frames, depth, value);
        frames[depth].names.insert(name, value);
    }
    Ok(value)
}

/// The value of the frame at `depth` that stands for `outer` of the frame around it.
pub(crate) fn capture(frames: &mut [Frame<'_>], depth: usize, outer: ValueId) -> ValueId {
    let (around, inside) = frames.split_at_mut(depth);
    let (Some(around), Some(inside)) = (around.last(), inside.first_mut()) else { return outer };
    if let Some(tensor) = around.constant(outer) {
        return inside.push_const(tensor.clone(), "");
    }
    if let Some(&(_, inner)) = inside.captures.iter().find(|c| c.0 == outer) {
        return inner;
    }
    let ty: TensorType = around.graph.ty(outer).clone();
    let name = around.graph.values[outer.index()].name.clone();
    let inner = inside.graph.add_value(ty, name);
    inside.captures.push((outer, inner));
    if let Some(dims) = around.symbolic.get(&outer) {
        inside.symbolic.insert(inner, dims.clone());
    }
    inner
}

impl Frame<'_> {
    /// Appends a node; results known at compile time become constants.
    pub fn push(&mut self, op: nnc_ir::Op, inputs: &[ValueId], origin: &str) -> Result<Vec<ValueId>> {
        if let nnc_ir::Op::Dims { dims, scalar } = &op {
            let dims: Vec<Dim> = dims.iter().map(|d| d.simplify(&self.graph.dims)).collect();
            if let Some(known) = dims.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>() {
                let shape: &[usize] = if *scalar { &[] } else { &[known.len()] };
                return Ok(vec![self.push_const(nnc_ir::Tensor::from_slice(shape, &known), origin)]);
            }
        }
        let results = self.graph.push(op, inputs, origin)?;
        Ok(results)
    }
}
