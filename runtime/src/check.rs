//! Compares what a caller gives with what a model takes, and says in one line where they differ.
//!
//! The model checks too, but can only answer a number. Nothing here allocates unless there is an error to describe.

use std::ffi::c_void;

use nnc_abi::{DimKind, PlanResult, Status};

use crate::signature::{Signature, TensorInfo};
use crate::{Error, Result, State, TensorRef};

/// A symbol that no input dimension has given a value yet.
const UNKNOWN: i64 = i64::MIN;

/// Checks number, types, ranks and sizes of inputs and gathers their dimensions in `dims`, which is cleared first. Those that
/// are kept in `state` are not among `inputs`.
pub(crate) fn gather(
    signature: &Signature,
    inputs: &[TensorRef<'_>],
    state: Option<&State>,
    dims: &mut Vec<i64>,
) -> Result<()> {
    dims.clear();
    let kept = |input| state.and_then(|state| Some(state.dims(signature.state_of_input(input)?)));
    let takes = (0..signature.inputs.len()).filter(|&i| kept(i).is_none()).count();
    if inputs.len() != takes {
        let all = signature.inputs.iter().enumerate().filter(|(i, _)| kept(*i).is_none());
        let names: Vec<&str> = all.map(|(_, t)| t.name.as_str()).collect();
        let got = inputs.len();
        let message = format!("the model takes {takes} inputs ({}), {got} were given", names.join(", "));
        return Err(Error::new(Status::BadArgument, message));
    }
    let mut rest = inputs.iter();
    for (i, info) in signature.inputs.iter().enumerate() {
        if let Some(kept) = kept(i) {
            dims.extend_from_slice(kept);
            continue;
        }
        let Some(given) = rest.next() else { break };
        if given.dtype != info.dtype {
            return Err(mismatch(Status::BadDType, info, given.dims, given.dtype.name(), ""));
        }
        if given.dims.len() != info.dims.len() {
            return Err(mismatch(Status::BadRank, info, given.dims, given.dtype.name(), ""));
        }
        dims.extend_from_slice(given.dims);
        match bytes_of(info, given.dims) {
            Some(bytes) if bytes == given.data.len() as u64 => {}
            // A bad dimension is described better by `dims` below.
            _ if given.dims.iter().any(|&d| d < 0) => {}
            Some(bytes) => {
                let (name, dtype, dims, got) = (&info.name, info.dtype, given.dims, given.data.len());
                let message = format!("input `{name}`: {dtype} {dims:?} has {bytes} bytes, {got} were given");
                return Err(Error::new(Status::BufferTooSmall, message));
            }
            None => {
                return Err(mismatch(
                    Status::SizeOverflow,
                    info,
                    given.dims,
                    given.dtype.name(),
                    ", which is too large",
                ));
            }
        }
    }
    Ok(())
}

/// Checks the dimensions of all inputs, one after the other in `dims`, against constants, symbols and bounds. `symbols`
/// is scratch memory. Expressions are left to the model's `plan`.
pub(crate) fn check_dims(signature: &Signature, dims: &[i64], symbols: &mut Vec<i64>) -> Result<()> {
    debug_assert_eq!(dims.len(), signature.input_dims_len());
    symbols.clear();
    symbols.resize(signature.symbols.len(), UNKNOWN);
    let mut rest = dims;
    for info in &signature.inputs {
        let (given, tail) = rest.split_at(info.dims.len());
        rest = tail;
        for (axis, (dim, &size)) in info.dims.iter().zip(given).enumerate() {
            let fail = |status, why: String| {
                let why = format!(": dimension {axis} is {size}, {why}");
                Err(mismatch(status, info, given, info.dtype.name(), &why))
            };
            if size < 0 {
                return fail(Status::BadShape, "which is negative".into());
            }
            match (dim.kind, dim.symbol, dim.value) {
                (DimKind::Constant, _, Some(value)) if value != size => {
                    return fail(Status::BadShape, format!("must be {value}"));
                }
                (DimKind::Symbol, Some(index), _) => {
                    let symbol = &signature.symbols[index];
                    if symbols[index] == UNKNOWN {
                        if size < symbol.min || size > symbol.max {
                            let (name, min, max) = (&symbol.name, symbol.min, symbol.max);
                            let range =
                                if max == i64::MAX { format!("at least {min}") } else { format!("{min} to {max}") };
                            let why = format!("but the model was compiled for `{name}` of {range}");
                            return fail(Status::DimOutOfBounds, why);
                        }
                        symbols[index] = size;
                    } else if symbols[index] != size {
                        let why = format!("but `{}` is {} already", symbol.name, symbols[index]);
                        return fail(Status::BadShape, why);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What the model's `plan` refused, in words.
pub(crate) fn plan_refused(signature: &Signature, dims: &[i64], code: i32, result: &PlanResult) -> Error {
    let status = Status::from_code(code).filter(|&s| s != Status::Ok).unwrap_or(Status::Internal);
    let mut first = 0;
    for info in &signature.inputs {
        let given = &dims[first..first + info.dims.len()];
        if let Some(axis) = usize::try_from(result.fault_dim).ok().and_then(|i| i.checked_sub(first))
            && axis < given.len()
        {
            let must = &info.dims[axis].text;
            let expected = match result.fault_expected {
                0.. => format!(", must be {must} = {}", result.fault_expected),
                _ => format!(", must be {must}"),
            };
            let why = format!(": dimension {axis} is {}{expected}", given[axis]);
            return mismatch(status, info, given, info.dtype.name(), &why);
        }
        first += info.dims.len();
    }
    Error::new(status, format!("model `{}` refuses input dimensions {dims:?}: {}", signature.name, status.text()))
}

/// Checks that no pointer is null unless its tensor is empty, or is `kept` in a state. The number of pointers is the model's.
pub(crate) fn pointers(
    signature: &Signature,
    input_dims: &[i64],
    inputs: &[*const c_void],
    output_bytes: &[usize],
    outputs: &[*mut c_void],
    kept: bool,
) -> Result<()> {
    let null = |kind, info: &TensorInfo| {
        Err(Error::new(Status::NullArgument, format!("{kind} `{}`: the pointer is null", info.name)))
    };
    let mut rest = input_dims;
    for (i, (info, pointer)) in signature.inputs.iter().zip(inputs).enumerate() {
        let (dims, tail) = rest.split_at(info.dims.len());
        rest = tail;
        if kept && signature.state_of_input(i).is_some() {
            continue;
        }
        if pointer.is_null() && bytes_of(info, dims) != Some(0) {
            return null("input", info);
        }
    }
    for (i, ((info, pointer), &bytes)) in signature.outputs.iter().zip(outputs).zip(output_bytes).enumerate() {
        let held = kept && signature.state_of_output(i).is_some();
        if pointer.is_null() && bytes > 0 && !held {
            return null("output", info);
        }
    }
    Ok(())
}

/// Bytes of a dense tensor with these dimensions; `None` if one is negative or the product overflows.
pub(crate) fn bytes_of(info: &TensorInfo, dims: &[i64]) -> Option<u64> {
    // A zero anywhere makes the tensor empty, whatever the other dimensions.
    let empty = dims.contains(&0) && dims.iter().all(|&d| d >= 0);
    let product = |all: u64, &d: &i64| all.checked_mul(u64::try_from(d).ok()?);
    let elements = if empty { 0 } else { dims.iter().try_fold(1, product)? };
    info.dtype.bytes_for(elements).filter(|&bytes| bytes <= i64::MAX as u64)
}

fn mismatch(status: Status, info: &TensorInfo, dims: &[i64], dtype: &str, why: &str) -> Error {
    Error::new(status, format!("input `{}`: expected {info}, got {dtype} {dims:?}{why}", info.name))
}
