//! Strings found among keys.
//!
//! Keys are found by hashing, in a table made here: open addressing with linear probing (Knuth, The Art of Computer
//! Programming 6.4), half empty, by the hash of Fowler, Noll and Vo (FNV-1a, 64 bits). No string makes it read outside of the
//! table; strings made to collide make it slow, as long as the keys are many.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::strings::int;
use super::{Lowered, binary, boolean};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Node, Tensor, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index};
use nnc_kernels::weights::Pack;

const FNV_BASIS: i64 = 0xcbf2_9ce4_8422_2325_u64 as i64;
const FNV_PRIME: i64 = 0x100_0000_01b3;

/// Most keys: their numbers have 32 bits.
const MOST_KEYS: usize = 1 << 30;

/// The entry of a table where no key is.
const EMPTY: i32 = -1;

/// The hash of a string, half of it mixed into the other.
fn hash(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(FNV_BASIS, |hash, &byte| (hash ^ i64::from(byte)).wrapping_mul(FNV_PRIME));
    hash ^ hash >> 32
}

/// Where to find the number of each key: as many entries as a power of two, which [`hash`] leads to.
fn key_table<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Vec<i32> {
    let size = (2 * keys.len()).next_power_of_two().max(2);
    let mut table = vec![EMPTY; size];
    for (number, key) in keys.enumerate() {
        let mut slot = hash(key) as usize & (size - 1);
        while table[slot] != EMPTY {
            slot = (slot + 1) & (size - 1);
        }
        table[slot] = number as i32;
    }
    table
}

impl Lowering<'_> {
    pub(super) fn lower_find_string(&mut self, node: &Node) -> Lowered {
        let &[offsets, bytes, key_offsets, key_bytes] = &node.inputs[..] else {
            return Err(self.error("malformed keys"));
        };
        let (count, table) = self.keys(key_offsets, key_bytes)?;
        let mask = Index::from(table.len() as i64 - 1);
        let size = Index::from(table.len() as i64);
        let weight = self.add_weight(&table, Pack::Plain)?;
        let storage = self.storage(node.outputs[0])?;
        let strings = self.graph.shape(node.outputs[0])[0].clone();
        let (byte_count, key_byte_count) = (self.graph.shape(bytes)[0].clone(), self.graph.shape(key_bytes)[0].clone());

        let mut b = KernelBuilder::new(self, "find_string");
        let number = b.parallel(&strings);
        let byte_count = b.import(&byte_count);
        let most_key_bytes = b.import(&key_byte_count) + 1;
        let table = b.buffer(weight, &Dim::ZERO, false);
        let string = b.span(offsets, &number, &byte_count)?;
        let state = b.mutable("hash", int(FNV_BASIS));
        b.each(&string.length.clone(), AxisKind::Serial, |b, i| {
            let byte = b.byte(bytes, &string.begin + i)?;
            let mixed = binary(BinaryOp::Xor, Expr::Var(state), byte);
            b.assign(state, binary(BinaryOp::Mul, mixed, int(FNV_PRIME)));
            Ok(())
        })?;
        let half = binary(BinaryOp::Shr, Expr::Var(state), int(32));
        let mixed = binary(BinaryOp::Xor, Expr::Var(state), half);
        let slot = b.mutable("slot", binary(BinaryOp::And, mixed, Expr::Index(mask.clone())));
        let (found, searching) = (b.mutable("found", int(count)), b.mutable("searching", boolean(true)));
        b.repeat(Expr::Var(searching), |b| {
            let at = b.freeze("at", Expr::Var(slot), &size);
            let key = Expr::convert(DType::I64, DType::I32, Expr::Load(table, at));
            let key = Expr::Var(b.define_here("key", key));
            b.choose(
                binary(BinaryOp::Lt, key.clone(), int(0)),
                |b| {
                    b.assign(searching, boolean(false));
                    Ok(())
                },
                |b| {
                    let key = b.freeze("which", key, &Index::from(count));
                    let first = b.emit(key_offsets, std::slice::from_ref(&key))?;
                    let last = b.emit(key_offsets, &[&key + 1])?;
                    let first = b.freeze("key_first", first, &most_key_bytes);
                    let length = binary(BinaryOp::Sub, last, Expr::Index(first.clone()));
                    let alike = binary(BinaryOp::Eq, length, Expr::Index(string.length.clone()));
                    let alike = b.mutable("alike", alike);
                    let step = b.counter("step", Index::ZERO);
                    let within = binary(BinaryOp::Lt, Expr::Var(step), Expr::Index(string.length.clone()));
                    b.repeat(binary(BinaryOp::And, Expr::Var(alike), within), |b| {
                        let i = b.freeze("i", Expr::Var(step), &byte_count);
                        let (mine, other) = (b.byte(bytes, &string.begin + &i)?, b.byte(key_bytes, &first + &i)?);
                        b.assign(alike, binary(BinaryOp::Eq, mine, other));
                        b.increment(step);
                        Ok(())
                    })?;
                    b.choose(
                        Expr::Var(alike),
                        |b| {
                            b.assign(found, Expr::Index(key));
                            b.assign(searching, boolean(false));
                            Ok(())
                        },
                        |b| {
                            let next = binary(BinaryOp::And, Expr::Index(slot.index() + 1), Expr::Index(mask));
                            b.assign(slot, next);
                            Ok(())
                        },
                    )
                },
            )
        })?;
        b.store_at(&storage, &[number], Expr::Var(found));
        b.finish()
    }

    /// How many keys there are, and the table to find them by.
    fn keys(&self, offsets: ValueId, bytes: ValueId) -> Result<(i64, Tensor), LowerError> {
        let (offsets, bytes) = (self.constant_table(offsets)?, self.constant_table(bytes)?);
        let offsets: Vec<usize> = offsets.to_i64s().unwrap_or_default().iter().map(|&o| o as usize).collect();
        let keys: Option<Vec<&[u8]>> =
            offsets.windows(2).map(|pair| bytes.data.bytes().get(pair[0]..pair[1])).collect();
        let keys = keys.filter(|keys| keys.len() < MOST_KEYS && keys.len() + 1 == offsets.len());
        let keys = keys.ok_or_else(|| self.error("the offsets of keys do not fit their bytes"))?;
        let table = key_table(keys.iter().copied());
        Ok((keys.len() as i64, Tensor::from_slice(&[table.len()], &table)))
    }
}
