//! Broadcasting, and shapes that arrive as data.

use crate::assume;
use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::translate::declared_shape;
use nnc_ir::op::Relation;
use nnc_ir::{Dim, Op, SymbolOrigin, ValueId};

/// No tensor has more axes.
pub(crate) const MOST_AXES: usize = 64;

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
                let target = &result[offset + i];
                if dim.is_const(1) || target == dim {
                    continue;
                }
                result[offset + i] = if target.is_const(1) { dim.clone() } else { self.unify(target, dim)? };
            }
        }
        // Agreeing on one axis may have changed what is known of another.
        Ok(result.iter().map(|d| assume::settle(d, self.dims())).collect())
    }

    /// The one size two different sizes, neither of them the constant 1, must be. May narrow the bounds of a symbol.
    pub fn unify(&mut self, a: &Dim, b: &Dim) -> Result<Dim> {
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
        let symbols: Vec<nnc_ir::Symbol> = [&a, &b].iter().flat_map(|size| size.symbols()).collect();
        let given = |s: &nnc_ir::Symbol| self.dims().get(*s).origin == SymbolOrigin::Input;
        // A size that depends on data stays what the run finds, whatever range it is given.
        let what_to_do = match symbols.first() {
            Some(&first) if symbols.iter().all(given) => {
                format!("; fix one, such as --dim {}=N", self.dims().get(first).name)
            }
            _ => ", as one depends on data; state the size in the model".to_owned(),
        };
        let help = || unsupported(format!("sizes {names} may differ at run time{what_to_do}"));
        let table = assume::make_equal(&a, &b, self.dims()).ok_or_else(help)?;
        let size = assume::settle(&a, &table);
        if assume::apply(&mut self.translator.frames, table) { Ok(size) } else { Err(help()) }
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
        let Some(count) = count.filter(|&n| n <= MOST_AXES) else {
            return Err(unsupported(format!(
                "{what} has {} elements; a number up to {MOST_AXES} must be known at compile time",
                self.show_shape(&self.shape(sizes))
            )));
        };
        let stated = self.stated_dims(0).filter(|s| s.len() == count).unwrap_or_else(|| vec![None; count]);
        let found = self.bound_elements(sizes, 0)?;
        let mut dims = vec![];
        for (i, (found, stated)) in found.into_iter().zip(stated).enumerate() {
            dims.push(self.stated_or_found(stated, found, || format!("element {i} of {what}"))?);
        }
        Ok(dims)
    }

    /// The size a scalar tensor holds: `stated` where the file says it (checked by the run), else a fresh symbol, at
    /// most `upper`.
    pub fn bind_dim(&mut self, size: ValueId, stated: Option<Dim>, upper: Option<Dim>) -> Result<Dim> {
        let size = self.reshape(size, &[])?;
        if let Some([dim]) = self.symbolic(size).as_deref() {
            return Ok(dim.clone());
        }
        let most = upper.as_ref().and_then(Dim::as_const).unwrap_or(i64::MAX);
        let symbol = self.fresh_dim("size", (0, most), upper);
        self.push(Op::BindDims { symbols: vec![symbol] }, &[size])?;
        let found = self.found_dim(symbol);
        self.stated_or_found(stated, found, || "the size computed".to_owned())
    }

    /// A symbol that the run defines, within the range that the user gives its name, if any.
    pub(crate) fn fresh_dim(&mut self, prefix: &str, (min, max): (i64, i64), upper: Option<Dim>) -> nnc_ir::Symbol {
        let options = self.translator.options;
        let table = &mut self.frame_mut().graph.dims;
        let symbol = table.fresh(prefix, min, max, upper);
        if let Some(range) = options.dims.get(&table.get(symbol).name) {
            // A range that leaves nothing stops every run.
            let least = min.max(range.min);
            table.set_bounds(symbol, least, max.min(range.max).max(least));
        }
        symbol
    }

    /// The size that a symbol of [`Context::fresh_dim`] stands for: its number where the user fixes it.
    pub(crate) fn found_dim(&self, symbol: nnc_ir::Symbol) -> Dim {
        let info = self.dims().get(symbol);
        if info.min == info.max { Dim::from(info.min) } else { Dim::sym(symbol) }
    }

    /// The size the file states, which the run is to find, or what it finds where the file states none.
    fn stated_or_found(&mut self, stated: Option<Dim>, found: Dim, what: impl FnOnce() -> String) -> Result<Dim> {
        let Some(stated) = stated else { return Ok(found) };
        self.require(found, Relation::Equal, stated.clone(), what())?;
        Ok(stated)
    }

    /// What the file states of the shape of output `index`; `None` for a size it does not state.
    pub fn stated_dims(&self, index: usize) -> Option<Vec<Option<Dim>>> {
        declared_shape(self.declared_output(index)?, self.dims())
    }

    /// What the file states of one axis of output `index`.
    pub fn stated_dim(&self, index: usize, axis: usize) -> Option<Dim> {
        self.stated_dims(index)?.get(axis)?.clone()
    }

    /// The shape the file states for output `index`; needed where `what` is known to the run alone.
    pub fn stated_shape(&self, index: usize, what: &str) -> Result<Vec<Dim>> {
        self.stated_dims(index).and_then(|dims| dims.into_iter().collect()).ok_or_else(|| {
            unsupported(format!(
                "{what} must be known at compile time, or the shape of the output stated in the model; \
                 make it a constant, or run ONNX shape inference"
            ))
        })
    }
}
