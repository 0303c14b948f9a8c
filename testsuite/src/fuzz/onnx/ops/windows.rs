//! Convolutions, pools and resizing.

use nnc_ir::{DType, Dim};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["Conv", "Conv", "Conv"], 11, conv),
    row(&["ConvTranspose"], 11, conv_transpose),
    row(&["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool"], 19, pool),
    row(&["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"], 1, global_pool),
    row(&["Resize", "Resize"], 13, resize),
    row(&["LRN"], 13, lrn),
];

/// An image `[n, c, spatial..]` of floats whose channels are a constant number.
pub(super) fn image(g: &mut Gen, spatial: (usize, usize)) -> Option<(Var, i64)> {
    image_of(g, DType::F32, spatial)
}

/// As [`image`], of a type.
pub(super) fn image_of(g: &mut Gen, dtype: DType, spatial: (usize, usize)) -> Option<(Var, i64)> {
    let fits = |v: &Var| {
        v.dtype == dtype
            && (2 + spatial.0..=2 + spatial.1).contains(&v.rank())
            && v.dims[1].as_const().is_some_and(|c| (1..=17).contains(&c))
            && v.range.magnitude() < 256.0
    };
    let x = match g.pick(fits).filter(|_| g.random.percent(80)) {
        Some(x) => x,
        None => {
            let rank = g.rank(spatial.0, spatial.1);
            let mut dims = vec![g.dim(), Dim::from(*g.random.of(&[1, 2, 3, 4, 6, 8, 16]))];
            for _ in 0..rank {
                let dim = g.dim();
                dims.push(if g.random.percent(50) { Dim::from(*g.random.of(&[5, 6, 7, 8, 9, 12])) } else { dim });
            }
            if !g.small(&dims) {
                return None;
            }
            let range = g.range(dtype);
            g.input(dtype, dims, range)
        }
    };
    let channels = x.dims[1].as_const()?;
    Some((x, channels))
}

/// The geometry of a window, drawn for a rank.
pub(super) struct Window {
    pub size: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
    pub auto: Option<&'static str>,
    ceil: bool,
}

impl Window {
    pub fn draw(g: &mut Gen, rank: usize, pads: bool) -> Window {
        let list = |g: &mut Gen, of: &[i64]| (0..rank).map(|_| *g.random.of(of)).collect::<Vec<i64>>();
        let size = list(g, &[1, 2, 3, 3, 3, 5]);
        let strides = list(g, &[1, 1, 1, 2, 3]);
        let dilations = if g.random.percent(20) { list(g, &[1, 2]) } else { vec![1; rank] };
        let auto = g.random.percent(15).then(|| *g.random.of(&["SAME_UPPER", "SAME_LOWER", "VALID"]));
        let mut both = vec![0; 2 * rank];
        if pads && auto.is_none() && g.random.percent(60) {
            for axis in 0..rank {
                let most = (size[axis] - 1) * dilations[axis];
                // Pads stay below the window, or some windows see nothing.
                let least = most.min(size[axis] - 1);
                (both[axis], both[axis + rank]) = (g.random.within(0, least), g.random.within(0, least));
            }
        }
        let dilations = if auto.is_some() { vec![1; rank] } else { dilations };
        Window { size, strides, dilations, pads: both, auto, ceil: false }
    }

    /// The size of an axis after the window.
    pub fn result(&self, g: &mut Gen, axis: usize, dim: &Dim) -> Option<Dim> {
        let span = (self.size[axis] - 1) * self.dilations[axis] + 1;
        match self.auto {
            Some("SAME_UPPER" | "SAME_LOWER") => {
                g.at_least(dim, 1)?;
                Some(dim.ceil_div(&Dim::from(self.strides[axis])))
            }
            _ => {
                let rank = self.size.len();
                let border = self.pads[axis] + self.pads[axis + rank];
                g.at_least(dim, (span - border).max(1))?;
                let steps = dim + (border - span);
                let stride = Dim::from(self.strides[axis]);
                if !self.ceil {
                    return Some(steps.floor_div(&stride) + 1);
                }
                // A last window that would begin in the border after the image is left out.
                let n = steps.as_const()?;
                let count = (n + self.strides[axis] - 1) / self.strides[axis] + 1;
                let begins = (count - 1) * self.strides[axis];
                Some(Dim::from(if begins >= dim.as_const()? + self.pads[axis] { count - 1 } else { count }))
            }
        }
    }

    pub fn attributes(&self) -> Vec<(&'static str, Attr)> {
        let mut list =
            vec![("kernel_shape", Attr::Ints(self.size.clone())), ("strides", Attr::Ints(self.strides.clone()))];
        match self.auto {
            Some(name) => list.push(("auto_pad", Attr::Text(name))),
            None => list.push(("pads", Attr::Ints(self.pads.clone()))),
        }
        if self.dilations.iter().any(|&d| d != 1) {
            list.push(("dilations", Attr::Ints(self.dilations.clone())));
        }
        list
    }
}

/// A grouped convolution of some image.
pub(super) struct Convolution {
    /// Shape of the result.
    pub dims: Vec<Dim>,
    /// Shape of the weights, the output channels first.
    pub weights: Vec<usize>,
    /// Window and groups.
    pub attributes: Vec<(&'static str, Attr)>,
}

impl Convolution {
    pub fn draw(g: &mut Gen, x: &Var, channels: i64) -> Option<Convolution> {
        let rank = x.rank() - 2;
        let window = Window::draw(g, rank, true);
        let divisors: Vec<i64> = (1..=channels).filter(|d| channels % d == 0).collect();
        let groups = if g.random.percent(60) { 1 } else { *g.random.of(&divisors) };
        let out = groups * *g.random.of(&[1, 1, 2, 3, 5]);
        let mut dims = vec![x.dims[0].clone(), Dim::from(out)];
        for axis in 0..rank {
            dims.push(window.result(g, axis, &x.dims[axis + 2])?);
        }
        let mut weights = vec![out as usize, (channels / groups) as usize];
        weights.extend(window.size.iter().map(|&s| s as usize));
        let mut attributes = window.attributes();
        attributes.push(("group", Attr::Int(groups)));
        Some(Convolution { dims, weights, attributes })
    }
}

fn conv(g: &mut Gen, op: &str) -> Option<()> {
    let (x, channels) = image(g, (1, 3))?;
    let Convolution { dims, weights, attributes } = Convolution::draw(g, &x, channels)?;
    let range = g.range(DType::F32);
    // Weights that are an input are as good as computed.
    let w = if g.random.percent(25) {
        g.input(DType::F32, weights.iter().map(|&n| Dim::from(n as i64)).collect(), range)
    } else {
        g.weight(DType::F32, &weights, range)
    };
    let taps: usize = weights[1..].iter().product();
    let mut result = x.range.times(w.range).or_number(0.0).sum(taps as f64);
    if g.random.percent(60) {
        let range = g.range(DType::F32);
        let b = g.weight(DType::F32, &weights[..1], range);
        result = result.plus(b.range);
        return g.one(op, &[&x, &w, &b], attributes, DType::F32, dims, result);
    }
    g.one(op, &[&x, &w], attributes, DType::F32, dims, result)
}

fn conv_transpose(g: &mut Gen, op: &str) -> Option<()> {
    let (x, channels) = image(g, (1, 2))?;
    let rank = x.rank() - 2;
    let mut window = Window::draw(g, rank, true);
    window.auto = None;
    let divisors: Vec<i64> = (1..=channels).filter(|d| channels % d == 0).collect();
    let groups = if g.random.percent(70) { 1 } else { *g.random.of(&divisors) };
    let out = *g.random.of(&[1, 2, 3]);
    let mut dims = vec![x.dims[0].clone(), Dim::from(out * groups)];
    let mut extra = vec![0; rank];
    for (axis, extra) in extra.iter_mut().enumerate() {
        if g.random.percent(30) {
            *extra = g.random.within(0, window.strides[axis].max(window.dilations[axis]) - 1);
        }
        let span = (window.size[axis] - 1) * window.dilations[axis] + 1;
        let border = window.pads[axis] + window.pads[axis + rank];
        let dim = &x.dims[axis + 2];
        g.at_least(dim, 1)?;
        let size = (dim - 1) * window.strides[axis] + (span - border + *extra);
        g.at_least(&size, 1)?;
        dims.push(size);
    }
    let mut shape = vec![channels as usize, out as usize];
    shape.extend(window.size.iter().map(|&s| s as usize));
    let range = g.range(DType::F32);
    let w = g.weight(DType::F32, &shape, range);
    let taps = shape.iter().product::<usize>() as f64;
    let result = x.range.times(w.range).or_number(0.0).sum(taps);
    let mut attributes = window.attributes();
    attributes.push(("group", Attr::Int(groups)));
    if extra.iter().any(|&e| e > 0) {
        attributes.push(("output_padding", Attr::Ints(extra)));
    }
    g.one(op, &[&x, &w], attributes, DType::F32, dims, result)
}

fn pool(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (1, 3))?;
    let rank = x.rank() - 2;
    let mut window = Window::draw(g, rank, true);
    let fixed = x.dims[2..].iter().all(|d| d.as_const().is_some());
    window.ceil = fixed && window.auto.is_none() && g.random.percent(30);
    if op == "LpPool" {
        window.dilations = vec![1; rank];
    }
    // ONNX Runtime takes the border of windows farther apart than they are wide as negative, and begins them after the
    // first element (its MaxPool fails); nnc begins them at the first, as TensorFlow does.
    let apart = (0..rank).any(|axis| window.strides[axis] > window.size[axis]);
    window.auto = window.auto.filter(|&auto| auto == "VALID" || !apart);
    let mut dims = x.dims[..2].to_vec();
    for axis in 0..rank {
        dims.push(window.result(g, axis, &x.dims[axis + 2])?);
    }
    let mut attributes = window.attributes();
    if window.ceil {
        attributes.push(("ceil_mode", Attr::Int(1)));
    }
    let taps = window.size.iter().product::<i64>() as f64;
    let range = match op {
        "MaxPool" => x.range,
        "LpPool" => Range::rounded(0.0, x.range.magnitude() * taps),
        _ => x.range.or_number(0.0).approximate(),
    };
    match op {
        "AveragePool" => attributes.push(("count_include_pad", Attr::Int(g.random.below(2) as i64))),
        "LpPool" => attributes.push(("p", Attr::Int(*g.random.of(&[1, 2])))),
        _ if x.range.bits.is_some() && g.random.percent(20) => {
            let index = (DType::I64, dims.clone(), Range::exact(0.0, 1e6, 0));
            return g.emit(op, &[&x], attributes, vec![(x.dtype, dims, range), index]).map(drop);
        }
        _ => {}
    }
    g.one(op, &[&x], attributes, x.dtype, dims, range)
}

fn global_pool(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (1, 3))?;
    let mut dims = x.dims[..2].to_vec();
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
        dims.push(Dim::ONE);
    }
    let range = match op {
        "GlobalMaxPool" => x.range,
        "GlobalLpPool" => Range::rounded(0.0, x.range.magnitude() * 5000.0),
        _ => x.range.approximate(),
    };
    g.one(op, &[&x], vec![], x.dtype, dims, range)
}

/// By integer factors or to fixed sizes, in the modes whose rounding is exact.
fn resize(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (2, 2))?;
    let mode = *g.random.of(&["nearest", "linear", "cubic"]);
    let transform = *g.random.of(&["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]);
    let mut attributes = vec![("mode", Attr::Text(mode)), ("coordinate_transformation_mode", Attr::Text(transform))];
    if mode == "nearest" {
        let rounding = *g.random.of(&["floor", "round_prefer_floor", "ceil", "round_prefer_ceil"]);
        attributes.push(("nearest_mode", Attr::Text(rounding)));
    }
    let range =
        if mode == "nearest" { x.range } else { Range::rounded(-2.0 * x.range.magnitude(), 2.0 * x.range.magnitude()) };
    for dim in &x.dims[2..] {
        g.at_least(dim, 1)?;
    }
    let mut dims = x.dims.clone();
    if g.random.percent(60) {
        let factors = [*g.random.of(&[1i64, 2, 3]), *g.random.of(&[1, 2, 4])];
        for (dim, factor) in dims[2..].iter_mut().zip(factors) {
            *dim = &*dim * factor;
        }
        let scales = nnc_ir::Tensor::from_slice(&[4], &[1.0, 1.0, factors[0] as f32, factors[1] as f32]);
        let scales = g.constant(scales);
        let names = vec![x.name.clone(), String::new(), scales.name];
        return g.emit_named(op, names, attributes, vec![(x.dtype, dims, range)]).map(drop);
    }
    let sizes = [g.random.within(1, 9), g.random.within(1, 9)];
    let mut all = vec![];
    for (i, dim) in dims.iter_mut().enumerate() {
        if i >= 2 {
            *dim = Dim::from(sizes[i - 2]);
        }
        all.push(dim.as_const()?);
    }
    let sizes = g.vector(&all);
    let names = vec![x.name.clone(), String::new(), String::new(), sizes.name];
    g.emit_named(op, names, attributes, vec![(x.dtype, dims, range)]).map(drop)
}

fn lrn(g: &mut Gen, op: &str) -> Option<()> {
    let (x, _) = image(g, (2, 2))?;
    let size = *g.random.of(&[1, 3, 5]);
    let attributes = vec![("size", Attr::Int(size)), ("alpha", Attr::Float(0.01)), ("bias", Attr::Float(1.5))];
    g.one(op, &[&x], attributes, x.dtype, x.dims.clone(), x.range.or_number(0.0).approximate())
}
