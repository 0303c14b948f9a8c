//! Convolutions, channels last, as problems: a matrix product for each group, positions by channels, summed over the window.
//!
//! The input is read through a view whose border is in memory (see `layout`), so that no kernel branches on position.
//! With unit dilation the innermost kernel axis and the channels are one contiguous sum.

use super::axes::{Axis, AxisRoles};
use super::problem::{Constant, Copied, LeftForm, Problem, ResultIndex, RightForm};
use super::stored::Stored;
use super::{Site, accumulator_type};
use crate::layout::{Border, View, border, of_all_channels};
use nnc_ir::op::{Op, Window};
use nnc_ir::{DType, Dim, Node, ValueId};

/// Most kernel elements that a depthwise kernel writes out.
const UNROLLED_TAPS: usize = 64;

/// Output positions: axis sizes, the input elements per step, and per kernel element.
pub(crate) struct Geometry {
    pub sizes: Vec<Dim>,
    pub steps: Vec<Dim>,
    pub taps: Vec<Dim>,
}

impl Geometry {
    /// Of a window over an input with such strides, and results of such a shape.
    pub fn new(window: &Window, strides: &[Dim], result: &[Dim]) -> Geometry {
        let spatial = window.size.len();
        let scaled =
            |factors: &[usize]| (0..spatial).map(|a| &strides[a + 1] * &Dim::from(factors[a] as i64)).collect();
        Geometry {
            sizes: result[1..=spatial].to_vec(),
            steps: scaled(&window.strides),
            taps: scaled(&window.dilations),
        }
    }
}

impl Site<'_> {
    /// The problem of a convolution in the region that ends in `root`.
    pub(super) fn window_problem(&self, anchor: &Node, root: ValueId) -> Result<Problem, &'static str> {
        let Op::Conv { window, groups, out } = &anchor.op else { return Err("not a convolution") };
        let (x, w) = (anchor.inputs[0], anchor.inputs[1]);
        let (spatial, accumulator) = (window.size.len(), accumulator_type(*out));
        let weight = |axis: usize| self.graph.shape(w)[axis].as_const().unwrap_or(0);
        let channels = self.graph.shape(x).last().and_then(Dim::as_const).unwrap_or(0);
        let (per_group, outputs) = (weight(spatial), weight(spatial + 1));
        if channels == 0 || per_group == 0 || outputs == 0 {
            return Err("a convolution over a symbolic or empty number of channels: fix it with --dim");
        }
        let (left, strides) = self.bordered(x, window, accumulator);
        let geometry = Geometry::new(window, &strides, self.graph.shape(anchor.outputs[0]));
        let (outer, rows, row_dims) = positions(&geometry, &self.graph.shape(x)[0], &strides[0]);
        let (taps, k) = sums(window, &geometry.taps, *groups, per_group);
        let window_elements: usize = window.size.iter().product();
        let summed = window_elements * per_group as usize;
        let columns = outputs / *groups as i64;
        let depthwise =
            *groups as i64 == channels && per_group == 1 && outputs == channels && window_elements <= UNROLLED_TAPS;
        let right = match self.regions.definition(self.graph, w).map(|n| &n.op) {
            Some(Op::Constant(constant)) => RightForm::Constant(self.stored(
                Constant {
                    constant: *constant,
                    batch: vec![(*groups, columns as usize)],
                    sum: vec![(summed, columns as usize * groups)],
                    columns: (columns as usize, 1),
                    stored: Stored::plain(accumulator),
                },
                usize::try_from(k).ok(),
                accumulator,
            )),
            _ if depthwise => RightForm::Written,
            _ => {
                let roles = AxisRoles::new(spatial + 2, vec![], (0..=spatial).collect());
                RightForm::Packed { value: w, roles, groups: *groups }
            }
        };
        Ok(Problem {
            name: "conv",
            batch: vec![Axis { size: Dim::from(*groups as i64), stride: Dim::from(per_group) }],
            outer,
            rows,
            columns: Dim::from(columns),
            taps,
            k: Dim::from(k),
            left,
            right,
            accumulator,
            anchor: anchor.outputs[0],
            root,
            index: ResultIndex::Window { rows: row_dims, columns: Dim::from(columns) },
            depthwise,
        })
    }

    /// The input as strided memory that includes the border; its offset is at the border's first element.
    fn bordered(&self, x: ValueId, window: &Window, acc: DType) -> (LeftForm, Vec<Dim>) {
        let border = border(window);
        let ty = self.graph.ty(x);
        let direct = ty.dtype == acc || ty.dtype.size() == 1;
        if direct && let Some(view) = self.view_of(x) {
            let contiguous =
                view.strides.last().is_some_and(|s| s.is_const(1)) || ty.shape.last().is_some_and(|d| d.is_const(1));
            let whole = of_all_channels(self.graph, self.regions, x);
            let have = self.layout.border(whole).filter(|_| view.base == whole);
            let covered = border.iter().enumerate().all(|(a, &(low, high))| {
                let had = have.map_or((0, 0), |have| have[a]);
                low <= had.0 && high <= had.1
            });
            if contiguous && covered {
                // A view knows no stride along a unit axis; the border around one has.
                let strides =
                    if view.base == whole { self.layout.memory_of(self.graph, whole).strides } else { view.strides };
                let lows = border.iter().zip(&strides);
                let offset = lows.fold(view.offset, |o, (&(low, _), s)| o - s * &Dim::from(low as i64));
                return (LeftForm::InPlace(View { base: view.base, offset, strides: strides.clone() }), strides);
            }
        }
        // A copy with the border around it.
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let border = Some(Border::around(&ty.shape, &border));
        let copied = Copied { value: x, order: (0..ty.rank()).collect(), border, dtype };
        let strides = copied.strides(&ty.shape);
        (LeftForm::Copied(copied), strides)
    }
}

/// Batch and spatial axes around the rows, the rows, and the axes of the result that they go over: the output axes that
/// one input stride walks, from the innermost outwards.
fn positions(geometry: &Geometry, batch: &Dim, batch_stride: &Dim) -> (Vec<Axis>, Axis, Vec<Dim>) {
    let Geometry { sizes, steps, .. } = geometry;
    let spatial = sizes.len();
    let mut rows = sizes[spatial - 1].clone();
    let row_stride = steps[spatial - 1].clone();
    let mut merged = 1;
    while merged < spatial {
        let axis = spatial - 1 - merged;
        if sizes[axis].is_const(1) || &row_stride * &rows == steps[axis] {
            rows = &rows * &sizes[axis];
            merged += 1;
        } else {
            break;
        }
    }
    let axis = |size: &Dim, stride: &Dim| Axis { size: size.clone(), stride: stride.clone() };
    let spatial_rows = sizes[..spatial - merged].iter().zip(steps).map(|(size, step)| axis(size, step));
    let outer = std::iter::once(axis(batch, batch_stride)).chain(spatial_rows).collect();
    (outer, axis(&rows, &row_stride), sizes[spatial - merged..].to_vec())
}

/// The sum: kernel axes as taps around the contiguous channels; the innermost joins them if it can.
fn sums(window: &Window, strides: &[Dim], groups: usize, per_group: i64) -> (Vec<Axis>, i64) {
    let mut k = per_group;
    let mut taps: Vec<(usize, &Dim)> = window.size.iter().copied().zip(strides).collect();
    while let Some((count, stride)) = taps.last() {
        let joins = groups == 1 && stride.is_const(k);
        if *count == 1 || joins {
            k *= *count as i64;
            taps.pop();
        } else {
            break;
        }
    }
    taps.retain(|t| t.0 > 1);
    let axis = |(count, stride): (usize, &Dim)| Axis { size: Dim::from(count as i64), stride: stride.clone() };
    (taps.into_iter().map(axis).collect(), k)
}
