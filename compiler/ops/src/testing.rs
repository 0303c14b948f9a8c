//! Helpers of the operators' tests: tiny models written in a line, and what they translate to.

use crate::{Options, translate};
use crate::{narrow, narrow_floats};
use nnc_ir::tensor::Element;
use nnc_ir::{DType, Dim, Encoded, Encoding, Tensor};
use nnc_onnx::{Attribute, DimInfo, ElemType, Graph, Model, Node, TypeInfo, ValueInfo};
use std::collections::BTreeMap;

/// A model under construction: one graph, opset 23.
#[derive(Clone)]
pub(crate) struct Sketch {
    /// The model; tests may change it.
    pub model: Model,
    /// What the inputs made by [`Sketch::given`] hold.
    values: Vec<Tensor>,
}

/// A model without nodes.
pub(crate) fn sketch() -> Sketch {
    let model = Model {
        file: "test.onnx".into(),
        ir_version: 10,
        opset_imports: BTreeMap::from([(String::new(), 23)]),
        producer: String::new(),
        graph: Graph::default(),
        functions: vec![],
        external: vec![],
        source: nnc_onnx::Bytes::new(vec![]),
    };
    Sketch { model, values: vec![] }
}

impl Sketch {
    /// An input, e.g. `input("x", ElemType::Float, "batch 3")`.
    pub fn input(mut self, name: &str, elem_type: ElemType, shape: &str) -> Sketch {
        let dim = |text: &str| match text {
            "?" => DimInfo::Unknown,
            _ => text.parse().map_or_else(|_| DimInfo::Symbol(text.to_owned()), DimInfo::Size),
        };
        let shape = Some(shape.split_whitespace().map(dim).collect());
        let ty = Some(TypeInfo::Tensor { elem_type, shape });
        self.model.graph.inputs.push(ValueInfo { name: name.into(), ty });
        self
    }

    /// An input and the value it has in [`Sketch::run`].
    pub fn given<T: Element>(self, name: &str, shape: &[usize], elements: &[T]) -> Sketch {
        let elem_type = ElemType::ALL.iter().find(|e| crate::tensors::dtype(**e) == Some(T::DTYPE));
        let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
        let mut sketch = self.input(name, *elem_type.unwrap_or(&ElemType::Float), &dims.join(" "));
        sketch.values.push(Tensor::from_slice(shape, elements));
        sketch
    }

    /// An input of bools and the value it has in [`Sketch::run`].
    pub fn given_bools(self, name: &str, shape: &[usize], elements: &[u8]) -> Sketch {
        let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
        let mut sketch = self.input(name, ElemType::Bool, &dims.join(" "));
        sketch.values.push(Tensor { dtype: DType::Bool, ..Tensor::from_slice(shape, elements) });
        sketch
    }

    /// An input of a narrow type and the bytes that encode the value it has in [`Sketch::run`].
    pub fn given_narrow(self, name: &str, elem_type: ElemType, shape: &str, bytes: &[u8]) -> Sketch {
        let mut sketch = self.input(name, elem_type, shape);
        let dims: Vec<usize> = shape.split_whitespace().filter_map(|d| d.parse().ok()).collect();
        let packed = [bytes.len()];
        let stored = if elem_type.bits() == 8 { &dims[..] } else { &packed };
        sketch.values.push(Tensor::from_slice(stored, bytes));
        sketch
    }

    /// An input of strings and the value it has in [`Sketch::run`].
    pub fn given_strings(self, name: &str, shape: &str, elements: &[&str]) -> Sketch {
        let mut sketch = self.input(name, ElemType::String, shape);
        sketch.values.extend(crate::strings::table(elements));
        sketch
    }

    /// A part of the value that an input made otherwise has in [`Sketch::run`].
    pub fn holds<T: Element>(mut self, elements: &[T]) -> Sketch {
        self.values.push(Tensor::from_slice(&[elements.len()], elements));
        self
    }

    /// The same, of strings.
    pub fn holds_strings(mut self, elements: &[&str]) -> Sketch {
        self.values.extend(crate::strings::table(elements));
        self
    }

    /// A constant of strings.
    pub fn strings(mut self, name: &str, dims: &[usize], values: &[&str]) -> Sketch {
        let values = values.iter().map(|v| v.as_bytes().to_vec()).collect();
        let data = nnc_onnx::TensorData::Strings(std::sync::Arc::new(values));
        let tensor = nnc_onnx::Tensor { elem_type: ElemType::String, dims: dims.to_vec(), data };
        self.model.graph.initializers.push(nnc_onnx::NamedTensor { name: name.into(), tensor });
        self
    }

    /// A constant of integers (`i64`).
    pub fn ints(self, name: &str, dims: &[usize], values: &[i64]) -> Sketch {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, ElemType::Int64, dims, bytes)
    }

    /// A constant of floats.
    pub fn floats(self, name: &str, dims: &[usize], values: &[f32]) -> Sketch {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, ElemType::Float, dims, bytes)
    }

    /// A constant.
    pub fn initializer(mut self, name: &str, elem_type: ElemType, dims: &[usize], bytes: Vec<u8>) -> Sketch {
        let data = nnc_onnx::TensorData::Bytes(nnc_onnx::Bytes::new(bytes));
        let tensor = nnc_onnx::Tensor { elem_type, dims: dims.to_vec(), data };
        self.model.graph.initializers.push(nnc_onnx::NamedTensor { name: name.into(), tensor });
        self
    }

    /// The operator set version.
    pub fn opset(mut self, version: i64) -> Sketch {
        self.model.opset_imports.insert(String::new(), version);
        self
    }

    /// A node, e.g. `node("Add", "x y -> z")`; `_` leaves an operand or result out.
    pub fn node(mut self, op_type: &str, signature: &str) -> Sketch {
        let names = |text: &str| -> Vec<String> {
            text.split_whitespace().map(|n| if n == "_" { String::new() } else { n.to_owned() }).collect()
        };
        let (inputs, outputs) = signature.split_once("->").unwrap_or((signature, ""));
        let graph = &mut self.model.graph;
        graph.nodes.push(Node {
            name: format!("n{}", graph.nodes.len()),
            op_type: op_type.into(),
            domain: String::new(),
            overload: String::new(),
            opset: self.model.opset_imports.get("").copied().unwrap_or(23),
            inputs: names(inputs),
            outputs: names(outputs),
            attributes: BTreeMap::new(),
        });
        self
    }

    /// The domain of the last node, at its first version.
    pub fn domain(mut self, domain: &str) -> Sketch {
        self.model.opset_imports.insert(domain.into(), 1);
        if let Some(node) = self.model.graph.nodes.last_mut() {
            (node.domain, node.opset) = (domain.into(), 1);
        }
        self
    }

    /// An attribute of the last node.
    pub fn attribute(mut self, name: &str, value: Attribute) -> Sketch {
        if let Some(node) = self.model.graph.nodes.last_mut() {
            node.attributes.insert(name.into(), value);
        }
        self
    }

    /// A list attribute of the last node.
    pub fn string_list(self, name: &str, values: &[&str]) -> Sketch {
        self.attribute(name, Attribute::Strings(values.iter().map(|v| v.as_bytes().to_vec()).collect()))
    }

    /// An integer attribute of the last node.
    pub fn int(self, name: &str, value: i64) -> Sketch {
        self.attribute(name, Attribute::Int(value))
    }

    /// A float attribute of the last node.
    pub fn float(self, name: &str, value: f32) -> Sketch {
        self.attribute(name, Attribute::Float(value))
    }

    /// A string attribute of the last node.
    pub fn string(self, name: &str, value: &str) -> Sketch {
        self.attribute(name, Attribute::String(value.as_bytes().to_vec()))
    }

    /// A list attribute of the last node.
    pub fn int_list(self, name: &str, values: &[i64]) -> Sketch {
        self.attribute(name, Attribute::Ints(values.to_vec()))
    }

    /// A subgraph attribute of the last node.
    pub fn graph(self, name: &str, body: Sketch) -> Sketch {
        self.attribute(name, Attribute::Graph(Box::new(body.model.graph)))
    }

    /// An output of no stated type.
    pub fn output(mut self, name: &str) -> Sketch {
        self.model.graph.outputs.push(ValueInfo { name: name.into(), ty: None });
        self
    }

    /// The graph it translates to.
    pub fn translate(&self) -> Result<nnc_ir::Graph, crate::TranslateError> {
        translate(&self.model, &Options::default())
    }

    /// The first output computed from the given inputs, e.g. `f32[2] 1 0.5`, or the error.
    pub fn run(&self) -> String {
        let graph = match self.translate() {
            Ok(graph) => graph,
            Err(error) => return error.to_string(),
        };
        if let Err(error) = nnc_ir::verify::verify(&graph) {
            return format!("does not verify: {error:?}");
        }
        match nnc_eval::run(&graph, &self.values) {
            Ok(results) => match (&results[..], graph.encodings.outputs.get(&0)) {
                ([offsets, bytes, ..], Some(Encoded { encoding: Encoding::Strings, .. })) => {
                    show_strings(offsets, bytes)
                }
                ([bytes, ..], Some(Encoded { encoding, shape })) => show_narrow(bytes, *encoding, shape),
                ([tensor, ..], None) => show(tensor),
                ([], _) => String::new(),
            },
            Err(error) => error.to_string(),
        }
    }

    /// The type of the first output, e.g. `f32[batch, 3]`, or the error.
    pub fn result_type(&self) -> String {
        match self.translate() {
            Ok(graph) => graph.outputs.first().map_or_else(String::new, |o| {
                let ty = graph.ty(o.1);
                let dims: Vec<String> = ty.shape.iter().map(|d| graph.dims.display(d).to_string()).collect();
                format!("{}[{}]", ty.dtype, dims.join(", "))
            }),
            Err(error) => error.to_string(),
        }
    }
}

/// The strings, e.g. `string[2] a b`; their shape is not known here.
fn show_strings(offsets: &Tensor, bytes: &Tensor) -> String {
    let marks = offsets.to_i64s().unwrap_or_default();
    let string = |pair: &[i64]| bytes.data.bytes().get(pair[0] as usize..pair[1] as usize).unwrap_or(b"?");
    let strings: Vec<_> = marks.windows(2).map(|pair| String::from_utf8_lossy(string(pair)).into_owned()).collect();
    format!("string[{}] {}", strings.len(), strings.join(" "))
}

/// The elements that bytes encode, e.g. `i4[2] -8 7`.
fn show_narrow(bytes: &Tensor, encoding: Encoding, shape: &[Dim]) -> String {
    let shape: Vec<usize> = shape.iter().filter_map(|d| d.as_const()?.try_into().ok()).collect();
    let codes = narrow::unpack(bytes.data.bytes(), encoding, shape.iter().product());
    let values = match narrow_floats::format(encoding) {
        Some(format) => codes.iter().map(|&code| format.values().get_f64(code.into())).collect(),
        None => Tensor::from_slice(&[codes.len()], &codes).to_f64s(),
    };
    let signed = |v: f64| if narrow::carrier(encoding) == DType::I8 && v > 127.0 { v - 256.0 } else { v };
    let values: Vec<f64> = values.into_iter().map(signed).collect();
    let text = show(&Tensor::from_f64s(DType::F64, &shape, &values));
    text.replacen("f64", encoding.name(), 1)
}

/// Type and elements, floats to four decimals.
fn show(tensor: &Tensor) -> String {
    let number = |v: f64| {
        let text = format!("{v:.4}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        if v.is_finite() && short != "-0" { short.to_owned() } else { format!("{v}") }
    };
    let elements: Vec<String> = tensor.to_f64s().into_iter().map(number).collect();
    format!("{}{:?} {}", tensor.dtype, tensor.shape, elements.join(" ")).trim_end().to_owned()
}
