//! What an operation costs on a target, in thousandths of a cycle of one core.
//!
//! The model serves to choose between equal programs, not to predict a time. Views cost next to nothing, for kernels
//! read through them; an elementwise operation is taken to be fused, so it pays its arithmetic and a fraction of its
//! traffic; a transpose pays for strided memory.
//!
//! Symbolic sizes are taken as `NOMINAL`, within their bounds.

use nnc_desc::{Target, operations};
use nnc_ir::op::Op;
use nnc_ir::{Dim, DimTable, TensorType};

/// Assumed size of a symbolic dimension.
const NOMINAL: i64 = 32;
/// Cost of a view: it only breaks ties.
const VIEW: u64 = 10;
/// Cost of starting a kernel that cannot be fused.
const LAUNCH: u64 = 500_000;
/// Cost per byte read or written.
const BYTE: u64 = 125;
/// Cost per byte of an elementwise result: most stay in registers.
const FUSED_BYTE: u64 = BYTE / 8;

/// Costs on one target.
pub struct Costs<'a> {
    target: &'a Target,
    dims: &'a DimTable,
}

impl<'a> Costs<'a> {
    /// Costs on a target; `dims` bounds the symbols.
    pub fn new(target: &'a Target, dims: &'a DimTable) -> Costs<'a> {
        Costs { target, dims }
    }

    fn size(&self, dim: &Dim) -> u64 {
        let nominal = |symbol| {
            let info = self.dims.lookup(symbol)?;
            Some(NOMINAL.min(info.max).max(info.min))
        };
        dim.eval(&nominal).and_then(|n| u64::try_from(n).ok()).unwrap_or(NOMINAL as u64)
    }

    fn count(&self, ty: &TensorType) -> u64 {
        ty.shape.iter().fold(1, |n, d| n.saturating_mul(self.size(d)))
    }

    fn bytes(&self, ty: &TensorType) -> u64 {
        self.count(ty).saturating_mul(ty.dtype.size() as u64)
    }

    /// Cost of one vector instruction for each of `count` elements.
    fn vector(&self, count: u64, ty: &TensorType) -> u64 {
        let lanes = (self.target.vector_bytes() / ty.dtype.size().max(1)).max(1) as u64;
        count.saturating_mul(1000) / lanes
    }

    /// The cost of an operation by the types of its operands and its result.
    pub fn of(&self, op: &Op, args: &[&TensorType], result: &TensorType) -> u64 {
        let traffic = args.iter().map(|ty| self.bytes(ty)).fold(self.bytes(result), u64::saturating_add);
        let moved = traffic.saturating_mul(BYTE).saturating_add(LAUNCH);
        let fused = |weight: u64| {
            let arithmetic = self.vector(self.count(result), result).saturating_mul(weight);
            arithmetic.saturating_add(self.bytes(result).saturating_mul(FUSED_BYTE)).saturating_add(100)
        };
        let products = |depth: u64| {
            // Two multiply-adds per cycle.
            self.vector(self.count(result).saturating_mul(depth), result) / 2
        };
        match op {
            Op::Constant(_) | Op::Dims { .. } => 0,
            Op::Iota { .. } | Op::Broadcast { .. } | Op::Reshape { .. } | Op::Bitcast(_) | Op::Slice { .. } => VIEW,
            Op::Transpose { perm } => match args {
                // A reshape says the same more plainly.
                [x] if moves_units_only(x, perm) => VIEW + 1,
                _ => moved.saturating_mul(2),
            },
            Op::Unary(f) => fused(operations::unary(*f)),
            Op::Binary(f) => fused(operations::binary(*f)),
            Op::Select | Op::Convert(_) => fused(1),
            Op::Reduce { .. } | Op::ArgReduce { .. } => {
                let read = args.iter().map(|ty| self.vector(self.count(ty), ty)).fold(0, u64::saturating_add);
                read.saturating_add(self.bytes(result).saturating_mul(FUSED_BYTE)).saturating_add(1000)
            }
            Op::Contract { contract, .. } => {
                let depth = contract.iter().filter_map(|&(l, _)| args.first()?.shape.get(l));
                let depth = depth.fold(1u64, |n, d| n.saturating_mul(self.size(d)));
                // Several summed axes are walked one by one.
                products(depth).saturating_add(moved).saturating_add(VIEW * contract.len() as u64)
            }
            Op::Conv { window, groups, .. } => {
                let taps = window.size.iter().fold(1u64, |n, &s| n.saturating_mul(s as u64));
                let channels = args.first().and_then(|x| x.shape.last()).map_or(1, |d| self.size(d));
                products(taps.saturating_mul(channels) / (*groups).max(1) as u64).saturating_add(moved)
            }
            Op::Pool { window, .. } | Op::PoolIndex { window } => {
                let taps = window.size.iter().fold(1u64, |n, &s| n.saturating_mul(s as u64));
                self.vector(self.count(result).saturating_mul(taps), result).saturating_add(moved)
            }
            _ => moved,
        }
    }
}

/// Whether a transpose leaves the order in memory as it is.
pub fn moves_units_only(x: &TensorType, perm: &[usize]) -> bool {
    let solid = perm.iter().filter(|&&axis| x.shape.get(axis).is_some_and(|d| !d.is_const(1)));
    solid.is_sorted()
}
