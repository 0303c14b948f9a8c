//! Graphs under construction: names, constants and values known at compile time.
//!
//! A [`Frame`] is one graph (the model's, or a branch or loop body inside it). A name is looked up from the innermost
//! frame outwards; one found further out becomes a captured input of every frame between, except that constants are
//! copied in (their bytes are shared).

use crate::assume::settle;
use crate::error::{Error, Result, invalid, unfit_types, unknown, unsupported};
use crate::item::Item;
use crate::ml_labels::Labelled;
use crate::names::Names;
use crate::narrow::Narrow;
use crate::sequence::Sequence;
use crate::strings::{self, Strings};
use crate::{stated, tensors};
use nnc_eval::Env;
use nnc_ir::op::Relation;
use nnc_ir::symbolic::{Element, SymbolicValues};
use nnc_ir::{Dim, Graph, Node, Op, Tensor, TensorType, ValueId};
use nnc_onnx::ElemType;
use rustc_hash::{FxHashMap, FxHashSet};

/// What a name may stand for that is no tensor.
#[derive(Clone, Debug)]
pub(crate) enum Compound {
    /// A sequence of tensors.
    Sequence(Sequence),
    /// An empty optional.
    Nothing,
    /// Something that may be nothing: whether it is there, a `bool` scalar, and what it is then.
    Optional(ValueId, Box<Item>),
    /// A tensor of strings.
    Strings(Strings),
    /// A tensor of 8-bit floats or of a smaller type.
    Narrow(Narrow),
    /// A map for each row of a tensor.
    Maps(Maps),
}

/// Maps with the same keys.
#[derive(Clone, Debug)]
pub(crate) struct Maps {
    /// The values, one for each key along the last axis; a row for each map where there are several.
    pub values: Labelled,
    /// The keys.
    pub keys: Labelled,
}

/// A graph under construction.
pub(crate) struct Frame<'m> {
    /// What the file states of the types of values.
    pub stated: FxHashMap<&'m str, &'m nnc_onnx::TypeInfo>,
    /// What was made so far. The innermost frame's graph holds the live table of dimensions.
    pub graph: Graph,
    /// Values by their ONNX names.
    pub names: Names<'m, ValueId>,
    /// Names that stand for no tensor.
    pub compounds: Names<'m, Compound>,
    /// Names of values of which nothing is known, for nnc refused the nodes that would have yielded them.
    pub refused: FxHashSet<&'m str>,
    /// Initialisers by name; they enter the graph when first used.
    pub initializers: Names<'m, &'m nnc_onnx::Tensor>,
    /// Values of the frame around this one that were captured, with the inputs that stand for them.
    pub captures: Vec<(ValueId, ValueId)>,
    /// Values that are constants.
    pub constants: FxHashMap<ValueId, nnc_ir::ConstId>,
    /// The value of each constant that has a node.
    pub constant_nodes: FxHashMap<nnc_ir::ConstId, ValueId>,
    /// Nodes that would be constants but for their size: broadcasts of constants, and iotas.
    pub spread: FxHashMap<ValueId, usize>,
    /// Integer values without negative elements.
    pub not_negative: FxHashSet<ValueId>,
    /// What was required of sizes.
    pub required: FxHashSet<(Dim, Relation, Dim)>,
    /// Sizes that are 1 or another size.
    pub repeats: FxHashSet<(Dim, Dim)>,
    /// What is known of the elements of small values.
    pub symbolic: SymbolicValues,
    /// What folding may still cost; the innermost frame holds the live one.
    pub budget: Budget,
    /// What it yields, once it is finished; the graph's outputs are the values of all.
    pub results: Vec<(String, Item)>,
    /// The numbers of the iterations that it is in by itself, of rolled loops and of unrolled ones: `i64` scalars.
    pub iterations: Vec<ValueId>,
    /// Whether it may not run, so that what it assumes of the dimensions holds inside it alone.
    pub may_not_run: bool,
}

/// What folding constants may still cost in a whole translation. Past it, operations stay for the passes, which have
/// limits of their own, and for run time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Elements touched.
    work: u64,
    /// Bytes of constants made.
    bytes: u64,
}

/// Most elements (or products of elements) that folding constants at import may touch.
const MOST_FOLDING_WORK: u64 = 1 << 28;
/// Most numbers that are folded into floats of more bits at import.
const MOST_WIDENED: usize = 1 << 10;
/// Most bytes of constants that folding at import may make.
const MOST_FOLDED_BYTES: u64 = 1 << 28;

impl Default for Budget {
    fn default() -> Budget {
        Budget { work: MOST_FOLDING_WORK, bytes: MOST_FOLDED_BYTES }
    }
}

impl Budget {
    /// Pays for an operation; `false` when it costs more than is left.
    fn pay(&mut self, op: &Op, operands: &[&TensorType], results: &[TensorType]) -> bool {
        let work = self.work.checked_sub(nnc_eval::work(op, operands, results));
        let sizes = results.iter().filter_map(|ty| {
            let count = ty.static_shape()?.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
            Some(count.saturating_mul(ty.dtype.size() as u64))
        });
        let bytes = self.bytes.checked_sub(sizes.fold(0, u64::saturating_add));
        let (Some(work), Some(bytes)) = (work, bytes) else { return false };
        *self = Budget { work, bytes };
        true
    }
}

impl<'m> Frame<'m> {
    pub fn new(onnx: &'m nnc_onnx::Graph, dims: nnc_ir::DimTable, budget: Budget) -> Frame<'m> {
        let graph = Graph { name: onnx.name.clone(), dims, ..Graph::default() };
        Frame {
            stated: stated::types(onnx),
            graph,
            names: Names::from_iter([]),
            compounds: Names::from_iter([]),
            refused: FxHashSet::default(),
            initializers: onnx.initializers.iter().map(|i| (i.name.as_str(), &i.tensor)).collect(),
            captures: vec![],
            constants: FxHashMap::default(),
            constant_nodes: FxHashMap::default(),
            spread: FxHashMap::default(),
            not_negative: FxHashSet::default(),
            required: FxHashSet::default(),
            repeats: FxHashSet::default(),
            symbolic: SymbolicValues::default(),
            budget,
            results: vec![],
            iterations: vec![],
            may_not_run: false,
        }
    }

    /// Appends a constant, or finds the node that is there for it.
    pub fn push_const(&mut self, tensor: Tensor, origin: &str) -> ValueId {
        let id = self.graph.consts.add(tensor);
        if let Some(&value) = self.constant_nodes.get(&id) {
            return value;
        }
        // Not by `Graph::push_const`, which would hash the tensor once more.
        let tensor = self.graph.consts.get(id);
        let shape = tensor.shape.iter().map(|&d| Dim::from(d)).collect();
        let value = self.graph.add_value(TensorType::new(tensor.dtype, shape), "");
        let op = Op::Constant(id);
        self.graph.nodes.push(Node { op, inputs: vec![], outputs: vec![value], origin: origin.to_owned() });
        self.constants.insert(value, id);
        self.constant_nodes.insert(id, value);
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
        let tensor = self.initializers.get(name).filter(|tensor| tensors::encoding(tensor.elem_type).is_none());
        let Some(tensor) = tensor else { return Ok(None) };
        let tensor = tensors::import(tensor)
            .map_err(|e| Error { message: format!("initializer `{name}`: {}", e.message), ..e })?;
        let value = self.push_const(tensor, "");
        let slot = &mut self.graph.values[value.index()].name;
        if slot.is_empty() {
            name.clone_into(slot);
        }
        self.names.insert(name, value);
        Ok(Some(value))
    }
}

impl<'m> Frame<'m> {
    /// What that name stands for if this very graph has it as a constant that is no tensor of numbers.
    fn compound_initializer(&mut self, name: &'m str) -> Result<Option<Compound>> {
        let Some(&tensor) = self.initializers.get(name) else { return Ok(None) };
        let compound = if tensor.elem_type == ElemType::String {
            Compound::Strings(self.constant_strings(tensor))
        } else {
            let narrow = tensors::import_narrow(tensor);
            let narrow = narrow.map_err(|e| invalid(format!("initializer `{name}`: {}", e.message)))?;
            let Some((tensor, encoding)) = narrow else { return Ok(None) };
            Compound::Narrow(Narrow { value: self.push_const(tensor, ""), encoding })
        };
        self.compounds.insert(name, compound.clone());
        Ok(Some(compound))
    }

    fn constant_strings(&mut self, tensor: &nnc_onnx::Tensor) -> Strings {
        let numbers: Vec<i64> = (0..tensor.element_count() as i64).collect();
        let numbers = Tensor::from_slice(&tensor.dims, &numbers);
        let [offsets, bytes] = strings::table(tensor.data.strings());
        let [numbers, offsets, bytes] = [numbers, offsets, bytes].map(|part| self.push_const(part, ""));
        let total = self.graph.shape(bytes).first().cloned();
        Strings { numbers, offsets, bytes, whole: true, total }
    }
}

impl<'m> Frame<'m> {
    /// Makes a name stand for something.
    pub fn bind(&mut self, name: &'m str, item: Item) {
        match item {
            Item::Numbers(value) => self.names.insert(name, value),
            Item::Compound(compound) => {
                self.names.remove(name);
                self.compounds.insert(name, compound);
            }
        }
    }
}

/// What that name stands for, seen from the innermost frame.
pub(crate) fn resolve_item<'m>(frames: &mut [Frame<'m>], name: &'m str) -> Result<Item> {
    match resolve_compound(frames, name)? {
        Some(compound) => Ok(Item::Compound(compound)),
        None => resolve(frames, name).map(Item::Numbers),
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
        if let Some(compound) = resolve_compound(frames, name)? {
            let what = match &compound {
                Compound::Sequence(_) | Compound::Nothing | Compound::Optional(..) | Compound::Maps(_) => {
                    "a sequence or optional".to_owned()
                }
                Compound::Strings(_) => "a tensor of strings".to_owned(),
                Compound::Narrow(narrow) => format!("a tensor of {}", narrow.encoding.name()),
            };
            return Err(unsupported(format!(
                "`{name}` is {what}, which is not supported here; only tensors of ordinary numbers are"
            )));
        }
        if is_refused(frames, name) {
            return Err(unknown(name));
        }
        return Err(invalid(format!("the value `{name}` is not defined before it is used; export the model again")));
    };
    for depth in depth + 1..frames.len() {
        value = capture(frames, depth, value);
        frames[depth].names.insert(name, value);
    }
    Ok(value)
}

/// Whether nothing is known of what that name stands for.
pub(crate) fn is_refused(frames: &[Frame<'_>], name: &str) -> bool {
    frames.iter().any(|frame| frame.refused.contains(name))
}

/// What that name stands for, seen from the innermost frame, if it is no tensor.
pub(crate) fn resolve_compound<'m>(frames: &mut [Frame<'m>], name: &'m str) -> Result<Option<Compound>> {
    let mut found = None;
    for depth in (0..frames.len()).rev() {
        let frame = &mut frames[depth];
        if frame.names.get(name).is_some() {
            return Ok(None);
        }
        if let Some(compound) = frame.compounds.get(name) {
            found = Some((depth, compound.clone()));
            break;
        }
        if let Some(compound) = frame.compound_initializer(name)? {
            found = Some((depth, compound));
            break;
        }
    }
    let Some((depth, mut compound)) = found else { return Ok(None) };
    for inner in depth + 1..frames.len() {
        for value in compound.values_mut() {
            *value = capture(frames, inner, *value);
        }
    }
    Ok(Some(compound))
}

/// The value of the frame at `depth` that stands for `outer` of the frame around it.
pub(crate) fn capture(frames: &mut [Frame<'_>], depth: usize, outer: ValueId) -> ValueId {
    let (around, inside) = frames.split_at_mut(depth);
    let (Some(around), Some(inside)) = (around.last_mut(), inside.first_mut()) else { return outer };
    if let Some(tensor) = around.known(outer) {
        return inside.push_const(tensor, "");
    }
    if let Some(&(_, inner)) = inside.captures.iter().find(|c| c.0 == outer) {
        return inner;
    }
    let ty: TensorType = around.graph.ty(outer).clone();
    let name = around.graph.values[outer.index()].name.clone();
    let inner = inside.graph.add_value(ty, name);
    inside.captures.push((outer, inner));
    if let Some(elements) = around.symbolic.elements(&around.graph, outer) {
        inside.symbolic.assume(inner, elements.to_vec());
    }
    inner
}

/// Tensors with more elements are not computed at import.
const MOST_FOLDED: usize = 1 << 16;

impl Frame<'_> {
    /// Appends a node; a small result whose operands are all known becomes a constant.
    pub fn push(&mut self, op: Op, inputs: &[ValueId], origin: &str) -> Result<Vec<ValueId>> {
        if let Some(folded) = self.fold(&op, inputs) {
            return Ok(folded.into_iter().map(|tensor| self.push_const(tensor, origin)).collect());
        }
        let spreads = match &op {
            Op::Broadcast { .. } => inputs.iter().all(|i| self.constants.contains_key(i)),
            Op::Iota { .. } => true,
            _ => false,
        };
        let results = self.graph.push(op, inputs, origin).map_err(|e| unfit_types(&e, &self.graph.dims))?;
        if spreads {
            let node = self.graph.nodes.len() - 1;
            self.spread.extend(results.iter().map(|&r| (r, node)));
        }
        self.note_signs();
        Ok(results)
    }

    /// The tensor a value is known to be, if it is small or stored.
    pub fn known(&mut self, value: ValueId) -> Option<Tensor> {
        if let Some(tensor) = self.constant(value) {
            return Some(tensor.clone());
        }
        let ty = self.graph.ty(value);
        let shape = ty.static_shape().filter(|s| small(s))?;
        let dtype = ty.dtype;
        if let Some(&node) = self.spread.get(&value) {
            let node = self.graph.nodes.get(node)?;
            let inputs: Option<Vec<&Tensor>> = node.inputs.iter().map(|&i| self.constant(i)).collect();
            let env = &mut Env::with_table(&self.graph.dims);
            return nnc_eval::eval_op(&node.op, &inputs?, &self.graph.consts, env).ok()?.pop();
        }
        let elements = self.symbolic.elements(&self.graph, value)?;
        let number = |element: &Element| match element {
            Element::Int(dim) => settle(dim, &self.graph.dims).as_const(),
            _ => None,
        };
        let numbers: Vec<i64> = elements.iter().map(number).collect::<Option<_>>()?;
        let wide = Tensor::from_slice(&shape, &numbers);
        let env = &mut Env::with_table(&self.graph.dims);
        nnc_eval::eval_op(&Op::Convert(dtype), &[&wide], &self.graph.consts, env).ok()?.pop()
    }

    /// The results of an operation when everything they depend on is known.
    fn fold(&mut self, op: &Op, inputs: &[ValueId]) -> Option<Vec<Tensor>> {
        let lasting = op.has_effect()
            || !op.subgraphs().is_empty()
            || matches!(op, Op::Constant(_) | Op::Iota { .. } | Op::Broadcast { .. } | Op::Random { .. });
        let too_large = |&i: &ValueId| !self.graph.ty(i).static_shape().is_some_and(|s| small(&s));
        if lasting || inputs.iter().any(too_large) {
            return None;
        }
        let operands: Vec<&nnc_ir::TensorType> = inputs.iter().map(|&v| self.graph.ty(v)).collect();
        let types = nnc_ir::infer::infer(op, &operands, &self.graph.consts).ok()?;
        // A size that depends on data comes out as small as the operands are.
        let large = |ty: &TensorType| ty.static_shape().is_some_and(|s| !small(&s));
        if types.iter().any(large) {
            return None;
        }
        // Weights stay in the type that the file has until it is known how they are read.
        if let (Op::Convert(to), [from]) = (op, &operands[..])
            && to.is_float()
            && to.size() > from.dtype.size()
            && from.static_shape().is_some_and(|s| s.iter().product::<usize>() > MOST_WIDENED)
        {
            return None;
        }
        if let Op::Dims { dims, scalar } = op {
            let dims = dims.iter().map(|d| settle(d, &self.graph.dims).as_const()).collect::<Option<Vec<i64>>>()?;
            let shape: &[usize] = if *scalar { &[] } else { &[dims.len()] };
            return Some(vec![Tensor::from_slice(shape, &dims)]);
        }
        let known: Vec<Tensor> = inputs.iter().map(|&i| self.known(i)).collect::<Option<_>>()?;
        let operands: Vec<&TensorType> = inputs.iter().map(|&v| self.graph.ty(v)).collect();
        if !self.budget.pay(op, &operands, &types) {
            return None;
        }
        let operands: Vec<&Tensor> = known.iter().collect();
        let env = &mut Env::with_table(&self.graph.dims);
        nnc_eval::eval_op(op, &operands, &self.graph.consts, env).ok()
    }
}

fn small(shape: &[usize]) -> bool {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_some_and(|n| n <= MOST_FOLDED)
}
