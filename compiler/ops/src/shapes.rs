//! Shapes that arrive as data.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::translate::declared_shape;
use nnc_ir::op::Relation;
use nnc_ir::{Dim, Op, ValueId};

/// No tensor has more axes.
pub(crate) const MOST_AXES: usize = 64;

impl Context<'_, '_> {
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

    /// The whole shape that the file states of output `index`.
    pub(crate) fn whole_stated(&self, index: usize) -> Option<Vec<Dim>> {
        self.stated_dims(index)?.into_iter().collect()
    }

    /// What the file states of one axis of output `index`.
    pub fn stated_dim(&self, index: usize, axis: usize) -> Option<Dim> {
        self.stated_dims(index)?.get(axis)?.clone()
    }

    /// The shape the file states for output `index`; needed where `what` is known to the run alone.
    pub fn stated_shape(&self, index: usize, what: &str) -> Result<Vec<Dim>> {
        self.whole_stated(index).ok_or_else(|| {
            unsupported(format!(
                "{what} must be known at compile time, or the shape of the output stated in the model; \
                 make it a constant, or run ONNX shape inference"
            ))
        })
    }
}
