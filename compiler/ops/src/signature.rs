//! Inputs and outputs of a model that are no tensors of numbers: several parameters and results stand for them.
//!
//! Strings are handed over as tables: an input `x` becomes the parameters `x`, of its offsets, and `x.bytes`; so does an
//! output. An output of maps becomes their values, `x`, and the keys that all of them have, `x.keys`; so does an input that is
//! a map. Tensors of narrow types have one parameter, whose bytes hold several elements each where there is room.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid};
use crate::ml_labels::Labelled;
use crate::scope::{self, Compound, Frame, Maps};
use crate::strings::Strings;
use nnc_ir::{DType, Dim, Encoded, Encoding, SymbolInfo, TensorType, ValueId};
use nnc_onnx::Node;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Values with the names of what they are.
type Results = Vec<(String, ValueId)>;

/// An input that is no tensor of numbers, with its name and shape.
pub(crate) struct CompoundInput<'m> {
    name: &'m str,
    shape: Vec<Dim>,
    parameters: Parameters,
}

/// What stands for such an input.
enum Parameters {
    /// Numbers.
    Plain(ValueId),
    /// Offsets and bytes of strings.
    Table([ValueId; 2]),
    /// The bytes of a narrow type.
    Bytes(ValueId, Encoding),
    /// Values and keys of a map.
    Map(Box<[Parameters; 2]>),
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

/// Adds the parameters of an input; of strings `bytes` is how many bytes they have.
pub(crate) fn declare<'m>(
    frame: &mut Frame<'m>,
    name: &'m str,
    shape: Vec<Dim>,
    encoding: Encoding,
    bytes: impl FnOnce() -> SymbolInfo,
) -> CompoundInput<'m> {
    let parameters = encoded(frame, name, &shape, encoding, bytes);
    CompoundInput { name, shape, parameters }
}

/// Adds the parameters of a map: values and keys, each of numbers of a type or of strings. `symbol` makes symbols by name.
pub(crate) fn declare_map<'m>(
    frame: &mut Frame<'m>,
    name: &'m str,
    [value, key]: [Option<DType>; 2],
    symbol: impl Fn(String) -> SymbolInfo,
) -> CompoundInput<'m> {
    let shape = vec![Dim::sym(frame.graph.dims.new_symbol(symbol(format!("{name}_size"))))];
    let mut part = |part: String, bytes: &str, dtype: Option<DType>| match dtype {
        Some(dtype) => Parameters::Plain(frame.graph.add_input(TensorType::new(dtype, shape.clone()), part)),
        None => encoded(frame, &part, &shape, Encoding::Strings, || symbol(format!("{name}_{bytes}"))),
    };
    let value = part(name.to_owned(), "bytes", value);
    let key = part(format!("{name}.keys"), "keys_bytes", key);
    CompoundInput { name, shape, parameters: Parameters::Map(Box::new([value, key])) }
}

fn encoded(
    frame: &mut Frame<'_>,
    name: &str,
    shape: &[Dim],
    encoding: Encoding,
    bytes: impl FnOnce() -> SymbolInfo,
) -> Parameters {
    let graph = &mut frame.graph;
    graph.encodings.inputs.insert(graph.inputs.len(), Encoded { encoding, shape: shape.to_vec() });
    let stored = graph.add_input(encoding.stored(shape), name);
    if encoding == Encoding::Strings {
        let count = Dim::sym(graph.dims.new_symbol(bytes()));
        Parameters::Table([stored, graph.add_input(TensorType::new(DType::U8, vec![count]), format!("{name}.bytes"))])
    } else {
        Parameters::Bytes(stored, encoding)
    }
}

/// What parameters stand for, of that shape.
fn compound(ctx: &mut Context, parameters: Parameters, shape: &[Dim]) -> Result<Compound> {
    let part = |ctx: &mut Context, part: Parameters| match part {
        Parameters::Plain(value) => Ok(Labelled::Numbers(value)),
        Parameters::Table(table) => ctx.whole_table(table, shape).map(Labelled::Strings),
        Parameters::Bytes(..) | Parameters::Map(_) => Err(invalid("a map has parts that are no numbers or strings")),
    };
    Ok(match parameters {
        Parameters::Bytes(bytes, encoding) => Compound::Narrow(ctx.of_stored(bytes, encoding, shape)?),
        Parameters::Map(parts) => {
            let [values, keys] = *parts;
            Compound::Maps(Maps { values: part(ctx, values)?, keys: part(ctx, keys)? })
        }
        Parameters::Table(table) => Compound::Strings(ctx.whole_table(table, shape)?),
        Parameters::Plain(_) => return Err(invalid("an input of numbers stands for itself")),
    })
}

impl<'m> Translator<'m> {
    /// Gives the names of inputs what they stand for, once all parameters are there.
    pub(crate) fn define_compound_inputs(&mut self, inputs: Vec<CompoundInput<'m>>) -> Result<()> {
        for CompoundInput { name, shape, parameters } in inputs {
            let mut ctx = Context::new(self, &SIGNATURE);
            let compound = compound(&mut ctx, parameters, &shape)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.compounds.insert(name, compound);
            }
        }
        Ok(())
    }

    /// The results that are the model's outputs, with their names, and where among them each output begins.
    pub(crate) fn model_outputs(&mut self, graph: &'m nnc_onnx::Graph) -> Result<(Results, Vec<usize>)> {
        let (mut results, mut positions) = (vec![], vec![]);
        for output in &graph.outputs {
            positions.push(results.len());
            match scope::resolve_compound(&mut self.frames, &output.name)? {
                Some(Compound::Strings(strings)) => self.string_results(&output.name, &strings, &mut results)?,
                Some(Compound::Narrow(narrow)) => {
                    let mut ctx = Context::new(self, &SIGNATURE);
                    let (bytes, shape) = (ctx.stored(narrow)?, ctx.shape(narrow.value));
                    let encoded = Encoded { encoding: narrow.encoding, shape };
                    ctx.frame_mut().graph.encodings.outputs.insert(results.len(), encoded);
                    results.push((output.name.clone(), bytes));
                }
                Some(Compound::Maps(Maps { values, keys })) => {
                    for (name, part) in [(output.name.clone(), values), (format!("{}.keys", output.name), keys)] {
                        match part {
                            Labelled::Numbers(part) => results.push((name, part)),
                            Labelled::Strings(part) => self.string_results(&name, &part, &mut results)?,
                        }
                    }
                }
                _ => results.push((output.name.clone(), scope::resolve(&mut self.frames, &output.name)?)),
            }
        }
        Ok((results, positions))
    }

    /// Adds the results that are strings.
    fn string_results(&mut self, name: &str, strings: &Strings, results: &mut Results) -> Result<()> {
        let mut ctx = Context::new(self, &SIGNATURE);
        let [offsets, bytes] = ctx.packed(strings)?;
        let shape = ctx.shape(strings.numbers);
        let encoded = Encoded { encoding: Encoding::Strings, shape };
        ctx.frame_mut().graph.encodings.outputs.insert(results.len(), encoded);
        results.push((name.to_owned(), offsets));
        results.push((format!("{name}.bytes"), bytes));
        Ok(())
    }
}
