//! Sizes that must be equal for a node to make sense: known to be, made so by what is assumed of the model's dimensions
//! ([`crate::assume`]), or required of the run. After a requirement an operand is read as having the other size, so that
//! everything after it sees equal expressions.

use crate::assume::{self, settle};
use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::demands::{Same, same_sizes};
use nnc_ir::op::Relation;
use nnc_ir::{Dim, Op, SymbolOrigin, TensorType, ValueId};

impl Context<'_, '_> {
    /// A size as it is now known.
    pub(crate) fn settled(&self, size: &Dim) -> Dim {
        settle(size, self.dims())
    }

    /// Sees to it that two sizes are equal in every run. The bounds of a symbol may change, and types with them.
    pub(crate) fn must_equal(&mut self, a: &Dim, b: &Dim, what: impl FnOnce() -> String) -> Result<()> {
        let (a, b) = (self.settled(a), self.settled(b));
        if a == b {
            return Ok(());
        }
        if a.as_const().is_some() && b.as_const().is_some() {
            return Err(invalid(format!("{}: {a:?} against {b:?}", what())));
        }
        match assume::make_equal(&a, &b, self.dims()) {
            Some(table) => self.assume(&a, &b, table),
            None => self.require(a, Relation::Equal, b, what()),
        }
    }

    /// Takes on the bounds of symbols that make two sizes equal.
    pub(crate) fn assume(&mut self, a: &Dim, b: &Dim, table: nnc_ir::DimTable) -> Result<()> {
        let names = format!("`{}` and `{}`", self.dims().display(a), self.dims().display(b));
        let symbols: Vec<nnc_ir::Symbol> = [a, b].iter().flat_map(|size| size.symbols()).collect();
        let given = |s: &nnc_ir::Symbol| self.dims().get(*s).origin == SymbolOrigin::Input;
        // A size that depends on data stays what the run finds, whatever range it is given.
        let what_to_do = match symbols.first() {
            Some(&first) if symbols.iter().all(given) => {
                format!("; fix one, such as --dim {}=N", self.dims().get(first).name)
            }
            _ => ", as one depends on data; state the size in the model".to_owned(),
        };
        if assume::apply(&mut self.translator.frames, table) {
            Ok(())
        } else {
            Err(unsupported(format!("sizes {names} may differ at run time{what_to_do}")))
        }
    }

    /// `x` read as having `size` elements along `axis`, which it must have.
    pub(crate) fn with_size(
        &mut self,
        x: ValueId,
        axis: usize,
        size: &Dim,
        what: impl FnOnce() -> String,
    ) -> Result<ValueId> {
        self.must_equal(&self.dim(x, axis), size, what)?;
        let size = self.settled(size);
        if self.dim(x, axis) == size { Ok(x) } else { self.slice_axis(x, axis, Dim::ZERO, size) }
    }

    /// The operation and its operands with such sizes that [`nnc_ir::infer`] finds equal what must be.
    pub(crate) fn agree(&mut self, mut op: Op, inputs: &[ValueId]) -> Result<(Op, Vec<ValueId>)> {
        let mut inputs = inputs.to_vec();
        if self.fits(&op, &inputs) {
            return Ok((op, inputs));
        }
        if let (Op::Reshape { shape }, &[x]) = (&op, inputs.as_slice()) {
            inputs = vec![self.with_count(x, shape)?];
        }
        for i in 0.. {
            // The sizes known may be others each time.
            let found = {
                let operands: Vec<&TensorType> = inputs.iter().map(|&v| self.ty(v)).collect();
                same_sizes(&op, &operands).into_iter().nth(i)
            };
            let Some(Same { places, size, what }) = found else { break };
            let sizes: Vec<Dim> = places.iter().map(|&(operand, axis)| self.dim(inputs[operand], axis)).collect();
            let Some(size) = size.or_else(|| best_known(&sizes, self.dims()).cloned()) else { continue };
            for (operand, axis) in places {
                let own = self.dim(inputs[operand], axis);
                // Sizes that are known to be wrong are refused with the whole types.
                if own.as_const().is_none() || size.as_const().is_none() {
                    inputs[operand] = self.with_size(inputs[operand], axis, &size, || what.clone())?;
                }
            }
        }
        for dim in op.dims_mut() {
            *dim = self.settled(dim);
        }
        Ok((op, inputs))
    }

    fn fits(&self, op: &Op, inputs: &[ValueId]) -> bool {
        let operands: Vec<&TensorType> = inputs.iter().map(|&v| self.ty(v)).collect();
        nnc_ir::infer::infer(op, &operands, &self.graph().consts).is_ok()
    }

    /// `x` with as many elements as `shape` has, in whatever shape.
    fn with_count(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        let has = self.ty(x).count();
        let asked = shape.iter().fold(Dim::ONE, |n, d| n * d);
        let open = |d: &Dim| *d == Dim::OVERFLOW;
        if open(&has) || open(&asked) || (has.as_const().is_some() && asked.as_const().is_some()) {
            return Ok(x);
        }
        self.must_equal(&has, &asked, || "the number of elements".to_owned())?;
        let (has, asked) = (self.ty(x).count(), self.settled(&asked));
        if has == asked {
            return Ok(x);
        }
        let flat = self.reshape(x, &[has])?;
        self.slice_axis(flat, 0, Dim::ZERO, asked)
    }
}

/// The size that says most: a number, else one known before the run.
fn best_known<'d>(sizes: &'d [Dim], table: &nnc_ir::DimTable) -> Option<&'d Dim> {
    let number = sizes.iter().find(|d| d.as_const().is_some());
    number.or_else(|| sizes.iter().find(|d| !d.depends_on_data(table))).or_else(|| sizes.first())
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    /// The type of the result and what is required of the run.
    fn found(op: &str, shapes: &[&str]) -> String {
        let names = ["a", "b", "c"];
        let inputs = shapes.iter().zip(names).fold(sketch(), |s, (shape, name)| s.input(name, Float, shape));
        let operands = names[..shapes.len()].join(" ");
        let sketch = match op {
            "Concat" => inputs.node(op, &format!("{operands} -> y")).int("axis", 0),
            "Reshape" => inputs.ints("s", &[2], &[-1, 4]).node(op, &format!("{operands} s -> y")),
            _ => inputs.node(op, &format!("{operands} -> y")),
        };
        let sketch = sketch.output("y");
        let Ok(graph) = sketch.translate() else { return sketch.result_type() };
        let required = graph.nodes.iter().filter_map(|n| match &n.op {
            nnc_ir::Op::Require { left, right, .. } => {
                Some(format!("; {} = {}", graph.dims.display(left), graph.dims.display(right)))
            }
            _ => None,
        });
        let required: String = required.collect();
        sketch.result_type() + &required
    }

    #[test]
    fn sizes_of_other_names() {
        for (op, shapes, expected) in [
            ("MatMul", &["2 n", "m 3"][..], "f32[2, 3]; m = n"),
            ("MatMul", &["2 n", "5 3"], "f32[2, 3]"),
            ("Gemm", &["b n", "m 2"], "f32[b, 2]; m = n"),
            ("Concat", &["2 n", "3 m"], "f32[5, n]; m = n"),
            ("Concat", &["2 n", "3 m", "1 k"], "f32[6, n]; m = n; k = n"),
            ("Conv", &["1 n 8", "2 3 3"], "f32[1, 2, 6]"),
            ("Reshape", &["n m"], "f32[floor((n*m)/4), 4]; n*m = 4*floor((n*m)/4)"),
            ("MatMul", &["2 4", "5 3"], "test.onnx: MatMul \"n0\": contract: sizes of axes (1, 0): 4 against 5"),
        ] {
            assert_eq!(found(op, shapes), expected, "{op} {shapes:?}");
        }
    }
}
