//! Sizes for the symbolic dimensions of a model where the user gives none: those of a usual run, one image or one text.
//!
//! What a dimension counts is guessed, from its name and else from where it stands: a batch has 1 element, the sides of an
//! image 224, a sequence 128, or 1 behind a past of 128. The bounds that the model's nodes put on a dimension hold in any case, and `plan` has agreed to
//! what is picked: where it refuses the usual sizes, other common ones follow, and at last the least. A run may still find that
//! they do not fit, such as a position behind the end of a table; then the next are tried (`inputs.rs`).

use std::collections::BTreeMap;

use nnc_ir::{Dim, DimTable, SymbolInfo};
use nnc_ops::DimRange;
use nnc_runtime::{DType, DimKind, Model, Plan, Signature, TensorInfo};

use crate::errors::{Failure, Result};

/// Sides of images and lengths of sequences, the most usual first.
const USUAL: [(i64, i64); 8] = [(224, 128), (256, 64), (512, 512), (640, 256), (320, 32), (299, 16), (64, 8), (32, 1)];
/// Most bytes that a run of picked sizes may take.
const MOST_BYTES: u64 = 8 << 30;

/// The sizes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The dimensions of each input.
    pub inputs: Vec<Vec<i64>>,
    /// Those of each output; of what depends on data, the most.
    pub outputs: Vec<Vec<i64>>,
    /// The symbolic dimensions by name, with what was taken for them.
    pub symbols: Vec<(String, i64)>,
}

/// What a dimension counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Batch,
    Side,
    Channels,
    Length,
    /// What a sequence continues, in a model that generates it.
    Past,
    /// Both together.
    Total,
}

/// Sizes that `plan` agrees to, `given` among them, the most usual first; at least one.
///
/// # Errors
/// When a size that is given is of no symbolic dimension or outside its bounds, or no sizes are found that the model takes.
pub fn pick(model: &Model, given: &BTreeMap<String, DimRange>) -> Result<Vec<Picked>> {
    let signature = model.signature();
    check_given(signature, given)?;
    let roles = roles(signature);
    // What is generated after a past comes one at a time.
    let generates = roles.contains(&Role::Past);
    let values = |wanted: &dyn Fn(Role) -> i64| -> Vec<i64> {
        let symbols = || signature.symbols.iter().zip(&roles);
        let one = |role| symbols().find(|(_, other)| **other == role).map(|(s, _)| within(wanted(role), s, given));
        let total = one(Role::Past).unwrap_or(0).saturating_add(one(Role::Length).unwrap_or(0));
        let size = |role| if role == Role::Total { total } else { wanted(role) };
        symbols().map(|(s, &role)| within(size(role), s, given)).collect()
    };
    let usual = USUAL.map(|(side, length)| {
        values(&|role| match role {
            Role::Batch => 1,
            Role::Length if generates => 1,
            Role::Side => side,
            Role::Channels => 3,
            Role::Length | Role::Past | Role::Total => length,
        })
    });
    let mut all: Vec<Vec<i64>> = usual.into_iter().chain([values(&|_| 1)]).collect();
    all.dedup();
    let (mut taken, mut refused) = (vec![], None);
    for symbols in all {
        match planned(model, symbols) {
            Ok(picked) => taken.push(picked),
            Err(failure) => refused = refused.or(Some(failure)),
        }
    }
    match refused {
        Some(failure) if taken.is_empty() => Err(failure),
        _ => Ok(taken),
    }
}

/// A size within the bounds of its dimension and within those given.
fn within(size: i64, symbol: &nnc_runtime::Symbol, given: &BTreeMap<String, DimRange>) -> i64 {
    let (low, high) = given.get(&symbol.name).map_or((0, i64::MAX), |range| (range.min, range.max));
    // Bounds that contradict each other leave nothing to choose; `plan` says so.
    size.max(low).min(high).max(symbol.min).min(symbol.max)
}

fn check_given(signature: &Signature, given: &BTreeMap<String, DimRange>) -> Result<()> {
    for (name, range) in given {
        let Some(symbol) = signature.symbols.iter().find(|s| s.name == *name) else {
            let known: Vec<&str> = signature.symbols.iter().map(|s| s.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::user(format!(
                "--dim {name}: the compiled model has no such free dimension; it has {known}"
            )));
        };
        if range.max < symbol.min || range.min > symbol.max {
            let (min, max) = (symbol.min, symbol.max);
            let most = if max == i64::MAX { String::new() } else { format!(" to {max}") };
            return Err(Failure::user(format!("--dim {name}: the compiled model takes sizes from {min}{most}")));
        }
    }
    Ok(())
}

/// The sizes of a run at these symbols, if the model agrees.
fn planned(model: &Model, symbols: Vec<i64>) -> Result<Picked> {
    let signature = model.signature();
    let inputs = input_dims(signature, &symbols)?;
    let shapes: Vec<&[i64]> = inputs.iter().map(Vec::as_slice).collect();
    let plan = model.plan(&shapes).map_err(|e| Failure::user(format!("{e}; give --dim or --inputs")))?;
    if run_bytes(signature, &inputs, &plan).is_none_or(|n| n > MOST_BYTES) {
        return Err(Failure::user("a run of the usual sizes takes too much memory; give --dim or --inputs"));
    }
    let names = signature.symbols.iter().map(|s| s.name.clone());
    Ok(Picked { inputs, outputs: plan.output_dims, symbols: names.zip(symbols).collect() })
}

/// Bytes of inputs, outputs and workspace of a run; `None` when they are too many to count.
pub fn run_bytes(signature: &Signature, inputs: &[Vec<i64>], plan: &Plan) -> Option<u64> {
    let sum = signature.inputs.iter().zip(inputs).try_fold(plan.workspace_bytes, |sum, (info, dims)| {
        let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?))?;
        sum.checked_add(info.dtype.bytes_for(count)?)
    });
    // What a run allocates is not known before it.
    plan.output_bytes.iter().flatten().try_fold(sum?, |sum, &n| sum.checked_add(n))
}

/// The dimensions of every input when the symbols, in the signature's order, have these values.
///
/// # Errors
/// When a dimension is an expression that has no value for them.
pub fn input_dims(signature: &Signature, symbols: &[i64]) -> Result<Vec<Vec<i64>>> {
    let mut table = DimTable::default();
    for symbol in &signature.symbols {
        table.new_symbol(SymbolInfo::input(symbol.name.as_str()));
    }
    let size = |info: &TensorInfo, dim: &nnc_runtime::Dim| {
        let value = match dim.kind {
            DimKind::Constant => dim.value,
            DimKind::Symbol => dim.symbol.and_then(|s| symbols.get(s)).copied(),
            DimKind::Expression | DimKind::Data => {
                let parsed: Option<Dim> = table.parse(&dim.text).ok();
                parsed.and_then(|d| d.eval(&|s| symbols.get(s.0 as usize).copied()))
            }
        };
        value.filter(|&n| n >= 0).ok_or_else(|| {
            let (name, text) = (&info.name, &dim.text);
            Failure::user(format!("input `{name}`: no size can be chosen for dimension `{text}`; give --inputs"))
        })
    };
    let inputs = signature.inputs.iter();
    inputs.map(|info| info.dims.iter().map(|d| size(info, d)).collect()).collect()
}

/// What each symbol counts: by its name, else by the first place where an input has it.
fn roles(signature: &Signature) -> Vec<Role> {
    let place = |symbol: usize| {
        signature.inputs.iter().find_map(|info| {
            let axis = info.dims.iter().position(|d| d.kind == DimKind::Symbol && d.symbol == Some(symbol))?;
            Some(by_place(info, axis))
        })
    };
    let symbols = signature.symbols.iter().enumerate();
    symbols.map(|(i, s)| by_name(&s.name).or_else(|| place(i)).unwrap_or(Role::Length)).collect()
}

/// What a name tells; the names that nnc makes up for dimensions without one tell nothing.
fn by_name(name: &str) -> Option<Role> {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match lower.as_str() {
        "n" | "b" | "bs" => Some(Role::Batch),
        "h" | "w" => Some(Role::Side),
        "c" => Some(Role::Channels),
        "s" | "t" | "l" => Some(Role::Length),
        _ if has(&["batch"]) => Some(Role::Batch),
        _ if has(&["height", "width"]) => Some(Role::Side),
        _ if has(&["channel"]) => Some(Role::Channels),
        _ if has(&["total"]) => Some(Role::Total),
        _ if has(&["past"]) => Some(Role::Past),
        _ if has(&["seq", "len", "token", "time", "frame", "step"]) => Some(Role::Length),
        _ => None,
    }
}

/// What an axis of an input usually is.
fn by_place(info: &TensorInfo, axis: usize) -> Role {
    let image = info.dims.len() == 4 && !matches!(info.dtype, DType::I32 | DType::I64 | DType::Bool);
    // Channels are few; where neither place says so, they come before the sides.
    let few = |axis: usize| info.dims[axis].value.is_some_and(|n| (1..=4).contains(&n));
    let channels = if image && few(3) && !few(1) { 3 } else { 1 };
    match axis {
        0 if info.dims.len() > 1 => Role::Batch,
        _ if image && axis == channels => Role::Channels,
        _ if image => Role::Side,
        _ => Role::Length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dtype: DType, sizes: &[i64]) -> TensorInfo {
        let dim = |&size: &i64| nnc_runtime::Dim {
            kind: if size < 0 { DimKind::Symbol } else { DimKind::Constant },
            symbol: None,
            value: (size >= 0).then_some(size),
            text: size.to_string(),
        };
        TensorInfo { name: "x".into(), dtype, dims: sizes.iter().map(dim).collect(), is_allocated: false }
    }

    #[test]
    fn names_tell() {
        for (name, role) in [
            ("batch_size", Some(Role::Batch)),
            ("N", Some(Role::Batch)),
            ("height", Some(Role::Side)),
            ("sequence_length", Some(Role::Length)),
            ("past_sequence_length", Some(Role::Past)),
            ("total_sequence_length", Some(Role::Total)),
            ("x_dim0", None),
            ("s77", None),
        ] {
            assert_eq!(by_name(name), role, "{name}");
        }
    }

    #[test]
    fn places_tell() {
        let all = |info: TensorInfo| (0..info.dims.len()).map(|axis| by_place(&info, axis)).collect::<Vec<_>>();
        use Role::{Batch, Channels, Length, Side};
        assert_eq!(all(info(DType::F32, &[-1, 3, -1, -1])), [Batch, Channels, Side, Side]);
        assert_eq!(all(info(DType::F32, &[-1, -1, -1, 3])), [Batch, Side, Side, Channels]);
        assert_eq!(all(info(DType::F32, &[-1, -1, -1, -1])), [Batch, Channels, Side, Side]);
        assert_eq!(all(info(DType::I64, &[-1, -1])), [Batch, Length]);
        assert_eq!(all(info(DType::F32, &[-1])), [Length]);
    }

    #[test]
    fn bounds_hold() {
        let symbol = nnc_runtime::Symbol { name: "seq".into(), min: 2, max: 64 };
        let given = |min, max| BTreeMap::from([("seq".to_owned(), DimRange { min, max })]);
        let none = BTreeMap::new();
        assert_eq!([128, 0, 7].map(|n| within(n, &symbol, &none)), [64, 2, 7]);
        assert_eq!(within(128, &symbol, &given(5, 5)), 5);
        assert_eq!(within(128, &symbol, &given(1, 500)), 64);
    }
}
