//! Broadcasting: axes of size 1 repeat.
//!
//! Whether an axis repeats may be known to the run alone: of `x[n] + y[m]` either size may be 1. The sum then has
//! `select(n == 1, m, n)` elements, the run requires `m` to be 1 or that, and an axis is widened by repeating its last
//! element ([`PadMode::Edge`]) as often as elements are missing: never, where the sizes are equal.

use crate::assume;
use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{PadMode, Relation};
use nnc_ir::{Dim, Op, ValueId};

/// Dimensions of which each may be 1 beside the others; the expression for their common size doubles with each.
const MOST_SIZES: usize = 6;

impl Context<'_, '_> {
    /// The shape these values broadcast to, numpy's way: aligned at the last axis, size 1 repeats.
    pub fn broadcast_shape(&mut self, values: &[ValueId]) -> Result<Vec<Dim>> {
        let shapes: Vec<Vec<Dim>> = values.iter().map(|&v| self.shape(v)).collect();
        self.broadcast_dims(&shapes)
    }

    /// As [`Context::broadcast_shape`], for shapes.
    pub fn broadcast_dims(&mut self, shapes: &[Vec<Dim>]) -> Result<Vec<Dim>> {
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let mut result = vec![Dim::ONE; rank];
        for shape in shapes {
            let offset = rank - shape.len();
            for (i, dim) in shape.iter().enumerate() {
                result[offset + i] = self.wider(&result[offset + i], dim)?;
            }
        }
        // Agreeing on one axis may have changed what is known of another.
        Ok(result.iter().map(|d| self.settled(d)).collect())
    }

    /// The size that two sizes broadcast to.
    pub(crate) fn wider(&mut self, a: &Dim, b: &Dim) -> Result<Dim> {
        let (a, b) = (self.settled(a), self.settled(b));
        if a == b || b.is_const(1) || self.repeats(&b, &a) {
            return Ok(a);
        }
        if a.is_const(1) || self.repeats(&a, &b) {
            return Ok(b);
        }
        if let Some(wide) = self.both_repeat(&a, &b) {
            return Ok(wide);
        }
        if a.as_const().is_some() && b.as_const().is_some() {
            let names = format!("`{}` and `{}`", self.dims().display(&a), self.dims().display(&b));
            return Err(invalid(format!("sizes {names} cannot be broadcast together")));
        }
        if self.narrowed(&a, &b)? {
            return Ok(self.settled(&a));
        }
        match (self.may_be_one(&a), self.may_be_one(&b)) {
            (false, false) => {
                self.must_equal(&a, &b, || "a size broadcast with another".to_owned())?;
                Ok(if b.as_const().is_some() { b } else { a })
            }
            (true, false) => self.require_repeat(a, b),
            (false, true) => self.require_repeat(b, a),
            (true, true) => {
                let wide = a.eq01(&Dim::ONE).select(&b, &a);
                if wide == Dim::OVERFLOW || wide.symbols().len() > MOST_SIZES {
                    let mut names: Vec<String> = vec![];
                    for symbol in [a.symbols(), b.symbols()].concat() {
                        let name = format!("`{}`", self.dims().get(symbol).name);
                        if !names.contains(&name) {
                            names.push(name);
                        }
                    }
                    let names = names.join(", ");
                    return Err(unsupported(format!(
                        "sizes made of {names} may differ at run time or be 1; fix some, such as --dim NAME=N"
                    )));
                }
                self.frame_mut().repeats.insert((a, wide.clone()));
                self.require_repeat(b, wide)
            }
        }
    }

    /// `x` repeated to `shape`, numpy's way.
    pub fn broadcast_to(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        let rank = self.rank(x);
        let Some(offset) = shape.len().checked_sub(rank) else {
            return Err(invalid(format!("{} cannot be broadcast to {}", self.show(x), self.show_shape(shape))));
        };
        self.spread(x, shape, (offset..shape.len()).collect())
    }

    /// Two values in their common shape.
    pub fn broadcast2(&mut self, x: ValueId, y: ValueId) -> Result<(ValueId, ValueId)> {
        let shape = self.broadcast_shape(&[x, y])?;
        Ok((self.broadcast_to(x, &shape)?, self.broadcast_to(y, &shape)?))
    }

    /// `x` (one axis, e.g. a bias) repeated to `shape`, lying along `axis`.
    pub fn broadcast_axis(&mut self, x: ValueId, shape: &[Dim], axis: usize) -> Result<ValueId> {
        self.spread(x, shape, vec![axis])
    }

    /// `x` repeated to `shape`, its axes lying along `axes` of that.
    fn spread(&mut self, mut x: ValueId, shape: &[Dim], axes: Vec<usize>) -> Result<ValueId> {
        for (axis, &along) in axes.iter().enumerate() {
            if let Some(size) = shape.get(along) {
                x = self.widen(x, axis, size)?;
            }
        }
        let shape: Vec<Dim> = shape.iter().map(|d| self.settled(d)).collect();
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        self.one(Op::Broadcast { shape, axes }, &[x])
    }

    /// `x` with `size` elements along `axis`, unless it has one there for sure.
    pub(crate) fn widen(&mut self, x: ValueId, axis: usize, size: &Dim) -> Result<ValueId> {
        let (own, size) = (self.dim(x, axis), self.settled(size));
        let both_known = own.as_const().is_some() && size.as_const().is_some();
        if own == size || own.is_const(1) || both_known {
            return Ok(x);
        }
        if !self.repeats(&own, &size) {
            if self.narrowed(&own, &size)? {
                return Ok(x);
            }
            if !self.may_be_one(&own) {
                return self.with_size(x, axis, &size, || "a size broadcast to another".to_owned());
            }
            self.require_repeat(own.clone(), size.clone())?;
        }
        // One element to none is none.
        let kept = own.min(&size);
        let mut high = vec![Dim::ZERO; self.rank(x)];
        if let Some(high) = high.get_mut(axis) {
            *high = size - &kept;
        }
        let x = self.slice_axis(x, axis, Dim::ZERO, kept)?;
        self.pad(x, vec![Dim::ZERO; high.len()], high, PadMode::Edge, 0.0)
    }

    /// Whether a size is known to be 1 or `wide`.
    fn repeats(&self, size: &Dim, wide: &Dim) -> bool {
        let pair = (size.clone(), wide.clone());
        self.translator.frames.iter().any(|frame| frame.repeats.contains(&pair))
    }

    /// The size that both are known to be, or to be 1.
    fn both_repeat(&self, a: &Dim, b: &Dim) -> Option<Dim> {
        let known = |frame: &crate::scope::Frame<'_>| {
            frame.repeats.iter().filter(|(size, _)| size == a).map(|(_, wide)| wide.clone()).collect::<Vec<Dim>>()
        };
        let mut wide: Vec<Dim> = self.translator.frames.iter().flat_map(known).filter(|w| self.repeats(b, w)).collect();
        wide.sort_by(Dim::structural_cmp);
        wide.into_iter().next()
    }

    fn require_repeat(&mut self, size: Dim, wide: Dim) -> Result<Dim> {
        let asked = size.eq01(&Dim::ONE).select(&wide, &size);
        self.require(asked, Relation::Equal, wide.clone(), "a size broadcast to another".to_owned())?;
        self.frame_mut().repeats.insert((size, wide.clone()));
        Ok(wide)
    }

    fn may_be_one(&self, size: &Dim) -> bool {
        let (least, most) = size.bounds(self.dims());
        least <= 1 && most >= 1
    }

    /// Makes two sizes equal by what is assumed of the model's dimensions, where that leaves out wrong sizes alone.
    fn narrowed(&mut self, a: &Dim, b: &Dim) -> Result<bool> {
        let Some(table) = assume::make_equal(a, b, self.dims()) else { return Ok(false) };
        let fixed = |size: &Dim| {
            let symbol = size.as_symbol()?;
            Some(table.get(symbol).min == table.get(symbol).max)
        };
        // A dimension that is to be one number might be 1 as well.
        if [a, b].into_iter().any(|size| fixed(size) == Some(true) && self.may_be_one(size)) {
            return Ok(false);
        }
        self.assume(a, b, table)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn shapes() {
        for (a, b, result) in [
            ("n", "5", "f32[5]"),
            ("n", "m", "f32[select(eq(n, 1), m, n)]"),
            ("n 4", "m 1", "f32[select(eq(n, 1), m, n), 4]"),
            ("n+2", "m+2", "f32[n + 2]"),
            ("n", "n+2", "f32[n + 2]"),
            ("3", "4", "sizes `3` and `4` cannot be broadcast"),
        ] {
            let sketch = sketch().input("a", Float, a).input("b", Float, b);
            let sketch = sketch.input("n_", Float, "n").input("m_", Float, "m");
            let found = sketch.node("Add", "a b -> y").output("y").result_type();
            assert!(found.contains(result), "{a} + {b}: {found}");
        }
    }

    #[test]
    fn sizes_that_the_run_compares() {
        let sum = |n: usize, m: usize| {
            let sketch = sketch().input("x", Float, "n").input("y", Float, "m").node("Add", "x y -> z").output("z");
            let ones = |size: usize| nnc_ir::Tensor::from_slice(&[size], &vec![1.0f32; size]);
            let graph = sketch.translate().map_err(|e| e.to_string())?;
            let found = nnc_eval::run(&graph, &[ones(n), ones(m)]).map_err(|e| e.to_string())?;
            Ok(found[0].shape.clone())
        };
        let fine: [(usize, usize, Result<Vec<usize>, String>); 6] = [
            (3, 3, Ok(vec![3])),
            (1, 3, Ok(vec![3])),
            (3, 1, Ok(vec![3])),
            (1, 0, Ok(vec![0])),
            (0, 1, Ok(vec![0])),
            (1, 1, Ok(vec![1])),
        ];
        for (n, m, expected) in fine {
            assert_eq!(sum(n, m), expected, "{n} {m}");
        }
        for (n, m) in [(3, 4), (0, 3), (3, 0)] {
            let error = sum(n, m).expect_err("sizes that do not broadcast");
            assert!(error.contains("a size broadcast to another"), "{n} {m}: {error}");
        }
    }

    #[test]
    fn more_sizes_than_an_expression_holds() {
        let names: Vec<String> = (0..40).map(|i| format!("x{i}")).collect();
        let inputs = names.iter().fold(sketch(), |s, name| s.input(name, Float, &format!("{name}_size")));
        let found = inputs.node("Sum", &format!("{} -> y", names.join(" "))).output("y").result_type();
        assert!(found.contains("may differ at run time") && found.contains("--dim"), "{found}");
    }

    #[test]
    fn a_size_found_once() {
        // However often the two meet again, their sum has the one size.
        let sketch = sketch().input("x", Float, "n").input("y", Float, "m").node("Add", "x y -> a");
        let sketch = sketch.node("Add", "a x -> b").node("Mul", "b y -> c").node("Sub", "y x -> d");
        let found = sketch.node("Add", "c d -> e").output("e").result_type();
        assert_eq!(found, "f32[select(eq(n, 1), m, n)]");
    }
}
