//! Cases as files: the format of ONNX's backend tests, and its twin for graphs in core operations.
//!
//! A case is a folder with `model.onnx` or `graph.nnc`, and folders `test_data_set_N` with `input_J.pb`; `output_J.pb` are
//! the expected values where another implementation gave some. The reference interpreter answers for the rest.

use std::fs;
use std::path::{Path, PathBuf};

use nnc::errors::{Failure, Result};
use nnc_ir::{DType, Tensor};
use onnx_protobuf::{Message, TensorProto};

/// The name of an ONNX model in a case's folder.
pub const MODEL: &str = "model.onnx";
/// The name of a graph in a case's folder.
pub const GRAPH: &str = "graph.nnc";

/// What a case compiles.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An ONNX file.
    Model(Vec<u8>),
    /// The text of a graph.
    Graph(String),
}

/// A case in memory.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it compiles.
    pub source: Source,
    /// The inputs of each run.
    pub sets: Vec<Vec<Tensor>>,
    /// The interpreter alone knows what is right.
    pub lone: bool,
}

/// One run as read from files.
pub struct Set {
    /// The inputs, by position.
    pub inputs: Vec<Tensor>,
    /// The expected outputs, where there are any.
    pub expected: Option<Vec<Tensor>>,
}

impl Case {
    /// Writes the case into a folder, over what is there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(folder);
        let put = |path: PathBuf, bytes: &[u8]| {
            let done = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
            done.map_err(|e| Failure::io(&path, "cannot be written", &e))
        };
        match &self.source {
            Source::Model(bytes) => put(folder.join(MODEL), bytes)?,
            Source::Graph(text) => put(folder.join(GRAPH), text.as_bytes())?,
        }
        for (i, inputs) in self.sets.iter().enumerate() {
            let set = folder.join(format!("test_data_set_{i}"));
            for (j, input) in inputs.iter().enumerate() {
                put(set.join(format!("input_{j}.pb")), &encode(&proto("", input)))?;
            }
            put(set.join(".keep"), b"").and_then(|()| {
                let keep = set.join(".keep");
                fs::remove_file(&keep).map_err(|e| Failure::io(&keep, "cannot be removed", &e))
            })?;
        }
        Ok(())
    }
}

/// The runs of a case's folder, in order.
///
/// # Errors
/// When a tensor cannot be read.
pub fn sets(folder: &Path) -> Result<Vec<Set>> {
    let mut sets = vec![];
    loop {
        let set = folder.join(format!("test_data_set_{}", sets.len()));
        if !set.is_dir() {
            return Ok(sets);
        }
        let inputs = tensors(&set, "input")?;
        let expected = set.join("output_0.pb").is_file().then(|| tensors(&set, "output")).transpose()?;
        sets.push(Set { inputs, expected });
    }
}

fn tensors(folder: &Path, what: &str) -> Result<Vec<Tensor>> {
    let files = (0..).map(|j| folder.join(format!("{what}_{j}.pb"))).take_while(|file| file.is_file());
    let read = |file: PathBuf| {
        let named = nnc_onnx::load_tensor(&file)?;
        nnc_ops::import_tensor(&named.tensor).map_err(|e| Failure::user(format!("{}: {e:?}", file.display())))
    };
    files.map(read).collect()
}

/// A tensor as ONNX writes it.
pub fn proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: onnx_type(tensor.dtype),
        dims: tensor.shape.iter().map(|&d| d as i64).collect(),
        raw_data: tensor.data.bytes().to_vec(),
        ..TensorProto::default()
    }
}

/// A message's bytes.
pub fn encode(message: &impl Message) -> Vec<u8> {
    // Writing to memory fails for messages of 2 GiB alone.
    message.write_to_bytes().unwrap_or_default()
}

/// ONNX's number of an element type.
pub fn onnx_type(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
    }
}
