//! `TensorProto` and `SparseTensorProto` to tensors.
//!
//! Invariant: the protobuf message given here went through `strip`, so its `raw_data` is the
//! number of a tensor in the file and its other data fields are empty.

use std::ops::Range;

use onnx_protobuf::{SparseTensorProto, TensorProto, tensor_proto::DataLocation};

use crate::{
    Bytes, ElemType, ErrorKind, ImportError, NamedTensor, Tensor, TensorData,
    error::Result,
    external::ExternalFiles,
    payload,
    sparse::{MOST_DENSE_BYTES, densify},
    strip,
    tensor::checked_count,
};

/// Where tensors find their elements.
pub(crate) struct Constants {
    pub(crate) file: Bytes,
    pub(crate) tensors: Vec<Range<usize>>,
    pub(crate) external: ExternalFiles,
    dense_left: usize,
}

impl Constants {
    /// The tensors of `file`, as `strip` numbered them.
    pub(crate) fn new(file: Bytes, tensors: Vec<Range<usize>>, external: ExternalFiles) -> Self {
        Constants { file, tensors, external, dense_left: MOST_DENSE_BYTES }
    }

    /// The tensor of a stripped message.
    pub(crate) fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor> {
        self.nameless(proto).map_err(|error| error.at("tensor", &proto.name))
    }

    /// The tensor of a stripped message, with its name.
    pub(crate) fn named(&mut self, proto: &TensorProto) -> Result<NamedTensor> {
        Ok(NamedTensor { name: proto.name.clone(), tensor: self.tensor(proto)? })
    }

    /// The dense tensor of a stripped sparse message; its values carry the name.
    pub(crate) fn sparse(&mut self, proto: &SparseTensorProto) -> Result<NamedTensor> {
        let (Some(values), Some(indices)) = (proto.values.as_ref(), proto.indices.as_ref()) else {
            return Err(ImportError::malformed("a sparse tensor has no values or no indices"));
        };
        let named = self.named(values)?;
        let indices = self.tensor(indices)?;
        let tensor = densify(&named.tensor, &indices, &proto.dims, &mut self.dense_left)
            .map_err(|error| error.at("tensor", &named.name))?;
        Ok(NamedTensor { name: named.name, tensor })
    }

    fn nameless(&mut self, proto: &TensorProto) -> Result<Tensor> {
        let elem_type = ElemType::from_number(proto.data_type).ok_or_else(|| unknown_type(proto.data_type))?;
        let (dims, count) = checked_count(&proto.dims)?;
        let data = match proto.data_location.enum_value() {
            Ok(DataLocation::DEFAULT) => {
                let range = strip::find(&self.tensors, &proto.raw_data)
                    .ok_or_else(|| ImportError::malformed("it has no elements"))?;
                payload::read(&self.file, range.clone(), elem_type, count)?
            }
            Ok(DataLocation::EXTERNAL) => {
                if elem_type == ElemType::String {
                    return Err(ImportError::malformed("strings cannot be external data"));
                }
                let expected =
                    elem_type.byte_len(count).ok_or_else(|| ImportError::malformed("its size in bytes overflows"))?;
                TensorData::Bytes(self.external.read(&proto.external_data, expected)?)
            }
            Err(number) => {
                return Err(ImportError::new(
                    ErrorKind::Unsupported,
                    format!("its data location {number} is not known"),
                    "save the model with its weights inside",
                ));
            }
        };
        Ok(Tensor { elem_type, dims, data })
    }
}

/// The error for the number of an element type that is newer than this list.
pub(crate) fn unknown_type(number: i32) -> ImportError {
    if number == 0 {
        return ImportError::malformed("it has no element type");
    }
    let what = format!("element type number {number} is not known");
    ImportError::new(ErrorKind::Unsupported, what, "export it with a type that ONNX 1.23 has")
}
