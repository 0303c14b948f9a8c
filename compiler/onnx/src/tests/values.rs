//! Value files.

use std::path::PathBuf;

use super::{bytes_of, field, raw_tensor};
use crate::{Value, ValueKind, load_tensor, load_value};

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input_0.pb");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn tensors() {
    let (_folder, path) = file(&bytes_of(&raw_tensor("x", 2, &[2], &[1, 2])));
    let named = load_tensor(&path).unwrap();
    assert_eq!((named.name.as_str(), named.tensor.bytes()), ("x", &[1, 2][..]));
    let value = load_value(&path, ValueKind::Tensor).unwrap();
    assert!(matches!(value, Value::Tensor(tensor) if tensor.dims == [2]));
    let (_folder, path) = file(&bytes_of(&raw_tensor("x", 2, &[2], &[1])));
    let line = load_tensor(&path).unwrap_err().to_string();
    assert!(line.contains("input_0.pb: tensor `x`: holds 1 bytes"), "{line}");
    assert!(load_tensor("gone.pb").unwrap_err().to_string().starts_with("gone.pb: cannot be read"));
}

#[test]
fn sequences_and_optionals() {
    let tensor = |x: u8| field(3, &bytes_of(&raw_tensor("", 2, &[1], &[x])));
    let sequence = [field(1, b"s"), vec![16, 1], tensor(1), tensor(2)].concat();
    let (_folder, path) = file(&sequence);
    let Value::Sequence(members) = load_value(&path, ValueKind::Sequence).unwrap() else {
        panic!("a sequence was asked for");
    };
    assert!(matches!(&members[1], Value::Tensor(tensor) if tensor.bytes() == [2]));
    let (_folder, path) = file(&[vec![16, 3], field(5, &sequence)].concat());
    let value = load_value(&path, ValueKind::Optional).unwrap();
    let Value::Optional(Some(inner)) = value else { panic!("the optional is filled") };
    assert!(matches!(*inner, Value::Sequence(members) if members.len() == 2));
    let (_folder, path) = file(&[16, 0]);
    assert!(matches!(load_value(&path, ValueKind::Optional), Ok(Value::Optional(None))));
    let (_folder, path) = file(&field(6, b""));
    let line = load_value(&path, ValueKind::Sequence).unwrap_err().to_string();
    assert!(line.contains("field 6"), "{line}");
    let deep = (0..40).fold(Vec::new(), |inner, _| field(5, &inner));
    let (_folder, path) = file(&deep);
    assert!(load_value(&path, ValueKind::Sequence).unwrap_err().to_string().contains("levels deep"));
}
