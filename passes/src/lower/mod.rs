//! Lowering: every region of the graph becomes a kernel and a step of the host plan.
//!
//! `Lowering` holds the program being built and where each stored value lies ([`Storage`]); `emit` computes any
//! value at any index as a scalar expression; one module per kind of kernel builds the loops around it.
//!
//! Invariants:
//! - regions are lowered in the order of their roots, so that memory is written before it is read;
//! - kernels mention no global symbol: symbols reach them as integer parameters, so that equal layers share a kernel.

mod block;
mod builder;
mod contract;
mod conv;
mod data_dependent;
mod emit;
mod empty;
mod halo;
mod indices;
mod map;
mod movement;
mod panels;
mod pool;
mod problem;
mod recurrent;
mod scratch;
mod storage;
mod view;

pub(crate) use scratch::scratch_last;
pub use storage::Storage;

use crate::choose::{Candidate, Shape};
use crate::regions::{Anchor, Reason, Region, Regions};
use nnc_desc::Target;
use nnc_ir::op::{Op, Relation};
use nnc_ir::{DType, Dim, Graph, Node, NodeId, Tensor, ValueId};
use nnc_kernels::kernel::{Access, Kernel};
use nnc_kernels::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, SizeCheck, Step};
use nnc_kernels::weights::{Pack, Weight, WeightId};
use rustc_hash::{FxHashMap, FxHashSet};

/// Why a graph could not be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct LowerError {
    /// The node it came from.
    pub origin: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// The program being built.
pub(crate) struct Lowering<'g> {
    graph: &'g Graph,
    target: &'g Target,
    regions: Regions,
    definitions: Vec<Option<NodeId>>,
    /// The first node that reads each value.
    users: Vec<Option<NodeId>>,
    program: Program,
    /// Where each stored value lies, once it is decided.
    storage: Vec<Option<Storage>>,
    /// Border that consumers want around a value's spatial axes: (low, high) per axis of the value.
    halo: FxHashMap<ValueId, Vec<(usize, usize)>>,
    /// Operands of concatenations, by result and number, that their kernels write where the result lies.
    placed: FxHashSet<(ValueId, usize)>,
    /// Borders that are to be zeroed before anything is written inside of them.
    borders: FxHashMap<BufferId, halo::Border>,
    /// Outputs written as the value they are a reshape of.
    aliases: FxHashSet<ValueId>,
    /// Index tensors whose range is checked by an earlier step.
    checked: FxHashSet<indices::Range>,
    weights: FxHashMap<([u8; 32], Pack), BufferId>,
    /// What became of the regions so far.
    lowered: Vec<LoweredRegion>,
    /// The choices of the region being lowered.
    choices: Vec<(Shape, Vec<Candidate>)>,
    /// Whether this is the graph of the model, whose nodes all run.
    outermost: bool,
    /// The node being lowered, for messages.
    origin: String,
    /// The first buffer beyond [`MOST_BUFFER_BYTES`], or size that cannot be represented.
    too_large: Option<LowerError>,
}

/// Most bytes of one buffer, 1 TiB. Sums over any number of buffers then stay within `i64`.
pub const MOST_BUFFER_BYTES: i64 = 1 << 40;

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
    /// Its contractions: sizes, and the ways to do them from the cheapest, which was taken.
    pub choices: Vec<(Shape, Vec<Candidate>)>,
}

/// Lowers a verified graph, divided into regions.
///
/// The workspace offsets are not assigned yet: [`crate::memory::plan`] does that.
///
/// # Errors
/// When an operation has no lowering, naming its node.
pub fn lower(graph: &Graph, regions: Regions, target: &Target) -> Result<Lowered, LowerError> {
    let parameter = |name: &str, value: ValueId| Parameter {
        name: name.to_owned(),
        dtype: graph.ty(value).dtype,
        shape: graph.shape(value).to_vec(),
    };
    let mut program = empty_program(graph);
    program.inputs = graph.inputs.iter().map(|&v| parameter(&graph.values[v.index()].name, v)).collect();
    program.outputs = graph.outputs.iter().map(|(name, v)| parameter(name, *v)).collect();
    let mut lowering = Lowering::new(graph, regions, target, program);
    lowering.outermost = true;
    lowering.place_parameters()?;
    lowering.check_sizes()?;
    lowering.lower_regions()?;
    lowering.finish_outputs()?;
    Ok(Lowered { program: lowering.program, regions: lowering.lowered })
}

/// A program over a graph's symbols that does nothing.
fn empty_program(graph: &Graph) -> Program {
    Program {
        name: graph.name.clone(),
        dims: graph.dims.clone(),
        inputs: vec![],
        outputs: vec![],
        weights: vec![],
        buffers: vec![],
        kernels: vec![],
        checks: vec![],
        steps: vec![],
        workspace_bytes: Dim::from(0),
    }
}

/// Whether a buffer exceeds [`MOST_BUFFER_BYTES`] for every size, or for every size but 0 of one that it is a multiple of.
fn is_too_large(bytes: &Dim, dims: &nnc_ir::DimTable) -> bool {
    let steep = || bytes.view().terms.iter().any(|(coefficient, _)| *coefficient > MOST_BUFFER_BYTES);
    bytes.bounds(dims).0 > MOST_BUFFER_BYTES || steep()
}

impl<'g> Lowering<'g> {
    /// A lowering of `graph` that adds to `program`.
    fn new(graph: &'g Graph, regions: Regions, target: &'g Target, program: Program) -> Self {
        Lowering {
            graph,
            target,
            regions,
            definitions: graph.definitions(),
            users: graph.uses().iter().map(|users| users.first().copied()).collect(),
            program,
            storage: vec![None; graph.values.len()],
            halo: FxHashMap::default(),
            placed: FxHashSet::default(),
            borders: FxHashMap::default(),
            aliases: FxHashSet::default(),
            checked: FxHashSet::default(),
            weights: FxHashMap::default(),
            lowered: vec![],
            choices: vec![],
            outermost: false,
            origin: String::new(),
            too_large: None,
        }
    }

    /// Lowers every region; inputs have their places.
    fn lower_regions(&mut self) -> Result<(), LowerError> {
        self.request_halos();
        self.place_concatenated()?;
        for region in std::mem::take(&mut self.regions.list) {
            let first = self.program.steps.len();
            self.lower_region(&region)?;
            self.check_sizes()?;
            let (steps, choices) = (first..self.program.steps.len(), std::mem::take(&mut self.choices));
            let reason = region.results.first().and_then(|&root| self.regions.reason(root));
            self.lowered.push(LoweredRegion { region, reason, steps, choices });
        }
        Ok(())
    }
}

impl Lowering<'_> {
    fn error(&self, problem: impl Into<String>) -> LowerError {
        LowerError { origin: self.origin.clone(), problem: problem.into() }
    }

    /// An error when a buffer was added that is too large.
    fn check_sizes(&mut self) -> Result<(), LowerError> {
        self.too_large.take().map_or(Ok(()), Err)
    }

    fn definition(&self, value: ValueId) -> Option<&Node> {
        self.definitions[value.index()].map(|id| &self.graph.nodes[id.index()])
    }

    fn lower_region(&mut self, region: &Region) -> Result<(), LowerError> {
        let graph = self.graph;
        let anchor = region.anchor.node().map(|id| &graph.nodes[id.index()]);
        let root = region.results.first().copied();
        // The node that the region ends in; a sequential one without results has no other.
        let last = root.and_then(|v| self.definitions[v.index()]).map(|id| &graph.nodes[id.index()]);
        let Some(last) = last.or(anchor) else { return Ok(()) };
        self.origin.clone_from(&last.origin);
        let (Some(root), false) = (root, matches!(region.anchor, Anchor::Sequential(_))) else {
            return self.lower_sequential(last);
        };
        if self.storage[root.index()].is_some() && self.is_alias(root) {
            return Ok(());
        }
        let Some(anchor) = anchor else { return self.lower_map(root) };
        let lowered = match (region.anchor, &anchor.op) {
            (Anchor::Window(_), _) => self.lower_pool(anchor, root),
            (_, Op::Conv { .. }) => self.lower_conv(anchor, root),
            _ => self.lower_contract(anchor, root),
        };
        // The region ends in another node; what cannot be done is the anchor.
        lowered.map_err(|e| LowerError { origin: anchor.origin.clone(), ..e })
    }

    fn lower_sequential(&mut self, node: &Node) -> Result<(), LowerError> {
        match &node.op {
            Op::Concat { axis } => self.lower_concat(node, *axis),
            Op::Recurrent(cell) => self.lower_recurrent(node, cell),
            _ => self.lower_data_dependent(node),
        }
    }

    /// Fails the run unless two sizes are equal, where that is not known.
    fn require(&mut self, left: Dim, right: Dim, what: &str) {
        let (left, right) = (left.simplify(&self.graph.dims), right.simplify(&self.graph.dims));
        if left == right {
            return;
        }
        if left == Dim::OVERFLOW || right == Dim::OVERFLOW {
            let problem = format!("{what} depends on too many dimensions; fix some with --dim");
            self.too_large = self.too_large.take().or_else(|| Some(self.error(problem)));
            return;
        }
        let (what, origin) = (what.to_owned(), self.origin.clone());
        let check = Step::Check(SizeCheck { left, relation: Relation::Equal, right, what, origin });
        if self.program.steps.last() != Some(&check) {
            self.program.steps.push(check);
        }
    }

    /// Adds a buffer.
    fn add_buffer(&mut self, name: String, dtype: DType, elements: &Dim, place: Place) -> BufferId {
        let bytes = elements * &Dim::from(dtype.size() as i64);
        if self.too_large.is_none() && is_too_large(&bytes, &self.graph.dims) {
            let problem = format!(
                "`{name}` would take more than {MOST_BUFFER_BYTES} bytes, the most for one tensor; make it smaller"
            );
            self.too_large = Some(self.error(problem));
        }
        self.program.buffers.push(Buffer { name, dtype, bytes, place });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    /// Adds a workspace buffer whose offset the memory planner will assign. `elements` may mention data-dependent
    /// symbols; their upper bounds are taken.
    fn add_workspace(&mut self, name: String, dtype: DType, elements: &Dim) -> Result<BufferId, LowerError> {
        let mut elements = self.upper_bound(elements)?;
        // A branch that is not taken may have sizes that make no sense; they take no memory either.
        if !elements.provably_ge(&Dim::ZERO, &self.graph.dims) {
            elements = elements.max(&Dim::ZERO);
        }
        Ok(self.add_buffer(name, dtype, &elements, Place::Workspace { offset: Dim::from(0) }))
    }

    /// An upper bound over symbols that are known before the run.
    fn upper_bound(&self, dim: &Dim) -> Result<Dim, LowerError> {
        let table = &self.graph.dims;
        dim.greatest(table).ok_or_else(|| {
            let open = dim.symbols().into_iter().find(|s| Dim::sym(*s).greatest(table).is_none());
            match open.and_then(|s| table.lookup(s)) {
                Some(info) => self.error(format!(
                    "the size {} depends on data and has no bound: bound it with --dim {}=0..N",
                    info.name, info.name
                )),
                None => self.error(format!("the size {} has no bound", table.display(dim))),
            }
        })
    }

    /// The buffer of a weight, shared by content and layout.
    fn add_weight(&mut self, source: &Tensor, pack: Pack) -> BufferId {
        let key = (nnc_ir::graph::content_hash(source), pack.clone());
        if let Some(&buffer) = self.weights.get(&key) {
            return buffer;
        }
        let weight = Weight { source: source.clone(), pack };
        let (id, elements) = (WeightId(self.program.weights.len() as u32), weight.packed_len());
        self.program.weights.push(weight);
        let name = format!("weight{}", id.0);
        let buffer = self.add_buffer(name, source.dtype, &Dim::from(elements as i64), Place::Weight(id));
        self.weights.insert(key, buffer);
        buffer
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
            if let Some(border) = self.borders.remove(&argument.buffer) {
                self.zero_border(argument.buffer, &border)?;
            }
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
