//! Inputs and outputs of a model that are no tensors of numbers: several parameters and results stand for them.
//!
//! Strings are handed over as tables: an input `x` becomes the parameters `x`, of its offsets, and `x.bytes`; so does an
//! output. An output of maps becomes their values, `x`, and the keys that all of them have, `x.keys`; so does an input that is
//! a map. Tensors of narrow types have one parameter, whose bytes hold several elements each where there is room. A sequence `x` is its elements end to
//! end, `x`, and the shape of each, `x.dims`, `i64[n, r]`. An optional is what it holds, and whether it does, `x.has`; what
//! it holds counts for nothing where it does not.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid};
use crate::item::{Form, Item, Kind};
use crate::ml_labels::Labelled;
use crate::packed_sequence::{Axis, Packed};
use crate::scope::{self, Compound, Frame, Maps};
use crate::sequence::Sequence;
use crate::tensors;
use nnc_ir::op::Relation;
use nnc_ir::{DType, Dim, Encoded, Encoding, SymbolInfo, TensorType, ValueId};
use nnc_onnx::{Node, TypeInfo};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Values with the names of what they are.
type Results = Vec<(String, ValueId)>;

/// An input that is no tensor of numbers, with its name.
pub(crate) struct CompoundInput<'m> {
    pub name: &'m str,
    pub parameters: Parameters,
}

/// What stands for an input.
pub(crate) enum Parameters {
    /// A tensor of numbers.
    Numbers(ValueId),
    /// Offsets and bytes of strings, and their shape.
    Table([ValueId; 2], Vec<Dim>),
    /// The bytes of a narrow type, and the shape.
    Bytes(ValueId, Encoding, Vec<Dim>),
    /// Values and keys of a map.
    Map(Box<[Parameters; 2]>),
    /// A packed sequence.
    Sequence { elements: Box<Parameters>, dims: ValueId, axes: Vec<Axis> },
    /// What may not be there, and whether it is.
    Optional(Box<Parameters>, ValueId),
}

/// Stands for a node where the signature takes operations.
static SIGNATURE: LazyLock<Node> = LazyLock::new(|| Node {
    name: "parameters".to_owned(),
    op_type: "Signature".to_owned(),
    domain: String::new(),
    overload: String::new(),
    opset: 1,
    inputs: vec![],
    outputs: vec![],
    attributes: BTreeMap::new(),
});

/// Adds the parameters of a tensor that is none of numbers; of strings `bytes` is how many bytes they have.
pub(crate) fn declare(
    frame: &mut Frame<'_>,
    name: &str,
    shape: Vec<Dim>,
    encoding: Encoding,
    bytes: impl FnOnce() -> SymbolInfo,
) -> Parameters {
    let graph = &mut frame.graph;
    graph.encodings.inputs.insert(graph.inputs.len(), Encoded { encoding, shape: shape.clone() });
    let stored = graph.add_input(encoding.stored(&shape), name);
    if encoding != Encoding::Strings {
        return Parameters::Bytes(stored, encoding, shape);
    }
    let count = Dim::sym(graph.dims.new_symbol(bytes()));
    let bytes = graph.add_input(TensorType::new(DType::U8, vec![count]), format!("{name}.bytes"));
    Parameters::Table([stored, bytes], shape)
}

impl Context<'_, '_> {
    /// What parameters stand for.
    fn of_parameters(&mut self, parameters: Parameters) -> Result<Item> {
        Ok(Item::Compound(match parameters {
            Parameters::Numbers(value) => return Ok(Item::Numbers(value)),
            Parameters::Table(table, shape) => Compound::Strings(self.whole_table(table, &shape)?),
            Parameters::Bytes(bytes, encoding, shape) => Compound::Narrow(self.of_stored(bytes, encoding, &shape)?),
            Parameters::Sequence { elements, dims, axes } => {
                let elements = Box::new(self.of_parameters(*elements)?);
                Compound::Sequence(Sequence::Packed(Packed { elements, dims, axes }))
            }
            Parameters::Map(parts) => {
                let [values, keys] = *parts;
                Compound::Maps(Maps { values: self.part_of_map(values)?, keys: self.part_of_map(keys)? })
            }
            Parameters::Optional(held, has) => Compound::Optional(has, Box::new(self.of_parameters(*held)?)),
        }))
    }

    /// The values of a map, or its keys.
    fn part_of_map(&mut self, parameters: Parameters) -> Result<Labelled> {
        match self.of_parameters(parameters)? {
            Item::Numbers(part) => Ok(Labelled::Numbers(part)),
            Item::Compound(Compound::Strings(part)) => Ok(Labelled::Strings(part)),
            Item::Compound(_) => Err(invalid("a map has parts that are no numbers or strings")),
        }
    }

    /// Adds the results that something is.
    fn results_of(&mut self, name: &str, item: &Item, rank: usize, results: &mut Results) -> Result<()> {
        let encode = |ctx: &mut Self, encoding, shape, at| {
            ctx.frame_mut().graph.encodings.outputs.insert(at, Encoded { encoding, shape });
        };
        let compound = match item {
            Item::Numbers(value) => {
                results.push((name.to_owned(), *value));
                return Ok(());
            }
            Item::Compound(compound) => compound,
        };
        match compound {
            Compound::Strings(strings) => {
                let [offsets, bytes] = self.packed(strings)?;
                let shape = self.shape(strings.numbers);
                // A branch or a loop yields as many offsets as it yields strings, which its sizes do not tell.
                let count = Encoding::Strings.stored(&shape).count();
                let known = self.dim(offsets, 0);
                self.require(known, Relation::Equal, count.clone(), "the number of offsets of strings".to_owned())?;
                let offsets = self.slice_axis(offsets, 0, Dim::ZERO, count)?;
                encode(self, Encoding::Strings, shape, results.len());
                results.push((name.to_owned(), offsets));
                results.push((format!("{name}.bytes"), bytes));
            }
            Compound::Narrow(narrow) => {
                let (bytes, shape) = (self.stored(*narrow)?, self.shape(narrow.value));
                encode(self, narrow.encoding, shape, results.len());
                results.push((name.to_owned(), bytes));
            }
            Compound::Maps(Maps { values, keys }) => {
                for (name, part) in [(name.to_owned(), values), (format!("{name}.keys"), keys)] {
                    let part = match part {
                        Labelled::Numbers(part) => Item::Numbers(*part),
                        Labelled::Strings(part) => Item::Compound(Compound::Strings(part.clone())),
                    };
                    self.results_of(&name, &part, 0, results)?;
                }
            }
            Compound::Sequence(sequence) => {
                let (kind, rank) = match sequence {
                    Sequence::List(kind, items) => match items.first() {
                        Some(first) => (*kind, self.rank(first.tensor()?)),
                        None => (*kind, rank),
                    },
                    // Neither counts for what is packed.
                    Sequence::Packed(packed) => (Kind::Strings, packed.axes.len()),
                };
                let packed = self.pack(sequence, kind, rank)?;
                self.results_of(name, &packed.elements, 0, results)?;
                results.push((format!("{name}.dims"), packed.dims));
            }
            Compound::Optional(has, held) => {
                self.results_of(name, held, rank, results)?;
                results.push((format!("{name}.has"), *has));
            }
            Compound::Nothing => {
                return Err(invalid(format!("output `{name}` is nothing; state its type in the model")));
            }
        }
        Ok(())
    }
}

impl<'m> Translator<'m> {
    /// Gives the names of inputs what they stand for, once all parameters are there.
    pub(crate) fn define_compound_inputs(&mut self, inputs: Vec<CompoundInput<'m>>) -> Result<()> {
        for CompoundInput { name, parameters } in inputs {
            let item = Context::new(self, &SIGNATURE).of_parameters(parameters)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.bind(name, item);
            }
        }
        Ok(())
    }

    /// The results that are the model's outputs, with their names, and where among them each output begins.
    pub(crate) fn model_outputs(&mut self, graph: &'m nnc_onnx::Graph) -> Result<(Results, Vec<usize>)> {
        let (mut results, mut positions) = (vec![], vec![]);
        for output in &graph.outputs {
            positions.push(results.len());
            let item = scope::resolve_item(&mut self.frames, &output.name)?;
            let mut ctx = Context::new(self, &SIGNATURE);
            let item = match &output.ty {
                Some(ty @ TypeInfo::Optional(_)) => {
                    let form = item.form(ctx.graph());
                    let stated = if form == Form::Nothing { stated_form(ty) } else { Some(Form::Nothing) };
                    match stated.and_then(|stated| form.unify(&stated)) {
                        Some(form) => ctx.conform(&item, &form)?,
                        None => item,
                    }
                }
                _ => item,
            };
            ctx.results_of(&output.name, &item, output.ty.as_ref().map_or(0, stated_rank), &mut results)?;
        }
        Ok((results, positions))
    }
}

/// The number of axes that the file states of the elements of a sequence.
fn stated_rank(ty: &TypeInfo) -> usize {
    match ty {
        TypeInfo::Tensor { shape, .. } => shape.as_ref().map_or(0, Vec::len),
        TypeInfo::Sequence(of) | TypeInfo::Optional(of) => stated_rank(of),
        _ => 0,
    }
}

/// The form that the file states of an output, to be nothing in.
fn stated_form(ty: &TypeInfo) -> Option<Form> {
    match ty {
        TypeInfo::Tensor { elem_type, .. } => {
            let ty = TensorType::new(DType::I64, vec![Dim::ZERO; stated_rank(ty)]);
            Some(Form::Tensor(tensors::kind(*elem_type)?, ty))
        }
        TypeInfo::Sequence(of) => match &**of {
            TypeInfo::Tensor { elem_type, .. } => {
                Some(Form::Packed(tensors::kind(*elem_type)?, vec![Axis::Same(Dim::ZERO); stated_rank(of)]))
            }
            _ => None,
        },
        TypeInfo::Optional(of) => stated_form(of),
        _ => None,
    }
}
