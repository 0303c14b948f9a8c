//! Broadcasting, and shapes that arrive as data.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::translate::declared_shape;
use nnc_ir::{DType, Dim, Op, ValueId};

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
                if dim.is_const(1) || result[offset + i] == *dim {
                    continue;
                }
                if result[offset + i].is_const(1) {
                    result[offset + i] = dim.clone();
                    continue;
                }
                result[offset + i] = self.unify(&result[offset + i], dim)?;
            }
        }
        Ok(result)
    }

    /// The one size two different sizes, neither of them the constant 1, must be.
    fn unify(&mut self, a: &Dim, b: &Dim) -> Result<Dim> {
        let (a, b) = (a.simplify(self.dims()), b.simplify(self.dims()));
        if a == b || b.is_const(1) {
            return Ok(a);
        }
        if a.is_const(1) {
            return Ok(b);
        }
        let names = format!("`{}` and `{}`", self.dims().display(&a), self.dims().display(&b));
        if a.as_const().is_some() && b.as_const().is_some() {
            return Err(invalid(format!("sizes {names} cannot be broadcast together")));
        }
        Err(unsupported(format!("sizes {names} may differ at run time; fix one with --dim NAME=N")))
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
        let axes = (offset..shape.len()).collect();
        self.one(Op::Broadcast { shape: shape.to_vec(), axes }, &[x])
    }

    /// Two values in their common shape.
    pub fn broadcast2(&mut self, x: ValueId, y: ValueId) -> Result<(ValueId, ValueId)> {
        let shape = self.broadcast_shape(&[x, y])?;
        Ok((self.broadcast_to(x, &shape)?, self.broadcast_to(y, &shape)?))
    }

    /// `x` (one axis, e.g. a bias) repeated to `shape`, lying along `axis`.
    pub fn broadcast_axis(&mut self, x: ValueId, shape: &[Dim], axis: usize) -> Result<ValueId> {
        self.one(Op::Broadcast { shape: shape.to_vec(), axes: vec![axis] }, &[x])
    }

    /// The sizes an integer vector holds: expressions over the model's dimensions where these are known, else the
    /// shape the file states for the node's first output, else fresh symbols bound at run time.
    pub fn shape_operand(&mut self, sizes: ValueId, what: &str) -> Result<Vec<Dim>> {
        if let Some(dims) = self.symbolic(sizes) {
            return Ok(dims);
        }
        let count = match self.shape(sizes).as_slice() {
            [count] => count.as_const().and_then(|n| usize::try_from(n).ok()),
            _ => return Err(invalid(format!("{what} must be a vector, not {}", self.show(sizes)))),
        };
        let Some(count) = count else {
            return Err(unsupported(format!("{what} has an unknown number of elements; fix the model's dimensions with --dim")));
        };
        let stated = self.declared_output(0).and_then(|ty| declared_shape(ty, self.dims()));
        let stated = stated.filter(|s| s.len() == count).unwrap_or_else(|| vec![None; count]);
        let sizes = self.convert(sizes, DType::I64)?;
        let mut symbols = vec![];
        let mut dims = vec![];
        for known in stated {
            // A stated constant is checked when the run binds it.
            let (min, max) = known.as_ref().and_then(Dim::as_const).map_or((0, i64::MAX), |n| (n, n));
            let symbol = self.frame_mut().graph.dims.fresh("size", min, max, None);
            symbols.push(symbol);
            dims.push(known.unwrap_or_else(|| Dim::sym(symbol)));
        }
        self.push(Op::BindDims { symbols }, &[sizes])?;
        Ok(dims)
    }
}
