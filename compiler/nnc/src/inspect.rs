//! What can be told of a compiled model or of an ONNX file without running it, and which operators there are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use nnc_onnx::{DimInfo, Graph, TypeInfo, ValueInfo};
use nnc_ops::{DimRange, registry};
use nnc_runtime::{Artifact, Signature, StateInfo, TensorInfo};
use serde_json::{Value, json};

use crate::driver::{Compilation, Options, Unwatched};
use crate::errors::Result;

/// Most nodes that a line names.
const NAMED: usize = 8;

/// Facts, as JSON and as text.
#[derive(Debug)]
pub struct Report {
    /// For programs: one object.
    pub json: Value,
    /// For people: lines.
    pub text: String,
}

/// Facts about a compiled model for any processor; no code of it runs.
///
/// # Errors
/// When it is none.
pub fn compiled(path: &Path) -> Result<Report> {
    let artifact = Artifact::open(path)?;
    let signature = artifact.signature();
    let features: Vec<&str> = nnc_abi::names_of_features(signature.arch, signature.features).collect();
    let symbols = signature.symbols.iter().map(|s| {
        let max = (s.max < i64::MAX).then_some(s.max);
        json!({"name": s.name, "min": s.min, "max": max})
    });
    let json = json!({
        "name": signature.name,
        "target": signature.target,
        "features": features,
        "compiler": signature.compiler,
        "inputs": signature.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": signature.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "states": signature.states.iter().map(|s| state(signature, s)).collect::<Vec<_>>(),
        "dims": symbols.collect::<Vec<_>>(),
        "kernels": signature.kernels,
        "steps": signature.steps,
        "width_notes": signature.width_notes,
        "code_bytes": signature.code_bytes,
        "weights_bytes": signature.weights_bytes,
        "weights_file": signature.weights_file,
        "workspace_bytes": signature.workspace_bytes,
        "workspace": signature.workspace_text,
        "allocates": signature.allocates,
        "source_hash": hex(&signature.source_hash),
        "weights_hash": hex(&signature.weights_hash),
    });
    let text = compiled_text(signature, &features);
    Ok(Report { json, text })
}

fn tensor(info: &TensorInfo) -> Value {
    let dims: Vec<&str> = info.dims.iter().map(|d| d.text.as_str()).collect();
    json!({"name": info.name, "dtype": info.dtype.name(), "dims": dims, "allocated": info.is_allocated})
}

fn state(signature: &Signature, info: &StateInfo) -> Value {
    let (input, output) = (&signature.inputs[info.input].name, &signature.outputs[info.output].name);
    let (axis, capacity) = (info.growth.map(|growth| growth.0), info.growth.map(|growth| growth.1));
    json!({"input": input, "output": output, "axis": axis, "capacity": capacity})
}

fn compiled_text(s: &Signature, features: &[&str]) -> String {
    let mut out = Lines::default();
    out.line("model", &s.name);
    out.line("target", &s.target);
    if !features.is_empty() {
        out.line("features", features.join(" "));
    }
    out.line("compiler", &s.compiler);
    out.lines("inputs", s.inputs.iter().map(|t| format!("{}: {t}", t.name)));
    out.lines("outputs", s.outputs.iter().map(|t| format!("{}: {t}", t.name)));
    out.lines(
        "states",
        s.states.iter().map(|state| {
            let room =
                state.growth.map_or_else(String::new, |(axis, most)| format!(", up to {most} along axis {axis}"));
            format!("{} is kept as {}{room}", s.outputs[state.output].name, s.inputs[state.input].name)
        }),
    );
    let range = |s: &nnc_runtime::Symbol| match s.max {
        i64::MAX => format!("{}: {} or more", s.name, s.min),
        max => format!("{}: {} to {max}", s.name, s.min),
    };
    out.lines("dims", s.symbols.iter().map(range));
    out.line("kernels", s.kernels);
    out.line("steps", s.steps);
    out.lines("vectors", s.width_notes.iter().cloned());
    out.line("code", format!("{} bytes", s.code_bytes));
    let file = s.weights_file.as_ref().map_or_else(String::new, |f| format!(" in {f}"));
    out.line("weights", format!("{} bytes{file}", s.weights_bytes));
    let symbolic = s.workspace_text.as_deref().unwrap_or("an unknown number of");
    out.line("workspace", s.workspace_bytes.map_or_else(|| format!("{symbolic} bytes"), |b| format!("{b} bytes")));
    if s.allocates {
        let outputs: Vec<&str> = s.outputs.iter().filter(|t| t.is_allocated).map(|t| t.name.as_str()).collect();
        let outputs =
            if outputs.is_empty() { "no output".to_owned() } else { format!("outputs {}", outputs.join(", ")) };
        out.line("allocates", format!("in each run, for sizes that have no bound before it: {outputs}"));
    }
    out.line("source", hex(&s.source_hash));
    out.text
}

/// The operators that nnc has, with the first opset of each that it covers.
pub fn supported() -> Report {
    let mut domains: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for operator in registry::operators() {
        domains.entry(domain_text(operator.domain)).or_default().insert(operator.name, operator.since);
    }
    let mut out = Lines::default();
    for (domain, operators) in &domains {
        out.line("domain", format!("{domain}, operators with the first opset covered:"));
        operators.iter().for_each(|(name, since)| out.line("", format!("{name} {since}")));
    }
    Report { json: json!({ "operators": domains }), text: out.text }
}

/// How a domain is called.
fn domain_text(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}

/// Facts about an ONNX file, what is refused of it with its dimensions within these ranges among them; that anything is
/// refused is no failure.
///
/// # Errors
/// When it cannot be read.
pub fn source(path: &Path, dims: &BTreeMap<String, DimRange>) -> Result<Report> {
    let options = Options { dims: dims.clone(), ..Options::native(crate::name::from_path(path))? };
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(&options, &mut watch)?;
    let model = compilation.import(path)?;
    let mut operators = BTreeMap::new();
    count_operators(&model.graph, &mut operators);
    let present: BTreeMap<&String, usize> = operators.iter().map(|(name, o)| (name, o.count)).collect();
    let missing: Vec<&String> = operators.iter().filter(|(_, o)| o.missing).map(|(name, _)| name).collect();
    let weights: u64 = model.graph.initializers.iter().map(|t| t.tensor.bytes().len() as u64).sum();
    let refusals = compilation.refusals(&model, !missing.is_empty());
    let inputs: Vec<&ValueInfo> = model.graph.required_inputs().collect();
    let values = |list: &[&ValueInfo]| list.iter().map(|v| value(v)).collect::<Vec<_>>();
    let outputs: Vec<&ValueInfo> = model.graph.outputs.iter().collect();
    let json = json!({
        "file": model.file,
        "producer": model.producer,
        "ir_version": model.ir_version,
        "opsets": model.opset_imports,
        "inputs": values(&inputs),
        "outputs": values(&outputs),
        "operators": present,
        "missing": missing,
        "refused": refusals.refused,
        "unknown": refusals.unknown,
        "allocated": refusals.allocated,
        "weights_bytes": weights,
        "kernels": null,
        "steps": null,
        "width_notes": null,
        "code_bytes": null,
        "workspace_bytes": null,
    });
    let mut out = Lines::default();
    out.line("file", &model.file);
    if !model.producer.is_empty() {
        out.line("producer", &model.producer);
    }
    let opsets: Vec<String> = model.opset_imports.iter().map(|(d, v)| format!("{} {v}", domain_text(d))).collect();
    out.line("opsets", opsets.join(", "));
    out.lines("inputs", inputs.iter().map(|v| format!("{}: {}", v.name, type_text(v.ty.as_ref()))));
    out.lines("outputs", outputs.iter().map(|v| format!("{}: {}", v.name, type_text(v.ty.as_ref()))));
    out.line("weights", format!("{weights} bytes"));
    let count = |(name, o): (&String, &Operator)| format!("{name} {}", o.count);
    out.line("operators", operators.iter().map(count).collect::<Vec<_>>().join(", "));
    let names: Vec<&str> = missing.iter().map(|n| n.as_str()).collect();
    out.line("missing", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    match refusals.refused.as_slice() {
        [] if refusals.unknown.is_empty() => out.line("refused", "none"),
        [] => out.line("refused", "none of what can be told"),
        refused => out.lines("refused", refused.iter().cloned()),
    }
    if !refusals.unknown.is_empty() {
        let more = refusals.unknown.len().saturating_sub(NAMED);
        let mut names: Vec<String> = refusals.unknown.iter().take(NAMED).cloned().collect();
        names.extend((more > 0).then(|| format!("and {more} more")));
        let names = names.join(", ");
        out.line("unknown", format!("whether these are refused, for they read what is missing or refused: {names}"));
    }
    // Sizes that have no bound before a run.
    out.lines("allocated", refusals.allocated.into_iter());
    Ok(Report { json, text: out.text })
}

/// An operator that a model uses.
struct Operator {
    count: usize,
    missing: bool,
}

fn count_operators(graph: &Graph, operators: &mut BTreeMap<String, Operator>) {
    // Models may nest graphs deeply; a list does not run out of stack.
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.nodes {
            graphs.extend(node.attributes.values().flat_map(|a| a.graphs()));
            let domain = if node.domain.is_empty() { String::new() } else { format!("{}:", node.domain) };
            let missing = registry::operator(node).is_none();
            let old = missing && registry::find(&node.domain, &node.op_type).is_some();
            let version = if old { format!(" of opset {}", node.opset) } else { String::new() };
            let name = format!("{domain}{}{version}", node.op_type);
            operators.entry(name).or_insert(Operator { count: 0, missing }).count += 1;
        }
    }
}

fn value(value: &ValueInfo) -> Value {
    match &value.ty {
        Some(TypeInfo::Tensor { elem_type, shape }) => {
            let dims = shape.as_ref().map(|s| s.iter().map(dim_text).collect::<Vec<_>>());
            json!({"name": value.name, "dtype": elem_type.name(), "dims": dims})
        }
        other => json!({"name": value.name, "type": type_text(other.as_ref())}),
    }
}

fn dim_text(dim: &DimInfo) -> String {
    match dim {
        DimInfo::Size(size) => size.to_string(),
        DimInfo::Symbol(name) => name.clone(),
        DimInfo::Unknown => "?".to_owned(),
    }
}

fn type_text(ty: Option<&TypeInfo>) -> String {
    let tensor = |elem: &nnc_onnx::ElemType, shape: &Option<Vec<DimInfo>>| match shape {
        Some(dims) => format!("{elem} [{}]", dims.iter().map(dim_text).collect::<Vec<_>>().join(", ")),
        None => format!("{elem} of unknown rank"),
    };
    match ty {
        None => "unknown".to_owned(),
        Some(TypeInfo::Tensor { elem_type, shape }) => tensor(elem_type, shape),
        Some(TypeInfo::SparseTensor { elem_type, shape }) => format!("sparse {}", tensor(elem_type, shape)),
        Some(TypeInfo::Sequence(inner)) => format!("sequence of {}", type_text(Some(inner))),
        Some(TypeInfo::Optional(inner)) => format!("optional {}", type_text(Some(inner))),
        Some(TypeInfo::Map { key, value }) => format!("map from {key} to {}", type_text(Some(value))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lines of a label and a text.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, label: &str, text: impl std::fmt::Display) {
        // Names come from files: a line must stay one.
        let plain = |c| if nnc_abi::is_plain(c) { c } else { '\u{fffd}' };
        let text: String = text.to_string().chars().map(plain).collect();
        let _ = writeln!(self.text, "{label:<10} {text}");
    }

    /// A label before the first of several texts.
    fn lines(&mut self, label: &str, texts: impl Iterator<Item = String>) {
        for (i, text) in texts.enumerate() {
            self.line(if i == 0 { label } else { "" }, text);
        }
    }
}
