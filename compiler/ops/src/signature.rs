//! Inputs and outputs of a model that are no tensors of numbers: several parameters and results stand for them.
//!
//! Strings are handed over as tables: an input `x` becomes the parameters `x`, of its offsets, and `x.bytes`; so does an
//! output. An output of maps becomes their values, `x`, and the keys that all of them have, `x.keys`.

use crate::context::{Context, Translator};
use crate::error::Result;
use crate::ml_labels::Labelled;
use crate::scope::{self, Compound, Frame, Maps};
use crate::strings::Strings;
use nnc_ir::{DType, Dim, Encoded, Encoding, SymbolInfo, TensorType, ValueId};
use nnc_onnx::Node;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Values with the names of what they are.
type Results = Vec<(String, ValueId)>;

/// An input of strings: its name and shape, its offsets and bytes.
pub(crate) type StringInput<'m> = (&'m str, Vec<Dim>, [ValueId; 2]);

/// Stands for a node where the signature takes operations.
static SIGNATURE: LazyLock<Node> = LazyLock::new(|| Node {
    name: "strings".to_owned(),
    op_type: "Signature".to_owned(),
    domain: String::new(),
    overload: String::new(),
    opset: 1,
    inputs: vec![],
    outputs: vec![],
    attributes: BTreeMap::new(),
});

/// Adds the parameters of an input.
pub(crate) fn declare<'m>(frame: &mut Frame<'m>, name: &'m str, shape: Vec<Dim>, bytes: SymbolInfo) -> StringInput<'m> {
    let graph = &mut frame.graph;
    let encoded = Encoded { encoding: Encoding::Strings, shape: shape.clone() };
    graph.encodings.inputs.insert(graph.inputs.len(), encoded);
    let offsets = graph.add_input(Encoding::Strings.stored(&shape), name);
    let count = Dim::sym(graph.dims.new_symbol(bytes));
    let bytes = graph.add_input(TensorType::new(DType::U8, vec![count]), format!("{name}.bytes"));
    (name, shape, [offsets, bytes])
}

impl<'m> Translator<'m> {
    /// Gives the names of inputs their strings, once all parameters are there.
    pub(crate) fn define_string_inputs(&mut self, inputs: Vec<StringInput<'m>>) -> Result<()> {
        for (name, shape, table) in inputs {
            let strings = Context::new(self, &SIGNATURE).whole_table(table, &shape)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.compounds.insert(name, Compound::Strings(strings));
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
                Some(Compound::Maps(Maps { values, keys })) => {
                    results.push((output.name.clone(), values));
                    let name = format!("{}.keys", output.name);
                    match keys {
                        Labelled::Numbers(keys) => results.push((name, keys)),
                        Labelled::Strings(keys) => self.string_results(&name, &keys, &mut results)?,
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
