//! Recurrent layers.

use super::{LowerError, Lowering};
use nnc_ir::Node;
use nnc_ir::op::Recurrent;

impl Lowering<'_> {
    pub(super) fn lower_recurrent(&mut self, _node: &Node, _cell: &Recurrent) -> Result<(), LowerError> {
        Err(self.error("recurrent layers have no lowering"))
    }
}
