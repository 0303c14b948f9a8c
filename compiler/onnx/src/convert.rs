//! Decoded protobuf messages to the structs of `model`.
//!
//! Invariant: nothing is dropped silently: a message that states something this crate cannot
//! represent is an error. Exception: a value whose stated type is unknown or incomplete has no
//! type, since shape inference finds it anyway.

use std::collections::BTreeMap;

use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::dimension, type_proto,
};

use crate::{
    Attribute, DimInfo, ElemType, ErrorKind, Function, Graph, ImportError, Node, TypeInfo, ValueInfo,
    constant::Constants,
    error::{Result, clip},
};

/// Versions by domain.
pub(crate) type Opsets = BTreeMap<String, i64>;

/// The operator sets a model or function imports.
pub(crate) fn opsets(protos: &[OperatorSetIdProto]) -> Result<Opsets> {
    let mut opsets = Opsets::new();
    for proto in protos {
        let domain = domain(&proto.domain);
        let other = opsets.insert(domain.to_owned(), proto.version);
        if other.is_some_and(|other| other != proto.version) {
            return Err(ImportError::malformed(format!("imports two versions of the operator set `{}`", clip(domain))));
        }
    }
    Ok(opsets)
}

/// The domain as it is kept: `ai.onnx` has two spellings.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Converts the parts of one file.
pub(crate) struct Converter {
    pub(crate) constants: Constants,
}

impl Converter {
    /// A graph and all below it.
    pub(crate) fn graph(&mut self, proto: &GraphProto, opsets: &Opsets) -> Result<Graph> {
        for info in proto.input.iter().chain(&proto.output) {
            if let Some(size) = negative_dimension(info) {
                return Err(ImportError::malformed(format!("dimension {size} is negative")).at("value", &info.name));
            }
        }
        let mut initializers = Vec::with_capacity(proto.initializer.len());
        for constant in &proto.initializer {
            initializers.push(self.constants.named(constant)?);
        }
        for constant in &proto.sparse_initializer {
            initializers.push(self.constants.sparse(constant)?);
        }
        let mut value_info = BTreeMap::new();
        for info in &proto.value_info {
            if let Some(ty) = type_of(info) {
                value_info.insert(info.name.clone(), ty);
            }
        }
        Ok(Graph {
            name: proto.name.clone(),
            inputs: proto.input.iter().map(value).collect(),
            outputs: proto.output.iter().map(value).collect(),
            value_info,
            initializers,
            nodes: self.nodes(&proto.node, opsets)?,
        })
    }

    /// A model-local function, with the versions of its own imports.
    pub(crate) fn function(&mut self, proto: &FunctionProto, model: &Opsets) -> Result<Function> {
        let own = opsets(&proto.opset_import)?;
        let mut in_force = model.clone();
        in_force.extend(own.clone());
        let mut defaults = BTreeMap::new();
        for attribute in &proto.attribute_proto {
            defaults.insert(attribute.name.clone(), self.attribute(attribute, &in_force)?);
        }
        Ok(Function {
            domain: domain(&proto.domain).to_owned(),
            name: proto.name.clone(),
            overload: proto.overload.clone(),
            inputs: proto.input.clone(),
            outputs: proto.output.clone(),
            attributes: proto.attribute.clone(),
            defaults,
            nodes: self.nodes(&proto.node, &in_force)?,
            opset_imports: own,
        })
    }

    fn nodes(&mut self, protos: &[NodeProto], opsets: &Opsets) -> Result<Vec<Node>> {
        let mut nodes = Vec::with_capacity(protos.len());
        for (place, proto) in protos.iter().enumerate() {
            let name = match proto.name.as_str() {
                "" => format!("{}#{place}", proto.op_type),
                name => name.to_owned(),
            };
            match self.node(proto, name.clone(), opsets) {
                Ok(node) => nodes.push(node),
                Err(error) => return Err(error.at("node", &name)),
            }
        }
        Ok(nodes)
    }

    fn node(&mut self, proto: &NodeProto, name: String, opsets: &Opsets) -> Result<Node> {
        if proto.op_type.is_empty() {
            return Err(ImportError::malformed("has no operator"));
        }
        let domain = domain(&proto.domain);
        let opset = match opsets.get(domain) {
            Some(version) => *version,
            None if domain.is_empty() => {
                return Err(ImportError::malformed("the model imports no ai.onnx operator set"));
            }
            None => 1,
        };
        let mut attributes = BTreeMap::new();
        for attribute in &proto.attribute {
            let value = self.attribute(attribute, opsets)?;
            if attributes.insert(attribute.name.clone(), value).is_some() {
                return Err(ImportError::malformed(format!("has the attribute `{}` twice", clip(&attribute.name))));
            }
        }
        Ok(Node {
            name,
            op_type: proto.op_type.clone(),
            domain: domain.to_owned(),
            overload: proto.overload.clone(),
            opset,
            inputs: proto.input.clone(),
            outputs: proto.output.clone(),
            attributes,
        })
    }

    fn attribute(&mut self, proto: &AttributeProto, opsets: &Opsets) -> Result<Attribute> {
        if !proto.ref_attr_name.is_empty() {
            return Ok(Attribute::Reference(proto.ref_attr_name.clone()));
        }
        let missing = || ImportError::malformed(format!("the attribute `{}` has no value", clip(&proto.name)));
        let kind = proto.type_.enum_value().map_err(|number| {
            ImportError::new(
                ErrorKind::Unsupported,
                format!("the attribute `{}` has the unknown type {number}", clip(&proto.name)),
                "export the model for an older version of ONNX",
            )
        })?;
        Ok(match stated_or_guessed(kind, proto) {
            AttributeType::UNDEFINED => return Err(missing()),
            AttributeType::FLOAT => Attribute::Float(proto.f),
            AttributeType::INT => Attribute::Int(proto.i),
            AttributeType::STRING => Attribute::String(proto.s.clone()),
            AttributeType::TENSOR => {
                let tensor = proto.t.as_ref().ok_or_else(missing)?;
                Attribute::Tensor(self.constants.tensor(tensor)?)
            }
            AttributeType::GRAPH => {
                let graph = proto.g.as_ref().ok_or_else(missing)?;
                Attribute::Graph(Box::new(self.graph(graph, opsets)?))
            }
            AttributeType::SPARSE_TENSOR => {
                let tensor = proto.sparse_tensor.as_ref().ok_or_else(missing)?;
                Attribute::SparseTensor(self.constants.sparse(tensor)?.tensor)
            }
            AttributeType::TYPE_PROTO => {
                let ty = proto.tp.as_ref().and_then(type_info);
                Attribute::Type(ty.ok_or_else(missing)?)
            }
            AttributeType::FLOATS => Attribute::Floats(proto.floats.clone()),
            AttributeType::INTS => Attribute::Ints(proto.ints.clone()),
            AttributeType::STRINGS => Attribute::Strings(proto.strings.clone()),
            AttributeType::TENSORS => {
                let tensors = proto.tensors.iter();
                Attribute::Tensors(tensors.map(|t| self.constants.tensor(t)).collect::<Result<_>>()?)
            }
            AttributeType::GRAPHS => {
                let graphs = proto.graphs.iter();
                Attribute::Graphs(graphs.map(|g| self.graph(g, opsets)).collect::<Result<_>>()?)
            }
            AttributeType::SPARSE_TENSORS => {
                let dense = |t| Ok(self.constants.sparse(t)?.tensor);
                let tensors = proto.sparse_tensors.iter();
                Attribute::SparseTensors(tensors.map(dense).collect::<Result<_>>()?)
            }
            AttributeType::TYPE_PROTOS => {
                let types = proto.type_protos.iter().map(type_info);
                Attribute::Types(types.collect::<Option<_>>().ok_or_else(missing)?)
            }
        })
    }
}

/// The type of an attribute; files older than IR version 2 do not state it.
fn stated_or_guessed(stated: AttributeType, proto: &AttributeProto) -> AttributeType {
    if stated != AttributeType::UNDEFINED {
        return stated;
    }
    let held = [
        (proto.f != 0.0, AttributeType::FLOAT),
        (proto.i != 0, AttributeType::INT),
        (!proto.s.is_empty(), AttributeType::STRING),
        (proto.t.is_some(), AttributeType::TENSOR),
        (proto.g.is_some(), AttributeType::GRAPH),
        (!proto.floats.is_empty(), AttributeType::FLOATS),
        (!proto.ints.is_empty(), AttributeType::INTS),
        (!proto.strings.is_empty(), AttributeType::STRINGS),
        (!proto.tensors.is_empty(), AttributeType::TENSORS),
        (!proto.graphs.is_empty(), AttributeType::GRAPHS),
    ];
    let mut held = held.into_iter().filter(|(is, _)| *is);
    match (held.next(), held.next()) {
        (Some((_, kind)), None) => kind,
        _ => AttributeType::UNDEFINED,
    }
}

fn value(proto: &ValueInfoProto) -> ValueInfo {
    ValueInfo { name: proto.name.clone(), ty: type_of(proto) }
}

fn type_of(proto: &ValueInfoProto) -> Option<TypeInfo> {
    proto.type_.as_ref().and_then(type_info)
}

fn type_info(proto: &TypeProto) -> Option<TypeInfo> {
    use type_proto::Value;
    Some(match proto.value.as_ref()? {
        Value::TensorType(tensor) => TypeInfo::Tensor {
            elem_type: ElemType::from_number(tensor.elem_type)?,
            shape: tensor.shape.as_ref().map(shape),
        },
        Value::SparseTensorType(tensor) => TypeInfo::SparseTensor {
            elem_type: ElemType::from_number(tensor.elem_type)?,
            shape: tensor.shape.as_ref().map(shape),
        },
        Value::SequenceType(of) => TypeInfo::Sequence(Box::new(of.elem_type.as_ref().and_then(type_info)?)),
        Value::OptionalType(of) => TypeInfo::Optional(Box::new(of.elem_type.as_ref().and_then(type_info)?)),
        Value::MapType(of) => TypeInfo::Map {
            key: ElemType::from_number(of.key_type)?,
            value: Box::new(of.value_type.as_ref().and_then(type_info)?),
        },
        _ => return None,
    })
}

/// A stated size below 0, if there is one.
fn negative_dimension(info: &ValueInfoProto) -> Option<i64> {
    let Some(type_proto::Value::TensorType(tensor)) = &info.type_.value else { return None };
    tensor.shape.dim.iter().find_map(|dim| match dim.value {
        Some(dimension::Value::DimValue(size)) if size < 0 => Some(size),
        _ => None,
    })
}

fn shape(proto: &TensorShapeProto) -> Vec<DimInfo> {
    let dim = |dim: &onnx_protobuf::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(size)) => u64::try_from(*size).map_or(DimInfo::Unknown, DimInfo::Size),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => DimInfo::Symbol(name.clone()),
        _ => DimInfo::Unknown,
    };
    proto.dim.iter().map(dim).collect()
}
