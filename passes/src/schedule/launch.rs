//! One kernel made of several, and the step that runs it.

use super::{copy_var, mentions_as_value, rename, renamed, substitute};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim};
use nnc_kernels::index::Ranges;
use nnc_kernels::kernel::{Access, AxisKind, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var};
use nnc_kernels::plan::Argument;
use nnc_kernels::walk::{Mention, walk};
use rustc_hash::FxHashMap;

/// A part in the names of the new kernel.
pub(super) struct Body {
    /// The variable of its parallel loop, not defined yet.
    item: Var,
    pub(super) extent: Index,
    statements: Vec<Stmt>,
}

/// A kernel, and what the step that runs it hands over.
pub(super) struct Made {
    pub kernel: Kernel,
    pub arguments: Vec<Argument>,
    pub params: Vec<Dim>,
    pub extent: Dim,
}

/// A kernel of several parts, while it is made.
pub(super) struct Launch {
    kernel: Kernel,
    arguments: Vec<Argument>,
    params: Vec<Dim>,
    /// Parts by their number of items.
    items: Vec<(Index, Vec<Stmt>)>,
}

impl Launch {
    /// A launch without parts.
    pub(super) fn new() -> Launch {
        Launch { kernel: Kernel::new(""), arguments: vec![], params: vec![], items: vec![] }
    }

    /// Takes a kernel's body over, with the arguments and parameters it is run with.
    pub(super) fn graft(&mut self, part: &Kernel, arguments: &[Argument], params: &[Dim]) -> Body {
        let mut vars: FxHashMap<Var, Var> = FxHashMap::default();
        for (&var, dim) in part.params.iter().zip(params) {
            vars.insert(var, self.param(part, var, dim));
        }
        let item = copy_var(&mut self.kernel, &part.vars[part.parallel.0.0 as usize]);
        vars.insert(part.parallel.0, item);
        let mut given = arguments.iter();
        let mut buffers = vec![];
        for decl in &part.buffers {
            let argument = if matches!(decl.access, Access::Scratch { .. }) { None } else { given.next() };
            buffers.push(self.buffer(decl, argument));
        }
        let mut statements = part.body.clone();
        walk(&mut statements, &mut |mention| {
            if let Mention::Buffer(buffer) = mention {
                *buffer = buffers[buffer.0 as usize];
            }
        });
        let extent = renamed(&part.parallel.1, &vars);
        rename(&mut statements, &part.vars, &mut self.kernel, vars);
        Body { item, extent, statements }
    }

    /// The parameter of a size, one for all parts.
    fn param(&mut self, part: &Kernel, var: Var, dim: &Dim) -> Var {
        let info = &part.vars[var.0 as usize];
        if let Some(place) = self.params.iter().position(|d| d == dim) {
            let shared = self.kernel.params[place];
            let bounds = &mut self.kernel.vars[shared.0 as usize];
            (bounds.min, bounds.max) = (bounds.min.max(info.min), bounds.max.min(info.max));
            return shared;
        }
        let copy = copy_var(&mut self.kernel, info);
        self.kernel.params.push(copy);
        self.params.push(dim.clone());
        copy
    }

    /// The declaration of a buffer, one for all parts that read the same.
    fn buffer(&mut self, decl: &nnc_kernels::BufferDecl, argument: Option<&Argument>) -> BufferRef {
        if let Some(argument) = argument {
            let same = |&(buffer, a): &(BufferRef, &Argument)| {
                let b = &self.kernel.buffers[buffer.0 as usize];
                a == argument && (b.dtype, b.access, b.align) == (decl.dtype, decl.access, decl.align)
            };
            if let Some((buffer, _)) = self.arguments().find(same) {
                return buffer;
            }
            self.arguments.push(argument.clone());
        }
        let name: String = decl.name.chars().take_while(|c| !c.is_ascii_digit()).collect();
        let buffer = self.kernel.add_buffer(&name, decl.dtype, decl.access);
        self.kernel.buffers[buffer.0 as usize].align = decl.align;
        buffer
    }

    /// All items of a part, one after the other.
    pub(super) fn all_items(&mut self, body: Body) -> Vec<Stmt> {
        let Body { item, extent, mut statements } = body;
        if extent.is_const(1) && !mentions_as_value(&mut statements, item) {
            substitute(&mut statements, item, &Index::ZERO);
            return statements;
        }
        vec![Stmt::For(Loop { var: item, extent, axis: AxisKind::Free }, statements)]
    }

    /// Adds an item.
    pub(super) fn add_item(&mut self, statements: Vec<Stmt>) {
        self.items.push((Index::ONE, statements));
    }

    /// Adds the items of a part.
    pub(super) fn add_items(&mut self, body: Body) {
        let start = self.count();
        let number = self.kernel.parallel.0.index() - start;
        let mut statements = vec![Stmt::Let(body.item, Expr::Index(number))];
        statements.extend(body.statements);
        self.items.push((body.extent, statements));
    }

    /// The items of a part as far as they belong to one of `outer` groups of them, in order.
    pub(super) fn items_of_group(&mut self, body: Body, group: Var, outer: &Index) -> Option<Vec<Stmt>> {
        let Body { item, extent, statements } = body;
        let count = extent.div_exact(outer)?;
        let start = &group.index() * &count;
        if count.is_const(1) {
            let number = Stmt::Let(item, Expr::Index(start));
            return Some([vec![number], statements].concat());
        }
        let high = self.kernel.vars[item.0 as usize].max;
        let inner = self.kernel.add_var("k", DType::I64, 0, count.as_const().map_or(high, |n| n - 1));
        let number = Stmt::Let(item, Expr::Index(start + inner.index()));
        let body = [vec![number], statements].concat();
        Some(vec![Stmt::For(Loop { var: inner, extent: count, axis: AxisKind::Free }, body)])
    }

    /// The variable of the launch's items.
    pub(super) fn item(&self) -> Var {
        self.kernel.parallel.0
    }

    /// The launch of groups of items, given what is done for each.
    pub(super) fn grouped(mut self, outer: Index, body: Vec<Stmt>) -> Launch {
        self.items = vec![(outer, body)];
        self
    }

    /// The kernel so far, and the sizes that it is run with.
    pub(super) fn parts(&self) -> (&Kernel, &[Dim]) {
        (&self.kernel, &self.params)
    }

    /// The buffers that are handed over.
    pub(super) fn arguments(&self) -> impl Iterator<Item = (BufferRef, &Argument)> {
        let parameters = self.kernel.buffers.iter().enumerate();
        let parameters = parameters.filter(|(_, b)| !matches!(b.access, Access::Scratch { .. }));
        parameters.map(|(place, _)| BufferRef(place as u32)).zip(&self.arguments)
    }

    /// How many items there are.
    fn count(&self) -> Index {
        self.items.iter().fold(Index::ZERO, |sum, (count, _)| sum + count)
    }

    /// The kernel under a name.
    pub(super) fn finish(mut self, name: &str) -> Made {
        let total = self.count();
        let number = self.kernel.parallel.0;
        let mut end = total.clone();
        let mut body: Option<Vec<Stmt>> = None;
        while let Some((count, statements)) = self.items.pop() {
            let start = &end - &count;
            body = Some(match body {
                None => statements,
                Some(rest) => {
                    let own = Expr::binary(BinaryOp::Lt, Expr::Index(number.index()), Expr::Index(end));
                    vec![Stmt::If(own, statements, rest)]
                }
            });
            end = start;
        }
        let extent = total.export(&self.kernel.sizes(&self.params));
        name.clone_into(&mut self.kernel.name);
        let high = total.bounds(&Ranges::new(&self.kernel)).1;
        self.kernel.vars[number.0 as usize].max = high.saturating_sub(1).max(0);
        self.kernel.parallel.1 = total;
        self.kernel.body = body.unwrap_or_default();
        crate::lower::scratch_last(&mut self.kernel);
        Made { kernel: self.kernel, arguments: self.arguments, params: self.params, extent }
    }
}
