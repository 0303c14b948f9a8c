//! The view a translation has of its node: inputs, attributes, types, and what is known of values.
//!
//! Invariant: every attribute of the node is either read through an accessor here or declared to have no effect; the
//! driver refuses a node with any other.

use crate::assume::settle;
use crate::error::{Result, invalid, unknown, unsupported};
use crate::narrow::{ElementType, Narrow};
use crate::scope::{self, Compound, Frame};
use crate::survey::Refusals;
use crate::tensors;
use crate::translate::Options;
use nnc_ir::{DType, Dim, DimTable, Graph, Symbol, Tensor, TensorType, ValueId};
use nnc_onnx::{Attribute, ElemType, Node};
use rustc_hash::{FxHashMap, FxHashSet};

/// Shape and elements of a constant tensor of strings.
pub(crate) type StringTensor = (Vec<usize>, Vec<Vec<u8>>);

/// The state of a whole translation.
pub(crate) struct Translator<'m> {
    pub options: &'m Options,
    /// Graphs under construction, outermost first.
    pub frames: Vec<Frame<'m>>,
    /// How many nodes may still be translated: unrolled loops and repeated branches, one inside the other, multiply.
    pub nodes_left: usize,
    /// Sizes of inputs below which some node has a size below 0. They become bounds after the last node, so that
    /// expressions are simplified by the same bounds all the time.
    pub least: FxHashMap<Symbol, i64>,
    /// What was refused so far, where all of it is wanted.
    pub refusals: Option<Refusals>,
}

/// A node being translated.
pub struct Context<'t, 'm> {
    pub(crate) translator: &'t mut Translator<'m>,
    pub(crate) node: &'m Node,
    /// How core ops made for this node name it.
    pub(crate) origin: String,
    consumed: FxHashSet<&'m str>,
    /// What the translation is handed in place of some inputs.
    handed: FxHashMap<usize, ValueId>,
}

/// How messages and core ops name a node.
pub(crate) fn label(node: &Node) -> String {
    format!("{} \"{}\"", node.op_type, node.name)
}

impl<'t, 'm> Context<'t, 'm> {
    pub(crate) fn new(translator: &'t mut Translator<'m>, node: &'m Node) -> Context<'t, 'm> {
        Context { translator, node, origin: label(node), consumed: FxHashSet::default(), handed: FxHashMap::default() }
    }

    /// The operator set version in force for this node.
    pub fn opset(&self) -> i64 {
        self.node.opset
    }

    /// The operator's name.
    pub fn op_type(&self) -> &'m str {
        &self.node.op_type
    }

    // Inputs and outputs.

    /// How many inputs the node names, left-out ones included.
    pub fn input_count(&self) -> usize {
        self.node.inputs.len()
    }

    /// Whether input `index` is given.
    pub fn has_input(&self, index: usize) -> bool {
        self.node.inputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Input `index`, which the operator requires.
    pub fn input(&mut self, index: usize) -> Result<ValueId> {
        self.optional_input(index)?.ok_or_else(|| invalid(format!("input {index} is missing")))
    }

    /// Input `index` if it is given.
    pub fn optional_input(&mut self, index: usize) -> Result<Option<ValueId>> {
        if let Some(&value) = self.handed.get(&index) {
            return Ok(Some(value));
        }
        match self.node.inputs.get(index) {
            Some(name) if !name.is_empty() => scope::resolve(&mut self.translator.frames, name).map(Some),
            _ => Ok(None),
        }
    }

    /// What a translation yields when it is handed these values in place of its inputs.
    pub(crate) fn with_inputs(
        &mut self,
        handed: impl IntoIterator<Item = (usize, ValueId)>,
        translation: crate::registry::Translation,
    ) -> Result<Vec<ValueId>> {
        self.handed = handed.into_iter().collect();
        let results = translation(self);
        self.handed.clear();
        results
    }

    /// All inputs of a variadic operator (at least one).
    pub fn inputs(&mut self) -> Result<Vec<ValueId>> {
        match self.input_count() {
            0 => Err(invalid("it has no inputs")),
            count => (0..count).map(|i| self.input(i)).collect(),
        }
    }

    /// Input `index` if it is given and no tensor.
    pub(crate) fn compound_input(&mut self, index: usize) -> Result<Option<Compound>> {
        match self.node.inputs.get(index) {
            Some(name) if scope::is_refused(&self.translator.frames, name) => Err(unknown(name)),
            Some(name) if !name.is_empty() => scope::resolve_compound(&mut self.translator.frames, name),
            _ => Err(invalid(format!("input {index} is missing"))),
        }
    }

    /// Makes output `index` something that is no tensor.
    pub(crate) fn define_compound(&mut self, index: usize, compound: Compound) {
        if let Some(name) = self.node.outputs.get(index).filter(|name| !name.is_empty()) {
            self.frame_mut().compounds.insert(name, compound);
        }
    }

    /// How many outputs the node names.
    pub fn output_count(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether anything may use output `index`.
    pub fn wants_output(&self, index: usize) -> bool {
        self.node.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    // Attributes.

    fn attribute(&mut self, name: &str) -> Option<&'m Attribute> {
        let (name, value) = self.node.attributes.get_key_value(name)?;
        self.consumed.insert(name);
        Some(value)
    }

    /// Whether the node has the attribute; does not count as reading it.
    pub fn has_attribute(&self, name: &str) -> bool {
        self.node.attributes.contains_key(name)
    }

    /// Declares an attribute that changes nothing at inference.
    pub fn no_effect(&mut self, name: &str) {
        self.attribute(name);
    }

    /// An integer attribute if given.
    pub fn optional_int(&mut self, name: &str) -> Result<Option<i64>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_kind(name, "int", other)),
        }
    }

    /// An integer attribute with its default.
    pub fn int(&mut self, name: &str, default: i64) -> Result<i64> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    /// An integer attribute that is 0 or not.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        Ok(self.optional_int(name)?.map_or(default, |v| v != 0))
    }

    /// A float attribute if given.
    pub fn optional_float(&mut self, name: &str) -> Result<Option<f32>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_kind(name, "float", other)),
        }
    }

    /// A float attribute with its default.
    pub fn float(&mut self, name: &str, default: f32) -> Result<f32> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    /// A string attribute if given.
    pub fn optional_string(&mut self, name: &str) -> Result<Option<String>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::String(bytes)) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            Some(other) => Err(wrong_kind(name, "string", other)),
        }
    }

    /// A string attribute with its default.
    pub fn string(&mut self, name: &str, default: &str) -> Result<String> {
        Ok(self.optional_string(name)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A list of integers if given.
    pub fn ints(&mut self, name: &str) -> Result<Option<&'m [i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            // An empty list has no element to tell its kind by.
            Some(Attribute::Floats(values)) if values.is_empty() => Ok(Some(&[])),
            Some(other) => Err(wrong_kind(name, "ints", other)),
        }
    }

    /// A list of floats if given.
    pub fn floats(&mut self, name: &str) -> Result<Option<&'m [f32]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(Attribute::Ints(values)) if values.is_empty() => Ok(Some(&[])),
            Some(other) => Err(wrong_kind(name, "floats", other)),
        }
    }

    /// A list of strings if given.
    pub fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Strings(values)) => {
                Ok(Some(values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect()))
            }
            Some(other) => Err(wrong_kind(name, "strings", other)),
        }
    }

    /// Shape and elements of a tensor of strings, if one is given.
    pub(crate) fn string_tensor(&mut self, name: &str) -> Result<Option<StringTensor>> {
        match self.node.attributes.get(name) {
            Some(Attribute::Tensor(tensor)) if tensor.elem_type == ElemType::String => {
                self.no_effect(name);
                Ok(Some((tensor.dims.clone(), tensor.data.strings().to_vec())))
            }
            _ => Ok(None),
        }
    }

    /// A tensor of a narrow type, if one is given.
    pub(crate) fn narrow_tensor(&mut self, name: &str) -> Result<Option<Narrow>> {
        let Some(Attribute::Tensor(tensor)) = self.node.attributes.get(name) else { return Ok(None) };
        let Some((tensor, encoding)) = tensors::import_narrow(tensor)? else { return Ok(None) };
        self.no_effect(name);
        Ok(Some(Narrow { value: self.constant(tensor), encoding }))
    }

    /// A tensor if given (a sparse one is made dense).
    pub fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor) | Attribute::SparseTensor(tensor)) => tensors::import(tensor).map(Some),
            Some(other) => Err(wrong_kind(name, "tensor", other)),
        }
    }

    /// A subgraph, which the operator requires.
    pub fn subgraph(&mut self, name: &str) -> Result<&'m nnc_onnx::Graph> {
        match self.attribute(name) {
            None => Err(invalid(format!("attribute `{name}` is missing"))),
            Some(Attribute::Graph(graph)) => Ok(graph),
            Some(other) => Err(wrong_kind(name, "graph", other)),
        }
    }

    /// An element type given by number.
    pub fn dtype_attribute(&mut self, name: &str) -> Result<Option<DType>> {
        self.optional_int(name)?.map(tensors::dtype_of_number).transpose()
    }

    /// A type of elements given by number, which may be a narrow one.
    pub(crate) fn type_attribute(&mut self, name: &str) -> Result<Option<ElementType>> {
        self.optional_int(name)?.map(tensors::type_of_number).transpose()
    }

    /// The first attribute that nothing read.
    pub(crate) fn unread(&self) -> Option<&'m str> {
        self.node.attributes.keys().map(String::as_str).find(|name| !self.consumed.contains(name))
    }

    // Types.

    /// The graph under construction.
    pub fn graph(&self) -> &Graph {
        &self.frame().graph
    }

    /// The symbols that dimensions mention.
    pub fn dims(&self) -> &DimTable {
        &self.frame().graph.dims
    }

    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> &TensorType {
        self.graph().ty(value)
    }

    /// Element type of a value.
    pub fn dtype(&self, value: ValueId) -> DType {
        self.ty(value).dtype
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> Vec<Dim> {
        self.ty(value).shape.clone()
    }

    /// Number of axes of a value.
    pub fn rank(&self, value: ValueId) -> usize {
        self.ty(value).rank()
    }

    /// Size of one axis of a value; 1 when it has no such axis.
    pub fn dim(&self, value: ValueId, axis: usize) -> Dim {
        self.ty(value).shape.get(axis).cloned().unwrap_or(Dim::ONE)
    }

    /// Shape of a value that must be known at compile time.
    pub fn static_shape(&self, value: ValueId, what: &str) -> Result<Vec<usize>> {
        self.ty(value).static_shape().ok_or_else(|| {
            unsupported(format!(
                "{what} must have a fixed shape, not {}; fix its dimensions with --dim",
                self.show(value)
            ))
        })
    }

    /// An error unless the value has `rank` axes.
    pub fn require_rank(&self, value: ValueId, rank: usize, what: &str) -> Result<()> {
        match self.rank(value) {
            r if r == rank => Ok(()),
            r => Err(invalid(format!("{what} has rank {r}, it must have {rank}"))),
        }
    }

    /// The type as messages print it, e.g. `f32[batch, 3]`.
    pub fn show(&self, value: ValueId) -> String {
        let ty = self.ty(value);
        format!("{}{}", ty.dtype, self.show_shape(&ty.shape))
    }

    /// A shape as messages print it.
    pub fn show_shape(&self, shape: &[Dim]) -> String {
        let dims: Vec<String> = shape.iter().map(|d| self.dims().display(d).to_string()).collect();
        format!("[{}]", dims.join(", "))
    }

    // What is known of values.

    /// The constant a value is, computed where that is cheap.
    pub fn constant_value(&mut self, value: ValueId) -> Option<Tensor> {
        self.frame_mut().known(value)
    }

    /// The elements of an integer constant.
    pub fn constant_ints(&mut self, value: ValueId) -> Option<Vec<i64>> {
        self.constant_value(value)?.to_i64s()
    }

    /// The single element of a constant.
    pub fn constant_scalar(&mut self, value: ValueId) -> Option<f64> {
        self.constant_value(value).filter(|t| t.len() == 1).map(|t| t.get_f64(0))
    }

    /// The elements of a small integer tensor, where they are expressions over the model's dimensions.
    pub fn symbolic(&mut self, value: ValueId) -> Option<Vec<Dim>> {
        let frame = self.frame_mut();
        let dims = frame.symbolic.of(&frame.graph, value)?;
        Some(dims.iter().map(|d| settle(d, &frame.graph.dims)).collect())
    }

    /// The integers an input holds, which must be known at compile time.
    pub fn require_ints(&mut self, value: ValueId, what: &str) -> Result<Vec<i64>> {
        self.constant_ints(value).ok_or_else(|| {
            unsupported(format!(
                "{what} must be known at compile time; make it a constant, or fix the dimensions it depends on with --dim"
            ))
        })
    }

    /// The number an input holds, which must be known at compile time.
    pub fn require_scalar(&mut self, value: ValueId, what: &str) -> Result<f64> {
        self.constant_scalar(value)
            .ok_or_else(|| unsupported(format!("{what} must be a constant of one element; make it an initializer")))
    }

    /// The type the file states for output `index`.
    pub(crate) fn declared_output(&self, index: usize) -> Option<&'m nnc_onnx::TypeInfo> {
        self.frame().stated.get(self.node.outputs.get(index)?.as_str()).copied()
    }

    pub(crate) fn frame(&self) -> &Frame<'m> {
        // The translator has a frame from its first node to its last.
        &self.translator.frames[self.translator.frames.len() - 1]
    }

    pub(crate) fn frame_mut(&mut self) -> &mut Frame<'m> {
        let last = self.translator.frames.len() - 1;
        &mut self.translator.frames[last]
    }

    /// An axis attribute of a tensor of `rank` axes, negative ones counted from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        axis_of(axis, rank)
    }

    /// Several axes, sorted; each may occur once.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut found = axes.iter().map(|&a| axis_of(a, rank)).collect::<Result<Vec<usize>>>()?;
        found.sort_unstable();
        match found.windows(2).find(|w| w[0] == w[1]) {
            Some(w) => Err(invalid(format!("axis {} is named twice", w[0]))),
            None => Ok(found),
        }
    }
}

fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 { axis.saturating_add(signed) } else { axis };
    match usize::try_from(from_start) {
        Ok(a) if a < rank => Ok(a),
        _ => Err(invalid(format!("axis {axis} is out of range for a tensor of rank {rank}"))),
    }
}

fn wrong_kind(name: &str, wanted: &str, found: &Attribute) -> crate::error::Error {
    invalid(format!("attribute `{name}` is of kind {}, it must be {wanted}", found.kind()))
}
