//! The structs a model is turned into.
//!
//! They follow `onnx.proto` closely and know nothing of any operator. Invariants after
//! [`Model::load`]: nodes of every graph stand in an order in which each value is defined before
//! it is used; every name that is used is defined in its graph or one around it; no call of a
//! model-local function and no attribute reference is left. A subgraph may define a name that a
//! graph around it defines too; the inner one then counts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Attribute, Bytes, ElemType, NamedTensor};

/// A model file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file's name as messages print it.
    pub file: String,
    /// The version of the intermediate representation.
    pub ir_version: i64,
    /// Operator set versions by domain; `""` is `ai.onnx`.
    pub opset_imports: BTreeMap<String, i64>,
    /// The tool that wrote the file, and its version.
    pub producer: String,
    /// The main graph.
    pub graph: Graph,
    /// The model-local functions, already expanded where they were called.
    pub functions: Vec<Function>,
    /// The files that hold its external data.
    pub external: Vec<PathBuf>,
    /// The file itself, to hash.
    pub source: Bytes,
}

/// A graph or subgraph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// The inputs. One that shares its name with an initialiser has that as its default value.
    pub inputs: Vec<ValueInfo>,
    /// The outputs.
    pub outputs: Vec<ValueInfo>,
    /// Types the file states for inner values, by name.
    pub value_info: BTreeMap<String, TypeInfo>,
    /// Constants; sparse ones are already dense and stand at the end.
    pub initializers: Vec<NamedTensor>,
    /// The nodes.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The inputs that the caller must give: those without a default value.
    pub fn required_inputs(&self) -> impl Iterator<Item = &ValueInfo> {
        let given: std::collections::HashSet<&str> =
            self.initializers.iter().map(|constant| constant.name.as_str()).collect();
        self.inputs.iter().filter(move |input| !given.contains(input.name.as_str()))
    }
}

/// A call of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's name; `Conv#12` for the nameless node at place 12. Not always unique.
    pub name: String,
    /// The operator.
    pub op_type: String,
    /// The operator's domain; `""` is `ai.onnx`.
    pub domain: String,
    /// Which of several functions of the same name is meant; usually empty.
    pub overload: String,
    /// The version of `domain` that is in force here (a function has its own imports); 1 for a
    /// domain that the file does not import.
    pub opset: i64,
    /// Names of the inputs; `""` for one left out.
    pub inputs: Vec<String>,
    /// Names of the outputs; `""` for one that is not wanted.
    pub outputs: Vec<String>,
    /// The attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The name and type of an input, an output or an inner value.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// The name.
    pub name: String,
    /// The type, where the file states one.
    pub ty: Option<TypeInfo>,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeInfo {
    /// A dense tensor.
    Tensor {
        /// The type of the elements.
        elem_type: ElemType,
        /// The dimensions; `None` when not even their number is known.
        shape: Option<Vec<DimInfo>>,
    },
    /// A sparse tensor.
    SparseTensor {
        /// The type of the elements.
        elem_type: ElemType,
        /// The dimensions; `None` when not even their number is known.
        shape: Option<Vec<DimInfo>>,
    },
    /// A list of values of one type.
    Sequence(Box<TypeInfo>),
    /// A value or nothing.
    Optional(Box<TypeInfo>),
    /// A map from integers or strings to values.
    Map {
        /// The type of the keys.
        key: ElemType,
        /// The type of the values.
        value: Box<TypeInfo>,
    },
}

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimInfo {
    /// A fixed size.
    Size(u64),
    /// A named size: the same name is the same size throughout the graph.
    Symbol(String),
    /// Not known.
    Unknown,
}

/// A model-local function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The domain it is called by.
    pub domain: String,
    /// The name it is called by.
    pub name: String,
    /// Which of several functions of the same name this is; usually empty.
    pub overload: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Attributes without a default value.
    pub attributes: Vec<String>,
    /// Attributes with their default values.
    pub defaults: BTreeMap<String, Attribute>,
    /// The body.
    pub nodes: Vec<Node>,
    /// Operator set versions in force in the body.
    pub opset_imports: BTreeMap<String, i64>,
}
