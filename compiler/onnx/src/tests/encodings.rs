//! Every element type in every field that may hold it.

use onnx_protobuf::TensorProto;

use super::{bytes_of, field, graph, load, load_bytes, model, raw_tensor};
use crate::{ElemType, Tensor};

fn import(tensor: TensorProto) -> Result<Tensor, String> {
    let mut graph = graph(&[], &[], vec![]);
    graph.initializer.push(tensor);
    match load(&model(graph)) {
        Ok(mut model) => Ok(model.graph.initializers.remove(0).tensor),
        Err(error) => Err(error.to_string()),
    }
}

fn typed(elem: ElemType, dims: &[i64], fill: impl FnOnce(&mut TensorProto)) -> Tensor {
    let mut tensor = raw_tensor("t", elem.number(), dims, &[]);
    fill(&mut tensor);
    import(tensor).unwrap_or_else(|error| panic!("{elem}: {error}"))
}

#[test]
fn raw_data_of_every_type() {
    for &elem in ElemType::ALL {
        if elem == ElemType::String {
            continue;
        }
        let len = elem.byte_len(15).unwrap();
        let raw: Vec<u8> = (0..len as u8).collect();
        let tensor = import(raw_tensor("t", elem.number(), &[3, 5], &raw)).unwrap();
        assert_eq!((tensor.elem_type, &tensor.dims[..]), (elem, &[3, 5][..]));
        assert_eq!(tensor.bytes(), raw, "{elem}");
        let long = import(raw_tensor("t", elem.number(), &[3, 5], &vec![0; len + 1]));
        assert!(long.unwrap_err().contains("tensor `t`: holds"), "{elem}");
        assert_eq!(ElemType::from_number(elem.number()), Some(elem));
    }
}

#[test]
fn floats_and_doubles() {
    let numbers = [1.5f32, -2.0, f32::NAN, 0.25];
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let fill = |t: &mut TensorProto| t.float_data = numbers.to_vec();
    assert_eq!(typed(ElemType::Float, &[4], fill).bytes(), raw);
    assert_eq!(typed(ElemType::Complex64, &[2], fill).bytes(), raw);
    let numbers = [1.5f64, -2.0];
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let fill = |t: &mut TensorProto| t.double_data = numbers.to_vec();
    assert_eq!(typed(ElemType::Double, &[2], fill).bytes(), raw);
    assert_eq!(typed(ElemType::Complex128, &[1], fill).bytes(), raw);
}

#[test]
fn integers() {
    let fill = |t: &mut TensorProto| t.int64_data = vec![-1, i64::MIN, 7];
    let raw: Vec<u8> = [-1, i64::MIN, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(typed(ElemType::Int64, &[3], fill).bytes(), raw);
    let fill = |t: &mut TensorProto| t.uint64_data = vec![u64::MAX, 3];
    assert_eq!(typed(ElemType::Uint64, &[2], fill).bytes()[..9], [255, 255, 255, 255, 255, 255, 255, 255, 3]);
    let fill = |t: &mut TensorProto| t.uint64_data = vec![u64::from(u32::MAX), 3];
    assert_eq!(typed(ElemType::Uint32, &[2], fill).bytes(), [255, 255, 255, 255, 3, 0, 0, 0]);
    let fill = |t: &mut TensorProto| t.int32_data = vec![-2, 0x1234];
    assert_eq!(typed(ElemType::Int32, &[2], fill).bytes(), [254, 255, 255, 255, 0x34, 0x12, 0, 0]);
    for elem in [ElemType::Int16, ElemType::Uint16, ElemType::Float16, ElemType::Bfloat16] {
        assert_eq!(typed(elem, &[2], fill).bytes(), [254, 255, 0x34, 0x12], "{elem}");
    }
    let fill = |t: &mut TensorProto| t.int32_data = vec![-2, 1];
    let bytes = [ElemType::Int8, ElemType::Uint8, ElemType::Bool, ElemType::Float8E4M3FN];
    for elem in bytes.into_iter().chain([ElemType::Float8E5M2FNUZ, ElemType::Float8E8M0]) {
        assert_eq!(typed(elem, &[2], fill).bytes(), [254, 1], "{elem}");
    }
    for elem in [ElemType::Int4, ElemType::Uint4, ElemType::Float4E2M1] {
        assert_eq!(typed(elem, &[3], fill).bytes(), [254, 1], "{elem}");
    }
    for elem in [ElemType::Int2, ElemType::Uint2] {
        assert_eq!(typed(elem, &[7], fill).bytes(), [254, 1], "{elem}");
    }
}

#[test]
fn six_bit_elements_are_packed_from_one_to_a_number() {
    let fill = |t: &mut TensorProto| t.int32_data = vec![0x3f, 0x01, 0x20, 0x15, 0x2a];
    let packed = typed(ElemType::Float6E2M3, &[5], fill);
    let (x0, x1, x2, x3) = (0x3fu8, 0x01u8, 0x20u8, 0x15u8);
    let expected = [x0 | (x1 & 3) << 6, x1 >> 2 | (x2 & 15) << 4, x2 >> 4 | x3 << 2, 0x2a];
    assert_eq!(packed.bytes(), expected);
}

#[test]
fn strings_are_bytes() {
    let fill = |t: &mut TensorProto| t.string_data = vec![vec![0xff, 0], vec![], b"abc".to_vec()];
    let tensor = typed(ElemType::String, &[3], fill);
    assert_eq!(tensor.data.strings(), [vec![0xff, 0], vec![], b"abc".to_vec()]);
    let mut short = raw_tensor("t", 8, &[3], &[]);
    short.string_data = vec![vec![]];
    assert!(import(short).unwrap_err().contains("holds 1 strings, its shape asks for 3"));
}

#[test]
fn lists_may_be_unpacked_and_in_pieces() {
    // dims 3, data_type float, one unpacked element, then two packed ones.
    let mut tensor = vec![8, 3, 16, 1, 4 << 3 | 5];
    tensor.extend(1f32.to_le_bytes());
    tensor.extend(field(4, &[2f32.to_le_bytes(), 3f32.to_le_bytes()].concat()));
    let mut ints = vec![8, 3, 16, 7, 7 << 3, 5];
    ints.extend(field(7, &[6, 7]));
    let graph = [field(5, &tensor), field(5, &[field(8, b"i"), ints].concat())].concat();
    let whole = model(super::graph(&[], &[], vec![]));
    let mut bytes = bytes_of(&whole);
    bytes.extend(field(7, &graph));
    // The first tensor has no name, which the check of the graph refuses, so only decode.
    let model = crate::Model::decode(crate::Bytes::new(bytes.clone()), "m.onnx", None).unwrap();
    let floats: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(model.graph.initializers[0].tensor.bytes(), floats);
    let ints: Vec<u8> = [5i64, 6, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(model.graph.initializers[1].tensor.bytes(), ints);
    assert!(load_bytes(bytes).unwrap_err().to_string().contains("has no name"));
}

#[test]
fn impossible_shapes_are_refused() {
    let refused = |dims: &[i64]| import(raw_tensor("t", 1, dims, &[])).unwrap_err();
    assert!(refused(&[-1]).contains("negative"));
    assert!(refused(&[i64::MAX, 2]).contains("overflows"));
    assert!(refused(&[i64::MAX, 0, 2]).contains("overflows"));
    assert!(refused(&[1 << 50]).contains("holds 0 bytes"));
    assert!(refused(&[1; 65]).contains("65 dimensions"));
    assert!(import(raw_tensor("t", 1, &[0, 7], &[])).unwrap().bytes().is_empty());
    assert!(import(raw_tensor("t", 99, &[1], &[0])).unwrap_err().contains("type number 99"));
    assert!(import(raw_tensor("t", 0, &[1], &[0])).unwrap_err().contains("no element type"));
}

#[test]
fn elements_in_the_wrong_place_are_refused() {
    let mut twice = raw_tensor("t", 1, &[1], &[0; 4]);
    twice.float_data = vec![1.0];
    assert!(import(twice).unwrap_err().contains("twice"));
    let mut wrong = raw_tensor("t", 1, &[1], &[]);
    wrong.int32_data = vec![1];
    assert!(import(wrong).unwrap_err().contains("not in the field"));
    let mut both = raw_tensor("t", 1, &[1], &[]);
    both.float_data = vec![1.0];
    both.int64_data = vec![1];
    assert!(import(both).unwrap_err().contains("two types"));
}

#[test]
fn weights_stay_in_the_file_at_any_alignment() {
    let folder = tempfile::tempdir().unwrap();
    for shift in 0..9 {
        let raw: Vec<u8> = (0..4096u32).map(|x| x as u8).collect();
        let mut graph = graph(&[], &[], vec![]);
        graph.name = "x".repeat(shift);
        graph.initializer.push(raw_tensor("t", 1, &[1024], &raw));
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, bytes_of(&model(graph))).unwrap();
        let model = crate::Model::load(&path).unwrap();
        let tensor = &model.graph.initializers[0].tensor;
        assert_eq!(tensor.bytes(), raw);
        let file = model.source.as_ptr_range();
        assert!(file.contains(&tensor.bytes().as_ptr()), "the weights were copied");
        assert!(model.source.is_mapped());
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn files_past_two_gigabytes_load() {
    use std::io::{Seek, SeekFrom, Write};
    const LEN: u64 = 5 << 29;
    let varint = |value: u64| {
        let mut out = Vec::new();
        crate::wire::put_varint(&mut out, value);
        out
    };
    // The elements are a hole in the file; the last byte is written.
    let tensor = [&[8][..], &varint(LEN), &[16, 2], &field(8, b"w"), &[9 << 3 | 2], &varint(LEN)];
    let tensor = tensor.concat();
    let graph = [vec![5 << 3 | 2], varint(tensor.len() as u64 + LEN), tensor].concat();
    let mut head = bytes_of(&model(super::graph(&[], &[], vec![])));
    head.extend([vec![7 << 3 | 2], varint(graph.len() as u64 + LEN), graph].concat());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&head).unwrap();
    file.seek(SeekFrom::Start(head.len() as u64 + LEN - 1)).unwrap();
    file.write_all(&[7]).unwrap();
    let model = crate::Model::load(file.path()).unwrap();
    let bytes = model.graph.initializers[0].tensor.bytes();
    assert_eq!((bytes.len() as u64, bytes[0], bytes.last()), (LEN, 0, Some(&7)));
}
