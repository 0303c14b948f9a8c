//! Operations that move elements: the result's element at a coordinate is an operand's element at another.

use super::{Element, Operand};
use crate::Dim;
use crate::op::{Op, PadMode};

pub(super) fn evaluate(op: &Op, operands: &[Operand], out: &Operand) -> Option<Vec<Element>> {
    match (op, operands) {
        (Op::Iota { dtype, axis, .. }, []) => Some(each(out, |index| {
            let i = index.get(*axis).copied().unwrap_or(0);
            if dtype.is_float() { Element::Float(i as f64) } else { Element::Int(Dim::from(i)) }
        })),
        (Op::Reshape { .. }, [x]) => Some(x.elements.to_vec()),
        (Op::Bitcast(to), [x]) if *to == x.dtype => Some(x.elements.to_vec()),
        (Op::Broadcast { axes, .. }, [x]) => Some(each(out, |index| {
            let from: Vec<usize> = axes
                .iter()
                .zip(&x.shape)
                .map(|(&axis, &size)| if size == 1 { 0 } else { index.get(axis).copied().unwrap_or(0) })
                .collect();
            x.at(&from)
        })),
        (Op::Transpose { perm }, [x]) => Some(each(out, |index| {
            let mut from = vec![0; x.rank()];
            for (&axis, &i) in perm.iter().zip(index) {
                if let Some(slot) = from.get_mut(axis) {
                    *slot = i;
                }
            }
            x.at(&from)
        })),
        (Op::Slice { starts, steps, .. }, [x]) => {
            let starts: Vec<i64> = starts.iter().map(Dim::as_const).collect::<Option<_>>()?;
            Some(each(out, |index| {
                let at = |axis: usize| {
                    let steps_taken = i64::try_from(*index.get(axis)?).ok()?.checked_mul(*steps.get(axis)?)?;
                    usize::try_from(starts.get(axis)?.checked_add(steps_taken)?).ok()
                };
                known((0..x.rank()).map(at).collect(), x)
            }))
        }
        (Op::Pad { low, mode: PadMode::Constant, .. }, [x, value]) => {
            let low: Vec<usize> = low.iter().map(|d| usize::try_from(d.as_const()?).ok()).collect::<Option<_>>()?;
            let border = value.at(&[]);
            Some(each(out, |index| {
                let from: Option<Vec<usize>> = index.iter().zip(&low).map(|(i, l)| i.checked_sub(*l)).collect();
                match from.filter(|from| from.iter().zip(&x.shape).all(|(i, size)| i < size)) {
                    Some(from) => x.at(&from),
                    None => border.clone(),
                }
            }))
        }
        (Op::Concat { axis }, parts) => Some(each(out, |index| {
            let mut index = index.to_vec();
            for part in parts {
                let size = part.shape.get(*axis).copied().unwrap_or(0);
                match index.get_mut(*axis) {
                    Some(i) if *i >= size => *i -= size,
                    _ => return part.at(&index),
                }
            }
            Element::Unknown
        })),
        (Op::Gather { axis, batch: 0 }, [x, index]) => Some(each(out, |at| {
            let inner = index.rank();
            let (Some(before), Some(middle), Some(after)) =
                (at.get(..*axis), at.get(*axis..axis + inner), at.get(axis + inner..))
            else {
                return Element::Unknown;
            };
            match constant_index(&index.at(middle)) {
                Some(i) => x.at(&[before, &[i], after].concat()),
                None => Element::Unknown,
            }
        })),
        (Op::GatherElements { axis }, [x, index]) => Some(each(out, |at| {
            let mut from = at.to_vec();
            match (constant_index(&index.at(at)), from.get_mut(*axis)) {
                (Some(i), Some(slot)) => {
                    *slot = i;
                    x.at(&from)
                }
                _ => Element::Unknown,
            }
        })),
        _ => None,
    }
}

fn known(from: Option<Vec<usize>>, x: &Operand) -> Element {
    from.map_or(Element::Unknown, |from| x.at(&from))
}

fn constant_index(element: &Element) -> Option<usize> {
    match element {
        Element::Int(dim) => usize::try_from(dim.as_const()?).ok(),
        _ => None,
    }
}

/// One element per coordinate of `out`, row-major.
fn each(out: &Operand, mut f: impl FnMut(&[usize]) -> Element) -> Vec<Element> {
    let mut index = vec![0usize; out.rank()];
    let mut elements = Vec::with_capacity(out.count());
    for _ in 0..out.count() {
        elements.push(f(&index));
        for (i, &size) in index.iter_mut().zip(&out.shape).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
    elements
}
