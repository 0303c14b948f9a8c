//! What is chosen for each region of a graph.

use super::problem::Problem;
use super::stored::Stored;
use super::{Candidate, Shape, candidates};
use crate::error::LowerError;
use crate::layout::{Layout, View};
use crate::regions::{Anchor, Region, Regions};
use nnc_desc::{Product, Target};
use nnc_ir::op::{CellKind, Op, Recurrent};
use nnc_ir::{DType, Dim, Graph, Node, ValueId};

/// A sum of products, and the ways to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its sizes.
    pub shape: Shape,
    /// The ways, the cheapest first, which is taken.
    pub candidates: Vec<Candidate>,
}

/// What is decided of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What its anchor sums, where that is a matrix product or a convolution.
    pub problem: Option<Problem>,
    /// Its sums of products: one, of a recurrent layer those of its matrices, or none.
    pub choices: Vec<Choice>,
}

/// What choices are made from.
pub(super) struct Site<'a> {
    pub graph: &'a Graph,
    pub regions: &'a Regions,
    pub layout: &'a Layout,
    pub target: &'a Target,
}

/// The accumulator type of a product.
pub(crate) const fn accumulator_type(out: DType) -> DType {
    match out {
        DType::F64 => DType::F64,
        DType::F32 | DType::F16 | DType::BF16 => DType::F32,
        DType::I64 | DType::U64 => DType::I64,
        _ => DType::I32,
    }
}

/// Decides how every region of a graph is computed, in their order.
///
/// # Errors
/// When no way is known, naming the node.
pub fn choose(graph: &Graph, regions: &Regions, layout: &Layout, target: &Target) -> Result<Vec<Decision>, LowerError> {
    let site = Site { graph, regions, layout, target };
    regions.list.iter().map(|region| site.decide(region)).collect()
}

impl Site<'_> {
    fn decide(&self, region: &Region) -> Result<Decision, LowerError> {
        let Some(node) = region.anchor.node().map(|id| &self.graph.nodes[id.index()]) else {
            return Ok(Decision::default());
        };
        let decision = match (region.anchor, region.results.first()) {
            (Anchor::Contraction(_), Some(&root)) => self.contraction(node, root),
            _ => self.recurrent(node),
        };
        decision.map_err(|problem| LowerError { origin: node.origin.clone(), problem })
    }

    fn contraction(&self, node: &Node, root: ValueId) -> Result<Decision, String> {
        let problem = match self.product_problem(node, root) {
            Some(problem) => problem,
            None => self.window_problem(node, root)?,
        };
        let choice = self.choice(problem.shape(), problem.accumulator)?;
        Ok(Decision { problem: Some(problem), choices: vec![choice] })
    }

    /// The products of the state with a recurrent layer's matrix, in two parts where the second waits for the reset gate.
    fn recurrent(&self, node: &Node) -> Result<Decision, String> {
        let (Op::Recurrent(cell), [_, matrix, ..], [_, state, ..]) = (&node.op, &node.inputs[..], &node.outputs[..])
        else {
            return Ok(Decision::default());
        };
        let dtype = self.graph.ty(*state).dtype;
        let packed = matches!(self.regions.definition(self.graph, *matrix).map(|node| &node.op), Some(Op::Constant(_)));
        let (matrix, rows) = (self.graph.shape(*matrix), &self.graph.shape(*state)[0]);
        let mut decision = Decision::default();
        for columns in matrix_parts(cell, &matrix[0], &matrix[1]) {
            let shape = Shape {
                batch: Dim::ONE,
                outer: Dim::ONE,
                rows: rows.clone(),
                row_stride: matrix[0].clone(),
                columns,
                depth: matrix[0].clone(),
                runs: Dim::ONE,
                element_bytes: dtype.size() as u64,
                stored: Stored::plain(dtype),
                packed,
                panels: true,
                depthwise: false,
            };
            decision.choices.push(self.choice(shape, dtype)?);
        }
        Ok(decision)
    }

    fn choice(&self, shape: Shape, accumulator: DType) -> Result<Choice, String> {
        let candidates = candidates(&shape, self.product_row(accumulator)?, self.target, &self.graph.dims);
        if candidates.is_empty() {
            return Err("there is no way to do this product".into());
        }
        Ok(Choice { shape, candidates })
    }

    /// The row of the product table for sums of this type. What is multiplied has that type or is widened to it.
    fn product_row(&self, accumulator: DType) -> Result<&'static Product, String> {
        let row = self.target.product(accumulator, accumulator, accumulator);
        row.ok_or_else(|| format!("no target sums products in {accumulator}"))
    }

    pub(super) fn view_of(&self, value: ValueId) -> Option<View> {
        self.layout.view_of(self.graph, self.regions, value)
    }
}

/// The columns of a recurrent matrix `[hidden, columns]` that are multiplied at once.
fn matrix_parts(cell: &Recurrent, hidden: &Dim, columns: &Dim) -> Vec<Dim> {
    match cell.kind {
        CellKind::Gru { linear_before_reset: false } => vec![columns - hidden, hidden.clone()],
        _ => vec![columns.clone()],
    }
}
