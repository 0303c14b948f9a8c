//! Whether groups of items touch different elements of memory, by the form of the indices.
//!
//! Each index is written as `stride * group + rest`, definitions put in. Groups touch different elements of a buffer where
//! all its indices have the same stride and every rest is known to be at least 0 and less than the stride.
//!
//! Invariants: what is not understood is not partitioned.

use super::launch::Launch;
use nnc_ir::Dim;
use nnc_ir::dim::DimOp;
use nnc_ir::op::BinaryOp;
use nnc_kernels::Contraction;
use nnc_kernels::affine;
use nnc_kernels::contraction::RightLayout;
use nnc_kernels::index::{Factor, Polynomial, Ranges};
use nnc_kernels::kernel::{Access, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var, VarInfo};
use nnc_kernels::plan::{Argument, BufferId};
use rustc_hash::FxHashMap;

/// Whether each part of `bodies`, which is what the launch does for one of `outer` groups, touches of what another part
/// writes only elements that no other group touches.
pub(super) fn by_group(launch: &Launch, bodies: &[Vec<Stmt>], outer: &Index) -> bool {
    let (kernel, _) = launch.parts();
    let mut reader = Reader {
        kernel,
        group: launch.item(),
        known: Known::new(kernel),
        meaning: FxHashMap::default(),
        inner: None,
        part: 0,
        touches: vec![],
        understood: true,
    };
    let group = reader.fresh(outer);
    for (part, body) in bodies.iter().enumerate() {
        reader.part = part;
        reader.inner = None;
        reader.meaning.insert(reader.group, group.clone());
        reader.block(body);
    }
    let Some(group) = group.as_var() else { return false };
    reader.understood && shared(launch, &reader.touches).all(|touches| apart(&touches, launch, group, &reader.known))
}

/// One index of a buffer.
#[derive(Clone)]
struct Touch {
    part: usize,
    buffer: BufferRef,
    write: bool,
    element: Index,
}

/// The touches of each buffer that one part writes and another touches, with what was handed over.
fn shared<'a>(launch: &'a Launch, touches: &'a [Touch]) -> impl Iterator<Item = Vec<(&'a Argument, &'a Touch)>> {
    let arguments: FxHashMap<BufferRef, &Argument> = launch.arguments().collect();
    let mut by_buffer: FxHashMap<BufferId, Vec<(&Argument, &Touch)>> = FxHashMap::default();
    for touch in touches {
        // Scratch memory is each group's own.
        if let Some(argument) = arguments.get(&touch.buffer) {
            by_buffer.entry(argument.buffer).or_default().push((argument, touch));
        }
    }
    by_buffer.into_values().filter(|touches| {
        let first = touches[0].1.part;
        touches.iter().any(|(_, touch)| touch.write) && touches.iter().any(|(_, touch)| touch.part != first)
    })
}

/// Whether groups touch different elements.
fn apart(touches: &[(&Argument, &Touch)], launch: &Launch, group: Var, known: &Known) -> bool {
    let (kernel, params) = launch.parts();
    let offset = |argument: &Argument| {
        let of = |symbol| {
            let place = params.iter().position(|dim| *dim == Dim::sym(symbol));
            place.map_or(Index::OVERFLOW, |place| kernel.params[place].index())
        };
        Index::import(&argument.offset, &of)
    };
    let mut stride: Option<Index> = None;
    // All from the first element that one of them begins at.
    let Some(first) = touches.first().map(|(argument, _)| offset(argument)) else { return true };
    touches.iter().all(|(argument, touch)| {
        let element = (&touch.element + &offset(argument) - &first).simplify(&known.ranges);
        let Some((own, rest)) = affine::split(&element, group) else { return false };
        let same = stride.get_or_insert_with(|| own.clone());
        *same == own
            && rest.provably_ge(&Index::ZERO, &known.ranges)
            && known.is_positive(own - rest, MOST_STEPS).is_some()
    })
}

/// Most variables that are eliminated in a proof, all attempts together.
const MOST_STEPS: u32 = 64;

/// What is known of variables.
struct Known {
    ranges: Ranges,
    /// Upper bounds in terms of variables before, by variable; all of them hold.
    uppers: Vec<Vec<Index>>,
}

impl Known {
    /// What a kernel declares.
    fn new(kernel: &Kernel) -> Known {
        let upper = |(var, info): (usize, &VarInfo)| match info.max < i64::from(i32::MAX) {
            true if !kernel.params.contains(&Var(var as u32)) => vec![Index::from(info.max)],
            _ => vec![],
        };
        Known { ranges: Ranges::new(kernel), uppers: kernel.vars.iter().enumerate().map(upper).collect() }
    }

    /// A variable that is at least 0 and less than `extent`.
    fn add(&mut self, extent: &Index) -> Index {
        let mut uppers = vec![];
        least_of(extent, &mut uppers);
        uppers.iter_mut().for_each(|upper| *upper = &*upper - 1);
        let high = (extent - 1).bounds(&self.ranges).1.max(0);
        self.ranges.add("v", 0, high, Some(extent - 1));
        self.uppers.push(uppers);
        Var(self.uppers.len() as u32 - 1).index()
    }

    /// Whether an index is at least 1, found by putting the bound that makes it least for one variable after the other,
    /// the last first. Yields the steps that are left; `None` where it is not known.
    fn is_positive(&self, index: Index, steps: u32) -> Option<u32> {
        if index.provably_ge(&Index::ONE, &self.ranges) {
            return Some(steps);
        }
        let mut steps = steps.checked_sub(1)?;
        let var = index.vars().into_iter().rev().find(|var| !self.uppers[var.0 as usize].is_empty())?;
        let (times, rest) = affine::split(&index, var)?;
        if times.provably_ge(&Index::ZERO, &self.ranges) {
            return self.is_positive(rest, steps);
        }
        if !Index::ZERO.provably_ge(&times, &self.ranges) {
            return None;
        }
        for upper in &self.uppers[var.0 as usize] {
            let least = (&times * upper + &rest).simplify(&self.ranges);
            match self.is_positive(least, steps) {
                Some(left) => return Some(left),
                None => steps = steps.checked_sub(1)?,
            }
        }
        None
    }
}

/// The indices of which an index is the least.
fn least_of(index: &Index, all: &mut Vec<Index>) {
    let view = index.view();
    match (&view.terms[..], view.constant) {
        ([(1, factors)], 0) if let [Factor::Op(DimOp::Min, operands)] = &factors[..] => {
            operands.iter().for_each(|x| least_of(x, all));
        }
        _ => all.push(index.clone()),
    }
}

/// Collects touches, every variable in terms of the group and of variables with known ranges.
struct Reader<'a> {
    kernel: &'a Kernel,
    group: Var,
    known: Known,
    meaning: FxHashMap<Var, Index>,
    /// The number of an item in its group, and how many items a group has.
    inner: Option<(Var, Index)>,
    part: usize,
    touches: Vec<Touch>,
    understood: bool,
}

impl Reader<'_> {
    /// A variable below `extent`.
    fn fresh(&mut self, extent: &Index) -> Index {
        let extent = self.resolve(extent);
        self.known.add(&extent)
    }

    fn resolve(&self, index: &Index) -> Index {
        index.substitute(&|v| self.meaning.get(&v).cloned()).simplify(&self.known.ranges)
    }

    /// What a quotient of an item's number is, as far as the group decides it: `floor((size * x + k) / d)`, where `k` is
    /// less than the `size` of a group, is `floor(x / (d / size))` or `x * (size / d) + floor(k / d)`.
    fn quotient(&self, index: &Index) -> Option<Index> {
        let view = index.view();
        let ([(1, factors)], 0) = (&view.terms[..], view.constant) else { return None };
        let [Factor::Op(DimOp::FloorDiv, operands)] = &factors[..] else { return None };
        let [number, divisor] = &operands[..] else { return None };
        let (k, size) = self.inner.as_ref()?;
        let (number, divisor) = (self.resolve(number), self.resolve(divisor));
        let (times, whole) = affine::split(&number, *k)?;
        let x = if times.is_const(1) { whole.div_exact(size)? } else { return None };
        match divisor.div_exact(size) {
            Some(groups) => Some(x.floor_div(&groups).simplify(&self.known.ranges)),
            None => Some(x * &size.div_exact(&divisor)? + k.index().floor_div(&divisor)),
        }
    }

    fn touch(&mut self, buffer: BufferRef, write: bool, index: &Index) {
        let element = self.resolve(index);
        self.touches.push(Touch { part: self.part, buffer, write, element });
    }

    fn enter(&mut self, l: &Loop) {
        let var = self.fresh(&l.extent);
        // The first loop of a part is that over the items of a group.
        if let (None, Some(k)) = (&self.inner, var.as_var()) {
            self.inner = Some((k, self.resolve(&l.extent)));
        }
        self.meaning.insert(l.var, var);
    }

    fn block(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match statement {
                Stmt::Let(var, Expr::Index(index)) => {
                    let meaning = self.quotient(index).unwrap_or_else(|| self.resolve(index));
                    let group = self.meaning.get(&self.group).and_then(Index::as_var);
                    // Others are known by their ranges.
                    if group.is_some_and(|group| meaning.mentions(group)) {
                        self.meaning.insert(*var, meaning);
                    }
                }
                Stmt::Let(_, x) => self.expression(x),
                Stmt::For(l, body) => {
                    self.enter(l);
                    self.block(body);
                }
                Stmt::Reduce(l, body, accumulators) => {
                    self.enter(l);
                    self.block(body);
                    accumulators.iter().flat_map(|a| [&a.init, &a.value]).for_each(|x| self.expression(x));
                }
                Stmt::Store(buffer, index, x) => {
                    self.expression(x);
                    self.touch(*buffer, true, index);
                }
                Stmt::If(condition, then, otherwise) => {
                    self.expression(condition);
                    self.branches(condition, then, otherwise);
                }
                Stmt::Contract(c) => self.contraction(c),
                Stmt::Fail(_) => {}
                Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::While(..) => self.understood = false,
            }
        }
    }

    /// Both sides of a condition, which may bound a variable: the last block of a product is a case of its own.
    fn branches(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt]) {
        let bounded = match condition {
            Expr::Binary(BinaryOp::Lt, x, y) => match (&**x, &**y) {
                (Expr::Index(x), Expr::Index(y)) => x.as_var().zip(y.as_const()),
                _ => None,
            },
            _ => None,
        };
        let Some((var, bound)) = bounded else {
            self.block(then);
            return self.block(otherwise);
        };
        let before = self.meaning.get(&var).cloned();
        // What is known in terms of the group already is not known better by its range.
        if before.is_none() {
            let below = self.fresh(&Index::from(bound));
            self.meaning.insert(var, below);
        }
        self.block(then);
        if before.is_none() {
            self.meaning.remove(&var);
            if self.kernel.vars[var.0 as usize].max == bound {
                self.meaning.insert(var, Index::from(bound));
            }
        }
        self.block(otherwise);
        match before {
            Some(before) => self.meaning.insert(var, before),
            None => self.meaning.remove(&var),
        };
    }

    fn expression(&mut self, x: &Expr) {
        if let Expr::Load(buffer, index) | Expr::LoadIf { buffer, index, .. } = x {
            self.touch(*buffer, self.kernel.buffers[buffer.0 as usize].access == Access::Write, index);
        }
        x.operands().for_each(|operand| self.expression(operand));
    }

    fn contraction(&mut self, c: &Contraction) {
        let (row, k) = (self.fresh(&c.extents.m), self.fresh(&c.extents.k));
        let mut left = self.resolve(&c.left.offset) + &row * &self.resolve(&c.left.row_stride) + &k;
        let mut taps = Index::ONE;
        for tap in &c.taps {
            taps = &taps * tap.count as i64;
            left = left + &self.fresh(&Index::from(tap.count as i64)) * &self.resolve(&tap.stride);
        }
        self.touch(c.left.buffer, false, &left);
        let right = match &c.right.layout {
            RightLayout::Panel => self.fresh(&(&(&taps * &c.extents.k) * c.tile.width as i64)),
            RightLayout::Nibbles => {
                self.fresh(&(&(&taps * &c.extents.k).floor_div(&Index::from(2)) * c.tile.width as i64))
            }
            RightLayout::Rows { row_stride } => &k * &self.resolve(row_stride) + self.fresh(&c.extents.n),
        };
        let right = self.resolve(&c.right.offset) + right;
        self.touch(c.right.buffer, false, &right);
        if let Some(grid) = &c.right.grid {
            let rows = if grid.per_tap { taps } else { Index::ONE };
            let row = self.fresh(&(&rows * grid.row_elements(c.tile.width) as i64));
            self.touch(grid.buffer, false, &(self.resolve(&grid.offset) + row));
        }
        let column = self.fresh(&c.extents.n);
        self.meaning.insert(c.epilogue.row, row);
        self.meaning.insert(c.epilogue.column, column);
        self.block(&c.epilogue.body);
    }
}
