//! Checks one case: the interpreter against expected outputs, compiled code against the interpreter.
//!
//! What is compiled, for whom and how is a list of [`Config`]s. The numbers of threads of one configuration must agree to
//! the bit; all else agrees within [`super::tolerance`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use nnc::driver::{Compilation, OptLevel, Options, Unwatched};
use nnc::errors::{Blame, Failure};
use nnc::guard;
use nnc_desc::Target;
use nnc_ir::{DType, Data, Graph, Tensor};
use nnc_ops::DimRange;
use nnc_passes::pipeline::Numerics;
use nnc_runtime::{Pool, Runner, TensorRef, Threads};
use serde::{Deserialize, Serialize};

use super::case::{self, GRAPH, MODEL, Set};
use super::tolerance::{self, Reference};

/// How a case is compiled and run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The processor, as `--target` takes it.
    pub target: String,
    /// `--numerics strict`.
    pub strict: bool,
    /// `--opt-level 0`: nothing is rewritten or fused.
    pub plain: bool,
    /// `--opt-fuel`.
    pub fuel: Option<usize>,
    /// Symbolic dimensions get the sizes of each run beforehand, as `--dim` gives them.
    pub fixed: bool,
    /// Numbers of threads.
    pub threads: Vec<usize>,
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.target)?;
        write!(f, "{}{}", if self.strict { " strict" } else { "" }, if self.fixed { " fixed" } else { "" })?;
        write!(f, "{}", if self.plain { " -O0" } else { "" })?;
        self.fuel.map_or(Ok(()), |fuel| write!(f, " fuel {fuel}"))
    }
}

/// What is wrong, as far as shrinking must keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The interpreter differs from the expected outputs, or refuses to run.
    Translation,
    /// Compiling ended with a defect of nnc.
    Defect,
    /// Compiled code refused to run.
    Run,
    /// Compiled code differs from the interpreter.
    Result,
    /// Compiled code reads or writes outside its memory, or reads what it has not written.
    Fence,
    /// Threads change a result.
    Threads,
    /// The process ended.
    Crash,
    /// It took too long.
    Silence,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All agreed; how many runs were compared, and what was refused on the way.
    Ok {
        /// Runs of compiled code that were compared.
        runs: usize,
        /// Why some were not.
        refused: Vec<String>,
    },
    /// nnc does not take the model.
    Refused(String),
    /// Something is wrong.
    Wrong {
        /// Of what kind.
        fault: Fault,
        /// With which configuration, if with one only.
        config: Option<Config>,
        /// What.
        detail: String,
    },
}

impl Verdict {
    fn wrong(fault: Fault, config: Option<&Config>, detail: impl Into<String>) -> Verdict {
        Verdict::Wrong { fault, config: config.cloned(), detail: detail.into() }
    }
}

/// How the steps of a check end early.
type Step<T> = Result<T, Verdict>;

/// A model as far as all configurations share it.
struct Subject {
    /// The ONNX model, unless the case is a graph.
    model: Option<nnc_onnx::Model>,
    graph: Graph,
    wide: Option<Graph>,
    coarsest: DType,
    /// The factor by which floats may be further off than usual.
    factor: f64,
}

/// Checks the case in a folder.
pub fn check(folder: &Path, configs: &[Config], factor: f64) -> Verdict {
    examine(folder, configs, factor).unwrap_or_else(|verdict| verdict)
}

fn examine(folder: &Path, configs: &[Config], factor: f64) -> Step<Verdict> {
    let subject = Subject::load(folder, factor)?;
    let sets = case::sets(folder).map_err(|e| Verdict::Refused(e.to_string()))?;
    let (mut references, mut refused) = (vec![], vec![]);
    for (i, set) in sets.iter().enumerate() {
        match subject.reference(set, &mut refused).map_err(|e| at_set(e, i))? {
            Ok(reference) => references.push((i, set, reference)),
            Err(note) => refused.push(note),
        }
    }
    let mut runs = 0;
    for config in configs {
        // Named on standard error, so that a crash is known to be this one's.
        eprintln!("{config}");
        let groups: Vec<&[_]> = if config.fixed { references.chunks(1).collect() } else { vec![references.as_slice()] };
        for group in groups {
            let dims = group.first().filter(|_| config.fixed).map(|(_, set, _)| subject.sizes(set)).unwrap_or_default();
            let model = match subject.compile(config, dims) {
                Ok(model) => model,
                Err(failure) => match defect(&failure) {
                    true => return Err(Verdict::wrong(Fault::Defect, Some(config), failure.to_string())),
                    false => {
                        refused.push(failure.to_string());
                        continue;
                    }
                },
            };
            for (i, set, reference) in group {
                subject.run(&model, config, set, reference).map_err(|e| at_set(e, *i))?;
                runs += config.threads.len();
            }
        }
    }
    Ok(Verdict::Ok { runs, refused })
}

fn defect(failure: &Failure) -> bool {
    failure.to_string().contains("defect of nnc")
}

fn at_set(verdict: Verdict, set: usize) -> Verdict {
    match verdict {
        Verdict::Wrong { fault, config, detail } => {
            Verdict::Wrong { fault, config, detail: format!("set {set}: {detail}") }
        }
        other => other,
    }
}

impl Subject {
    fn load(folder: &Path, factor: f64) -> Step<Subject> {
        let file = folder.join(MODEL);
        let (model, graph) = if file.is_file() {
            let model = nnc_onnx::Model::load(&file).map_err(|e| Verdict::Refused(e.to_string()))?;
            let graph = nnc_ops::translate(&model, &nnc_ops::Options::default()).map_err(|e| refusal(e.into()))?;
            (Some(model), graph)
        } else {
            let text = std::fs::read_to_string(folder.join(GRAPH)).map_err(|e| Verdict::Refused(e.to_string()))?;
            (None, nnc_ir::parse::graph(&text).map_err(|e| Verdict::Refused(e.to_string()))?)
        };
        nnc_ir::verify::verify(&graph)
            .map_err(|e| Verdict::wrong(Fault::Defect, None, format!("after translation: {e}")))?;
        let wide = tolerance::widen(&graph);
        let coarsest = tolerance::coarsest(&graph);
        Ok(Subject { model, graph, wide, coarsest, factor })
    }

    /// The inputs that the graph takes: those of the model without a default value.
    fn inputs(&self, set: &Set) -> Vec<Tensor> {
        let Some(model) = &self.model else { return set.inputs.clone() };
        let name = |v: &nnc_ir::ValueId| &self.graph.values[v.index()].name;
        let position = |v| model.graph.inputs.iter().position(|i| &i.name == name(v));
        self.graph.inputs.iter().filter_map(|v| set.inputs.get(position(v)?).cloned()).collect()
    }

    /// The reference of each output; without one the inputs are not valid, or nobody knows what is right.
    fn reference(&self, set: &Set, notes: &mut Vec<String>) -> Step<Result<Vec<Reference>, String>> {
        let inputs = self.inputs(set);
        let want = match nnc_eval::run(&self.graph, &inputs) {
            Ok(want) => want,
            Err(error) if set.expected.is_some() => {
                return Err(Verdict::wrong(Fault::Translation, None, format!("the interpreter refuses: {error}")));
            }
            Err(error) => return Ok(Err(format!("the interpreter refuses the inputs: {error}"))),
        };
        let wide_inputs: Vec<Tensor> = inputs.iter().map(tolerance::widen_tensor).collect();
        let exact = self.wide.as_ref().and_then(|g| nnc_eval::run(g, &wide_inputs).ok());
        let mut exact = exact.unwrap_or_default().into_iter();
        let trace = nnc_eval::trace(&self.graph, &inputs).unwrap_or_default();
        let values = || trace.values.iter().flatten().chain(&trace.inside);
        let spread = tolerance::spread(values());
        let reference = |want| Reference { want, exact: exact.next(), spread };
        let references: Vec<Reference> = want.into_iter().map(reference).collect();
        // ONNX Runtime keeps some constants of functions in f32.
        let coarsest = if self.coarsest == DType::F64 { DType::F32 } else { self.coarsest };
        for (i, (expected, reference)) in set.expected.iter().flatten().zip(&references).enumerate() {
            // Other implementations sum and approximate in ways of their own.
            if let Err(error) = tolerance::agree(expected, reference, coarsest, 4.0 * self.factor) {
                // ONNX Runtime takes products and reductions of nothing in several ways, and ends in wrong shapes.
                if values().any(Tensor::is_empty) {
                    notes.push("ONNX Runtime differs about an empty tensor".to_owned());
                    break;
                }
                let text = format!(
                    "output `{}`: ONNX Runtime or the file against the interpreter: {error}",
                    self.graph.outputs[i].0
                );
                return Err(Verdict::wrong(Fault::Translation, None, text));
            }
        }
        Ok(Ok(references))
    }

    /// The sizes of the symbols in a run.
    fn sizes(&self, set: &Set) -> BTreeMap<String, DimRange> {
        let mut sizes = BTreeMap::new();
        for (value, input) in self.graph.inputs.iter().zip(self.inputs(set)) {
            for (dim, &size) in self.graph.shape(*value).iter().zip(&input.shape) {
                if let Some(info) = dim.as_symbol().and_then(|s| self.graph.dims.lookup(s)) {
                    sizes.insert(info.name.clone(), DimRange { min: size as i64, max: size as i64 });
                }
            }
        }
        sizes
    }

    fn compile(&self, config: &Config, dims: BTreeMap<String, DimRange>) -> nnc::errors::Result<nnc_runtime::Model> {
        let options = Options {
            target: Target::parse(&config.target)?,
            dims,
            numerics: if config.strict { Numerics::Strict } else { Numerics::Default },
            opt_level: if config.plain { OptLevel::None } else { OptLevel::Full },
            fuel: config.fuel,
            ..Options::native("case")?
        };
        let mut watch = Unwatched;
        let mut compilation = Compilation::new(&options, &mut watch)?;
        match &self.model {
            Some(model) => compilation.load(model),
            None => compilation.load_graph(self.graph.clone(), GRAPH),
        }
    }

    fn run(&self, model: &nnc_runtime::Model, config: &Config, set: &Set, references: &[Reference]) -> Step<()> {
        let inputs = self.inputs(set);
        let dims: Vec<Vec<i64>> = inputs.iter().map(|t| t.shape.iter().map(|&d| d as i64).collect()).collect();
        let mut first: Option<Vec<Tensor>> = None;
        for &threads in &config.threads {
            let views = inputs.iter().zip(&dims).zip(&model.signature().inputs);
            let views: Vec<TensorRef<'_>> =
                views.map(|((t, dims), info)| TensorRef::from_bytes(info.dtype, dims, t.data.bytes())).collect();
            let wrong = |fault, text: String| Verdict::wrong(fault, Some(config), text);
            let refused = |e: &dyn std::fmt::Display| wrong(Fault::Run, format!("{threads} threads: {e}"));
            if threads == 1 {
                // In exactly as much memory as it asks for; crashes at its ends are told by the exit code.
                let guarded = guard::run(model, &views).map_err(|e| refused(&e))?;
                guarded.map_err(|problem| wrong(Fault::Fence, problem))?;
            }
            let mut runner = Runner::new(model.clone(), pool(threads));
            runner.run(&views).map_err(|e| refused(&e))?;
            let got: Vec<Tensor> =
                (0..references.len()).filter_map(|i| copy(&runner.output(i), references[i].want.dtype)).collect();
            match &first {
                None => {
                    for (i, (got, reference)) in got.iter().zip(references).enumerate() {
                        tolerance::agree(got, reference, self.coarsest, self.factor)
                            .map_err(|e| wrong(Fault::Result, format!("output `{}`: {e}", self.graph.outputs[i].0)))?;
                    }
                    first = Some(got);
                }
                Some(first) => {
                    let same = got.iter().zip(first).all(|(a, b)| a.data.bytes() == b.data.bytes());
                    if !same {
                        return Err(wrong(
                            Fault::Threads,
                            format!("{threads} threads give other bits than {}", config.threads[0]),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn refusal(failure: Failure) -> Verdict {
    match failure.blame() {
        Blame::Compiler if defect(&failure) => Verdict::wrong(Fault::Defect, None, failure.to_string()),
        _ => Verdict::Refused(failure.to_string()),
    }
}

fn copy(output: &TensorRef<'_>, dtype: DType) -> Option<Tensor> {
    let shape = output.dims.iter().map(|&d| d as usize).collect();
    Tensor::new(dtype, shape, Data::new(output.data.to_vec()))
}

/// The threads of a run; pools are kept.
fn pool(threads: usize) -> Threads {
    static TWO: OnceLock<Pool> = OnceLock::new();
    static EIGHT: OnceLock<Pool> = OnceLock::new();
    match threads {
        1 => Threads::Serial,
        2 => Threads::Pool(TWO.get_or_init(|| Pool::new(2)).clone()),
        8 => Threads::Pool(EIGHT.get_or_init(|| Pool::new(8)).clone()),
        n => Threads::Pool(Pool::new(n)),
    }
}

/// The targets that this machine can run.
pub fn targets() -> Vec<&'static str> {
    let names = ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"];
    let Ok(native) = Target::parse("native") else { return vec![] };
    let runs = |target: &Target| target.arch == native.arch && target.features.iter().all(|f| native.features.has(f));
    names.into_iter().filter(|name| Target::parse(name).is_ok_and(|t| runs(&t))).collect()
}
