//! The rules of regions, checked on what they say alone.

use super::{Anchor, Region, Regions, Role, role};
use nnc_ir::op::Op;
use nnc_ir::{Graph, ValueId};

/// A rule that regions break: a mistake of the compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the region of {value}: {problem}")]
pub struct RegionError {
    /// A value of the region.
    pub value: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl Regions {
    /// Checks the invariants against the graph that the regions are of.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn verify(&self, graph: &Graph) -> Result<(), RegionError> {
        let mut ready = vec![false; graph.values.len()];
        graph.inputs.iter().for_each(|v| ready[v.index()] = true);
        for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::Constant(_))) {
            node.outputs.iter().for_each(|v| ready[v.index()] = true);
        }
        for region in &self.list {
            self.region(graph, region, &mut ready)?;
            self.verify_inside(graph, region)?;
        }
        let missing = |v: &&ValueId| self.is_stored(**v) && !ready[v.index()];
        match graph.nodes.iter().flat_map(|n| &n.outputs).find(missing) {
            Some(value) => Err(error(*value, "no region stores it")),
            None => Ok(()),
        }
    }

    /// As [`Regions::verify`], of the subgraphs of a region's operation.
    fn verify_inside(&self, graph: &Graph, region: &Region) -> Result<(), RegionError> {
        let Some(node) = region.anchor.node().and_then(|id| graph.nodes.get(id.index())) else { return Ok(()) };
        let (graphs, inside) = (node.op.subgraphs(), self.inside(region));
        if graphs.len() != inside.len() {
            return Err(error(first(region), "a subgraph of its operation has no regions"));
        }
        graphs.into_iter().zip(inside).try_for_each(|(graph, regions)| regions.verify(graph))
    }

    fn region(&self, graph: &Graph, region: &Region, ready: &mut [bool]) -> Result<(), RegionError> {
        let known = |v: &ValueId| v.index() < ready.len();
        let all = || region.results.iter().chain(&region.reads).chain(&region.inlined);
        if let Some(value) = all().find(|v| !known(v)) {
            return Err(error(*value, "there is no such value"));
        }
        if let Some(node) = region.anchor.node() {
            let Some(node) = graph.nodes.get(node.index()) else {
                return Err(error(first(region), "its anchor is no node"));
            };
            let fits = match region.anchor {
                Anchor::Rows => true,
                Anchor::Contraction(_) => matches!(node.op, Op::Contract { .. } | Op::Conv { .. }),
                Anchor::Window(_) => matches!(node.op, Op::Pool { .. }),
                Anchor::Sequential(_) => role(&node.op) == Role::Opaque,
            };
            if !fits {
                return Err(error(first(region), "its anchor is of another kind"));
            }
        }
        if let Some(value) = region.reads.iter().find(|v| !ready[v.index()]) {
            return Err(error(*value, "it is read before it is stored"));
        }
        if let Some(value) = region.inlined.iter().find(|v| self.is_stored(**v)) {
            return Err(error(*value, "it is stored and inlined"));
        }
        for value in &region.results {
            if !self.is_stored(*value) {
                return Err(error(*value, "it is a result and not stored"));
            }
            if std::mem::replace(&mut ready[value.index()], true) {
                return Err(error(*value, "it is stored twice"));
            }
        }
        Ok(())
    }
}

fn first(region: &Region) -> ValueId {
    region.results.first().or(region.reads.first()).copied().unwrap_or(ValueId(0))
}

fn error(value: ValueId, problem: &'static str) -> RegionError {
    RegionError { value: format!("%{}", value.0), problem }
}
