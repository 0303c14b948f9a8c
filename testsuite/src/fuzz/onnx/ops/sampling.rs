//! Sampling at places computed, and putting elements back to where they came from. Places lie on fine grids, so that
//! every implementation finds the same neighbours.

use nnc_ir::{DType, Dim};

use super::windows::{Window, image};
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::Attr;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["GridSample"], 16, grid_sample),
    row(&["AffineGrid"], 20, affine_grid),
    row(&["DeformConv"], 19, deform_conv),
    row(&["Col2Im"], 18, col2im),
    row(&["MaxUnpool"], 11, max_unpool),
];

fn grid_sample(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (2, 2))?;
    if x.dims.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
    }
    let places = g.shape(2);
    let mut dims = vec![x.dims[0].clone()];
    dims.extend(places.iter().cloned());
    dims.push(Dim::from(2));
    let grid = g.fresh(DType::F32, dims, Range::exact(-1.25, 1.25, 3));
    let modes = if g.net.opset < 20 { ["bilinear", "nearest", "bicubic"] } else { ["linear", "nearest", "cubic"] };
    let mode = g.random.below(3);
    let padding = *g.random.of(&["zeros", "border", "reflection"]);
    let attributes = vec![
        ("mode", Attr::Text(modes[mode])),
        ("padding_mode", Attr::Text(padding)),
        ("align_corners", Attr::Int(g.random.below(2) as i64)),
    ];
    let mut dims = x.dims[..2].to_vec();
    dims.extend(places);
    let m = 2.0 * x.range.magnitude();
    let range = if mode == 1 { x.range.or_number(0.0) } else { Range::rounded(-m, m) };
    g.one(op, &[&x, &grid], attributes, x.dtype, dims, range)
}

fn affine_grid(g: &mut Gen, op: &str) -> Option<()> {
    let spatial = 2 + g.random.below(2);
    let n = g.random.within(1, 3);
    let theta = vec![Dim::from(n), Dim::from(spatial), Dim::from(spatial + 1)];
    let theta = g.fresh(DType::F32, theta, Range::rounded(-1.0, 1.0));
    let align = g.random.below(2) as i64;
    let mut size = vec![n, 2];
    // Both ends of an axis of one element are the same place, and nobody says which.
    size.extend((0..spatial).map(|_| g.random.within(1 + align, 5)));
    let mut dims: Vec<Dim> = vec![Dim::from(n)];
    dims.extend(size[2..].iter().map(|&d| Dim::from(d)));
    dims.push(Dim::from(spatial));
    let size = g.vector(&size);
    let attributes = vec![("align_corners", Attr::Int(align))];
    g.one(op, &[&theta, &size], attributes, DType::F32, dims, Range::rounded(-4.0, 4.0))
}

fn deform_conv(g: &mut Gen, op: &str) -> Option<()> {
    let (x, channels) = image(g, (2, 2))?;
    if x.dims.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    let mut window = Window::draw(g, 2, true);
    window.auto = None;
    let divisors: Vec<i64> = (1..=channels).filter(|d| channels % d == 0).collect();
    let (groups, parts) = (*g.random.of(&divisors), *g.random.of(&divisors));
    let out = groups * g.random.within(1, 2);
    let places = [window.result(g, 0, &x.dims[2])?, window.result(g, 1, &x.dims[3])?];
    let taps = window.size[0] * window.size[1];
    let over = |count: i64| vec![x.dims[0].clone(), Dim::from(count), places[0].clone(), places[1].clone()];
    if !g.small(&over(2 * taps * parts)) {
        return None;
    }
    let offset = g.fresh(DType::F32, over(2 * taps * parts), Range::exact(-1.5, 1.5, 2));
    let shape = [out as usize, (channels / groups) as usize, window.size[0] as usize, window.size[1] as usize];
    let range = g.range(DType::F32);
    let w = g.weight(DType::F32, &shape, range);
    let mut names = vec![x.name.clone(), w.name, offset.name];
    let masked = g.random.percent(40);
    let bias = g.weight(DType::F32, &[out as usize], Range::rounded(-1.0, 1.0));
    names.push(if g.random.percent(50) { bias.name } else { String::new() });
    if masked {
        names.push(g.fresh(DType::F32, over(taps * parts), Range::exact(0.0, 1.0, 3)).name);
    }
    let mut attributes = window.attributes();
    attributes.extend([("group", Attr::Int(groups)), ("offset_group", Attr::Int(parts))]);
    let terms = (taps * channels / groups) as f64;
    let range = x.range.times(w.range).or_number(0.0).sum(terms).plus(Range::exact(-1.0, 1.0, 0)).approximate();
    let mut dims = vec![x.dims[0].clone(), Dim::from(out)];
    dims.extend(places.iter().cloned());
    g.emit_named(op, names, attributes, vec![(DType::F32, dims, range)]).map(drop)
}

fn col2im(g: &mut Gen, op: &str) -> Option<()> {
    let mut window = Window::draw(g, 2, true);
    window.auto = None;
    let image: Vec<i64> = (0..2).map(|_| g.random.within(5, 9)).collect();
    let mut places = 1;
    for (axis, &size) in image.iter().enumerate() {
        places *= window.result(g, axis, &Dim::from(size))?.as_const()?;
    }
    let (channels, taps) = (g.random.within(1, 3), window.size[0] * window.size[1]);
    let batch = g.dim();
    let columns = vec![batch.clone(), Dim::from(channels * taps), Dim::from(places)];
    if !g.small(&columns) {
        return None;
    }
    let range = g.range(DType::F32);
    let x = g.fresh(DType::F32, columns, range);
    let dims = vec![batch, Dim::from(channels), Dim::from(image[0]), Dim::from(image[1])];
    let (image, block) = (g.vector(&image), g.vector(&window.size));
    let attributes = window.attributes().into_iter().filter(|(name, _)| *name != "kernel_shape").collect();
    g.one(op, &[&x, &image, &block], attributes, DType::F32, dims, x.range.sum(taps as f64))
}

/// After a pool by windows that do not overlap.
fn max_unpool(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (1, 2))?;
    x.range.bits?;
    let size: Vec<i64> = x.dims[2..].iter().map(|_| g.random.within(1, 3)).collect();
    let (mut pooled, mut back) = (x.dims[..2].to_vec(), x.dims[..2].to_vec());
    for (dim, &size) in x.dims[2..].iter().zip(&size) {
        g.at_least(dim, size)?;
        let count = (dim - size).floor_div(&Dim::from(size)) + 1;
        back.push(&count * size);
        pooled.push(count);
    }
    let attributes = vec![("kernel_shape", Attr::Ints(size.clone())), ("strides", Attr::Ints(size))];
    let index = (DType::I64, pooled.clone(), Range::exact(0.0, 1e6, 0));
    let found = g.emit("MaxPool", &[&x], attributes.clone(), vec![(x.dtype, pooled, x.range), index])?;
    let [values, indices] = found.as_slice() else { return None };
    // Indices count in the pool's operand: the result must be as large.
    if back != x.dims {
        return None;
    }
    g.one(op, &[values, indices], attributes, x.dtype, back, x.range.or_number(0.0))
}
