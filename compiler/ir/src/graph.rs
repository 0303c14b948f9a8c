//! The graph: values, nodes in topological order, constants, signature.

use crate::encoding::Encodings;
use crate::op::Op;
use crate::tensor::Tensor;
use crate::{DType, Dim, DimTable};
use rustc_hash::FxHashMap;
use std::fmt;
use std::hash::{Hash, Hasher};

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index of its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

index_type!(
    /// A tensor value of a graph.
    ValueId,
    "v"
);
index_type!(
    /// A node, by position in [`Graph::nodes`].
    NodeId,
    "node"
);
index_type!(
    /// A constant of a [`ConstPool`].
    ConstId,
    "const"
);

/// Element type and exact shape of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A type.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> TensorType {
        TensorType { dtype, shape }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The shape when no dimension is symbolic.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.as_const().and_then(|n| usize::try_from(n).ok())).collect()
    }

    /// Number of elements.
    pub fn count(&self) -> Dim {
        self.shape.iter().fold(Dim::from(1), |a, d| &a * d)
    }
}

/// A value: its type, and the name it had in the model (empty when made by the compiler).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// Type.
    pub ty: TensorType,
    /// Name in the model, for messages and dumps.
    pub name: String,
}

/// An operation with its operands and results.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results, as many as the operation yields.
    pub outputs: Vec<ValueId>,
    /// The ONNX node it came from, e.g. `Conv "layer1/conv"`, for messages.
    pub origin: String,
}

/// Constants shared by content. Cloning shares the bytes.
#[derive(Clone, Debug, Default)]
pub struct ConstPool {
    tensors: Vec<Tensor>,
    by_hash: FxHashMap<[u8; 32], ConstId>,
}

impl ConstPool {
    /// Adds a constant, or finds the equal one that is there.
    pub fn add(&mut self, tensor: Tensor) -> ConstId {
        let hash = content_hash(&tensor);
        *self.by_hash.entry(hash).or_insert_with(|| {
            self.tensors.push(tensor);
            ConstId(self.tensors.len() as u32 - 1)
        })
    }

    /// The tensor.
    pub fn get(&self, id: ConstId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

impl PartialEq for ConstPool {
    /// By content.
    fn eq(&self, other: &ConstPool) -> bool {
        self.by_hash == other.by_hash
    }
}

impl Eq for ConstPool {}

impl Hash for ConstPool {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tensors.len().hash(state);
    }
}

/// Hash over type, shape and elements, or what elements are widened from.
pub fn content_hash(tensor: &Tensor) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tensor.dtype.name().as_bytes());
    hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
    for &d in &tensor.shape {
        hasher.update(&(d as u64).to_le_bytes());
    }
    match tensor.data.as_widened() {
        None => hasher.update(tensor.data.bytes()),
        Some(widened) => {
            hasher.update(&content_hash(&widened.numbers));
            for spread in [&widened.zeros, &widened.scales] {
                hasher.update(&[u8::from(spread.is_some())]);
                let Some(spread) = spread else { continue };
                hasher.update(&content_hash(&spread.values));
                for factor in &spread.factors {
                    hasher.update(&(factor.0 as u64).to_le_bytes());
                    hasher.update(&(factor.1 as u64).to_le_bytes());
                }
            }
            &mut hasher
        }
    };
    *hasher.finalize().as_bytes()
}

/// A function over tensors.
///
/// Subgraphs (of `If` and `Loop`) are graphs of their own with their own values and constants; they share the
/// symbols of the outermost graph by having a copy of its [`DimTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Graph {
    /// Name, usually the model's.
    pub name: String,
    /// The symbols that dimensions mention.
    pub dims: DimTable,
    /// Constants.
    pub consts: ConstPool,
    /// Values; a [`ValueId`] is an index here. Values that nothing defines or uses may remain after rewriting.
    pub values: Vec<Value>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
    /// Parameters, in signature order; `Value::name` is the public name.
    pub inputs: Vec<ValueId>,
    /// Results with their public names, in signature order. A value may stand here twice or be an input.
    pub outputs: Vec<(String, ValueId)>,
    /// Which of both encode tensors of other types; none of a subgraph do.
    pub encodings: Encodings,
}

impl Graph {
    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &TensorType {
        &self.values[value.index()].ty
    }

    /// The shape of a value.
    pub fn shape(&self, value: ValueId) -> &[Dim] {
        &self.ty(value).shape
    }

    /// Adds a value that something else will define.
    pub fn add_value(&mut self, ty: TensorType, name: impl Into<String>) -> ValueId {
        self.values.push(Value { ty, name: name.into() });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a parameter.
    pub fn add_input(&mut self, ty: TensorType, name: impl Into<String>) -> ValueId {
        let value = self.add_value(ty, name);
        self.inputs.push(value);
        value
    }

    /// Appends a node whose result types are inferred from its operands.
    ///
    /// # Errors
    /// What [`crate::infer::infer`] says of operands that do not fit the operation.
    pub fn push(&mut self, op: Op, inputs: &[ValueId], origin: &str) -> Result<Vec<ValueId>, crate::infer::TypeError> {
        let operands: Vec<&TensorType> = inputs.iter().map(|&v| self.ty(v)).collect();
        let types = crate::infer::infer(&op, &operands, &self.consts)?;
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| self.add_value(ty, "")).collect();
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone(), origin: origin.to_owned() });
        Ok(outputs)
    }

    /// Appends a constant.
    pub fn push_const(&mut self, tensor: Tensor, origin: &str) -> ValueId {
        let shape = tensor.shape.iter().map(|&d| Dim::from(d as i64)).collect();
        let ty = TensorType::new(tensor.dtype, shape);
        let id = self.consts.add(tensor);
        let value = self.add_value(ty, "");
        let node = Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin: origin.to_owned() };
        self.nodes.push(node);
        value
    }

    /// For each value the node defining it (`None` for inputs).
    pub fn definitions(&self) -> Vec<Option<NodeId>> {
        let mut table = vec![None; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for &output in &node.outputs {
                table[output.index()] = Some(NodeId(i as u32));
            }
        }
        table
    }

    /// For each value the nodes using it, one entry per use; graph outputs are not counted.
    pub fn uses(&self) -> Vec<Vec<NodeId>> {
        let mut table = vec![vec![]; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                table[input.index()].push(NodeId(i as u32));
            }
        }
        table
    }
}
