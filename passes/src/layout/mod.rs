//! Layouts: where each stored value of a graph lies, decided before any kernel is made.
//!
//! A value lies in a buffer, at strides: in the caller's memory, of which blocks that are kept for the next run are a part, in
//! the workspace, within the memory of a concatenation that it is an operand of, or inside a border that the convolutions
//! reading it want. The order of its axes is the one its reader sees. `Layout::view_of` tells which values need no memory, for they are views of others.
//!
//! Invariants: every result of a region has a place, and no other value that a node computes; two places share memory only
//! where one value is a view of the other; nothing here depends on the target.

mod border;
mod buffers;
mod concat;
mod state;
mod storage;
mod text;
mod verify;
mod view;

pub(crate) use border::{Border, border, of_all_channels};
pub use buffers::{MOST_BUFFER_BYTES, add_buffer, add_workspace};
pub(crate) use concat::concat_slice;
pub use state::state_of;
pub use storage::Storage;
pub(crate) use storage::{dense_strides, ordered_strides};
pub use text::{parse, print};
pub use verify::LayoutError;
pub(crate) use view::{View, operand_index};

use crate::error::LowerError;
use crate::regions::Regions;
use nnc_ir::{Dim, Graph, Node, NodeId, ValueId};
use nnc_kernels::plan::{Buffer, BufferId, Place, State};
use std::collections::{BTreeMap, BTreeSet};

/// Where the values of a graph lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// By value.
    storage: Vec<Option<Storage>>,
    /// Border around a value's spatial axes: (low, high) per axis of the value.
    halo: BTreeMap<ValueId, Vec<(usize, usize)>>,
    /// Borders that are to be zeroed before anything is written inside of them.
    pub(crate) borders: BTreeMap<BufferId, Border>,
    /// Operands of concatenations, by result and number, that their kernels write where the result lies.
    placed: BTreeSet<(ValueId, usize)>,
    /// Outputs written as the value they are a reshape of.
    aliases: BTreeSet<ValueId>,
    /// Outputs that are kept as inputs of the next run.
    pub(crate) states: Vec<State>,
}

impl Layout {
    /// Where a value lies; `None` of constants and of what has no memory.
    pub fn storage(&self, value: ValueId) -> Option<&Storage> {
        self.storage[value.index()].as_ref()
    }

    /// The border around a value, per axis (low, high).
    pub(crate) fn border(&self, value: ValueId) -> Option<&[(usize, usize)]> {
        self.halo.get(&value).map(Vec::as_slice)
    }

    /// Whether an operand of a concatenation, by its number, lies where the result does.
    pub(crate) fn is_placed(&self, concatenation: ValueId, operand: usize) -> bool {
        self.placed.contains(&(concatenation, operand))
    }

    /// Whether the value's memory is written as another value's.
    pub(crate) fn is_alias(&self, value: ValueId) -> bool {
        self.aliases.contains(&value)
    }
}

/// What is decided already when a graph is laid out.
pub(crate) enum Around<'a> {
    /// It is the model: inputs and outputs are the caller's.
    Model {
        /// Inputs and the outputs that are kept as them, by position.
        states: &'a [(usize, usize)],
    },
    /// It runs inside another graph, which says where its inputs lie and where its results are wanted.
    Inside {
        /// Inputs and what is captured.
        given: &'a [(ValueId, Storage)],
        /// Results, which may lie elsewhere.
        wanted: &'a [(ValueId, Storage)],
    },
}

/// Lays out a graph; the buffers that it takes are added to `buffers`.
///
/// # Errors
/// Sizes without a bound and tensors that are too large, naming the node.
pub(crate) fn lay_out(
    graph: &Graph,
    regions: &Regions,
    around: &Around<'_>,
    buffers: &mut Vec<Buffer>,
) -> Result<Layout, LowerError> {
    let layout = Layout { storage: vec![None; graph.values.len()], ..Layout::default() };
    let mut plan = LayOut {
        graph,
        regions,
        users: graph.uses().iter().map(|users| users.first().copied()).collect(),
        layout,
        buffers,
        origin: String::new(),
    };
    match around {
        Around::Model { states } => {
            plan.place_states(states)?;
            plan.place_parameters()?;
        }
        Around::Inside { given, wanted } => plan.place_inside(given, wanted),
    }
    plan.request_borders();
    plan.place_concatenated()?;
    plan.place_results()?;
    Ok(plan.layout)
}

/// A layout being made.
struct LayOut<'a> {
    graph: &'a Graph,
    regions: &'a Regions,
    /// The first node that reads each value.
    users: Vec<Option<NodeId>>,
    layout: Layout,
    buffers: &'a mut Vec<Buffer>,
    /// The node at hand, for messages.
    origin: String,
}

impl<'a> LayOut<'a> {
    fn definition(&self, value: ValueId) -> Option<&'a Node> {
        self.regions.definition(self.graph, value)
    }

    /// Whether nothing is decided yet about a value that may have memory.
    fn is_free(&self, value: ValueId) -> bool {
        self.layout.storage(value).is_none() && !self.regions.is_constant(self.graph, value)
    }

    fn place(&mut self, value: ValueId, storage: Storage) {
        self.layout.storage[value.index()] = Some(storage);
    }

    fn add(&mut self, name: String, value: ValueId, elements: &Dim, place: Place) -> Result<BufferId, LowerError> {
        let dtype = self.graph.ty(value).dtype;
        add_buffer(self.buffers, &self.graph.dims, (name, dtype, elements, place)).map_err(|e| self.error(e))
    }

    fn add_workspace(&mut self, value: ValueId, elements: &Dim) -> Result<BufferId, LowerError> {
        let dtype = self.graph.ty(value).dtype;
        add_workspace(self.buffers, &self.graph.dims, (format!("{value}"), dtype, elements)).map_err(|e| self.error(e))
    }

    fn error(&self, problem: String) -> LowerError {
        LowerError { origin: self.origin.clone(), problem }
    }
}
