//! Lowering: every region of the graph becomes kernels and steps of the host plan, as its layout and the choices made for it say.
//!
//! `Lowering` holds the program being built; `emit` computes any value at any index as a scalar expression; one module per
//! kind of kernel builds the loops around it.
//!
//! Invariants:
//! - regions are lowered in the order of their roots, so that memory is written before it is read;
//! - nothing is decided here about speed;
//! - kernels mention no global symbol: symbols reach them as integer parameters, so that equal layers share a kernel.

mod block;
mod border;
mod builder;
mod copy;
mod data_dependent;
mod depthwise;
pub(crate) mod emit;
mod empty;
mod epilogue;
mod indices;
mod map;
mod movement;
mod operand;
mod pool;
mod problem;
mod reach;
mod recurrent;
mod scratch;

pub(crate) use scratch::scratch_last;

use crate::choose::{Algorithm, Choice, Decision};
use crate::error::LowerError;
use crate::layout::{self, Border, Layout, Storage, View};
use crate::regions::{Anchor, Reason, Region, Regions};
use nnc_desc::Target;
use nnc_ir::op::{Op, Relation};
use nnc_ir::{DType, Dim, Encoded, Encodings, Graph, Node, Tensor, ValueId};
use nnc_kernels::kernel::{Access, Kernel};
use nnc_kernels::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, SizeCheck, Step};
use nnc_kernels::weights::{Pack, Weight, WeightId};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// What a graph is lowered by.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'g> {
    pub graph: &'g Graph,
    pub target: &'g Target,
    pub regions: &'g Regions,
    pub layout: &'g Layout,
    /// By region.
    pub decisions: &'g [Decision],
}

/// The program being built.
pub(crate) struct Lowering<'g> {
    graph: &'g Graph,
    plan: Plan<'g>,
    program: Program,
    /// Borders that are to be zeroed before anything is written inside of them.
    borders: BTreeMap<BufferId, Border>,
    /// Index tensors whose range is checked by an earlier step.
    checked: FxHashSet<indices::Range>,
    weights: FxHashMap<([u8; 32], Pack), BufferId>,
    /// Where constants lie that are read as they are.
    constants: FxHashMap<ValueId, Storage>,
    /// What became of the regions so far.
    lowered: Vec<LoweredRegion>,
    /// Whether this is the graph of the model, whose nodes all run.
    outermost: bool,
    /// The node being lowered, for messages.
    origin: String,
}

/// A program, and how it came to be.
#[derive(Debug)]
pub struct Lowered {
    /// The program.
    pub program: Program,
    /// What became of each region, in the order in which they run.
    pub regions: Vec<LoweredRegion>,
}

/// What a region became.
#[derive(Clone, Debug)]
pub struct LoweredRegion {
    /// The region.
    pub region: Region,
    /// Why it ends where it does; `None` of an operation without results.
    pub reason: Option<Reason>,
    /// Its steps in the program, as numbers from the first to before the last; those inside of branches and loops aside.
    pub steps: std::ops::Range<usize>,
    /// What was chosen for its contractions.
    pub choices: Vec<Choice>,
}

/// Lowers a verified graph as planned, over the buffers of its layout.
///
/// The workspace offsets are not assigned yet: [`crate::memory::plan`] does that.
///
/// # Errors
/// When an operation has no lowering, naming its node.
pub(crate) fn lower(plan: Plan<'_>, buffers: Vec<Buffer>) -> Result<Lowered, LowerError> {
    let graph = plan.graph;
    let parameter = |name: &str, value: ValueId, encoded: Option<&Encoded>| Parameter {
        name: name.to_owned(),
        dtype: graph.ty(value).dtype,
        encoding: encoded.map(|e| e.encoding),
        shape: encoded.map_or_else(|| graph.shape(value), |e| &e.shape).to_vec(),
    };
    let Encodings { inputs, outputs } = &graph.encodings;
    let mut program = Program::new(&graph.name, graph.dims.clone());
    program.buffers = buffers;
    let values = graph.inputs.iter().enumerate();
    program.inputs = values.map(|(i, &v)| parameter(&graph.values[v.index()].name, v, inputs.get(&i))).collect();
    let values = graph.outputs.iter().enumerate();
    program.outputs = values.map(|(i, (name, v))| parameter(name, *v, outputs.get(&i))).collect();
    program.states.clone_from(&plan.layout.states);
    let mut lowering = Lowering::new(plan, program);
    lowering.outermost = true;
    lowering.lower_regions()?;
    lowering.finish_outputs()?;
    Ok(Lowered { program: lowering.program, regions: lowering.lowered })
}

impl<'g> Lowering<'g> {
    /// A lowering that adds to `program`.
    fn new(plan: Plan<'g>, program: Program) -> Self {
        Lowering {
            graph: plan.graph,
            plan,
            program,
            borders: plan.layout.borders.clone(),
            checked: FxHashSet::default(),
            weights: FxHashMap::default(),
            constants: FxHashMap::default(),
            lowered: vec![],
            outermost: false,
            origin: String::new(),
        }
    }

    /// Lowers every region.
    fn lower_regions(&mut self) -> Result<(), LowerError> {
        let Plan { regions, decisions, .. } = self.plan;
        for (region, decision) in regions.list.iter().zip(decisions) {
            let first = self.program.steps.len();
            self.lower_region(region, decision)?;
            let steps = first..self.program.steps.len();
            let reason = region.results.first().and_then(|&root| regions.reason(root));
            self.lowered.push(LoweredRegion {
                region: region.clone(),
                reason,
                steps,
                choices: decision.choices.clone(),
            });
        }
        Ok(())
    }

    fn definition(&self, value: ValueId) -> Option<&'g Node> {
        self.plan.regions.definition(self.graph, value)
    }
}

impl Lowering<'_> {
    fn error(&self, problem: impl Into<String>) -> LowerError {
        LowerError { origin: self.origin.clone(), problem: problem.into() }
    }

    /// A value as a strided view of stored memory or of a constant, if it is one.
    fn view_of(&self, value: ValueId) -> Option<View> {
        self.plan.layout.view_of(self.graph, self.plan.regions, value)
    }

    fn lower_region(&mut self, region: &Region, decision: &Decision) -> Result<(), LowerError> {
        let graph = self.graph;
        let anchor = region.anchor.node().map(|id| &graph.nodes[id.index()]);
        let root = region.results.first().copied();
        // The node that the region ends in; a sequential one without results has no other.
        let Some(last) = root.and_then(|v| self.definition(v)).or(anchor) else { return Ok(()) };
        self.origin.clone_from(&last.origin);
        let (Some(root), false) = (root, matches!(region.anchor, Anchor::Sequential(_))) else {
            return self.lower_sequential(last, region, decision);
        };
        if self.plan.layout.is_alias(root) {
            return Ok(());
        }
        let Some(anchor) = anchor else { return self.lower_map(root) };
        let lowered = match region.anchor {
            Anchor::Window(_) => self.lower_pool(anchor, root),
            _ => self.lower_product(anchor, decision),
        };
        // The region ends in another node; what cannot be done is the anchor.
        lowered.map_err(|e| LowerError { origin: anchor.origin.clone(), ..e })
    }

    /// Lowers a matrix product or a convolution.
    fn lower_product(&mut self, anchor: &Node, decision: &Decision) -> Result<(), LowerError> {
        let (Some(problem), Some(choice)) = (&decision.problem, decision.choices.first()) else {
            return Err(self.error("nothing was chosen for a contraction"));
        };
        let Some(taken) = choice.candidates.first() else { return Err(self.error("there is no way to do it")) };
        match &taken.algorithm {
            Algorithm::Depthwise => self.lower_depthwise(anchor, problem),
            Algorithm::Panels(panels) => {
                self.emit_problem(problem, (panels, choice.shape.nanoseconds(&self.graph.dims, taken.cost)))
            }
        }
    }

    fn lower_sequential(&mut self, node: &Node, region: &Region, decision: &Decision) -> Result<(), LowerError> {
        match &node.op {
            Op::Concat { axis } => self.lower_concat(node, *axis),
            Op::Recurrent(cell) => self.lower_recurrent(node, cell, &decision.choices),
            _ => self.lower_data_dependent(node, self.plan.regions.inside(region)),
        }
    }

    /// Fails the run unless two sizes are equal, where that is not known.
    fn require(&mut self, left: Dim, right: Dim, what: &str) -> Result<(), LowerError> {
        let (left, right) = (left.simplify(&self.graph.dims), right.simplify(&self.graph.dims));
        if left == right {
            return Ok(());
        }
        if left == Dim::OVERFLOW || right == Dim::OVERFLOW {
            return Err(self.error(format!("{what} depends on too many dimensions; fix some with --dim")));
        }
        let (what, origin) = (what.to_owned(), self.origin.clone());
        let check = Step::Check(SizeCheck { left, relation: Relation::Equal, right, what, origin });
        if self.program.steps.last() != Some(&check) {
            self.program.steps.push(check);
        }
        Ok(())
    }

    /// Adds a buffer.
    fn add_buffer(&mut self, name: String, dtype: DType, elements: &Dim, place: Place) -> Result<BufferId, LowerError> {
        let added = layout::add_buffer(&mut self.program.buffers, &self.graph.dims, (name, dtype, elements, place));
        added.map_err(|problem| self.error(problem))
    }

    /// Adds memory for what only lowering needs.
    fn add_workspace(&mut self, name: String, dtype: DType, elements: &Dim) -> Result<BufferId, LowerError> {
        let added = layout::add_workspace(&mut self.program.buffers, &self.graph.dims, (name, dtype, elements));
        added.map_err(|problem| self.error(problem))
    }

    /// Where a value lies; a constant becomes a weight.
    fn storage(&mut self, value: ValueId) -> Result<Storage, LowerError> {
        if let Some(storage) = self.plan.layout.storage(value).or_else(|| self.constants.get(&value)) {
            return Ok(storage.clone());
        }
        let Some(Op::Constant(id)) = self.definition(value).map(|node| &node.op) else {
            return Err(self.error(format!("{value} has no memory")));
        };
        let buffer = self.add_weight(self.graph.consts.get(*id), Pack::Plain)?;
        let storage = Storage::dense(buffer, self.graph.shape(value));
        self.constants.insert(value, storage.clone());
        Ok(storage)
    }

    /// The buffer of a weight, shared by content and layout.
    fn add_weight(&mut self, source: &Tensor, pack: Pack) -> Result<BufferId, LowerError> {
        let key = (nnc_ir::graph::content_hash(source), pack.clone());
        if let Some(&buffer) = self.weights.get(&key) {
            return Ok(buffer);
        }
        let weight = Weight { source: source.clone(), pack };
        let (id, elements) = (WeightId(self.program.weights.len() as u32), weight.packed_len());
        self.program.weights.push(weight);
        let name = format!("weight{}", id.0);
        let buffer = self.add_buffer(name, source.dtype, &Dim::from(elements as i64), Place::Weight(id))?;
        self.weights.insert(key, buffer);
        Ok(buffer)
    }

    /// Adds a kernel and the step that runs it, over its parallel loop's extent and for so many nanoseconds; none where all
    /// that it writes is empty. In such a kernel a loop that never runs may be the only thing between a load and a tensor
    /// without elements. A kernel that writes nothing is a check and runs.
    fn add_step(
        &mut self,
        mut kernel: Kernel,
        arguments: Vec<Argument>,
        (params, extent, work): (Vec<Dim>, Dim, Dim),
        apart: bool,
    ) -> Result<(), LowerError> {
        for argument in &arguments {
            self.zero_border_of(argument.buffer)?;
        }
        let written = || kernel.buffers.iter().zip(&arguments).filter(|(decl, _)| decl.access == Access::Write);
        let empty = |to: &Argument| self.program.buffers[to.buffer.0 as usize].bytes.is_const(0);
        if written().next().is_some() && written().all(|(_, to)| empty(to)) {
            return Ok(());
        }
        let id = KernelId(self.program.kernels.len() as u32);
        kernel.name = format!("{}_{}", kernel.name, id.0);
        self.program.kernels.push(kernel);
        let origin = self.origin.clone();
        self.program.steps.push(Step::Run { kernel: id, arguments, params, extent, work, apart, origin });
        Ok(())
    }
}
