//! `If` and `Loop`: their graphs are lowered by a lowering of their own into nested steps.
//!
//! The nested lowering shares the program, its kernels and its weights. What a graph captures lies where the graph
//! around it put it, and what it yields is written where the graph around it wants it. A captured constant becomes a
//! constant of the inner graph, so that it can be packed at compile time. A size in which the branches differ is written
//! by the branch that runs, and bound after it.
//!
//! A loop keeps its state (the iteration's number, whether to go on, the carried values) in buffers that are filled
//! before the loop; carried values use the memory of the results. At the end of an iteration what it yields is copied
//! there, whether to go on like a carried value; state handed on as other state goes by way of a copy. State whose size
//! changes lies densely in memory for the most it can have; its sizes are bound anew in each iteration. Element `i` of a
//! scanned result is written in iteration `i`, whose number is bound to a symbol for that purpose: the bound of that
//! symbol keeps it inside the result's memory.
//!
//! Invariant: buffers made in a nested graph are written before they are read in each iteration, so that they need
//! memory within the step alone that the graph belongs to.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering, Plan};
use super::{Lowered, binary};
use crate::allocate::asks_for;
use crate::choose::choose;
use crate::layout::Storage;
use crate::layout::{Around, concat_slice, lay_out};
use crate::memory::visit;
use crate::regions::Regions;
use nnc_ir::op::{BinaryOp, Relation};
use nnc_ir::{DType, Dim, Graph, Node, Symbol, TensorType, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::plan::{Argument, BufferId, Program, SizeCheck, Step};

/// State of a loop besides what it carries.
struct Progress {
    /// Number of the iteration, `i64`.
    counter: BufferId,
    /// Whether to go on, `bool`.
    go: BufferId,
    /// The most iterations wanted, `i64`.
    limit: Storage,
}

/// A size of a carried value that changes with the iterations.
struct Size {
    /// Which value, and which of its axes.
    value: usize,
    axis: usize,
    symbol: Symbol,
    /// Holds the size that the next iteration begins with.
    cell: BufferId,
}

struct Sizes {
    all: Vec<Size>,
}

impl Sizes {
    fn varies(&self, value: usize) -> bool {
        self.all.iter().any(|size| size.value == value)
    }

    /// Where a carried value of this shape lies in its state's memory.
    fn lies(&self, value: usize, state: &Storage, shape: &[Dim]) -> Storage {
        if self.varies(value) { Storage::dense(state.buffer, shape) } else { state.clone() }
    }
}

impl Lowering<'_> {
    pub(super) fn lower_if(
        &mut self,
        node: &Node,
        branches: [&Graph; 2],
        varying: &[(usize, usize)],
        sizes: &[Symbol],
        inside: &[Regions],
    ) -> Lowered {
        let condition = self.scalar_argument(node.inputs[0])?;
        let cells = sizes.iter().map(|_| self.cell("size", DType::I64)).collect::<Result<Vec<BufferId>, _>>()?;
        let varies = |result: usize| varying.iter().any(|v| v.0 == result);
        let (mut targets, mut copies) = (vec![], vec![]);
        for (i, &output) in node.outputs.iter().enumerate() {
            if !varies(i) {
                targets.push(self.storage(output)?);
                continue;
            }
            // Its strides are known when its size is: a branch writes it densely, by the branch's own sizes.
            let ty = self.graph.ty(output).clone();
            let wanted = self.storage(output)?;
            if wanted == Storage::dense(wanted.buffer, &ty.shape) {
                targets.push(wanted);
                continue;
            }
            let buffer = self.add_workspace(format!("{output}_dense"), ty.dtype, &ty.count())?;
            let own = Storage::dense(buffer, &ty.shape);
            copies.push((ty, own.clone(), wanted));
            targets.push(own);
        }
        let [of_then, of_otherwise] = inside else { return Err(self.error("its branches have no regions")) };
        let mut branch = |graph: &Graph, regions: &Regions| {
            let (graph, captured) = self.captures(graph, 0, &node.inputs[1..])?;
            let results: Vec<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
            let own = |(i, target): (usize, &Storage)| match varies(i) {
                true => Storage::dense(target.buffer, graph.shape(results[i])),
                false => target.clone(),
            };
            let targets: Vec<Storage> = targets.iter().enumerate().map(own).collect();
            for (&(result, axis), &symbol) in varying.iter().zip(sizes) {
                // Without a bound, the branch asks for the memory.
                let Some(capacity) = Dim::sym(symbol).greatest(&graph.dims) else { continue };
                let size = graph.shape(results[result])[axis].greatest(&graph.dims);
                let size = size.ok_or_else(|| self.no_bound(symbol))?;
                // The larger of both sizes is no less than either, which bounds alone do not tell.
                if capacity.max(&size) != capacity && !capacity.provably_ge(&size, &graph.dims) {
                    let (size, capacity) = (graph.dims.display(&size), graph.dims.display(&capacity));
                    return Err(self.error(format!("a branch yields `{size}` elements where at most {capacity} fit")));
                }
            }
            let wanted: Vec<(ValueId, Storage)> = results.into_iter().zip(targets).collect();
            self.nested((&graph, regions), &captured, &wanted, |inner| {
                inner.lower_regions()?;
                inner.copy_results(&wanted)?;
                inner.ask_for(&wanted);
                for (&(result, axis), &cell) in varying.iter().zip(&cells) {
                    inner.store_size(cell, &graph.shape(wanted[result].0)[axis])?;
                }
                Ok(())
            })
        };
        let then = branch(branches[0], of_then)?;
        let otherwise = branch(branches[1], of_otherwise)?;
        self.program.steps.push(Step::If { condition, then, otherwise });
        for (&symbol, &cell) in sizes.iter().zip(&cells) {
            self.bind(symbol, Argument { buffer: cell, offset: Dim::ZERO });
        }
        for (ty, own, wanted) in copies {
            self.copy_storage(&ty, &own, &wanted)?;
        }
        Ok(())
    }

    pub(super) fn lower_loop(
        &mut self,
        node: &Node,
        (body, inside): (&Graph, &[Regions]),
        carried: usize,
        changing: (&[(usize, usize)], &[Symbol]),
        trips: Symbol,
    ) -> Lowered {
        let [regions] = inside else { return Err(self.error("its body has no regions")) };
        let limit = self.materialise(node.inputs[0])?;
        let progress =
            Progress { counter: self.cell("iteration", DType::I64)?, go: self.cell("go", DType::Bool)?, limit };
        self.start_loop(node.inputs[1], &progress)?;
        let sizes = self.changing_sizes(changing, &node.inputs[2..2 + carried])?;
        let (mut states, mut copies) = (vec![], vec![]);
        for (i, (&initial, &result)) in node.inputs[2..2 + carried].iter().zip(&node.outputs).enumerate() {
            let (ty, wanted) = (self.graph.ty(initial).clone(), self.storage(result)?);
            let state = match sizes.varies(i) {
                true => self.dense_state(result, &wanted, &mut copies)?,
                false => wanted,
            };
            let entering = sizes.lies(i, &state, &ty.shape);
            if sizes.varies(i) {
                self.ask_for_memory(&state, &ty);
            }
            self.copy_into(initial, &all_axes(&ty), ty.dtype, &entering)?;
            states.push(state);
        }
        let (slices, bind) = self.scan_slices(&node.outputs[carried..], trips, &progress)?;

        let (graph, captured) = self.captures(body, 2 + carried, &node.inputs[2 + carried..])?;
        let mut given = vec![
            (graph.inputs[0], Storage::dense(progress.counter, &[])),
            (graph.inputs[1], Storage::dense(progress.go, &[])),
        ];
        given.extend(graph.inputs[2..2 + carried].iter().copied().zip(states.iter().cloned()));
        given.extend(captured);
        let results: Vec<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
        // Whether to go on is handed on as the carried values are.
        let (handed_on, scanned) = results.split_at(1 + carried);
        let mut targets = vec![Storage::dense(progress.go, &[])];
        targets.extend(states.iter().enumerate().map(|(i, s)| sizes.lies(i, s, graph.shape(handed_on[1 + i]))));
        let wanted: Vec<(ValueId, Storage)> = scanned.iter().copied().zip(slices).collect();
        let body = self.nested((&graph, regions), &given, &wanted, |inner| {
            for size in &sizes.all {
                inner.bind(size.symbol, Argument { buffer: size.cell, offset: Dim::ZERO });
            }
            inner.program.steps.extend(bind);
            inner.lower_regions()?;
            inner.copy_results(&wanted)?;
            for size in &sizes.all {
                inner.check_fits(size, &graph.shape(handed_on[1 + size.value])[size.axis])?;
            }
            let varies = |position: usize| position.checked_sub(1).is_some_and(|value| sizes.varies(value));
            inner.hand_on(handed_on, &graph.inputs[1..2 + carried], &targets, (varies, progress.counter))?;
            for size in &sizes.all {
                inner.store_size(size.cell, &graph.shape(handed_on[1 + size.value])[size.axis])?;
            }
            inner.advance_loop(&progress)
        })?;
        let condition = Argument { buffer: progress.go, offset: Dim::ZERO };
        self.program.steps.push(Step::While { condition, body });
        self.bind(trips, Argument { buffer: progress.counter, offset: Dim::ZERO });
        for size in &sizes.all {
            self.bind(size.symbol, Argument { buffer: size.cell, offset: Dim::ZERO });
        }
        for (ty, own, wanted) in copies {
            self.copy_storage(&ty, &own, &wanted)?;
        }
        Ok(())
    }

    /// Cells for the sizes that change, filled with those that the carried values enter the loop with.
    fn changing_sizes(
        &mut self,
        (varying, symbols): (&[(usize, usize)], &[Symbol]),
        initial: &[ValueId],
    ) -> Result<Sizes, LowerError> {
        let mut all = vec![];
        for (&(value, axis), &symbol) in varying.iter().zip(symbols) {
            let size = Size { value, axis, symbol, cell: self.cell("size", DType::I64)? };
            let entering = self.graph.shape(initial[value])[axis].clone();
            self.check_fits(&size, &entering)?;
            self.store_size(size.cell, &entering)?;
            all.push(size);
        }
        Ok(Sizes { all })
    }

    /// Dense memory for a value whose size changes: where it is wanted, if that is dense, else its own, and a copy.
    fn dense_state(
        &mut self,
        result: ValueId,
        wanted: &Storage,
        copies: &mut Vec<(TensorType, Storage, Storage)>,
    ) -> Result<Storage, LowerError> {
        let ty = self.graph.ty(result).clone();
        if *wanted == Storage::dense(wanted.buffer, &ty.shape) {
            return Ok(wanted.clone());
        }
        let buffer = self.add_workspace(format!("{result}_dense"), ty.dtype, &ty.count())?;
        let own = Storage::dense(buffer, &ty.shape);
        copies.push((ty, own.clone(), wanted.clone()));
        Ok(own)
    }

    /// Has the run stop where a size is more than there is memory for.
    fn check_fits(&mut self, size: &Size, found: &Dim) -> Lowered {
        // Without a bound, memory is asked for by the size.
        let Some(capacity) = Dim::sym(size.symbol).greatest(&self.graph.dims) else { return Ok(()) };
        if !capacity.provably_ge(found, &self.graph.dims) {
            let (what, origin) = (format!("axis {} of carried value {}", size.axis, size.value), self.origin.clone());
            self.add_check(SizeCheck {
                left: found.clone(),
                relation: Relation::AtMost,
                right: capacity,
                what,
                origin,
            });
        }
        Ok(())
    }

    fn store_size(&mut self, cell: BufferId, size: &Dim) -> Lowered {
        let mut b = KernelBuilder::new(self, "size");
        let size = b.import(size);
        b.store_cell(cell, Expr::Index(size));
        b.finish()
    }

    /// The inner graph with the symbols known now, and where its captures (its inputs from number `first` on, `outer` around
    /// it) lie.
    fn captures(
        &mut self,
        graph: &Graph,
        first: usize,
        outer: &[ValueId],
    ) -> Result<(Graph, Vec<(ValueId, Storage)>), LowerError> {
        let mut inner = graph.clone();
        inner.dims.clone_from(&self.program.dims);
        let captures = graph.inputs[first..].iter().zip(outer);
        let lie = captures.map(|(&input, &value)| Ok((input, self.materialise(value)?)));
        Ok((inner, lie.collect::<Result<_, LowerError>>()?))
    }

    /// Plans and lowers another graph of the same program, results where they are wanted as far as nothing else decides
    /// where they lie; yields the steps.
    fn nested(
        &mut self,
        (graph, regions): (&Graph, &Regions),
        given: &[(ValueId, Storage)],
        wanted: &[(ValueId, Storage)],
        build: impl FnOnce(&mut Lowering<'_>) -> Lowered,
    ) -> Result<Vec<Step>, LowerError> {
        // What is inside does not know of them.
        for (_, storage) in given.iter().chain(wanted) {
            self.zero_border_of(storage.buffer)?;
        }
        let around = Around::Inside { given, wanted };
        let layout = lay_out(graph, regions, &around, &mut self.program.buffers)?;
        layout.verify(graph, regions, &self.program.buffers).map_err(|e| self.error(e.to_string()))?;
        let decisions = choose(graph, regions, &layout, self.plan.target)?;
        let plan = Plan { graph, target: self.plan.target, regions, layout: &layout, decisions: &decisions };
        let outside = std::mem::take(&mut self.program.steps);
        let mut inner =
            Lowering::new(plan, std::mem::replace(&mut self.program, Program::new(&graph.name, graph.dims.clone())));
        std::mem::swap(&mut inner.weights, &mut self.weights);
        inner.origin.clone_from(&self.origin);
        build(&mut inner)?;
        (self.program, self.weights) = (inner.program, inner.weights);
        Ok(std::mem::replace(&mut self.program.steps, outside))
    }

    /// Has the memory for a value asked for now, if it has no bound.
    fn ask_for_memory(&mut self, storage: &Storage, ty: &TensorType) {
        if self.program.is_allocated(storage.buffer) {
            let (bytes, origin) = (&ty.count() * ty.dtype.size() as i64, self.origin.clone());
            self.program.steps.push(Step::Allocate { buffer: storage.buffer, bytes, origin });
        }
    }

    /// Has the memory of results without a bound asked for, by their sizes here, before the first step that uses it.
    fn ask_for(&mut self, wanted: &[(ValueId, Storage)]) {
        for (value, storage) in wanted {
            if !self.program.is_allocated(storage.buffer) {
                continue;
            }
            let mut uses = |step: &Step| {
                let mut found = false;
                visit(step, &mut |argument| found |= argument.buffer == storage.buffer);
                found
            };
            let steps = &mut self.program.steps;
            let first = steps.iter().position(&mut uses).unwrap_or(steps.len());
            // A branch within this one may have asked already.
            if steps.get(first).is_none_or(|step| !asks_for(step, storage.buffer)) {
                let mut rest = steps.split_off(first);
                let ty = self.graph.ty(*value).clone();
                self.ask_for_memory(storage, &ty);
                self.program.steps.append(&mut rest);
            }
        }
    }

    /// Copies the results that do not lie where they are wanted.
    fn copy_results(&mut self, wanted: &[(ValueId, Storage)]) -> Lowered {
        for (value, target) in wanted {
            if self.plan.layout.storage(*value) != Some(target) {
                let ty = self.graph.ty(*value).clone();
                self.copy_into(*value, &all_axes(&ty), ty.dtype, target)?;
            }
        }
        Ok(())
    }

    /// Memory of scanned results' elements in the iteration at hand, and the step that binds its number.
    fn scan_slices(
        &mut self,
        results: &[ValueId],
        trips: Symbol,
        progress: &Progress,
    ) -> Result<(Vec<Storage>, Option<Step>), LowerError> {
        if results.is_empty() {
            return Ok((vec![], None));
        }
        let bound = Dim::sym(trips).greatest(&self.graph.dims).or_else(|| self.graph.dims.get(trips).upper.clone());
        let most = bound.ok_or_else(|| self.no_bound(trips))?;
        let iteration = self.program.dims.fresh("iteration", 0, super::UNBOUNDED, None);
        let mut slices = vec![];
        for &result in results {
            let storage = self.storage(result)?;
            let mut slice = concat_slice(&storage, 0, &Dim::sym(iteration));
            slice.strides.remove(0);
            slices.push(slice);
        }
        let source = Argument { buffer: progress.counter, offset: Dim::ZERO };
        let bind =
            Step::Bind { symbol: iteration, source, min: Dim::ZERO, max: most - Dim::ONE, origin: self.origin.clone() };
        Ok((slices, Some(bind)))
    }

    fn start_loop(&mut self, condition: ValueId, progress: &Progress) -> Lowered {
        let mut b = KernelBuilder::new(self, "loop_start");
        let limit = b.buffer(progress.limit.buffer, &progress.limit.offset, false);
        let holds = b.emit(condition, &[])?;
        let wanted = binary(BinaryOp::Gt, Expr::Load(limit, Index::ZERO), Expr::Index(Index::ZERO));
        b.store_cell(progress.counter, Expr::Index(Index::ZERO));
        b.store_cell(progress.go, binary(BinaryOp::And, holds, wanted));
        b.finish()
    }

    /// The end of an iteration whose `go` is what it yields.
    fn advance_loop(&mut self, progress: &Progress) -> Lowered {
        let mut b = KernelBuilder::new(self, "loop_end");
        let limit = b.buffer(progress.limit.buffer, &progress.limit.offset, false);
        let counter = b.buffer(progress.counter, &Dim::ZERO, true);
        let go = b.buffer(progress.go, &Dim::ZERO, true);
        let again = Expr::Var(b.define_here("again", Expr::Load(go, Index::ZERO)));
        let limit = Expr::Var(b.define_here("limit", Expr::Load(limit, Index::ZERO)));
        let done = binary(BinaryOp::Add, Expr::Load(counter, Index::ZERO), Expr::Index(Index::ONE));
        let done = Expr::Var(b.define_here("done", done));
        b.push(Stmt::Store(counter, Index::ZERO, done.clone()));
        b.push(Stmt::Store(go, Index::ZERO, binary(BinaryOp::And, again, binary(BinaryOp::Lt, done, limit))));
        b.finish()
    }

    /// Copies what an iteration yields to the states, of which `inputs` are the values; `counter` is state as well. The sizes
    /// of those for which `varies` holds change.
    fn hand_on(
        &mut self,
        results: &[ValueId],
        inputs: &[ValueId],
        states: &[Storage],
        (varies, counter): (impl Fn(usize) -> bool, BufferId),
    ) -> Lowered {
        let mut copies = vec![];
        for (position, ((&value, &input), state)) in results.iter().zip(inputs).zip(states).enumerate() {
            if input == value {
                continue;
            }
            let ty = self.graph.ty(value).clone();
            // Another state, or a part of one, may be overwritten before it is copied.
            let lies = self.plan.layout.storage(value);
            let in_state =
                lies.is_some_and(|s| s.buffer == counter || states.iter().any(|state| state.buffer == s.buffer));
            let source = match in_state {
                false => None,
                true => {
                    let buffer = self.add_workspace(format!("{value}_handed"), ty.dtype, &ty.count())?;
                    let copy = Storage::dense(buffer, &ty.shape);
                    self.copy_into(value, &all_axes(&ty), ty.dtype, &copy)?;
                    Some(copy)
                }
            };
            copies.push((position, value, ty, source, state));
        }
        for (position, value, ty, source, state) in copies {
            if varies(position) {
                // What it had is dropped, which nothing reads any more.
                self.ask_for_memory(state, &ty);
            }
            match source {
                None => self.copy_into(value, &all_axes(&ty), ty.dtype, state)?,
                Some(source) => self.copy_storage(&ty, &source, state)?,
            }
        }
        Ok(())
    }

    pub(in crate::lower) fn copy_storage(&mut self, ty: &TensorType, source: &Storage, target: &Storage) -> Lowered {
        let mut b = KernelBuilder::new(self, "copy");
        let (index, opened) = b.open_loops(&ty.shape, AxisKind::Vector);
        let (from, to) = (b.element(&source.strides, &index), b.element(&target.strides, &index));
        let source = b.buffer(source.buffer, &source.offset, false);
        let target = b.buffer(target.buffer, &target.offset, true);
        b.push(Stmt::Store(target, to, Expr::Load(source, from)));
        for _ in 0..opened {
            b.close_loop();
        }
        b.finish()
    }
}

fn all_axes(ty: &TensorType) -> Vec<usize> {
    (0..ty.rank()).collect()
}
