//! Boxes: their selection, and what lies in them. They lie on grids, so that nothing is decided by a rounding.

use nnc_ir::{DType, Dim};

use super::windows::image;
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::Attr;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[row(&["NonMaxSuppression"], 11, suppression), row(&["RoiAlign"], 16, roi_align)];

/// Boxes on a grid of integers: overlaps are ratios of small integers, and far from the threshold.
fn suppression(g: &mut Gen, op: &str) -> Option<()> {
    let (batch, n, classes) = (g.dim(), g.dim(), g.dim());
    let boxes = g.input(DType::F32, vec![batch.clone(), n.clone(), Dim::from(4)], Range::exact(0.0, 8.0, 0));
    let scores = g.input(DType::F32, vec![batch.clone(), classes.clone(), n.clone()], Range::exact(-4.0, 4.0, 3));
    let limit = *g.random.of(&[0, 1, 2, 5, 100]);
    let upper = g.size(&batch) * g.size(&classes) * g.size(&n).min(limit);
    let limit = g.scalar(DType::I64, limit as f64);
    let (iou, score) = (*g.random.of(&[0.381_966, 0.618_034]), *g.random.of(&[0.0, 1.0]));
    let iou = g.scalar(DType::F32, iou);
    let mut inputs = vec![&boxes, &scores, &limit, &iou];
    let score = g.scalar(DType::F32, score);
    if g.random.percent(60) {
        inputs.push(&score);
    }
    let count = g.unknown(upper);
    let attributes = vec![("center_point_box", Attr::Int(g.random.below(2) as i64))];
    g.one(op, &inputs, attributes, DType::I64, vec![count, Dim::from(3)], Range::exact(0.0, 5000.0, 0))
}

fn roi_align(g: &mut Gen, op: &str) -> Option<()> {
    let (x, channels) = image(g, (2, 2))?;
    if g.depends_on_data(&x.dims[0]) {
        return None;
    }
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
    }
    let count = g.dim();
    let rois = g.input(DType::F32, vec![count.clone(), Dim::from(4)], Range::exact(0.0, 8.0, 1));
    let images = g.indices(DType::I64, vec![count.clone()], &x.dims[0], false)?;
    let size = [*g.random.of(&[1, 2, 4]), *g.random.of(&[1, 2, 4])];
    let transform = *g.random.of(&["half_pixel", "output_half_pixel"]);
    let attributes = vec![
        ("coordinate_transformation_mode", Attr::Text(transform)),
        ("output_height", Attr::Int(size[0])),
        ("output_width", Attr::Int(size[1])),
        ("sampling_ratio", Attr::Int(*g.random.of(&[0, 1, 2]))),
        ("spatial_scale", Attr::Float(*g.random.of(&[0.5, 1.0]))),
    ];
    let dims = vec![count, Dim::from(channels), Dim::from(size[0]), Dim::from(size[1])];
    let range = x.range.or_number(0.0).approximate();
    g.one(op, &[&x, &rois, &images], attributes, x.dtype, dims, range)
}
