//! Ensembles of decision trees as tables that [`Op::TreeLeaf`](nnc_ir::Op::TreeLeaf) walks.
//!
//! Whatever a node asks becomes one question, `x <= threshold`: less than a number is at most the number before it, at
//! least is the opposite of less, equality takes two questions. So thresholds mean exactly what they meant to the trainer,
//! also where a feature is the threshold, and where it is no number.
//!
//! Invariants of the tables: nodes that ask stand before leaves, each before those that it leads to; leaves lead to
//! themselves.

use crate::error::{Result, invalid};
use nnc_ir::{DType, Tensor};
use rustc_hash::FxHashMap;

/// What a node asks of its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    AtMost,
    Less,
    AtLeast,
    Greater,
    Equal,
    NotEqual,
}

/// Where a branch leads: to a node that asks, or to a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Child {
    Node(usize),
    Leaf(usize),
}

/// A node that asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Split {
    pub feature: usize,
    pub question: Question,
    pub value: f64,
    pub yes: Child,
    pub no: Child,
    /// Whether a feature that is NaN counts as yes; otherwise it answers as the comparison does.
    pub missing_is_yes: bool,
}

/// Trees whose leaves are numbered by whoever made them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forest {
    pub splits: Vec<Split>,
    pub roots: Vec<Child>,
}

/// The tables.
pub(crate) struct Tables {
    /// `[nodes]`, of the features' type.
    pub thresholds: Tensor,
    /// `i32[nodes, 4]`: feature, and where yes, no and NaN lead.
    pub nodes: Tensor,
    /// `i32[trees]`.
    pub roots: Tensor,
    /// For each leaf in the order of the tables its number in the forest.
    pub leaves: Vec<usize>,
    /// One more than the last feature asked for.
    pub features: usize,
}

/// A node of the tables, before they are numbered.
struct Row {
    feature: usize,
    threshold: f64,
    /// Yes, no, NaN.
    to: [Child; 3],
}

impl Forest {
    /// The tables, with thresholds in the type of the features, `F32` or `F64`.
    ///
    /// # Errors
    /// When a branch leads nowhere, or back; or there are too many nodes.
    pub fn tables(&self, dtype: DType) -> Result<Tables> {
        let rows: Vec<Row> = self.rows(dtype);
        let order = self.order(&rows)?;
        let mut place: FxHashMap<Child, usize> = FxHashMap::default();
        let mut leaves = vec![];
        for &node in &order {
            place.insert(Child::Node(node), place.len());
        }
        let ends = order.iter().flat_map(|&node| rows[node].to).chain(self.roots.iter().copied());
        for end in ends {
            let Child::Leaf(leaf) = end else { continue };
            let next = place.len();
            place.entry(end).or_insert_with(|| {
                leaves.push(leaf);
                next
            });
        }
        let features = rows.iter().map(|row| row.feature.saturating_add(1)).max().unwrap_or(0);
        if i32::try_from(place.len().max(features)).is_err() {
            return Err(invalid("the trees have more than 2^31 nodes or features"));
        }
        let number = |child: &Child| place[child] as i32;
        let mut thresholds: Vec<f64> = order.iter().map(|&node| rows[node].threshold).collect();
        let mut nodes: Vec<i32> = order
            .iter()
            .flat_map(|&node| {
                let Row { feature, to, .. } = &rows[node];
                [*feature as i32, number(&to[0]), number(&to[1]), number(&to[2])]
            })
            .collect();
        for leaf in order.len()..place.len() {
            thresholds.push(0.0);
            nodes.extend([0, leaf as i32, leaf as i32, leaf as i32]);
        }
        let roots: Vec<i32> = self.roots.iter().map(number).collect();
        Ok(Tables {
            thresholds: Tensor::from_f64s(dtype, &[thresholds.len()], &thresholds),
            nodes: Tensor::from_slice(&[nodes.len() / 4, 4], &nodes),
            roots: Tensor::from_slice(&[roots.len()], &roots),
            leaves,
            features,
        })
    }

    /// The questions as `x <= threshold`; what a second question takes is appended.
    fn rows(&self, dtype: DType) -> Vec<Row> {
        let mut second = vec![];
        let below = |value: f64| match dtype {
            _ if value == f64::NEG_INFINITY => f64::NAN,
            DType::F64 => value.next_down(),
            _ => f64::from((value as f32).next_down()),
        };
        let mut rows: Vec<Row> = vec![];
        for split in &self.splits {
            let Split { feature, value, yes, no, .. } = *split;
            // What the comparison says of NaN.
            let missing = if split.missing_is_yes || split.question == Question::NotEqual { yes } else { no };
            let row = |threshold, yes, no| Row { feature, threshold, to: [yes, no, missing] };
            rows.push(match split.question {
                Question::AtMost => row(value, yes, no),
                Question::Less => row(below(value), yes, no),
                Question::AtLeast => row(below(value), no, yes),
                Question::Greater => row(value, no, yes),
                Question::Equal | Question::NotEqual => {
                    let (same, other) = if split.question == Question::Equal { (yes, no) } else { (no, yes) };
                    let not_above = Child::Node(self.splits.len() + second.len());
                    second.push(row(below(value), other, same));
                    row(value, not_above, other)
                }
            });
        }
        rows.extend(second);
        rows
    }

    /// The nodes that roots lead to, each before those it leads to: depth first, so that a tree lies together.
    fn order(&self, rows: &[Row]) -> Result<Vec<usize>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Open,
            Done,
        }
        let mut seen = vec![Seen::No; rows.len()];
        let mut order = vec![];
        for &root in self.roots.iter().rev() {
            let Child::Node(root) = root else { continue };
            let mut stack = vec![(root, 0)];
            while let Some((node, next)) = stack.pop() {
                let Some(row) = rows.get(node) else {
                    return Err(invalid(format!("node {node} does not exist; the trees have {}", rows.len())));
                };
                match (seen[node], next) {
                    (Seen::Done, 0) => continue,
                    (Seen::Open, 0) => return Err(invalid("a branch of a tree leads back to a node above it")),
                    (..) => seen[node] = Seen::Open,
                }
                match row.to.iter().rev().nth(next) {
                    Some(&child) => {
                        stack.push((node, next + 1));
                        if let Child::Node(child) = child {
                            stack.push((child, 0));
                        }
                    }
                    None => {
                        seen[node] = Seen::Done;
                        order.push(node);
                    }
                }
            }
        }
        order.reverse();
        Ok(order)
    }
}
