//! The rules of layouts, checked on what they say alone.

use super::Layout;
use crate::regions::Regions;
use nnc_ir::{Graph, ValueId};
use nnc_kernels::plan::Buffer;

/// A rule that a layout breaks: a mistake of the compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the place of %{value}: {problem}", value = value.0)]
pub struct LayoutError {
    /// The value.
    pub value: ValueId,
    /// What is wrong.
    pub problem: &'static str,
}

impl Layout {
    /// Checks that what a graph's regions read and yield lies somewhere, in a buffer of its type, with a stride for each axis.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn verify(&self, graph: &Graph, regions: &Regions, buffers: &[Buffer]) -> Result<(), LayoutError> {
        for region in &regions.list {
            let reads = region.reads.iter().filter(|&&value| !regions.is_constant(graph, value));
            for &value in region.results.iter().chain(reads) {
                self.verify_place(graph, value, buffers).map_err(|problem| LayoutError { value, problem })?;
            }
        }
        Ok(())
    }

    fn verify_place(&self, graph: &Graph, value: ValueId, buffers: &[Buffer]) -> Result<(), &'static str> {
        let ty = graph.ty(value);
        let storage = self.storage(value).ok_or("it has none")?;
        let buffer = buffers.get(storage.buffer.0 as usize).ok_or("there is no such buffer")?;
        if buffer.dtype != ty.dtype {
            return Err("its buffer is of another type");
        }
        if storage.strides.len() != ty.rank() {
            return Err("it has not a stride for each axis");
        }
        match self.border(value) {
            Some(border) if border.len() != ty.rank() => Err("its border has other axes"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Around, lay_out, parse, print};
    use crate::regions;

    #[test]
    fn what_is_missing_or_of_another_kind_is_found() {
        let text = "graph @t(%0: f32[2, 3], %1: i64[2, 3]) -> (y: %2, z: %3) {
            %2 = exp %0 : f32[2, 3]
            %3 = neg %1 : i64[2, 3]
        }";
        let graph = nnc_ir::parse::graph(text).unwrap();
        let (regions, mut buffers) = (regions::fuse(&graph), vec![]);
        let layout = lay_out(&graph, &regions, &Around::Model { states: &[] }, &mut buffers).unwrap();
        layout.verify(&graph, &regions, &buffers).unwrap();
        let printed = print(&graph, &layout);
        for (wrong, problem) in [
            (printed.replace("%2 in 2 at 0 by 3; 1\n", ""), "it has none"),
            (printed.replace("%2 in 2", "%2 in 7"), "there is no such buffer"),
            (printed.replace("%2 in 2", "%2 in 1"), "its buffer is of another type"),
            (printed.replace("%2 in 2 at 0 by 3; 1", "%2 in 2 at 0 by 1"), "it has not a stride for each axis"),
        ] {
            let broken = parse(&graph, &wrong).unwrap();
            assert_eq!(broken.verify(&graph, &regions, &buffers).unwrap_err().problem, problem, "{wrong}");
        }
    }
}
