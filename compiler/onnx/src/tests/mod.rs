//! Tests of the import, on models built with the structs of `onnx-protobuf`.

use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, type_proto,
};

use crate::{Bytes, ImportError, Model};

mod constants;
mod encodings;
mod external;
mod functions;
mod graphs;
mod hostile;
mod values;

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

fn value(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: 1, ..type_proto::Tensor::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), type_: Some(ty).into(), ..ValueInfoProto::default() }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: domain.to_owned(), version, ..OperatorSetIdProto::default() }
}

fn raw_tensor(name: &str, data_type: i32, dims: &[i64], raw: &[u8]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type,
        dims: dims.to_vec(),
        raw_data: raw.to_vec(),
        ..TensorProto::default()
    }
}

fn graph(inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto {
        name: "g".to_owned(),
        input: inputs.iter().map(|name| value(name)).collect(),
        output: outputs.iter().map(|name| value(name)).collect(),
        node: nodes,
        ..GraphProto::default()
    }
}

fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::GRAPH.into(),
        g: Some(graph).into(),
        ..AttributeProto::default()
    }
}

fn int_attribute(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), type_: AttributeType::INT.into(), i, ..AttributeProto::default() }
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 10,
        opset_import: vec![opset("", 21), opset("local", 1)],
        graph: Some(graph).into(),
        ..ModelProto::default()
    }
}

fn bytes_of(message: &impl Message) -> Vec<u8> {
    message.write_to_bytes().expect("a test message encodes")
}

fn load(model: &ModelProto) -> Result<Model, ImportError> {
    load_bytes(bytes_of(model))
}

fn load_bytes(bytes: Vec<u8>) -> Result<Model, ImportError> {
    Model::parse(Bytes::new(bytes), "m.onnx", None)
}

/// The message of the refusal of `model`, which must be one line that names the file.
fn refusal(model: &ModelProto) -> String {
    let line = load(model).expect_err("the model is refused").to_string();
    assert!(line.starts_with("m.onnx: ") && !line.contains('\n'), "{line}");
    line
}

/// Bytes of one length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    crate::wire::put_varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}
