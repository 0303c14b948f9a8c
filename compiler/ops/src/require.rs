//! What nodes rely on of sizes: proven, or stated for the run to check.

use crate::assume;
use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::demands::demands;
use nnc_ir::op::Relation;
use nnc_ir::{DType, Dim, Op, TensorType, ValueId};

impl Context<'_, '_> {
    /// Sees to it that what an operation relies on holds: by the bounds of symbols, or by a requirement before it.
    pub(crate) fn demand_for(&mut self, op: &Op, inputs: &[ValueId]) -> Result<()> {
        let found = {
            let operands: Vec<&TensorType> = inputs.iter().map(|&v| self.ty(v)).collect();
            // What cannot be typed is refused when it is appended.
            let Ok(results) = nnc_ir::infer::infer(op, &operands, &self.graph().consts) else { return Ok(()) };
            demands(op, &operands, &results)
        };
        for demand in found {
            if demand.is_proven(self.dims()) {
                continue;
            }
            let mut table = self.dims().clone();
            for (&symbol, &min) in &self.translator.least {
                let info = table.get(symbol);
                let (min, max) = (min.max(info.min), info.max);
                table.set_bounds(symbol, min, max);
            }
            if demand.is_proven(&table) {
                continue;
            }
            // Inside a branch that may not be taken nothing is assumed of the model as a whole.
            if self.translator.frames.len() == 1
                && let Some((symbol, min)) = assume::least_for(&(&demand.right - &demand.left), &table)
            {
                self.translator.least.insert(symbol, min);
                continue;
            }
            self.require(demand.left, Relation::AtMost, demand.right, demand.what)?;
        }
        Ok(())
    }

    /// States what must hold from here on, unless it is known to.
    pub(crate) fn require(&mut self, left: Dim, relation: Relation, right: Dim, what: String) -> Result<()> {
        let table = self.dims();
        let (left, right) = (assume::settle(&left, table), assume::settle(&right, table));
        if left == Dim::OVERFLOW || right == Dim::OVERFLOW {
            return Err(unsupported(format!(
                "{what} is too large or too complex to check; fix a dimension with --dim"
            )));
        }
        if left == right || (relation == Relation::AtMost && right.provably_ge(&left, table)) {
            return Ok(());
        }
        if let (Some(l), Some(r)) = (left.as_const(), right.as_const()) {
            let must = if relation == Relation::Equal { "must be" } else { "must be at most" };
            return Err(invalid(format!("{what} is {l}, it {must} {r}")));
        }
        // What is equal is no greater either.
        let stated = [(&left, relation, &right), (&left, Relation::Equal, &right), (&right, Relation::Equal, &left)];
        let stated = stated.map(|(left, relation, right)| (left.clone(), relation, right.clone()));
        if self.translator.frames.iter().any(|frame| stated.iter().any(|s| frame.required.contains(s))) {
            return Ok(());
        }
        self.frame_mut().required.insert((left.clone(), relation, right.clone()));
        let origin = self.origin.clone();
        self.frame_mut().push(Op::Require { left, relation, right, what }, &[], &origin)?;
        Ok(())
    }

    /// The elements of an integer vector that only the run knows, as sizes: fresh symbols bound there, or what is known.
    pub(crate) fn bound_elements(&mut self, values: ValueId, least: i64) -> Result<Vec<Dim>> {
        if let Some(known) = self.symbolic(values) {
            return Ok(known);
        }
        let count = self.ty(values).static_shape().map(|s| s.iter().product::<usize>());
        let Some(count) = count.filter(|&n| n <= crate::shapes::MOST_AXES) else {
            return Err(invalid(format!("{} holds no sizes", self.show(values))));
        };
        let values = self.convert(values, DType::I64)?;
        let symbols: Vec<_> = (0..count).map(|_| self.fresh_dim("size", (least, i64::MAX), None)).collect();
        let elements = symbols.iter().map(|&s| self.found_dim(s)).collect();
        self.push(Op::BindDims { symbols }, &[values])?;
        Ok(elements)
    }

    /// The sizes that an integer vector holds: what is known of them, else what the file states, which the run then checks,
    /// else what the run finds there.
    pub(crate) fn sizes_operand(&mut self, values: ValueId, stated: Option<Vec<Dim>>, what: &str) -> Result<Vec<Dim>> {
        if let Some(known) = self.symbolic(values) {
            return Ok(known);
        }
        let Some(stated) = stated else { return self.bound_elements(values, 0) };
        self.claim(values, &stated, what)?;
        Ok(stated)
    }

    /// Requires the elements of an integer vector to be these sizes, which the file states.
    fn claim(&mut self, values: ValueId, stated: &[Dim], what: &str) -> Result<()> {
        let found = self.bound_elements(values, 0)?;
        if found.len() != stated.len() {
            return Err(invalid(format!("{what} has {} elements for {} axes", found.len(), stated.len())));
        }
        for (i, (found, stated)) in found.into_iter().zip(stated).enumerate() {
            self.require(found, Relation::Equal, stated.clone(), format!("element {i} of {what}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int64};

    #[test]
    fn indices_within_other_axes() {
        let elements = |rows: usize| {
            let (x, index) = (vec![0.5f32; 8], vec![1i64; 2 * rows]);
            let sketch = sketch().given("x", &[2, 4], &x).given("i", &[rows, 2], &index);
            sketch.node("GatherElements", "x i -> y").int("axis", 1).output("y").run()
        };
        assert_eq!(elements(1), "f32[1, 2] 0.5 0.5");
        let open = sketch().input("x", Float, "n 4").input("i", Int64, "k 2");
        let graph = open.node("GatherElements", "x i -> y").int("axis", 1).output("y").translate();
        assert!(graph.is_ok_and(|g| g.nodes.iter().any(|n| n.op.name() == "require")));
    }

    #[test]
    fn windows_bound_their_axis() {
        let weights = vec![0.0; 20];
        let sketch = sketch().input("x", Float, "1 1 t").floats("w", &[2, 1, 10], &weights);
        let graph = sketch.node("Conv", "x w -> y").int_list("strides", &[2]).output("y").translate();
        let graph = graph.expect("a graph");
        assert_eq!(graph.dims.iter().next().map(|(_, i)| i.min), Some(8));
        assert!(graph.nodes.iter().all(|n| n.op.name() != "require"));
    }
}
