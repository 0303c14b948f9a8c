//! Axes of operands, by what a sum of products does with them.

use nnc_ir::Dim;

/// An axis of the product with the elements per step in an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Size.
    pub size: Dim,
    /// Elements of the operand per step.
    pub stride: Dim,
}

/// Which axes of an operand do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AxisRoles {
    /// Independent products.
    pub batch: Vec<usize>,
    /// Rows or columns.
    pub free: Vec<usize>,
    /// What is summed.
    pub summed: Vec<usize>,
}

impl AxisRoles {
    /// The roles of `rank` axes, of which those that are named neither batch nor summed are free.
    pub fn new(rank: usize, batch: Vec<usize>, summed: Vec<usize>) -> AxisRoles {
        let free = (0..rank).filter(|a| !batch.contains(a) && !summed.contains(a)).collect();
        AxisRoles { batch, free, summed }
    }

    /// Batch, free, summed.
    pub fn order(&self) -> Vec<usize> {
        [&self.batch[..], &self.free, &self.summed].concat()
    }

    /// An operand's axes by role.
    pub fn axes(&self, shape: &[Dim], strides: &[Dim]) -> OperandAxes {
        let pick = |axes: &[usize]| {
            axes.iter().map(|&a| Axis { size: shape[a].clone(), stride: strides[a].clone() }).collect()
        };
        OperandAxes { batch: pick(&self.batch), free: pick(&self.free), summed: pick(&self.summed) }
    }
}

/// An operand's axes by role.
#[derive(Clone, Debug)]
pub(crate) struct OperandAxes {
    pub batch: Vec<Axis>,
    pub free: Vec<Axis>,
    pub summed: Vec<Axis>,
}

/// How many there are of axes together.
pub(crate) fn count(axes: &[Axis]) -> Dim {
    axes.iter().fold(Dim::ONE, |n, axis| &n * &axis.size)
}

/// Merges neighbouring axes that one stride walks; unit axes vanish.
pub(crate) fn merge(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = vec![];
    for axis in axes {
        if axis.size.is_const(1) {
            continue;
        }
        match merged.last_mut() {
            Some(last) if last.stride == &axis.stride * &axis.size => {
                last.size = &last.size * &axis.size;
                last.stride = axis.stride.clone();
            }
            _ => merged.push(axis.clone()),
        }
    }
    merged
}
