//! Whether a kernel may write its result over an operand: found from the list of its accesses to the two.
//!
//! A load is safe when the element it reads is overwritten, if ever, later and by the same iteration: when a store to the
//! very same index follows it under the same loops, and is reached whenever the load is. As a kernel stores no element
//! twice, no other iteration writes that element then. Everything else counts as unsafe: loads without such a store,
//! loads from what is written, stores to what is read, loads that a condition guards, products, loops without a count.

use nnc_kernels::kernel::{Access, BufferRef, Expr, Index, Kernel, Stmt};

/// One access, in the order of the text.
struct Touch<'k> {
    /// Stores to the written buffer; the others load from the read one.
    store: bool,
    index: &'k Index,
    /// Loops around it, outermost first, by the place of each in the text.
    loops: Vec<usize>,
    /// Branches around it, likewise.
    branches: Vec<usize>,
}

struct Reader<'k> {
    read: BufferRef,
    write: BufferRef,
    touches: Vec<Touch<'k>>,
    loops: Vec<usize>,
    branches: Vec<usize>,
    /// Loops and branches met so far.
    met: usize,
    sound: bool,
}

/// Whether the arguments numbered `read` and `write` (scratch buffers not counted) may be the same memory.
pub(super) fn is_element_for_element(kernel: &Kernel, read: usize, write: usize) -> bool {
    let parameter = |number: usize| {
        let parameters = kernel.buffers.iter().enumerate().filter(|(_, d)| !matches!(d.access, Access::Scratch { .. }));
        parameters.map(|(i, d)| (BufferRef(i as u32), d)).nth(number)
    };
    let (Some((read, from)), Some((write, to))) = (parameter(read), parameter(write)) else { return false };
    if read == write || from.dtype != to.dtype || (from.access, to.access) != (Access::Read, Access::Write) {
        return false;
    }
    let mut reader = Reader { read, write, touches: vec![], loops: vec![], branches: vec![], met: 0, sound: true };
    reader.block(&kernel.body);
    let touches = &reader.touches;
    let overwritten = |(at, load): (usize, &Touch<'_>)| {
        touches[at + 1..].iter().any(|store| {
            store.store
                && store.index == load.index
                && store.loops == load.loops
                && load.branches.starts_with(&store.branches)
        })
    };
    reader.sound && touches.iter().enumerate().filter(|(_, t)| !t.store).all(overwritten)
}

impl<'k> Reader<'k> {
    fn block(&mut self, statements: &'k [Stmt]) {
        statements.iter().for_each(|s| self.statement(s));
    }

    fn inside(&mut self, is_loop: bool, read: impl FnOnce(&mut Self)) {
        self.met += 1;
        let place = self.met;
        let stack = |r: &mut Self| if is_loop { std::mem::take(&mut r.loops) } else { std::mem::take(&mut r.branches) };
        let before = stack(self);
        let mut longer = before.clone();
        longer.push(place);
        *(if is_loop { &mut self.loops } else { &mut self.branches }) = longer;
        read(self);
        *(if is_loop { &mut self.loops } else { &mut self.branches }) = before;
    }

    fn statement(&mut self, statement: &'k Stmt) {
        match statement {
            Stmt::Let(_, e) | Stmt::Mutable(_, e) | Stmt::Assign(_, e) => self.expression(e),
            Stmt::For(_, body) => self.inside(true, |r| r.block(body)),
            Stmt::Reduce(_, body, accumulators) => {
                accumulators.iter().for_each(|a| self.expression(&a.init));
                self.inside(true, |r| {
                    r.block(body);
                    accumulators.iter().for_each(|a| r.expression(&a.value));
                });
            }
            Stmt::Store(buffer, index, e) => {
                self.expression(e);
                self.sound &= *buffer != self.read;
                if *buffer == self.write {
                    self.touch(true, index);
                }
            }
            Stmt::If(condition, then, otherwise) => {
                self.expression(condition);
                self.inside(false, |r| r.block(then));
                self.inside(false, |r| r.block(otherwise));
            }
            Stmt::While(condition, body) => {
                let before = self.touches.len();
                self.expression(condition);
                self.inside(true, |r| r.block(body));
                self.sound &= self.touches.len() == before;
            }
            Stmt::Fail(_) => {}
            Stmt::Contract(c) => {
                let operands = [c.left.buffer, c.right.buffer];
                self.sound &= !operands.contains(&self.read) && !operands.contains(&self.write);
                self.inside(true, |r| r.block(&c.epilogue.body));
            }
        }
    }

    fn touch(&mut self, store: bool, index: &'k Index) {
        let (loops, branches) = (self.loops.clone(), self.branches.clone());
        self.touches.push(Touch { store, index, loops, branches });
    }

    fn expression(&mut self, expr: &'k Expr) {
        match expr {
            Expr::Load(buffer, index) => {
                self.sound &= *buffer != self.write;
                if *buffer == self.read {
                    self.touch(false, index);
                }
            }
            Expr::LoadIf { buffer, .. } => self.sound &= *buffer != self.read && *buffer != self.write,
            _ => {}
        }
        expr.operands().for_each(|x| self.expression(x));
    }
}

#[cfg(test)]
mod tests {
    use super::is_element_for_element;

    fn shares(body: &str) -> bool {
        is_element_for_element(&crate::testing::kernel_of(body), 0, 1)
    }

    #[test]
    fn element_for_element() {
        assert!(shares("for vector i in 0..16 {\n store y1[16*p + i] = add(load x0[16*p + i], 1.0f32)\n}"));
        // The load comes first, in a statement of its own.
        assert!(shares("for i in 0..16 {\n let t: f32 = load x0[16*p + i]\n store y1[16*p + i] = t\n}"));
    }

    #[test]
    fn anything_else() {
        for body in [
            // Another element.
            "for vector i in 0..16 {\n store y1[16*p + i] = add(load x0[16*p - i + 15], 1.0f32)\n}",
            // An element that other iterations overwrite.
            "let t: f32 = load x0[16*p]\nfor vector i in 0..16 {\n store y1[16*p + i] = add(t, load x0[16*p + i])\n}",
            // The same element, once it is overwritten.
            "for i in 0..16 {\n store y1[16*p + i] = 1.0f32\n let t: f32 = load x0[16*p + i]\n}",
            // In a loop of its own, which ends after some stores of others.
            "for i in 0..16 {\n let t: f32 = load x0[16*p + i]\n}\n\
             for j in 0..16 {\n store y1[16*p + j] = 1.0f32\n}",
            // From what is written.
            "for i in 0..16 {\n store y1[16*p + i] = load y1[16*p + i]\n}",
        ] {
            assert!(!shares(body), "{body}");
        }
    }
}
