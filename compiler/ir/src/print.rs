//! The text form of graphs; [`crate::parse`] reads it back.
//!
//! ```text
//! dim batch in 0..
//! graph @digits(%0 image: f32[batch, 64]) -> (logits: %3) {
//!   %1 = constant f32[64, 10] hash=ab12cd34ab12cd34
//!   %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[batch, 10]  ; MatMul "fc"
//!   %3 = tanh %2 : f32[batch, 10]
//! }
//! ```
//!
//! A value is `%` and its [`ValueId`], followed by its name where it has one. What follows `;` behind a node is its
//! origin. Constants of at most 16 elements print exactly, those with one value as `splat=`, others by hash.
//! Subgraphs print nested and use the symbols of the outermost graph. Invariant: printing the parsed text gives the
//! same text.

use crate::attributes::Attribute;
use crate::dim::is_identifier;
use crate::encoding::Encoded;
use crate::graph::{Graph, Node, TensorType, ValueId, content_hash};
use crate::op::Op;
use crate::{DType, Dim, DimTable, SymbolOrigin, Tensor};
use std::fmt::{self, Write};

/// Constants with more elements are written by hash.
const MAX_INLINE: usize = 16;
/// Signatures with more entries take one line for each.
const MAX_SIGNATURE: usize = 4;

/// The text of a graph and its symbols.
pub fn graph(graph: &Graph) -> String {
    let mut printer = Printer { out: String::new(), table: &graph.dims, indent: 0 };
    for (symbol, info) in graph.dims.iter() {
        printer.text("dim ");
        printer.dim(&Dim::sym(symbol));
        printer.text(&format!(" in {}..", info.min));
        if info.max != i64::MAX {
            printer.text(&info.max.to_string());
        }
        if let Some(upper) = &info.upper {
            printer.text(" <= ");
            printer.dim(upper);
        }
        printer.text(match info.origin {
            SymbolOrigin::Input => "\n",
            SymbolOrigin::Node => " from node\n",
            SymbolOrigin::Run => " from run\n",
        });
    }
    printer.graph(graph);
    printer.out.push('\n');
    printer.out
}

/// The digits that stand for a large constant, or the weight of a program, in text: 16 of its [`content_hash`].
pub fn short_hash(tensor: &Tensor) -> String {
    content_hash(tensor).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for TensorType {
    /// With symbols as `s3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// The growing text of one graph.
pub(crate) struct Printer<'a> {
    out: String,
    table: &'a DimTable,
    indent: usize,
}

impl Printer<'_> {
    pub fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub fn dim(&mut self, dim: &Dim) {
        let text = self.table.display(dim).to_string();
        self.text(&text);
    }

    pub fn attribute(&mut self, key: &str, value: &dyn Attribute) {
        self.text(&format!(" {key}="));
        value.write(self);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }

    fn name(&mut self, name: &str) {
        if is_identifier(name) {
            self.text(name);
        } else {
            self.text(&format!("{name:?}"));
        }
    }

    fn ty(&mut self, ty: &TensorType) {
        self.text(ty.dtype.name());
        ty.shape.write(self);
    }

    /// `(a, b)`, on one line or one line each.
    fn parenthesised(&mut self, broken: bool, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        self.text("(");
        self.indent += 2;
        for i in 0..count {
            if broken {
                self.line();
            }
            item(self, i);
            if i + 1 < count {
                self.text(if broken { "," } else { ", " });
            }
        }
        self.indent -= 2;
        self.text(")");
    }

    pub fn graph(&mut self, graph: &Graph) {
        let broken = graph.inputs.len() + graph.outputs.len() > MAX_SIGNATURE;
        self.text("graph @");
        self.name(&graph.name);
        self.parenthesised(broken, graph.inputs.len(), |p, i| {
            p.defined(graph, graph.inputs[i]);
            p.text(": ");
            p.type_of(graph, graph.inputs[i]);
            p.encoded(graph.encodings.inputs.get(&i));
        });
        self.text(" -> ");
        self.parenthesised(broken, graph.outputs.len(), |p, i| {
            let (name, value) = &graph.outputs[i];
            p.name(name);
            p.text(&format!(": %{}", value.0));
            p.encoded(graph.encodings.outputs.get(&i));
        });
        self.text(" {");
        self.indent += 1;
        for node in &graph.nodes {
            self.line();
            self.node(graph, node);
        }
        self.indent -= 1;
        self.line();
        self.text("}");
    }

    /// ` as string[n]`, of what stands for another tensor.
    fn encoded(&mut self, encoded: Option<&Encoded>) {
        if let Some(Encoded { encoding, shape }) = encoded {
            self.text(&format!(" as {}", encoding.name()));
            shape.write(self);
        }
    }

    /// A value where it is defined, with its name.
    fn defined(&mut self, graph: &Graph, value: ValueId) {
        self.text(&format!("%{}", value.0));
        // A dump has to work on graphs that the verifier refuses, too.
        if let Some(known) = graph.values.get(value.index()).filter(|v| !v.name.is_empty()) {
            self.text(" ");
            self.name(&known.name);
        }
    }

    fn type_of(&mut self, graph: &Graph, value: ValueId) {
        match graph.values.get(value.index()) {
            Some(known) => self.ty(&known.ty),
            None => self.text("?"),
        }
    }

    fn node(&mut self, graph: &Graph, node: &Node) {
        for (i, &output) in node.outputs.iter().enumerate() {
            self.text(if i == 0 { "" } else { ", " });
            self.defined(graph, output);
        }
        if !node.outputs.is_empty() {
            self.text(" = ");
        }
        self.text(node.op.name());
        if let Op::Constant(id) = node.op {
            self.text(" ");
            match graph.consts.len() > id.index() {
                true => self.constant(graph.consts.get(id)),
                false => self.text("?"),
            }
        } else {
            for (i, input) in node.inputs.iter().enumerate() {
                self.text(&format!("{} %{}", if i == 0 { "" } else { "," }, input.0));
            }
            node.op.attributes(&mut |key, value| self.attribute(key, value));
            for (i, &output) in node.outputs.iter().enumerate() {
                self.text(if i == 0 { " : " } else { ", " });
                self.type_of(graph, output);
            }
        }
        let origin: String = node.origin.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !origin.trim().is_empty() {
            self.text(&format!("  ; {}", origin.trim()));
        }
    }

    fn constant(&mut self, tensor: &Tensor) {
        self.text(&format!("{}{:?} ", tensor.dtype, tensor.shape));
        if tensor.len() <= MAX_INLINE {
            let elements: Vec<String> = (0..tensor.len()).map(|i| element(tensor, i)).collect();
            self.text(&format!("[{}]", elements.join(", ")));
        } else if tensor.splat().is_some() {
            self.text(&format!("splat={}", element(tensor, 0)));
        } else {
            self.text(&format!("hash={}", short_hash(tensor)));
        }
    }
}

/// One element, such that it reads back bit for bit.
fn element(tensor: &Tensor, index: usize) -> String {
    let value = tensor.get_f64(index);
    if value.is_nan() {
        let size = tensor.dtype.size();
        let bytes = &tensor.data.bytes()[index * size..(index + 1) * size];
        let bits = bytes.iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        return format!("nan:{bits:x}");
    }
    match tensor.dtype {
        DType::Bool => (tensor.get_i64(index) != 0).to_string(),
        DType::U64 => (tensor.get_i64(index) as u64).to_string(),
        DType::F64 => format!("{value:?}"),
        // Every f16 and bf16 is an f32, and `Debug` writes the shortest text that reads back as the same one.
        DType::F16 | DType::BF16 | DType::F32 => format!("{:?}", value as f32),
        _ => tensor.get_i64(index).to_string(),
    }
}
