//! Whether groups of items touch different elements of memory, by the form of the indices.
//!
//! Each index is written as `stride * group + rest`, definitions put in. Groups touch different elements of a buffer where
//! all its indices have the same stride and every rest is known to be at least 0 and less than the stride.
//!
//! Invariants: what is not understood is not partitioned.

use super::launch::Launch;
use nnc_ir::Dim;
use nnc_ir::op::BinaryOp;
use nnc_kernels::Contraction;
use nnc_kernels::affine;
use nnc_kernels::contraction::RightLayout;
use nnc_kernels::index::Ranges;
use nnc_kernels::kernel::{Access, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var};
use nnc_kernels::plan::{Argument, BufferId};
use rustc_hash::FxHashMap;

/// Whether each part of `bodies`, which is what the launch does for one of `outer` groups, touches of what another part
/// writes only elements that no other group touches.
pub(super) fn by_group(launch: &Launch, bodies: &[Vec<Stmt>], outer: &Index) -> bool {
    let (kernel, arguments, params) = launch.parts();
    let mut reader = Reader {
        kernel,
        group: launch.item(),
        ranges: Ranges::new(kernel),
        vars: kernel.vars.len() as u32,
        meaning: FxHashMap::default(),
        part: 0,
        touches: vec![],
        understood: true,
    };
    let group = reader.fresh(outer);
    for (part, body) in bodies.iter().enumerate() {
        reader.part = part;
        reader.meaning.insert(reader.group, group.clone());
        reader.block(body);
    }
    let Some(group) = group.as_var() else { return false };
    reader.understood
        && shared(kernel, arguments, &reader.touches)
            .all(|touches| apart(&touches, (arguments, kernel), params, (group, &reader.ranges)))
}

/// One index of a buffer.
#[derive(Clone)]
struct Touch {
    part: usize,
    buffer: BufferRef,
    write: bool,
    element: Index,
}

/// The touches of each buffer that one part writes and another touches.
fn shared<'a>(
    kernel: &'a Kernel,
    arguments: &'a [Argument],
    touches: &'a [Touch],
) -> impl Iterator<Item = Vec<(usize, &'a Touch)>> {
    let mut by_buffer: FxHashMap<BufferId, Vec<(usize, &Touch)>> = FxHashMap::default();
    for touch in touches {
        if let Some(place) = argument_of(kernel, touch.buffer) {
            by_buffer.entry(arguments[place].buffer).or_default().push((place, touch));
        }
    }
    by_buffer.into_values().filter(|touches| {
        let first = touches[0].1.part;
        touches.iter().any(|(_, touch)| touch.write) && touches.iter().any(|(_, touch)| touch.part != first)
    })
}

/// The number of the argument that a buffer is; `None` of scratch memory.
fn argument_of(kernel: &Kernel, buffer: BufferRef) -> Option<usize> {
    let is_argument = |at: usize| !matches!(kernel.buffers[at].access, Access::Scratch { .. });
    let place = buffer.0 as usize;
    is_argument(place).then(|| (0..place).filter(|&at| is_argument(at)).count())
}

/// Whether groups touch different elements.
fn apart(
    touches: &[(usize, &Touch)],
    (arguments, kernel): (&[Argument], &Kernel),
    params: &[Dim],
    (group, ranges): (Var, &Ranges),
) -> bool {
    let offset = |place: usize| {
        let of = |symbol| {
            let place = params.iter().position(|dim| *dim == Dim::sym(symbol));
            place.map_or(Index::OVERFLOW, |place| kernel.params[place].index())
        };
        Index::import(&arguments[place].offset, &of)
    };
    let mut stride: Option<Index> = None;
    touches.iter().all(|(place, touch)| {
        let element = (&touch.element + &offset(*place)).simplify(ranges);
        let Some((own, rest)) = affine::split(&element, group) else { return false };
        let same = stride.get_or_insert_with(|| own.clone());
        *same == own && rest.provably_ge(&Index::ZERO, ranges) && own.provably_ge(&(rest + 1), ranges)
    })
}

/// Collects touches, every variable in terms of the group and of variables with known ranges.
struct Reader<'a> {
    kernel: &'a Kernel,
    group: Var,
    ranges: Ranges,
    /// Variables in `ranges`: those of the kernel, then fresh ones.
    vars: u32,
    meaning: FxHashMap<Var, Index>,
    part: usize,
    touches: Vec<Touch>,
    understood: bool,
}

impl Reader<'_> {
    /// A variable below `extent`.
    fn fresh(&mut self, extent: &Index) -> Index {
        let upper = self.resolve(extent) - 1;
        let high = upper.bounds(&self.ranges).1.max(0);
        self.ranges.add("v", 0, high, Some(upper));
        self.vars += 1;
        Var(self.vars - 1).index()
    }

    fn resolve(&self, index: &Index) -> Index {
        index.substitute(&|v| self.meaning.get(&v).cloned()).simplify(&self.ranges)
    }

    fn touch(&mut self, buffer: BufferRef, write: bool, index: &Index) {
        let element = self.resolve(index);
        self.touches.push(Touch { part: self.part, buffer, write, element });
    }

    fn enter(&mut self, l: &Loop) {
        let var = self.fresh(&l.extent);
        self.meaning.insert(l.var, var);
    }

    fn block(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match statement {
                Stmt::Let(var, Expr::Index(index)) => {
                    let meaning = self.resolve(index);
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
            RightLayout::Rows { row_stride } => &k * &self.resolve(row_stride) + self.fresh(&c.extents.n),
        };
        let right = self.resolve(&c.right.offset) + right;
        self.touch(c.right.buffer, false, &right);
        let column = self.fresh(&c.extents.n);
        self.meaning.insert(c.epilogue.row, row);
        self.meaning.insert(c.epilogue.column, column);
        self.block(&c.epilogue.body);
    }
}
