//! In-place execution: when may a kernel's result take the memory of an operand that dies with it?
//!
//! Exactly when every element of the operand that the kernel loads is loaded by the same iteration that overwrites
//! it, before the store. That is so when in each block of statements that touches either buffer all loads and the one
//! store have the same index, and nothing else accesses them. Blocks that exclude each other (cases of an `If`) or
//! cover different elements (the last, smaller block of a product) are judged one by one: a kernel stores no element
//! twice.

use nnc_kernels::Contraction;
use nnc_kernels::kernel::{BufferRef, Expr, Index, Kernel, Stmt};

/// Whether the buffer written as `write` may be the memory read as `read`, element for element.
pub fn may_share(kernel: &Kernel, read: BufferRef, write: BufferRef) -> bool {
    if kernel.buffers[read.0 as usize].dtype != kernel.buffers[write.0 as usize].dtype {
        return false;
    }
    let mut accesses = Accesses { read, write, sound: true, stored: false };
    accesses.block(&kernel.body);
    accesses.sound && accesses.stored
}

struct Accesses {
    read: BufferRef,
    write: BufferRef,
    /// Nothing found so far forbids it.
    sound: bool,
    /// Whether a store was found.
    stored: bool,
}

impl Accesses {
    /// Judges a block and the blocks in it.
    fn block(&mut self, statements: &[Stmt]) {
        let mut loads: Vec<&Index> = vec![];
        let mut stores: Vec<&Index> = vec![];
        for statement in statements {
            let (stored, loaded) = (!stores.is_empty(), loads.len());
            match statement {
                Stmt::Let(_, e) | Stmt::Mutable(_, e) | Stmt::Assign(_, e) => self.expr(e, &mut loads),
                Stmt::Store(buffer, index, e) => {
                    // A load after the store would see the new element.
                    self.expr(e, &mut loads);
                    if *buffer == self.write {
                        stores.push(index);
                    }
                    self.sound &= *buffer != self.read;
                }
                Stmt::For(_, body) => self.block(body),
                Stmt::Reduce(_, body, accumulators) => {
                    let mut inside = vec![];
                    accumulators.iter().for_each(|a| self.expr(&a.value, &mut inside));
                    self.block(body);
                    self.sound &= inside.is_empty();
                }
                Stmt::If(c, a, b) => {
                    self.expr(c, &mut loads);
                    self.block(a);
                    self.block(b);
                }
                Stmt::While(..) => self.sound = false,
                Stmt::Fail(_) => {}
                Stmt::Contract(c) => self.contraction(c),
            }
            // A part of a launch after the one that stores would see the new element.
            self.sound &= !stored || loads.len() == loaded;
        }
        match stores.as_slice() {
            [] => self.sound &= loads.is_empty(),
            [only] => {
                self.stored = true;
                self.sound &= loads.iter().all(|l| l == only);
            }
            _ => self.sound = false,
        }
    }

    fn contraction(&mut self, c: &Contraction) {
        self.sound &= c.left.buffer != self.read
            && c.right.buffer != self.read
            && c.left.buffer != self.write
            && c.right.buffer != self.write;
        self.block(&c.epilogue.body);
    }

    fn expr<'e>(&mut self, expr: &'e Expr, loads: &mut Vec<&'e Index>) {
        match expr {
            Expr::Load(buffer, index) => {
                if *buffer == self.read {
                    loads.push(index);
                }
                self.sound &= *buffer != self.write;
            }
            Expr::LoadIf { buffer, .. } => self.sound &= *buffer != self.read && *buffer != self.write,
            _ => {}
        }
        expr.operands().for_each(|x| self.expr(x, loads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(body: &str) -> bool {
        may_share(&crate::testing::kernel_of(body), BufferRef(0), BufferRef(1))
    }

    #[test]
    fn equal_indices_share() {
        assert!(shares("for vector i in 0..16 {\n store y1[16*p + i] = add(load x0[16*p + i], 1.0f32)\n}"));
    }

    #[test]
    fn a_load_after_the_store_forbids() {
        let copy = "let t: f32 = load x0[p]\nstore y1[p] = t";
        assert!(shares(copy));
        assert!(!shares(&format!("{copy}\nlet t_2: f32 = load x0[p]")));
    }

    #[test]
    fn another_elements_load_forbids() {
        assert!(!shares("for vector i in 0..16 {\n store y1[16*p + i] = add(load x0[16*p - i + 15], 1.0f32)\n}"));
        let both = "add(load x0[16*p + i], load x0[16*p - i + 15])";
        assert!(!shares(&format!("for vector i in 0..16 {{\n store y1[16*p + i] = {both}\n}}")));
    }

    #[test]
    fn a_load_in_an_outer_block_forbids() {
        assert!(!shares(
            "let t: f32 = load x0[16*p]\nfor vector i in 0..16 {\n store y1[16*p + i] = add(t, load x0[16*p + i])\n}"
        ));
    }
}
