//! How far a result may be from the reference.
//!
//! All but floats must be equal. A float may be off by some roundings of its own size and of its tensor's, and by a
//! multiple of what the reference's own rounding costs: the interpreter also runs the graph with every float type made
//! `f64`, and what lies between the two runs is the error that the arithmetic itself brings, cancellation included. Sums in
//! another order differ by what the values on the way are worth: the greatest of them, by the root of how many they are.

use nnc_ir::{DType, Graph, Op, Tensor};

/// Roundings that a value may be off by, of its own size and its tensor's.
const ROUNDINGS: f64 = 64.0;
/// Multiples of the reference's own error that a value may be off by.
const REFERENCE_ERRORS: f64 = 32.0;
/// Below this all is noise: reciprocals of denormal numbers and the like.
const TINY: f64 = 1e-30;

/// The reference of one output.
pub struct Reference {
    /// The interpreter's result.
    pub want: Tensor,
    /// The same in `f64`, where it could be had.
    pub exact: Option<Tensor>,
    /// The greatest magnitude of any value of the run, by the root of the greatest number of elements.
    pub spread: f64,
}

/// Roundings of the spread that a value may be off by. Roundings of long sums of numbers of one sign do not cancel as those
/// of a random walk do: 50,688 squares in one chain were off by 5.3.
const SPREAD_ROUNDINGS: f64 = 16.0;

/// The [`Reference::spread`] of all values of a run.
pub fn spread<'a>(values: impl Iterator<Item = &'a Tensor>) -> f64 {
    let (mut most, mut count) = (0f64, 0);
    for value in values.filter(|v| v.dtype.is_float()) {
        let finite = value.to_f64s().into_iter().filter(|x| x.is_finite());
        most = finite.fold(most, |m, x| m.max(x.abs()));
        count = count.max(value.len());
    }
    most * (count as f64).sqrt()
}

/// The rounding of a type relative to a value.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::F64 => 2f64.powi(-53),
        _ => 2f64.powi(-24),
    }
}

/// Compares a result with the reference. `coarsest` is the coarsest float type that the model computes in, and `factor`
/// widens what floats may be off by.
///
/// # Errors
/// How they differ, in a few words.
pub fn agree(got: &Tensor, reference: &Reference, coarsest: DType, factor: f64) -> Result<(), String> {
    let want = &reference.want;
    if got.dtype != want.dtype || got.shape != want.shape {
        return Err(format!("{} {:?}, expected {} {:?}", got.dtype, got.shape, want.dtype, want.shape));
    }
    if got.data.bytes() == want.data.bytes() {
        return Ok(());
    }
    if !want.dtype.is_float() {
        let wrong = (0..want.len()).filter(|&i| got.get_i64(i) != want.get_i64(i));
        return differences(got, want, wrong);
    }
    let exact = reference.exact.as_ref().filter(|e| e.shape == want.shape);
    let finite = |t: &Tensor| t.to_f64s().into_iter().map(|x| if x.is_finite() { x.abs() } else { 0.0 });
    let scale = finite(want).fold(0.0, f64::max);
    let error = exact.map_or(0.0, |exact| {
        let apart = |i| Some((want.get_f64(i) - exact.get_f64(i)).abs()).filter(|d| d.is_finite()).unwrap_or(0.0);
        (0..want.len()).map(apart).fold(0.0, f64::max)
    });
    let unit = epsilon(want.dtype).max(epsilon(coarsest));
    let close = |i: usize| {
        let (g, w) = (got.get_f64(i), want.get_f64(i));
        if g == w || (g.is_nan() && w.is_nan()) {
            return true;
        }
        let rounding = unit * (ROUNDINGS * (w.abs() + scale) + SPREAD_ROUNDINGS * reference.spread);
        let allowed = factor * (rounding + REFERENCE_ERRORS * error + TINY);
        // What overflows in one order of operations need not in another.
        let edge = |x: f64| x.is_infinite() && exact.is_none_or(|e| !e.get_f64(i).is_infinite());
        (g - w).abs() <= allowed || (edge(w) && scale > 0.0 && g.abs() >= 0.9 * largest(want.dtype))
    };
    differences(got, want, (0..want.len()).filter(|&i| !close(i)))
}

fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

fn differences(got: &Tensor, want: &Tensor, mut wrong: impl Iterator<Item = usize>) -> Result<(), String> {
    let Some(first) = wrong.next() else { return Ok(()) };
    let show = |t: &Tensor| match t.dtype.is_float() {
        true => format!("{:?}", t.get_f64(first)),
        false => t.get_i64(first).to_string(),
    };
    let (count, total) = (wrong.count() + 1, want.len());
    Err(format!(
        "{count} of {total} elements of {:?} differ, at {first}: {}, expected {}",
        want.shape,
        show(got),
        show(want)
    ))
}

/// The coarsest float type among a graph's values; `F64` when it has none.
pub fn coarsest(graph: &Graph) -> DType {
    let inside = graph.nodes.iter().flat_map(|n| n.op.subgraphs()).map(coarsest);
    let floats = graph.values.iter().map(|v| v.ty.dtype).filter(|d| d.is_float()).chain(inside);
    floats.max_by(|a, b| epsilon(*a).total_cmp(&epsilon(*b))).unwrap_or(DType::F64)
}

/// The graph with every float type made `f64`; `None` when it looks at bits or draws numbers.
pub fn widen(graph: &Graph) -> Option<Graph> {
    let wide = |dtype: DType| if dtype.is_float() { DType::F64 } else { dtype };
    let mut graph = graph.clone();
    for value in &mut graph.values {
        value.ty.dtype = wide(value.ty.dtype);
    }
    let mut consts = nnc_ir::ConstPool::default();
    let mut nodes = std::mem::take(&mut graph.nodes);
    for node in &mut nodes {
        match &mut node.op {
            Op::Constant(id) => {
                let tensor = graph.consts.get(*id);
                let tensor = match tensor.dtype.is_float() {
                    true => Tensor::from_f64s(DType::F64, &tensor.shape, &tensor.to_f64s()),
                    false => tensor.clone(),
                };
                *id = consts.add(tensor);
            }
            Op::Iota { dtype, .. } | Op::Convert(dtype) => *dtype = wide(*dtype),
            Op::Contract { out, .. } | Op::Conv { out, .. } => *out = wide(*out),
            Op::If { then, otherwise, .. } => {
                **then = widen(then)?;
                **otherwise = widen(otherwise)?;
            }
            Op::Loop { body, .. } => **body = widen(body)?,
            Op::Bitcast(_) | Op::Random { .. } => return None,
            _ => {}
        }
    }
    (graph.nodes, graph.consts) = (nodes, consts);
    Some(graph)
}

/// A tensor as the widened graph takes it.
pub fn widen_tensor(tensor: &Tensor) -> Tensor {
    match tensor.dtype.is_float() {
        true => Tensor::from_f64s(DType::F64, &tensor.shape, &tensor.to_f64s()),
        false => tensor.clone(),
    }
}
