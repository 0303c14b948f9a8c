//! Random numbers: Philox 4x32-10, one block of four elements per iteration.
//!
//! Which words belong to which element, and how a word becomes a number, is as the reference interpreter documents
//! (`compiler/eval/src/random.rs`): bits are equal, whatever runs them. Numbers are computed in `f64`.
//!
//! Source: J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
//! <https://doi.org/10.1145/2063384.2063405>.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::{Lowered, binary, less};
use crate::layout::dense_strides;
use nnc_ir::op::{BinaryOp, Distribution, UnaryOp};
use nnc_ir::{DType, Dim, Node};
use nnc_kernels::kernel::{Expr, Index, Scalar, Stmt};

/// 2 to the power of -24: words have 24 bits that count.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

impl Lowering<'_> {
    pub(super) fn lower_random(&mut self, node: &Node, distribution: Distribution, seed: u64) -> Lowered {
        let (counter, result) = (node.inputs[0], node.outputs[0]);
        let storage = self.storage(result)?;
        let ty = self.graph.ty(result).clone();
        let total = ty.count();
        if total.is_const(0) {
            return Ok(());
        }
        let dense = storage.strides == dense_strides(&ty.shape);

        let mut b = KernelBuilder::new(self, "random");
        let block = b.parallel(&total.ceil_div(&Dim::from(4)));
        let counter = b.emit(counter, &[])?;
        let counter = Expr::Convert(DType::U64, Box::new(counter));
        let number = Expr::Convert(DType::U64, Box::new(Expr::Index(block.clone())));
        let words = [low(number.clone()), high(number), low(counter.clone()), high(counter)];
        let words = b.philox(words, [seed as u32, (seed >> 32) as u32]);
        let values = b.distribute(distribution, words);
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let whole = total.as_const().is_some_and(|n| n % 4 == 0);
        let total = b.import(&total);
        let sizes: Vec<Index> = ty.shape.iter().map(|d| b.import(d)).collect();
        for (i, value) in values.into_iter().enumerate() {
            let flat = &block * 4 + i as i64;
            let store = |b: &mut KernelBuilder<'_, '_>| {
                let element = if dense {
                    flat.clone()
                } else {
                    let at = b.split_index(&flat, &sizes);
                    b.element(&storage.strides, &at)
                };
                // Half precision is reached by way of single.
                let value = match ty.dtype {
                    DType::F64 => value,
                    DType::F32 => Expr::Convert(DType::F32, Box::new(value)),
                    narrow => Expr::Convert(narrow, Box::new(Expr::Convert(DType::F32, Box::new(value)))),
                };
                b.push(Stmt::Store(target, element, value));
                Ok(())
            };
            if whole {
                store(&mut b)?;
            } else {
                b.when(less(&flat, &total), store)?;
            }
        }
        b.finish()
    }
}

fn word(bits: u32) -> Expr {
    Expr::Const(Scalar { dtype: DType::U64, bits: u64::from(bits) })
}

/// The lower half of 64 bits.
fn low(x: Expr) -> Expr {
    binary(BinaryOp::And, x, word(u32::MAX))
}

/// The upper half of 64 bits.
fn high(x: Expr) -> Expr {
    binary(BinaryOp::Shr, x, word(32))
}

impl KernelBuilder<'_, '_> {
    /// Ten rounds over one counter block. Words are `u64`s below 2^32.
    fn philox(&mut self, counter: [Expr; 4], mut key: [u32; 2]) -> [Expr; 4] {
        let mut counter = counter.map(|x| Expr::Var(self.define_here("word", x)));
        for _ in 0..10 {
            let product0 = binary(BinaryOp::Mul, word(0xD251_1F53), counter[0].clone());
            let product1 = binary(BinaryOp::Mul, word(0xCD9E_8D57), counter[2].clone());
            let product0 = Expr::Var(self.define_here("product", product0));
            let product1 = Expr::Var(self.define_here("product", product1));
            let mix = |product: &Expr, other: &Expr, key: u32| {
                binary(BinaryOp::Xor, binary(BinaryOp::Xor, high(product.clone()), other.clone()), word(key))
            };
            let next = [
                mix(&product1, &counter[1], key[0]),
                low(product1),
                mix(&product0, &counter[3], key[1]),
                low(product0),
            ];
            counter = next.map(|x| Expr::Var(self.define_here("word", x)));
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        counter
    }

    /// Four words as four numbers of type `f64`.
    fn distribute(&mut self, distribution: Distribution, words: [Expr; 4]) -> Vec<Expr> {
        let number = |x: f64| Expr::constant(DType::F64, x);
        let scaled = |x: Expr, by: f64| binary(BinaryOp::Mul, x, number(by));
        let unit = |x: &Expr| {
            let bits = binary(BinaryOp::Shr, x.clone(), word(8));
            scaled(Expr::Convert(DType::F64, Box::new(bits)), UNIT)
        };
        match distribution {
            Distribution::Uniform { low, high } => {
                let place = |x: &Expr| binary(BinaryOp::Add, number(low), scaled(unit(x), high - low));
                words.iter().map(place).collect()
            }
            Distribution::Normal { mean, std } => {
                let mut values = vec![];
                for pair in words.chunks_exact(2) {
                    let log = Expr::unary(UnaryOp::Log, binary(BinaryOp::Add, unit(&pair[0]), number(UNIT)));
                    let radius = Expr::unary(UnaryOp::Sqrt, scaled(log, -2.0));
                    let radius = Expr::Var(self.define_here("radius", scaled(radius, std)));
                    let angle = scaled(unit(&pair[1]), std::f64::consts::TAU);
                    let angle = Expr::Var(self.define_here("angle", angle));
                    for function in [UnaryOp::Cos, UnaryOp::Sin] {
                        let part = binary(BinaryOp::Mul, radius.clone(), Expr::unary(function, angle.clone()));
                        values.push(binary(BinaryOp::Add, number(mean), part));
                    }
                }
                values
            }
        }
    }
}
