//! Labels of classes, numbers or strings, and the choice among them; for the classifiers of `ai.onnx.ml`.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::strings::Strings;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Op, ValueId};

/// The labels of a classifier's classes.
pub(crate) enum Labels {
    Numbers(Vec<i64>),
    Strings(Vec<String>),
}

/// A tensor of labels, or of what is labelled by others.
#[derive(Clone, Debug)]
pub(crate) enum Labelled {
    Numbers(ValueId),
    Strings(Strings),
}

impl Labelled {
    /// The values, to be changed together.
    pub(crate) fn values_mut(&mut self) -> Vec<&mut ValueId> {
        match self {
            Labelled::Numbers(value) => vec![value],
            Labelled::Strings(strings) => strings.values_mut().into_iter().collect(),
        }
    }
}

impl Labels {
    /// How many classes have one.
    pub fn len(&self) -> usize {
        match self {
            Labels::Numbers(list) => list.len(),
            Labels::Strings(list) => list.len(),
        }
    }
}

impl Context<'_, '_> {
    /// The labels that one of two attributes lists, as numbers or as strings.
    pub(crate) fn labels(&mut self, [numbers, strings]: [&str; 2]) -> Result<Labels> {
        let listed = self.ints(numbers)?.filter(|list| !list.is_empty());
        match (self.strings(strings)?.filter(|list| !list.is_empty()), listed) {
            (Some(_), Some(_)) => Err(invalid(format!("both {numbers} and {strings} are given"))),
            (Some(list), None) => Ok(Labels::Strings(list)),
            (None, Some(list)) => Ok(Labels::Numbers(list.to_vec())),
            (None, None) => Err(invalid(format!("{numbers} is missing"))),
        }
    }

    /// The labels of classes that are given by their positions, `i64` of any shape.
    pub(crate) fn labelled(&mut self, labels: &Labels, class: ValueId) -> Result<Labelled> {
        Ok(match labels {
            Labels::Numbers(list) => {
                let list = self.ints_constant(list);
                Labelled::Numbers(self.gather(list, class)?)
            }
            Labels::Strings(list) => Labelled::Strings(self.strings_of(list, class)),
        })
    }

    /// The results of a classifier: labels first, as output 0.
    pub(crate) fn classified(&mut self, label: Labelled, scores: ValueId) -> Vec<ValueId> {
        match label {
            Labelled::Numbers(label) => vec![label, scores],
            Labelled::Strings(strings) => {
                let numbers = strings.numbers;
                self.define_strings(0, strings);
                vec![numbers, scores]
            }
        }
    }

    /// For each row of scores the label of the greatest.
    pub(crate) fn greatest(&mut self, scores: ValueId, labels: &Labels) -> Result<Labelled> {
        let best = self.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[scores])?;
        self.labelled(labels, best)
    }

    /// For each row of `[rows, 1]` the second of two labels where it says so, else the first.
    pub(crate) fn either(&mut self, second: ValueId, labels: &Labels) -> Result<Labelled> {
        let class = self.convert(second, DType::I64)?;
        let rows = self.dim(second, 0);
        let class = self.reshape(class, &[rows])?;
        self.labelled(labels, class)
    }

    /// Among ascending, distinct keys, `[k]`, the one that is equal to each element, or `k`.
    pub(crate) fn find_among(&mut self, x: ValueId, keys: ValueId) -> Result<ValueId> {
        let count = self.dim(keys, 0);
        let place = self.one(Op::LowerBound, &[x, keys])?;
        let count = self.dim_scalar(count)?;
        let one = self.int_scalar(1);
        let last = self.sub(count, one)?;
        let within = self.binary(BinaryOp::Min, place, last)?;
        let key = self.gather(keys, within)?;
        let equal = self.binary(BinaryOp::Eq, key, x)?;
        self.select(equal, within, count)
    }
}
