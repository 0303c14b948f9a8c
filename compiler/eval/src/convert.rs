//! `convert` and `bitcast`.

use crate::error::{Eval, unfit};
use crate::values::{Values, allocatable, from_floats, from_ints, int_to_float, load};
use nnc_ir::{DType, Tensor};

pub(super) fn convert(to: DType, x: &Tensor) -> Eval<Tensor> {
    if to == x.dtype {
        return Ok(x.clone());
    }
    let shape = x.shape.clone();
    allocatable(to, &shape)?;
    Ok(match load(x) {
        Values::Float(values) => from_floats(to, shape, values),
        Values::Int(values) if to.is_float() => int_to_float(to, x.dtype, shape, values),
        Values::Int(values) => from_ints(to, shape, values),
    })
}

pub(super) fn bitcast(to: DType, x: &Tensor) -> Eval<Tensor> {
    if to.size() != x.dtype.size() {
        return Err(unfit(format!("{} and {to} differ in size", x.dtype)));
    }
    if to == DType::Bool && x.data.bytes().iter().any(|&b| b > 1) {
        return Err(unfit("a byte other than 0 and 1 is no bool"));
    }
    Ok(Tensor { dtype: to, shape: x.shape.clone(), data: x.data.clone() })
}
