//! Sparse tensors and tensors in attributes.

use onnx_protobuf::{AttributeProto, SparseTensorProto, TensorProto, attribute_proto::AttributeType};

use super::{graph, load, model, node, raw_tensor, refusal};
use crate::Attribute;

fn sparse(indices: &[i64], index_dims: &[i64], dims: &[i64]) -> SparseTensorProto {
    let values = TensorProto {
        float_data: (1..=index_dims[0]).map(|x| x as f32).collect(),
        ..raw_tensor("s", 1, &index_dims[..1], &[])
    };
    let indices = TensorProto { int64_data: indices.to_vec(), ..raw_tensor("", 7, index_dims, &[]) };
    SparseTensorProto {
        values: Some(values).into(),
        indices: Some(indices).into(),
        dims: dims.to_vec(),
        ..SparseTensorProto::default()
    }
}

fn with(sparse: SparseTensorProto) -> onnx_protobuf::ModelProto {
    let mut graph = graph(&[], &["s"], vec![]);
    graph.sparse_initializer.push(sparse);
    model(graph)
}

#[test]
fn sparse_initialisers_become_dense() {
    let expected: Vec<u8> = [0f32, 1.0, 0.0, 0.0, 0.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for sparse in [sparse(&[1, 5], &[2], &[2, 3]), sparse(&[0, 1, 1, 2], &[2, 2], &[2, 3])] {
        let model = load(&with(sparse)).unwrap();
        let constant = &model.graph.initializers[0];
        assert_eq!((constant.name.as_str(), &constant.tensor.dims[..]), ("s", &[2, 3][..]));
        assert_eq!(constant.tensor.bytes(), expected);
    }
}

#[test]
fn impossible_sparse_tensors_are_refused() {
    let refused = |indices: &[i64], index_dims: &[i64], dims: &[i64]| refusal(&with(sparse(indices, index_dims, dims)));
    assert!(refused(&[1, 6], &[2], &[2, 3]).contains("out of range"));
    assert!(refused(&[-1, 5], &[2], &[2, 3]).contains("out of range"));
    assert!(refused(&[0, 3, 1, 2], &[2, 2], &[2, 3]).contains("out of range"));
    assert!(refused(&[5, 1], &[2], &[2, 3]).contains("ascend"));
    assert!(refused(&[1, 1], &[2], &[2, 3]).contains("ascend"));
    assert!(refused(&[1, 2, 3], &[1, 3], &[2, 3]).contains("indices of shape"));
    assert!(refused(&[1], &[1], &[1 << 40]).contains("as dense ones"));
    assert!(refused(&[1], &[1], &[0]).contains("out of range"));
}

#[test]
fn attributes_of_every_kind() {
    let named = |name: &str, kind: AttributeType| AttributeProto {
        name: name.to_owned(),
        type_: kind.into(),
        ..AttributeProto::default()
    };
    let mut float = named("f", AttributeType::FLOAT);
    float.f = 0.5;
    let mut ints = named("ints", AttributeType::INTS);
    ints.ints = vec![1, -1];
    let mut text = named("s", AttributeType::STRING);
    text.s = vec![0xff];
    let mut tensor = named("t", AttributeType::TENSOR);
    tensor.t = Some(raw_tensor("", 2, &[2], &[3, 4])).into();
    let mut dense = named("sparse", AttributeType::SPARSE_TENSOR);
    dense.sparse_tensor = Some(sparse(&[1], &[1], &[2])).into();
    let mut untyped = named("old", AttributeType::UNDEFINED);
    untyped.i = 9;
    let mut constant = node("Constant", &[], &["y"]);
    constant.attribute = vec![float, ints, text, tensor, dense, untyped];
    constant.attribute.push(named("empty", AttributeType::FLOATS));
    let model = load(&model(graph(&[], &["y"], vec![constant]))).unwrap();
    let get = |name: &str| &model.graph.nodes[0].attributes[name];
    assert!(matches!(get("f"), Attribute::Float(0.5)));
    assert!(matches!(get("ints"), Attribute::Ints(ints) if ints[..] == [1, -1]));
    assert!(matches!(get("s"), Attribute::String(text) if text[..] == [0xff]));
    assert!(matches!(get("t"), Attribute::Tensor(tensor) if tensor.bytes() == [3, 4]));
    assert!(matches!(get("sparse"), Attribute::SparseTensor(dense) if dense.dims == [2]));
    assert!(matches!(get("old"), Attribute::Int(9)));
    assert!(matches!(get("empty"), Attribute::Floats(none) if none.is_empty()));
}

#[test]
fn attributes_without_value_are_refused() {
    let mut constant = node("Constant", &[], &["y"]);
    constant.attribute.push(AttributeProto {
        name: "value".to_owned(),
        type_: AttributeType::TENSOR.into(),
        ..AttributeProto::default()
    });
    let line = refusal(&model(graph(&[], &["y"], vec![constant.clone()])));
    assert!(line.contains("node `Constant#0`: the attribute `value` has no value"), "{line}");
    constant.attribute[0].t = Some(raw_tensor("", 1, &[1], &[0; 4])).into();
    let again = constant.attribute[0].clone();
    constant.attribute.push(again);
    assert!(refusal(&model(graph(&[], &["y"], vec![constant]))).contains("`value` twice"));
}
