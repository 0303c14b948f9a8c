//! Operations whose kernels are scalar algorithms.

use super::{LowerError, Lowering};
use nnc_ir::Node;

impl Lowering<'_> {
    pub(super) fn lower_data_dependent(&mut self, node: &Node) -> Result<(), LowerError> {
        Err(self.error(format!("{:?} has no lowering", node.op)))
    }
}
