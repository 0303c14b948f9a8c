//! Decision trees: several walks at a time, one step of each after the other, so that none waits for another's loads.
//!
//! Rows go in blocks, in which each tree serves all rows before the next: its nodes stay in cache. A walk that has come to
//! its leaf stays there, for leaves lead to themselves, until all walks of its group have.
//!
//! Invariants: the tables are constants and [checked](nnc_ir::tree_tables::check), so that no walk leaves them.
//!
//! Source: the interleaved walks are those of Asadi, Lin and de Vries, "Runtime Optimizations for Tree-Based Machine
//! Learning Models" (2014), there called predication and vectorization.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::{Lowered, binary};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Node, ValueId, tree_tables};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt, Var};

/// Walks at a time.
const WALKS: usize = 8;

/// Steps of each walk between two looks at whether all have ended.
const STEPS: usize = 2;

/// Rows of a block.
const BLOCK: i64 = 32;

/// The operands of a forest.
struct Trees {
    x: ValueId,
    thresholds: ValueId,
    nodes: ValueId,
    roots: ValueId,
    /// How many nodes there are.
    count: Index,
    features: Index,
    /// Whether NaN has a branch of its own.
    missing: bool,
}

/// One walk: its row and tree, and where it is.
struct Walk {
    row: Index,
    tree: Index,
    node: Var,
}

impl Lowering<'_> {
    pub(super) fn lower_tree_leaf(&mut self, node: &Node, missing: bool) -> Lowered {
        let &[x, thresholds, nodes, roots] = &node.inputs[..] else {
            return Err(self.error("malformed trees"));
        };
        let features = self.graph.shape(x)[1].clone();
        let known = features.as_const().and_then(|n| usize::try_from(n).ok());
        let (table, first_of_each) = (self.constant_table(nodes)?, self.constant_table(roots)?);
        let known = known.ok_or_else(|| self.error("the number of features must be known"))?;
        let first_leaf = tree_tables::check(&table, &first_of_each, known).map_err(|problem| self.error(problem))?;
        let storage = self.storage(node.outputs[0])?;
        let [rows, trees] = [0, 1].map(|axis| self.graph.shape(node.outputs[0])[axis].clone());
        if trees.is_const(0) {
            return Ok(());
        }

        let mut b = KernelBuilder::new(self, "trees");
        let p = b.parallel(&rows.ceil_div(&Dim::from(BLOCK)));
        let (n, tree_count) = (b.import(&rows), b.import(&trees));
        let count = b.import(&Dim::from(table.len() / 4));
        let features = b.import(&features);
        let forest = Trees { x, thresholds, nodes, roots, count, features, missing };
        let start = p * BLOCK;
        let block = (&n - &start).min(&Index::from(BLOCK));
        let (row, tree) = (b.counter("row", Index::ZERO), b.counter("tree", Index::ZERO));
        let groups = (&block * &tree_count).ceil_div(&Index::from(WALKS as i64));
        let target = b.buffer(storage.buffer, &storage.offset, true);
        b.each(&groups, AxisKind::Serial, |b, _| {
            let mut walks = vec![];
            for _ in 0..WALKS {
                walks.push(forest.begin(b, (&start, row, &block), (tree, &tree_count), &n)?);
            }
            let ahead = walks.iter().map(|walk| Expr::Var(walk.node)).reduce(|a, b| binary(BinaryOp::Min, a, b));
            let asks = ahead.map(|node| binary(BinaryOp::Lt, node, Expr::Index(Index::from(first_leaf as i64))));
            b.repeat(asks.unwrap_or(super::boolean(false)), |b| {
                for walk in std::iter::repeat_n(&walks, STEPS).flatten() {
                    forest.step(b, walk)?;
                }
                Ok(())
            })?;
            for walk in &walks {
                let leaf =
                    Expr::binary(BinaryOp::Sub, Expr::Var(walk.node), Expr::Index(Index::from(first_leaf as i64)));
                let element = b.element(&storage.strides, &[walk.row.clone(), walk.tree.clone()]);
                b.push(Stmt::Store(target, element, leaf));
            }
            Ok(())
        })?;
        b.finish()
    }
}

impl Trees {
    /// Begins the walk of the row and tree that are next, or, when there are no more, walks the last tree again.
    fn begin(
        &self,
        b: &mut KernelBuilder<'_, '_>,
        (start, row, block): (&Index, Var, &Index),
        (tree, trees): (Var, &Index),
        rows: &Index,
    ) -> Result<Walk, LowerError> {
        let last = Expr::Index(trees - &Index::ONE);
        let this = b.freeze("tree_of", binary(BinaryOp::Min, Expr::Var(tree), last), trees);
        let of_walk = b.freeze("row_of", Expr::Index(start + &row.index()), rows);
        let next = Expr::Var(b.define_here("next", Expr::Index(row.index() + 1)));
        let done = Expr::Var(b.define_here("done", binary(BinaryOp::Eq, next.clone(), Expr::Index(block.clone()))));
        b.assign(row, Expr::select(done.clone(), Expr::Index(Index::ZERO), next));
        b.assign(tree, Expr::select(done, Expr::Index(tree.index() + 1), Expr::Var(tree)));
        let root = b.emit(self.roots, std::slice::from_ref(&this))?;
        let node = b.mutable("node", Expr::convert(DType::I64, DType::I32, root));
        Ok(Walk { row: of_walk, tree: this, node })
    }

    /// Goes on to the node that the answer leads to.
    fn step(&self, b: &mut KernelBuilder<'_, '_>, walk: &Walk) -> Lowered {
        let at = b.freeze("at", Expr::Var(walk.node), &self.count);
        let wide = |entry: Expr| Expr::convert(DType::I64, DType::I32, entry);
        let feature = b.emit(self.nodes, &[at.clone(), Index::ZERO])?;
        let feature = b.freeze("feature", wide(feature), &self.features);
        let value = b.emit(self.x, &[walk.row.clone(), feature])?;
        let value = Expr::Var(b.define_here("value", value));
        let threshold = b.emit(self.thresholds, std::slice::from_ref(&at))?;
        let branch = |number: i64| Expr::Index(Index::from(number));
        let mut answer = Expr::select(binary(BinaryOp::Le, value.clone(), threshold), branch(1), branch(2));
        if self.missing {
            answer = Expr::select(Expr::unary(UnaryOp::IsNan, value), branch(3), answer);
        }
        let answer = b.freeze("answer", answer, &Index::from(4));
        let next = b.emit(self.nodes, &[at, answer])?;
        b.assign(walk.node, wide(next));
        Ok(())
    }
}
