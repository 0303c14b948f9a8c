//! `nnc blame`: what is the first to make a model's results wrong, a rewrite of the graph or the code of a node.
//!
//! The reference is the interpreter of the core operations on the graph as the model says it. First the graph passes are
//! searched, by bisection over their fuel; when every graph is right, the code is: the graph is cut behind one value after
//! another until the first is found whose code does not compute it. Either way there is a right result before what is
//! named and a wrong one after it.

use std::path::PathBuf;

use nnc_ir::op::Op;
use nnc_ir::{Graph, NodeId, Tensor, ValueId};
use nnc_passes::blame::blame;
use nnc_passes::pipeline::PipelineOptions;
use nnc_runtime::{Runner, TensorRef, Threads};

use crate::array::Array;
use crate::driver::{Compilation, Halt, Options, Unwatched};
use crate::errors::{Failure, Result};
use crate::{compare, dims, inputs, name, progress, reference};

/// Arguments of `nnc blame`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// ONNX file
    model: PathBuf,
    /// Inputs: arrays named as the model's inputs
    #[arg(long, value_name = "IN.npz")]
    inputs: PathBuf,
    /// How far a float may be off, as a part of its tensor's greatest magnitude
    #[arg(long, value_name = "PART", default_value_t = 1e-4, value_parser = compare::part)]
    tolerance: f64,
    /// Fix a symbolic dimension, or bound it, as for `compile`
    #[arg(long = "dim", value_name = "NAME=SIZE")]
    dims: Vec<String>,
}

/// Runs the command; 0 when nothing is wrong, 1 when something is and was named.
///
/// # Errors
/// When the model cannot be compiled or run at all.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let name = name::from_path(&arguments.model);
    let options = Options { dims: dims::parse(&arguments.dims)?, ..Options::native(name)? };
    let spinner = progress::spinner("looking");
    let found = search(arguments, &options);
    spinner.finish_and_clear();
    let found = found?;
    let text = found.as_deref().unwrap_or("nothing is wrong: the results are those of the interpreter");
    progress::print(None, &format!("{text}\n"))?;
    Ok(u8::from(found.is_some()))
}

/// What is to blame, in one line; `None` when the results are right.
fn search(arguments: &Arguments, options: &Options) -> Result<Option<String>> {
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(options, &mut watch)?;
    let model = compilation.import(&arguments.model)?;
    let graph = compilation.translated(&model).map_err(Halt::into_failure)?;
    let compiled = compilation.load_graph(graph.clone(), &model.file)?;
    let arrays = inputs::from_npz(&arguments.inputs, compiled.signature())?;
    let trial = Trial {
        options,
        file: &model.file,
        inputs: arrays.iter().map(|a| reference::tensor(&a.view())).collect::<Result<_>>()?,
        arrays,
        tolerance: arguments.tolerance,
    };
    let expected = trial.interpret(&graph)?;
    let Some(difference) = trial.difference(&graph, &trial.execute(compiled)?, &expected) else { return Ok(None) };

    let mut agrees =
        |graph: &Graph| trial.interpret(graph).is_ok_and(|found| trial.difference(graph, &found, &expected).is_none());
    let passes = PipelineOptions { numerics: options.numerics, ..PipelineOptions::default() };
    let found = blame(&graph, &options.target, &passes, &mut agrees).map_err(|e| Failure::internal(e.to_string()))?;
    if let Some(found) = found {
        let (what, pass, fuel) = (found.applied.what, found.pass, found.fuel);
        let what = if what == pass { format!("the pass {pass}") } else { format!("the rule {what} (pass {pass})") };
        let place = match found.applied.origin.as_str() {
            "" => String::new(),
            origin => format!(" at {origin}"),
        };
        return Ok(Some(format!("{what}{place}, --opt-fuel {fuel}: {difference}")));
    }
    let optimized = compilation.optimize(graph, &model.file).map_err(Halt::into_failure)?;
    trial.first_wrong_code(&mut compilation, &optimized, &difference).map(Some)
}

/// A model's inputs and how its results are judged.
struct Trial<'a> {
    options: &'a Options,
    file: &'a str,
    arrays: Vec<Array>,
    inputs: Vec<Tensor>,
    tolerance: f64,
}

impl Trial<'_> {
    fn interpret(&self, graph: &Graph) -> Result<Vec<Tensor>> {
        reference::interpret(graph, &self.inputs, self.file)
    }

    fn execute(&self, model: nnc_runtime::Model) -> Result<Vec<Tensor>> {
        let views: Vec<TensorRef<'_>> = self.arrays.iter().map(Array::view).collect();
        let mut runner = Runner::new(model, Threads::Serial);
        runner.run(&views).map_err(|e| Failure::of_run(self.file.as_ref(), e))?;
        reference::outputs(&runner)
    }

    /// The first output that is too far off, in a few words.
    fn difference(&self, graph: &Graph, found: &[Tensor], expected: &[Tensor]) -> Option<String> {
        let pairs = graph.outputs.iter().zip(found).zip(expected);
        pairs.into_iter().find_map(|(((name, _), found), expected)| {
            let deviation = match compare::deviation(found, expected, self.tolerance) {
                Ok(deviation) => deviation,
                Err(other) => return Some(format!("`{name}`: {other}")),
            };
            let (first, is, should) = deviation.first?;
            let (count, all) = (deviation.wrong, found.len());
            Some(format!("{count} of {all} elements of `{name}` are wrong, the first at {first}: {is}, not {should}"))
        })
    }

    /// The node before which the code of a graph is right, and wrong behind it.
    fn first_wrong_code(&self, compilation: &mut Compilation<'_>, graph: &Graph, whole: &str) -> Result<String> {
        let values = cuts(graph);
        let mut judge = |count: usize| -> Result<Option<String>> {
            let cut = cut(graph, values[count - 1]);
            let expected = self.interpret(&cut)?;
            let model = compilation.load_optimized(cut.clone(), self.file)?;
            Ok(self.difference(&cut, &self.execute(model)?, &expected))
        };
        let (mut right, mut wrong) = (0, values.len());
        let mut difference = None;
        while wrong - right > 1 {
            let middle = right + (wrong - right) / 2;
            match judge(middle)? {
                None => right = middle,
                found => (wrong, difference) = (middle, found),
            }
        }
        let node = values.get(wrong.saturating_sub(1)).and_then(|v| graph.definitions()[v.index()]);
        let origin = node.map_or_else(String::new, |id| graph.nodes[id.index()].origin.clone());
        let target = &self.options.target.name;
        let difference = difference.as_deref().unwrap_or(whole);
        Ok(format!("the code of {origin} for {target}, all rewrites being right: {difference}"))
    }
}

/// Values to cut the graph behind, in the order in which they are computed: whatever no symbol of a later node is in.
fn cuts(graph: &Graph) -> Vec<ValueId> {
    let nodes = graph.nodes.iter().filter(|n| !matches!(n.op, Op::Constant(_)) && n.op.defined_symbols().is_empty());
    nodes.flat_map(|n| n.outputs.iter().copied()).collect()
}

/// The part of a graph that computes a value.
fn cut(graph: &Graph, value: ValueId) -> Graph {
    let mut part = graph.clone();
    part.outputs = vec![(format!("value {}", value.0), value)];
    let last = graph.definitions()[value.index()].map_or(0, NodeId::index);
    part.nodes.truncate(last + 1);
    nnc_passes::dead_code::remove_dead(part)
}
