//! What the tests of the command share: tiny models, and the command with what it printed.

#![allow(dead_code)] // Each test program uses a part.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nnc_runtime::TensorRef;
use onnx_protobuf::tensor_shape_proto::{self, Dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `nnc` with these arguments.
pub fn nnc<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    outcome(Command::new(env!("CARGO_BIN_EXE_nnc")).args(arguments))
}

/// Runs a command.
pub fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().expect("it starts");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

impl Outcome {
    /// Standard output of a command that did what it was asked to.
    pub fn ok(self) -> String {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// The one line of a command that refused.
    pub fn refused(self, code: i32) -> String {
        let line = self.stderr.strip_suffix('\n').unwrap_or(&self.stderr);
        let one_line = line.starts_with("error: ") && !line.contains('\n');
        assert!(self.code == Some(code) && one_line && self.stdout.is_empty(), "{self:?}");
        line.to_owned()
    }
}

/// A folder with a model in it.
pub struct Case {
    pub folder: tempfile::TempDir,
}

impl Case {
    pub fn new(model: &ModelProto) -> Case {
        Case::from_bytes(&model.write_to_bytes().expect("a test model encodes"))
    }

    pub fn from_bytes(bytes: &[u8]) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("m.onnx"), bytes).expect("a file");
        Case { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `nnc compile m.onnx -o out.so` and more arguments.
    pub fn compile(&self, more: &[&str]) -> Outcome {
        self.compile_to("out.so", more)
    }

    pub fn compile_to(&self, output: &str, more: &[&str]) -> Outcome {
        let output = self.path(output);
        let fixed = [OsStr::new("compile"), self.model().as_os_str(), OsStr::new("-o"), output.as_os_str()]
            .map(OsStr::to_owned);
        nnc(fixed.into_iter().chain(more.iter().map(|m| OsStr::new(m).to_owned())))
    }

    pub fn model(&self) -> PathBuf {
        self.path("m.onnx")
    }

    /// The names in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    /// Compiling is refused with this code, in one line that names the model and contains `words`; no file appears.
    pub fn refused(&self, code: i32, words: &[&str]) -> String {
        let before = self.files();
        let line = self.compile(&[]).refused(code);
        assert!(line.contains("m.onnx"), "{line}");
        for word in words {
            assert!(line.contains(word), "`{word}` is not in: {line}");
        }
        assert_eq!(self.files(), before);
        line
    }

    /// Writes an archive of arrays.
    pub fn npz(&self, name: &str, arrays: &[(&str, TensorRef<'_>)]) -> PathBuf {
        let path = self.path(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        nnc::npz::write(&mut file, arrays).expect("an archive");
        file.flush().expect("written");
        path
    }
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A dimension: `3`, a name, or `?` for one of which nothing is said.
fn dimension(text: &str) -> Dimension {
    use tensor_shape_proto::dimension::Value;
    let value = match text.parse() {
        Ok(size) => Some(Value::DimValue(size)),
        Err(_) if text == "?" => None,
        Err(_) => Some(Value::DimParam(text.to_owned())),
    };
    Dimension { value, ..Dimension::default() }
}

/// An input or output: `value("x", 1, "batch 3")`.
pub fn value(name: &str, elem_type: i32, shape: &str) -> ValueInfoProto {
    let shape =
        TensorShapeProto { dim: shape.split_whitespace().map(dimension).collect(), ..TensorShapeProto::default() };
    let tensor = type_proto::Tensor { elem_type, shape: Some(shape).into(), ..type_proto::Tensor::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), type_: Some(ty).into(), ..ValueInfoProto::default() }
}

/// A node: `node("Add", "x y -> z")`, named after its first output.
pub fn node(op: &str, signature: &str) -> NodeProto {
    let (inputs, outputs) = signature.split_once("->").expect("an arrow");
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let output = names(outputs);
    NodeProto {
        op_type: op.to_owned(),
        name: format!("make_{}", output[0]),
        input: names(inputs),
        output,
        ..NodeProto::default()
    }
}

/// The node with an integer attribute.
pub fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let attribute = AttributeProto {
        name: name.to_owned(),
        type_: onnx_protobuf::attribute_proto::AttributeType::INT.into(),
        i: value,
        ..AttributeProto::default()
    };
    node.attribute.push(attribute);
    node
}

/// A constant of floats.
pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A constant of floats in another file.
pub fn external(name: &str, dims: &[i64], location: &str) -> TensorProto {
    let entry = StringStringEntryProto {
        key: "location".to_owned(),
        value: location.to_owned(),
        ..StringStringEntryProto::default()
    };
    TensorProto {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        data_location: onnx_protobuf::tensor_proto::DataLocation::EXTERNAL.into(),
        external_data: vec![entry],
        ..TensorProto::default()
    }
}

/// A model of opset 21.
pub fn model(
    inputs: Vec<ValueInfoProto>,
    nodes: Vec<NodeProto>,
    outputs: Vec<ValueInfoProto>,
    constants: Vec<TensorProto>,
) -> ModelProto {
    let graph = GraphProto {
        name: "g".to_owned(),
        input: inputs,
        output: outputs,
        node: nodes,
        initializer: constants,
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version: 21, ..OperatorSetIdProto::default() };
    ModelProto { ir_version: 10, opset_import: vec![opset], graph: Some(graph).into(), ..ModelProto::default() }
}

/// `y = relu(x · w + b)` for `x: f32 [batch, 3]`.
pub fn dense() -> ModelProto {
    model(
        vec![value("x", 1, "batch 3")],
        vec![node("MatMul", "x w -> p"), node("Add", "p b -> s"), node("Relu", "s -> y")],
        vec![value("y", 1, "batch 2")],
        vec![floats("w", &[3, 2], &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]), floats("b", &[2], &[0.5, 0.25])],
    )
}
