//! Sliding windows of convolutions and pools: their attributes, borders, and the layout they are computed in.
//!
//! ONNX has channels before the spatial axes, the core ops after them; [`Context::channels_last`] and
//! [`Context::channels_first`] go from one to the other. Borders are expressions over the model's dimensions here: those
//! that are constant and not negative become part of the core op's window, others are sliced off or padded before.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{PadMode, Window};
use nnc_ir::{Dim, ValueId};

/// How the border is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoPad {
    /// By attribute `pads`.
    Explicit,
    /// As many windows as strides fit; an odd border is larger at the end.
    SameUpper,
    /// The same, larger at the start.
    SameLower,
    /// No border.
    Valid,
}

/// The attributes of a windowed operator, one entry per spatial axis.
#[derive(Clone, Debug)]
pub(crate) struct WindowAttributes {
    pub size: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub auto_pad: AutoPad,
    /// Attribute `pads`: before, after.
    pub pads: Vec<(i64, i64)>,
}

/// The border of one axis; negative amounts cut.
#[derive(Clone, Debug)]
pub(crate) struct Border {
    pub low: Dim,
    pub high: Dim,
    /// What is known of the sign of `high` besides what its expression tells.
    pub sign: Sign,
}

/// What is known of the sign of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Unknown,
    NotNegative,
    NotPositive,
}

impl Border {
    /// A border of which nothing more is known.
    pub fn new(low: Dim, high: Dim) -> Border {
        Border { low, high, sign: Sign::Unknown }
    }
}

impl WindowAttributes {
    /// Reads the attributes; `size` is that of the kernel where the operator has weights.
    pub fn read(ctx: &mut Context, rank: usize, size: Option<Vec<usize>>) -> Result<WindowAttributes> {
        let Some(spatial) = rank.checked_sub(2).filter(|&n| n > 0) else {
            return Err(invalid(format!("the input has rank {rank}, it must have a batch, channels and spatial axes")));
        };
        let stated = positive(ctx, "kernel_shape", spatial)?;
        let size = match (size, stated) {
            (Some(size), Some(stated)) if size != stated => {
                return Err(invalid(format!("kernel_shape is {stated:?}, the weights have {size:?}")));
            }
            (Some(size), _) | (None, Some(size)) => size,
            (None, None) => return Err(invalid("attribute `kernel_shape` is missing")),
        };
        if size.len() != spatial || size.contains(&0) {
            return Err(invalid(format!("the kernel {size:?} does not fit {spatial} spatial axes")));
        }
        let strides = positive(ctx, "strides", spatial)?.unwrap_or_else(|| vec![1; spatial]);
        let dilations = positive(ctx, "dilations", spatial)?.unwrap_or_else(|| vec![1; spatial]);
        let auto_pad = match ctx.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => {
                return Err(invalid(format!("auto_pad `{other}` is not one of NOTSET, SAME_UPPER, SAME_LOWER, VALID")));
            }
        };
        let pads = match ctx.ints("pads")? {
            None | Some([]) => vec![(0, 0); spatial],
            Some(pads) => pairs(pads, spatial)?,
        };
        Ok(WindowAttributes { size, strides, dilations, auto_pad, pads })
    }

    /// Number of elements from a window's first to its last, along one axis.
    pub fn reach(&self, axis: usize) -> Dim {
        (Dim::from(self.size[axis]) - 1) * Dim::from(self.dilations[axis]) + 1
    }

    /// The border of each axis of an input with these spatial sizes, rounding the number of windows down.
    pub fn borders(&self, ctx: &Context, sizes: &[Dim]) -> Vec<Border> {
        let border = |(axis, size): (usize, &Dim)| match self.auto_pad {
            AutoPad::Explicit => Border::new(Dim::from(self.pads[axis].0), Dim::from(self.pads[axis].1)),
            AutoPad::Valid => Border::new(Dim::ZERO, Dim::ZERO),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let stride = Dim::from(self.strides[axis]);
                // From the last window's end to the input's; for stride 1 the size cancels.
                let total = (size.ceil_div(&stride) - 1) * &stride + self.reach(axis) - size;
                let sign = self.sign_without_border(axis);
                if sign == Sign::NotPositive {
                    return Border { low: Dim::ZERO, high: total, sign };
                }
                let total = if sign == Sign::NotNegative { total } else { Dim::max(&total, &Dim::ZERO) };
                let total = total.simplify(ctx.dims());
                let half = total.floor_div(&Dim::from(2));
                let rest = &total - &half;
                let (low, high) = if self.auto_pad == AutoPad::SameUpper { (half, rest) } else { (rest, half) };
                Border { low, high, sign: Sign::NotNegative }
            }
        };
        sizes.iter().enumerate().map(border).collect()
    }

    /// Where the last of `ceil(n / stride)` windows over n elements ends, relative to the end of the elements. It starts
    /// among them, less than a stride before their end.
    fn sign_without_border(&self, axis: usize) -> Sign {
        let reach = self.reach(axis);
        if reach.is_const(1) {
            Sign::NotPositive
        } else if reach.as_const().is_some_and(|r| r >= self.strides[axis] as i64) {
            Sign::NotNegative
        } else {
            Sign::Unknown
        }
    }

    /// The borders with which the number of windows is rounded up; one that would start behind the input and the
    /// border before it is left out.
    pub fn borders_rounding_up(&self, ctx: &Context, sizes: &[Dim]) -> Vec<Border> {
        let mut borders = self.borders(ctx, sizes);
        for (axis, border) in borders.iter_mut().enumerate() {
            let (size, stride, reach) = (&sizes[axis], Dim::from(self.strides[axis]), self.reach(axis));
            // ceil((size + borders - reach) / stride) + 1 windows, or ceil((size + low) / stride) if that is less.
            let more = (&border.high - &reach + &stride).simplify(ctx.dims());
            let before = size + &border.low;
            let (windows, sign) = match more.as_const() {
                Some(more) if more <= 0 => (&before + more, Sign::NotNegative),
                Some(_) => (before.clone(), self.sign_without_border(axis)),
                None => (&before + Dim::min(&more, &Dim::ZERO), Sign::Unknown),
            };
            let count = windows.ceil_div(&stride);
            let sign = if border.high.as_const().is_some_and(|n| n < 0) { Sign::Unknown } else { sign };
            *border = Border { low: border.low.clone(), high: (count - 1) * &stride + &reach - before, sign };
        }
        borders
    }

    /// The core op's window without a border.
    pub fn window(&self) -> Window {
        let none = vec![0; self.size.len()];
        Window {
            size: self.size.clone(),
            strides: self.strides.clone(),
            dilations: self.dilations.clone(),
            pad_low: none.clone(),
            pad_high: none,
        }
    }
}

/// Borders before and after each axis, given as all those before and then all after.
pub(crate) fn pairs(pads: &[i64], spatial: usize) -> Result<Vec<(i64, i64)>> {
    if pads.len() != 2 * spatial {
        return Err(invalid(format!("{} pads for {spatial} spatial axes", pads.len())));
    }
    Ok((0..spatial).map(|i| (pads[i], pads[spatial + i])).collect())
}

/// A list attribute of positive numbers, one per spatial axis.
/// A list attribute of positive numbers, one per spatial axis.
fn positive(ctx: &mut Context, name: &str, spatial: usize) -> Result<Option<Vec<usize>>> {
    let values = match ctx.ints(name)? {
        None | Some([]) => return Ok(None),
        Some(values) => values,
    };
    let sizes: Option<Vec<usize>> =
        values.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v > 0 && v <= 1 << 31)).collect();
    match sizes {
        Some(sizes) if sizes.len() == spatial => Ok(Some(sizes)),
        _ => Err(invalid(format!("`{name}` is {values:?}, it must be {spatial} positive numbers"))),
    }
}

/// Where the channels of an operator's tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    /// `[N, C, spatial..]`
    First,
    /// `[N, spatial.., C]`
    Last,
}

impl Channels {
    /// As the attribute `channels_last` says.
    pub fn stated(ctx: &mut Context, default: Channels) -> Result<Channels> {
        let last = ctx.flag("channels_last", default == Channels::Last)?;
        Ok(if last { Channels::Last } else { Channels::First })
    }

    /// An operand with its channels last.
    pub fn to_last(self, ctx: &mut Context, x: ValueId) -> Result<ValueId> {
        if self == Channels::Last { Ok(x) } else { ctx.channels_last(x) }
    }

    /// A result that has its channels last.
    pub fn restored(self, ctx: &mut Context, y: ValueId) -> Result<ValueId> {
        if self == Channels::Last { Ok(y) } else { ctx.channels_first(y) }
    }
}

impl Context<'_, '_> {
    /// `[N, C, spatial..]` as `[N, spatial.., C]`.
    pub(crate) fn channels_last(&mut self, x: ValueId) -> Result<ValueId> {
        let last = self.rank(x).saturating_sub(1);
        self.move_axis(x, 1, last)
    }

    /// `[N, spatial.., C]` as `[N, C, spatial..]`.
    pub(crate) fn channels_first(&mut self, x: ValueId) -> Result<ValueId> {
        let last = self.rank(x).saturating_sub(1);
        self.move_axis(x, last, 1)
    }

    /// Applies borders to a channels-last value: constant ones go into the window where `implicit`, others are made of
    /// `value`, negative ones are cut off.
    pub(crate) fn with_borders(
        &mut self,
        mut x: ValueId,
        borders: &[Border],
        window: &mut Window,
        implicit: bool,
        value: f64,
    ) -> Result<ValueId> {
        let rank = self.rank(x);
        let (mut low, mut high) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
        for (i, border) in borders.iter().enumerate() {
            let axis = i + 1;
            let table = self.dims();
            let part = |amount: &Dim| Dim::max(amount, &Dim::ZERO).simplify(table);
            let (cut_low, add_low) = match border.sign {
                // Only a constant border before can be negative.
                Sign::Unknown => (part(&-&border.low), part(&border.low)),
                _ if border.low.as_const().is_some() => (part(&-&border.low), part(&border.low)),
                _ => (Dim::ZERO, border.low.clone()),
            };
            let (cut_high, add_high) = match border.sign {
                Sign::Unknown => (part(&-&border.high), part(&border.high)),
                Sign::NotNegative => (Dim::ZERO, border.high.clone()),
                Sign::NotPositive => (-&border.high, Dim::ZERO),
            };
            let kept = (self.dim(x, axis) - &cut_low - cut_high).simplify(self.dims());
            if kept.as_const().is_some_and(|n| n < 0) {
                return Err(invalid(format!("the negative border of spatial axis {i} is larger than the input")));
            }
            x = self.slice_axis(x, axis, cut_low, kept)?;
            let fixed = |d: &Dim| d.as_const().and_then(|n| usize::try_from(n).ok());
            match (fixed(&add_low), fixed(&add_high)) {
                (Some(before), Some(after)) if implicit => (window.pad_low[i], window.pad_high[i]) = (before, after),
                _ => (low[axis], high[axis]) = (add_low, add_high),
            }
        }
        self.pad(x, low, high, PadMode::Constant, value)
    }
}
