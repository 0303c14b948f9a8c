//! The driver: a model's inputs, nodes in order, outputs.

use crate::assume::settle;
use crate::context::{Context, Translator};
use crate::error::{Error, Result, TranslateError, invalid, unsupported};
use crate::item::Item;
use crate::packed_sequence::Axis;
use crate::scope::{self, Frame};
use crate::signature::{CompoundInput, Parameters};
use crate::{finish, movement, registry, signature, tensors};
use nnc_ir::{DType, Dim, DimTable, Graph, SymbolInfo, TensorType};
use nnc_onnx::{DimInfo, ElemType, Model, TypeInfo, ValueInfo};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Most nodes that are translated, those of unrolled loops counted once for each iteration. The largest models in use
/// have a third of that.
const MOST_NODES: usize = 1 << 16;
/// Most core operations that they may become.
pub(crate) const MOST_OPERATIONS: usize = 1 << 18;

/// The sizes a dimension may take: `--dim batch=1..64`, or `--dim batch=8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DimRange {
    /// Least size.
    pub min: i64,
    /// Greatest size.
    pub max: i64,
}

/// A dimension of the inputs, within the range that the user gives it, if any.
fn input_symbol(name: String, options: &Options) -> SymbolInfo {
    let range = options.dims.get(&name).copied();
    let info = SymbolInfo::input(name);
    match range {
        Some(DimRange { min, max }) => SymbolInfo { min, max, ..info },
        None => info,
    }
}

/// What the user says besides the model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ranges of the model's dimensions: of the inputs', and of those that nnc names in its messages.
    pub dims: BTreeMap<String, DimRange>,
}

/// Translates a model into core ops.
///
/// # Errors
/// When the model breaks ONNX's rules, uses what nnc does not implement (all missing operators are named at once), or
/// does not fit the options.
pub fn translate(model: &Model, options: &Options) -> std::result::Result<Graph, TranslateError> {
    let fail = |error: Error| error.in_file(model);
    missing_operators(model).map_err(fail)?;
    Translator::new(options).model(model).map_err(fail)
}

/// An error naming every operator of the model that has no translation.
fn missing_operators(model: &Model) -> Result<()> {
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut graphs = vec![&model.graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.nodes {
            graphs.extend(node.attributes.values().flat_map(|a| a.graphs()));
            if registry::operator(node).is_some() {
                continue;
            }
            let domain = if node.domain.is_empty() { String::new() } else { format!("{}:", node.domain) };
            let since = registry::find(&node.domain, &node.op_type).map(|operator| operator.since);
            let newer = since.map(|since| format!(" of opset {} (opsets from {since} on are)", node.opset));
            let text = format!("{domain}{}{}", node.op_type, newer.unwrap_or_default());
            *missing.entry(text).or_default() += 1;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> =
        missing.iter().map(|(name, &n)| if n == 1 { name.clone() } else { format!("{name} ({n} nodes)") }).collect();
    Err(unsupported(format!("operators not supported: {}; `nnc inspect` lists those that are", list.join(", "))))
}

impl<'m> Translator<'m> {
    /// Of a model of which nothing is translated yet.
    pub(crate) fn new(options: &'m Options) -> Translator<'m> {
        Translator { options, frames: vec![], nodes_left: MOST_NODES, least: FxHashMap::default(), refusals: None }
    }

    pub(crate) fn model(&mut self, model: &'m Model) -> Result<Graph> {
        if let Some(&opset) = model.opset_imports.get("").filter(|&&v| v > registry::NEWEST_OPSET) {
            return Err(unsupported(format!(
                "opset {opset} is newer than the newest known, {}; export the model for that one",
                registry::NEWEST_OPSET
            )));
        }
        self.frames.push(Frame::new(&model.graph, DimTable::default(), scope::Budget::default()));
        self.model_inputs(&model.graph)?;
        self.nodes(&model.graph)?;
        self.refuse_unknown_dims(|_| true)?;
        let (outputs, positions) = self.model_outputs(&model.graph)?;
        let Some(mut frame) = self.frames.pop() else { return Err(invalid("the model has no graph")) };
        frame.graph.outputs = outputs;
        for (&symbol, &min) in &self.least {
            let info = frame.graph.dims.get(symbol);
            let (min, max) = (min.max(info.min), info.max);
            frame.graph.dims.set_bounds(symbol, min, max);
        }
        let stated: Vec<_> = positions.into_iter().zip(&model.graph.outputs).collect();
        finish::bound_outputs(&mut frame.graph, &stated);
        finish::check_outputs(&frame.graph, &stated)?;
        finish::finish(&mut frame.graph);
        Ok(frame.graph)
    }

    /// The parameters: symbols first, then types, as a dimension such as `past + 1` mentions others.
    fn model_inputs(&mut self, graph: &'m nnc_onnx::Graph) -> Result<()> {
        let inputs: Vec<_> = graph.required_inputs().collect();
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let table = &mut frame.graph.dims;
        let names = inputs.iter().flat_map(|input| shape_of(input.ty.as_ref()).into_iter().flatten());
        let names = names.filter_map(|d| if let DimInfo::Symbol(name) = d { Some(name.as_str()) } else { None });
        let (plain, compound): (Vec<&str>, Vec<&str>) = names.partition(|name| is_identifier(name));
        for name in plain.iter().copied().chain(compound) {
            let derived = !is_identifier(name) && table.parse(name).is_ok();
            if derived || table.find(name).is_some() {
                continue;
            }
            table.new_symbol(input_symbol(name.to_owned(), self.options));
        }
        // What is made of their parameters are nodes, which follow all inputs.
        let mut compounds = vec![];
        for input in inputs {
            match self.model_input(input) {
                Ok(compound) => compounds.extend(compound),
                Err(error) => {
                    self.refuse(error)?;
                    self.frames.iter_mut().for_each(|frame| frame.refused.extend([input.name.as_str()]));
                }
            }
        }
        self.define_compound_inputs(compounds)?;
        // Names of sizes that depend on data are not known yet.
        let made_up = |name: &str| {
            let parts = name.rsplit_once('_').filter(|(_, number)| number.bytes().all(|b| b.is_ascii_digit()));
            parts.is_some_and(|(prefix, _)| ["size", "count", "selected", "trips", "pieces"].contains(&prefix))
        };
        self.refuse_unknown_dims(|name| !made_up(name))
    }

    /// The parameters of an input, whose symbols there are; what it is if it is no tensor of numbers.
    fn model_input(&mut self, input: &'m ValueInfo) -> Result<Option<CompoundInput<'m>>> {
        let at = |error: Error| Error { message: format!("input `{}`: {}", input.name, error.message), ..error };
        let Some(ty) = &input.ty else {
            return Err(at(unsupported("its type must be known; state it in the model")));
        };
        let parameters = self.parameters(&input.name, ty).map_err(at)?;
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        if let Parameters::Numbers(value) = parameters {
            frame.names.insert(&input.name, value);
            return Ok(None);
        }
        Ok(Some(CompoundInput { name: &input.name, parameters }))
    }

    /// Adds the parameters that stand for an input of a type.
    fn parameters(&mut self, name: &str, ty: &TypeInfo) -> Result<Parameters> {
        match ty {
            TypeInfo::Tensor { elem_type, shape: Some(shape) } => {
                let shape = self.parameter_shape(name, shape)?;
                self.tensor_parameters(name, *elem_type, shape)
            }
            TypeInfo::Sequence(of) => self.sequence_parameters(name, of),
            TypeInfo::Optional(of) if !matches!(**of, TypeInfo::Optional(_)) => {
                let held = self.parameters(name, of)?;
                let Some(frame) = self.frames.last_mut() else { return Ok(held) };
                let has = frame.graph.add_input(TensorType::new(DType::Bool, vec![]), format!("{name}.has"));
                Ok(Parameters::Optional(Box::new(held), has))
            }
            _ => Err(unsupported("it must be a dense tensor of known rank; state its shape in the model")),
        }
    }

    /// Adds the parameters of a sequence: its elements end to end, and their shapes.
    fn sequence_parameters(&mut self, name: &str, of: &TypeInfo) -> Result<Parameters> {
        let TypeInfo::Tensor { elem_type, shape: Some(shape) } = of else {
            return Err(unsupported(
                "the elements of a sequence must be tensors of known rank; state their shape in the model, in which sizes \
                 may be left open",
            ));
        };
        let mut axes = vec![];
        for dim in shape {
            axes.push(match dim {
                DimInfo::Size(size) => Axis::Same(fixed_size(*size)?),
                // A name of one element's size says nothing of another's.
                DimInfo::Symbol(_) | DimInfo::Unknown => Axis::UpTo(None),
            });
        }
        let options = self.options;
        let Some(frame) = self.frames.last_mut() else { return Err(invalid("the model has no graph")) };
        let table = &mut frame.graph.dims;
        let mut symbol = |what: &str| {
            let symbol = input_symbol(format!("{name}_{what}"), options);
            settle(&Dim::sym(table.new_symbol(symbol)), table)
        };
        let length = symbol("length");
        let total = match crate::packed_sequence::same_count(&axes) {
            Some(count) => &length * &count,
            None => symbol("total"),
        };
        let elements = Box::new(self.tensor_parameters(name, *elem_type, vec![total])?);
        let Some(frame) = self.frames.last_mut() else { return Err(invalid("the model has no graph")) };
        let ty = TensorType::new(DType::I64, vec![length, Dim::from(axes.len())]);
        let dims = frame.graph.add_input(ty, format!("{name}.dims"));
        Ok(Parameters::Sequence { elements, dims, axes })
    }

    /// The shape of an input, whose symbols there are.
    fn parameter_shape(&mut self, name: &str, shape: &[DimInfo]) -> Result<Vec<Dim>> {
        let options = self.options;
        let Some(frame) = self.frames.last_mut() else { return Ok(vec![]) };
        let table = &mut frame.graph.dims;
        let mut dims = vec![];
        for (axis, dim) in shape.iter().enumerate() {
            dims.push(match dim {
                DimInfo::Size(size) => fixed_size(*size)?,
                DimInfo::Symbol(name) => {
                    let dim = named_dim(name, table);
                    settle(&dim.ok_or_else(|| unsupported(format!("dimension `{name}` cannot be understood")))?, table)
                }
                DimInfo::Unknown => {
                    let symbol = input_symbol(format!("{name}_dim{axis}"), options);
                    settle(&Dim::sym(table.new_symbol(symbol)), table)
                }
            });
        }
        Ok(dims)
    }

    /// Adds the parameters of a tensor.
    fn tensor_parameters(&mut self, name: &str, elem_type: ElemType, shape: Vec<Dim>) -> Result<Parameters> {
        let options = self.options;
        let Some(frame) = self.frames.last_mut() else { return Err(invalid("the model has no graph")) };
        let (plain, encoding) = (tensors::dtype(elem_type), tensors::encoding(elem_type));
        // What holds an element, or the offset of a string.
        let Some(dtype) = plain.or(encoding.map(|encoding| encoding.stored(&[]).dtype)) else {
            return Err(unsupported(format!("elements of type {elem_type} are not supported; use another type")));
        };
        let ty = TensorType::new(dtype, shape);
        if ty.count() * Dim::from(dtype.size()) == Dim::OVERFLOW {
            return Err(unsupported("it has more bytes than can be addressed"));
        }
        Ok(match encoding {
            Some(encoding) => {
                let bytes = || input_symbol(format!("{name}_bytes"), options);
                signature::declare(frame, name, ty.shape, encoding, bytes)
            }
            None => Parameters::Numbers(frame.graph.add_input(ty, name)),
        })
    }

    /// Refuses ranges for dimensions of such names that the model does not have.
    fn refuse_unknown_dims(&self, of: impl Fn(&str) -> bool) -> Result<()> {
        let Some(table) = self.frames.last().map(|frame| &frame.graph.dims) else { return Ok(()) };
        let Some(unknown) = self.options.dims.keys().find(|name| table.find(name).is_none() && of(name)) else {
            return Ok(());
        };
        let known: Vec<&str> = table.iter().map(|(_, info)| info.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(invalid(format!("--dim {unknown}: the model has no such dimension; it has {known}")))
    }

    /// Translates the nodes of the innermost frame's graph.
    pub(crate) fn nodes(&mut self, graph: &'m nnc_onnx::Graph) -> Result<()> {
        for node in &graph.nodes {
            if let Err(error) = self.node(node) {
                self.refuse_node(node, error)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &'m nnc_onnx::Node) -> Result<()> {
        let Some(operator) = registry::operator(node) else {
            return Err(unsupported("the operator is not supported"));
        };
        let Some(left) = self.nodes_left.checked_sub(1) else {
            return Err(unsupported(format!(
                "the model has more than {MOST_NODES} nodes when its loops and branches are unfolded, the most that nnc \
                 compiles; make loops with a constant number of iterations smaller"
            )));
        };
        self.nodes_left = left;
        let mut ctx = Context::new(self, node);
        let results = match movement::translate(&mut ctx, operator)? {
            Some(results) => results,
            None => (operator.translation)(&mut ctx)?,
        };
        if let Some(name) = ctx.unread() {
            return Err(unsupported(format!(
                "attribute `{name}` is not known to {} of opset {}; remove it or export for an opset that has it",
                node.op_type, node.opset
            )));
        }
        let frame = ctx.frame_mut();
        if frame.graph.nodes.len() > MOST_OPERATIONS {
            return Err(unsupported(format!(
                "the model becomes more than {MOST_OPERATIONS} operations, the most that nnc compiles; split it"
            )));
        }
        for (i, name) in node.outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if frame.compounds.get(name).is_some() {
                continue;
            }
            let Some(&value) = results.get(i) else {
                return Err(unsupported(format!("output {i} (`{name}`) is not supported")));
            };
            let slot = &mut frame.graph.values[value.index()].name;
            if slot.is_empty() {
                slot.clone_from(name);
            }
            frame.names.insert(name, value);
        }
        Ok(())
    }

    /// The innermost frame's outputs, with their names.
    pub(crate) fn outputs(&mut self, graph: &'m nnc_onnx::Graph) -> Result<Vec<(String, Item)>> {
        let frames = &mut self.frames;
        graph.outputs.iter().map(|o| Ok((o.name.clone(), scope::resolve_item(frames, &o.name)?))).collect()
    }
}

fn shape_of(ty: Option<&TypeInfo>) -> Option<&Vec<DimInfo>> {
    match ty {
        Some(TypeInfo::Tensor { shape, .. }) => shape.as_ref(),
        Some(TypeInfo::Optional(of)) => shape_of(Some(of)),
        _ => None,
    }
}

/// A size that the file states.
fn fixed_size(size: u64) -> Result<Dim> {
    match i64::try_from(size) {
        Ok(size) if size < i64::MAX => Ok(Dim::from(size)),
        _ => Err(unsupported(format!("dimension {size} is too large"))),
    }
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The dimension a `dim_param` stands for: a symbol of that name, or an expression over symbols.
fn named_dim(name: &str, table: &DimTable) -> Option<Dim> {
    table.find(name).map(Dim::sym).or_else(|| table.parse(name).ok())
}

/// The shape a type states, `None` for a dimension not known in terms of the symbols there are.
pub(crate) fn declared_shape(ty: &TypeInfo, table: &DimTable) -> Option<Vec<Option<Dim>>> {
    let known = |dim: &DimInfo| match dim {
        DimInfo::Size(size) => i64::try_from(*size).ok().map(Dim::from),
        DimInfo::Symbol(name) => named_dim(name, table).map(|d| settle(&d, table)),
        DimInfo::Unknown => None,
    };
    Some(shape_of(Some(ty))?.iter().map(known).collect())
}

#[cfg(test)]
mod tests {
    use super::{DimRange, Options, translate};
    use crate::ErrorKind;
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int64};
    use nnc_onnx::{DimInfo, TypeInfo};

    #[test]
    fn missing_operators_are_named_at_once() {
        let body = sketch().node("Frobnicate", "x -> t").output("t");
        let sketch = sketch().input("x", Float, "1").node("Foo", "x -> a").node("Foo", "a -> b");
        let sketch = sketch.node("If", "x -> y").graph("then_branch", body).output("y");
        let error = sketch.translate().err();
        assert!(error.as_ref().is_some_and(|e| e.kind == ErrorKind::Unsupported));
        let text = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains("operators not supported: Foo (2 nodes), Frobnicate;"), "{text}");
    }

    #[test]
    fn unread_attributes_are_refused() {
        let sketch = sketch().input("x", Float, "1").node("Relu", "x -> y").int("slope", 1).output("y");
        let text = sketch.result_type();
        assert!(text.starts_with("test.onnx: Relu \"n0\": attribute `slope` is not known"), "{text}");
    }

    #[test]
    fn dimensions() {
        let sketch = sketch().input("x", Float, "batch ?").input("y", Float, "batch past+1").node("Add", "x x -> z");
        let mut sketch = sketch.output("z");
        let shape = |sketch: &crate::testing::Sketch, dims: &[(&str, i64, i64)]| {
            let dims = dims.iter().map(|&(name, min, max)| (name.to_owned(), DimRange { min, max })).collect();
            translate(&sketch.model, &Options { dims }).map(|graph| {
                let types: Vec<String> = graph.inputs.iter().map(|&v| graph.ty(v).to_string()).collect();
                let bounds: Vec<String> =
                    graph.dims.iter().map(|(_, s)| format!("{} {}..{}", s.name, s.min, s.max)).collect();
                (types.join(" "), bounds.join(" "))
            })
        };
        let free = shape(&sketch, &[]).map(|s| s.1).unwrap_or_default();
        assert!(free.contains("batch 0..") && free.contains("x_dim1 0.."), "{free}");
        let ranged = shape(&sketch, &[("batch", 1, 8)]).map(|s| s.1).unwrap_or_default();
        assert!(ranged.contains("batch 1..8"), "{ranged}");
        let fixed = shape(&sketch, &[("batch", 4, 4)]).map(|s| s.0).unwrap_or_default();
        assert!(fixed.starts_with("f32[4, "), "{fixed}");
        let unknown = shape(&sketch, &[("bath", 1, 1)]).map_err(|e| e.to_string());
        assert!(unknown.is_err_and(|e| e.contains("--dim bath") && e.contains("batch")));
        sketch.model.graph.inputs[0].ty = None;
        assert!(sketch.result_type().contains("input `x`"));
    }

    #[test]
    fn expressions_over_other_inputs() {
        let sketch = sketch().input("k", Float, "past+1").input("past", Float, "past").input("one", Float, "1");
        let sketch = sketch.node("Concat", "past one -> c").int("axis", 0).node("Add", "c k -> y").output("y");
        assert_eq!(sketch.result_type(), "f32[past + 1]");
    }

    #[test]
    fn stated_output_sizes_do_not_bound_what_data_yields() {
        let mut sketch = sketch().given("x", &[3], &[1i64, 0, 2]).node("NonZero", "x -> y").output("y");
        let shape = Some(vec![DimInfo::Size(1), DimInfo::Size(1)]);
        sketch.model.graph.outputs[0].ty = Some(TypeInfo::Tensor { elem_type: Int64, shape });
        let bounds = sketch.translate().ok().map(|g| g.dims.iter().map(|(_, s)| (s.min, s.max)).collect::<Vec<_>>());
        assert_eq!(bounds, Some(vec![(0, 3)]));
        assert_eq!(sketch.run(), "i64[1, 2] 0 2");
    }
}
