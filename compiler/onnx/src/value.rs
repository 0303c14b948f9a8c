//! Values in files of their own: the `.pb` files of ONNX's tests.
//!
//! `TensorProto` goes through the same way as a model's tensors. `SequenceProto` and
//! `OptionalProto` are not in the schema of `onnx-protobuf`, so their few fields are read here.
//! Nothing in such a file says which of the three it is: the caller must know. Invariant: the
//! nesting is bounded. Maps are not read.
//!
//! Source: `onnx-data.proto`, <https://github.com/onnx/onnx/blob/main/onnx/onnx-data.proto>.

use std::{ops::Range, path::Path};

use onnx_protobuf::{SparseTensorProto, TensorProto};

use crate::{
    Bytes, ErrorKind, ImportError, NamedTensor, Tensor,
    constant::Constants,
    error::Result,
    external::ExternalFiles,
    load::{decode_message, folder_of, map},
    schema::Kind,
    strip::Stripped,
    wire::{FieldValue, Reader},
};

/// The most levels of sequences and optionals in each other.
const MOST_LEVELS: usize = 16;

/// What a value file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A `TensorProto`.
    Tensor,
    /// A `SparseTensorProto`.
    SparseTensor,
    /// A `SequenceProto`.
    Sequence,
    /// An `OptionalProto`.
    Optional,
}

/// The content of a value file.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor; a sparse one is already dense.
    Tensor(Tensor),
    /// A list.
    Sequence(Vec<Value>),
    /// A value or nothing.
    Optional(Option<Box<Value>>),
}

/// Loads a file that holds one `TensorProto`.
pub fn load_tensor(path: impl AsRef<Path>) -> Result<NamedTensor> {
    let path = path.as_ref();
    let bytes = map(path)?;
    let mut loader = Loader { folder: folder_of(path), file: &bytes };
    loader.tensor(0..bytes.len()).map_err(|error| error.in_file(&path.display().to_string()))
}

/// Loads a file that holds one value of the given kind.
pub fn load_value(path: impl AsRef<Path>, kind: ValueKind) -> Result<Value> {
    let path = path.as_ref();
    let bytes = map(path)?;
    let mut loader = Loader { folder: folder_of(path), file: &bytes };
    let value = loader.value(0..bytes.len(), kind, 0);
    value.map_err(|error| error.in_file(&path.display().to_string()))
}

struct Loader<'a> {
    folder: Option<&'a Path>,
    file: &'a Bytes,
}

impl Loader<'_> {
    fn value(&mut self, range: Range<usize>, kind: ValueKind, level: usize) -> Result<Value> {
        if level > MOST_LEVELS {
            return Err(ImportError::new(
                ErrorKind::Limit,
                format!("is nested more than {MOST_LEVELS} levels deep"),
                "",
            ));
        }
        match kind {
            ValueKind::Tensor => Ok(Value::Tensor(self.tensor(range)?.tensor)),
            ValueKind::SparseTensor => Ok(Value::Tensor(self.sparse(range)?)),
            ValueKind::Sequence => Ok(Value::Sequence(self.members(range, level)?)),
            ValueKind::Optional => {
                let mut members = self.members(range, level)?;
                let last = members.pop();
                if !members.is_empty() {
                    return Err(ImportError::malformed("an optional holds several values"));
                }
                Ok(Value::Optional(last.map(Box::new)))
            }
        }
    }

    /// The members of a sequence or optional: both number their fields alike.
    fn members(&mut self, range: Range<usize>, level: usize) -> Result<Vec<Value>> {
        let mut members = Vec::new();
        let mut reader = Reader::new(self.file, range);
        while let Some(field) = reader.next_field()? {
            let kind = match (field.number, &field.value) {
                (3, FieldValue::Content(_)) => ValueKind::Tensor,
                (4, FieldValue::Content(_)) => ValueKind::SparseTensor,
                (5, FieldValue::Content(_)) => ValueKind::Sequence,
                (7, FieldValue::Content(_)) => ValueKind::Optional,
                (1 | 2, _) => continue,
                (number, _) => {
                    return Err(ImportError::new(
                        ErrorKind::Unsupported,
                        format!("field {number} of a sequence or optional is not read"),
                        "only tensors, sequences and optionals are",
                    ));
                }
            };
            members.push(self.value(field.content()?, kind, level + 1)?);
        }
        Ok(members)
    }

    fn tensor(&mut self, range: Range<usize>) -> Result<NamedTensor> {
        let (message, mut constants) = self.strip(range, Kind::Tensor)?;
        constants.named(&decode_message::<TensorProto>(&message)?)
    }

    fn sparse(&mut self, range: Range<usize>) -> Result<Tensor> {
        let (message, mut constants) = self.strip(range, Kind::Sparse)?;
        Ok(constants.sparse(&decode_message::<SparseTensorProto>(&message)?)?.tensor)
    }

    fn strip(&self, range: Range<usize>, kind: Kind) -> Result<(Vec<u8>, Constants)> {
        let stripped = Stripped::new(self.file, range, kind)?;
        let external = ExternalFiles::new(self.folder);
        Ok((stripped.message, Constants::new(self.file.clone(), stripped.tensors, external)))
    }
}
