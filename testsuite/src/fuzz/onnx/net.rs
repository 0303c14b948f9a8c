//! An ONNX model as the generator builds it and the shrinker cuts it.

use std::collections::{BTreeMap, BTreeSet};

use nnc_ir::{DType, Dim, Symbol, Tensor};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{self, Dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};

use super::range::Range;
use crate::fuzz::case::{encode, onnx_type, proto};

/// A value of a model.
#[derive(Clone, Debug)]
pub struct Var {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub dims: Vec<Dim>,
    /// What its elements may be.
    pub range: Range,
}

impl Var {
    /// Its rank.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }
}

/// What an input is filled with.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Numbers of the value's range.
    Range,
    /// Indices into an axis of this size, negative ones too if told so.
    Indices(Dim, bool),
    /// Numbers from 1 to the size of this axis.
    Lengths(Dim),
}

/// An attribute.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the variants are named after the kinds they are")]
pub enum Attr {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<&'static str>),
    Tensor(Tensor),
    Graph(Box<Body>),
}

/// A graph inside a node.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its parameters.
    pub inputs: Vec<Var>,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its results.
    pub outputs: Vec<Var>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator.
    pub op: String,
    /// Operands; an empty name is one left out.
    pub inputs: Vec<String>,
    /// Results.
    pub outputs: Vec<String>,
    /// Attributes.
    pub attributes: Vec<(&'static str, Attr)>,
}

impl Node {
    /// The names of outer values that it reads, in subgraphs too.
    pub fn reads(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.inputs.iter().filter(|n| !n.is_empty()).cloned().collect();
        for (_, attribute) in &self.attributes {
            if let Attr::Graph(body) = attribute {
                let inside = body.nodes.iter().flat_map(Node::reads);
                names.extend(inside.chain(body.outputs.iter().map(|o| o.name.clone())));
                let own = body.inputs.iter().map(|i| &i.name).chain(body.nodes.iter().flat_map(|n| &n.outputs));
                for name in own {
                    names.remove(name);
                }
            }
        }
        names
    }
}

/// A model.
#[derive(Clone, Debug)]
pub struct Net {
    /// The version of ONNX's own operators.
    pub opset: i64,
    /// The names of symbols.
    pub symbols: Vec<String>,
    /// What dimensions must be at least.
    pub constraints: Vec<(Dim, i64)>,
    /// Inputs.
    pub inputs: Vec<(Var, Fill)>,
    /// Constants.
    pub constants: Vec<(String, Tensor)>,
    /// Nodes, in order.
    pub nodes: Vec<Node>,
    /// Results.
    pub outputs: Vec<Var>,
    /// Every value there ever was, by name.
    pub values: BTreeMap<String, Var>,
}

impl Net {
    /// Removes what no output needs.
    pub fn prune(&mut self) {
        let mut needed: BTreeSet<String> = self.outputs.iter().map(|o| o.name.clone()).collect();
        let mut kept = vec![];
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().any(|o| needed.contains(o)) {
                needed.extend(node.reads());
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.inputs.retain(|(input, _)| needed.contains(&input.name));
        self.constants.retain(|(name, _)| needed.contains(name));
    }

    /// The symbols that inputs mention.
    pub fn free_symbols(&self) -> BTreeSet<Symbol> {
        self.inputs.iter().flat_map(|(v, _)| v.dims.iter().flat_map(Dim::symbols)).collect()
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let graph = GraphProto {
            name: "fuzz".to_owned(),
            input: self.inputs.iter().map(|(v, _)| self.info(v)).collect(),
            output: self.outputs.iter().map(|v| self.info(v)).collect(),
            initializer: self.constants.iter().map(|(name, tensor)| proto(name, tensor)).collect(),
            node: self.nodes.iter().map(|n| self.node(n)).collect(),
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { version: self.opset, ..OperatorSetIdProto::default() };
        encode(&ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(graph).into(),
            ..ModelProto::default()
        })
    }

    fn info(&self, var: &Var) -> ValueInfoProto {
        use tensor_shape_proto::dimension::Value;
        let dimension = |dim: &Dim| {
            let symbol = dim.as_symbol().and_then(|s| self.symbols.get(s.0 as usize));
            let value = match (dim.as_const(), symbol) {
                (Some(size), _) => Some(Value::DimValue(size)),
                (None, Some(name)) => Some(Value::DimParam(name.clone())),
                (None, None) => None,
            };
            Dimension { value, ..Dimension::default() }
        };
        let shape = TensorShapeProto { dim: var.dims.iter().map(dimension).collect(), ..TensorShapeProto::default() };
        let tensor = type_proto::Tensor {
            elem_type: onnx_type(var.dtype),
            shape: Some(shape).into(),
            ..type_proto::Tensor::default()
        };
        let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name: var.name.clone(), type_: Some(ty).into(), ..ValueInfoProto::default() }
    }

    fn node(&self, node: &Node) -> NodeProto {
        NodeProto {
            op_type: node.op.clone(),
            name: format!("{}_{}", node.op, node.outputs.iter().find(|o| !o.is_empty()).map_or("", String::as_str)),
            input: node.inputs.clone(),
            output: node.outputs.clone(),
            attribute: node.attributes.iter().map(|(name, attr)| self.attribute(name, attr)).collect(),
            ..NodeProto::default()
        }
    }

    fn attribute(&self, name: &str, attr: &Attr) -> AttributeProto {
        let mut out = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
        out.type_ = match attr {
            Attr::Int(i) => {
                out.i = *i;
                AttributeType::INT
            }
            Attr::Float(f) => {
                out.f = *f;
                AttributeType::FLOAT
            }
            Attr::Text(s) => {
                out.s = s.as_bytes().to_vec();
                AttributeType::STRING
            }
            Attr::Ints(v) => {
                out.ints.clone_from(v);
                AttributeType::INTS
            }
            Attr::Floats(v) => {
                out.floats.clone_from(v);
                AttributeType::FLOATS
            }
            Attr::Texts(v) => {
                out.strings = v.iter().map(|s| s.as_bytes().to_vec()).collect();
                AttributeType::STRINGS
            }
            Attr::Tensor(t) => {
                out.t = Some(proto("", t)).into();
                AttributeType::TENSOR
            }
            Attr::Graph(body) => {
                out.g = Some(GraphProto {
                    name: "body".to_owned(),
                    input: body.inputs.iter().map(|v| self.info(v)).collect(),
                    output: body.outputs.iter().map(|v| self.info(v)).collect(),
                    node: body.nodes.iter().map(|n| self.node(n)).collect(),
                    ..GraphProto::default()
                })
                .into();
                AttributeType::GRAPH
            }
        }
        .into();
        out
    }
}
