//! What an operation of the graph costs, in picoseconds of one core: its work, priced by the target's rates
//! (`targets/desc/src/cost.rs`).
//!
//! The model serves to choose between equal programs, not to predict a time. Kernels are not made yet, so what fusion
//! will do is assumed:
//! - views cost next to nothing, for kernels read through them; a transpose that moves data is a kernel that touches
//!   memory element by element, or in runs where the last axis stays;
//! - elementwise operations, moves of elements and reductions are computed on the way to something else: they pay their
//!   instructions and a share of a step that stores their result;
//! - all others are kernels of their own and pay for a step, and for what they read and write at the rate of the cache
//!   that holds it;
//! - what such a kernel needs in memory, and no other kernel ends in, a step more stores: [`Costs::stored`].
//!
//! Where a size is not known, several are tried, as for the choices of kernels ([`crate::choose::TRIED`]); each counts by
//! what it costs an element of the unknown axis.

use crate::choose::{MANY, TRIED, assumed};
use crate::regions::role::{Role, role};
use nnc_desc::{Target, Work, operations};
use nnc_ir::op::{Op, Window};
use nnc_ir::{DType, Dim, DimTable, TensorType};

/// Picoseconds of what only breaks ties: of a view, or of one more axis to sum over.
const TIE: u64 = 1;
/// One elementwise result in so many is stored by a kernel that no product ends in: counted after fusion, over ten models
/// of images and text.
const STORED_SHARE: u64 = 8;
/// Thousandths of a cycle of an instruction that has nothing to wait for: two begin in each.
const INSTRUCTION: u64 = 500;

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

    /// The cost of an operation by the types of its operands and its result.
    pub fn of(&self, op: &Op, args: &[&TensorType], result: &TensorType) -> u64 {
        let ties = match (op, args) {
            (Op::Constant(_) | Op::Dims { .. }, _) => return 0,
            (Op::Iota { .. } | Op::Broadcast { .. } | Op::Reshape { .. } | Op::Bitcast(_) | Op::Slice { .. }, _) => {
                return TIE;
            }
            // A reshape says the same more plainly.
            (Op::Transpose { perm }, [x]) if moves_units_only(x, perm) => return 2 * TIE,
            (Op::Contract { contract, .. }, _) => TIE * contract.len() as u64,
            _ => TIE,
        };
        let work = |sizes: &Sizes| sizes.work(op, args, result);
        let cost = self.mean(args.iter().copied().chain([result]), &work).saturating_add(ties);
        match role(op) {
            Role::Elementwise | Role::Movement | Role::Reduction => cost + self.target.rates.launch / STORED_SHARE,
            Role::View | Role::Anchor | Role::Opaque => cost,
        }
    }

    /// The cost of having a value in memory that is computed on the way to it: a step that writes it, and reading it back.
    pub fn stored(&self, ty: &TensorType) -> u64 {
        self.mean([ty].into_iter(), &|sizes| {
            let bytes = sizes.bytes(ty).saturating_mul(2);
            sizes.moved(bytes, bytes)
        })
    }

    /// The cost of reading a constant that could as well be computed.
    pub fn read(&self, ty: &TensorType) -> u64 {
        self.mean([ty].into_iter(), &|sizes| {
            let bytes = sizes.bytes(ty);
            Work { launches: 0, ..sizes.moved(bytes, bytes) }
        })
    }

    /// What some work over values of these types costs. Each size tried counts by its cost for [`MANY`] elements of an axis.
    fn mean<'t>(&self, mut types: impl Iterator<Item = &'t TensorType>, work: &dyn Fn(&Sizes) -> Work) -> u64 {
        let cost = |unknown| self.target.rates.cost(&work(&Sizes { costs: self, unknown }));
        if types.all(|ty| ty.shape.iter().all(|dim| dim.as_const().is_some())) {
            return cost(MANY);
        }
        let weights = TRIED.map(|size| MANY / size);
        let sum = TRIED
            .iter()
            .zip(weights)
            .fold(0u128, |sum, (&size, weight)| sum + u128::from(cost(size)) * u128::from(weight));
        u64::try_from(sum / u128::from(weights.iter().sum::<u64>())).unwrap_or(u64::MAX)
    }
}

/// Sizes in numbers, of which each that is not known is `unknown`, within its bounds.
struct Sizes<'a> {
    costs: &'a Costs<'a>,
    unknown: u64,
}

impl Sizes<'_> {
    fn size(&self, dim: &Dim) -> u64 {
        assumed(dim, self.costs.dims, self.unknown)
    }

    fn volume<'d>(&self, dims: impl IntoIterator<Item = &'d Dim>) -> u64 {
        dims.into_iter().fold(1, |n, dim| n.saturating_mul(self.size(dim)))
    }

    fn bytes(&self, ty: &TensorType) -> u64 {
        self.volume(&ty.shape).saturating_mul(ty.dtype.size() as u64)
    }

    fn vector_bytes(&self) -> u64 {
        self.costs.target.vector_bytes().max(16) as u64
    }

    /// `count` instructions for each vector of a value.
    fn each_vector(&self, ty: &TensorType, count: u64) -> Work {
        let vectors = self.bytes(ty).div_ceil(self.vector_bytes());
        Work { millicycles: vectors.saturating_mul(count * INSTRUCTION), ..Work::default() }
    }

    /// Two instructions for each element of a value: it is moved by itself.
    fn each_element(&self, ty: &TensorType) -> Work {
        Work { millicycles: self.volume(&ty.shape).saturating_mul(2 * INSTRUCTION), ..Work::default() }
    }

    /// A step that moves `bytes` by vectors, of `block` that it touches in all.
    fn moved(&self, block: u64, bytes: u64) -> Work {
        let millicycles = bytes.div_ceil(self.vector_bytes()).saturating_mul(INSTRUCTION);
        Work { millicycles, launches: 1, ..Work::default() }.streaming(self.costs.target.rates, block, bytes)
    }

    /// A share of storing a result and reading it back.
    fn share_of_storing(&self, ty: &TensorType) -> Work {
        let bytes = self.bytes(ty).saturating_mul(2);
        Work { launches: 0, ..self.moved(bytes, bytes / STORED_SHARE) }
    }

    fn work(&self, op: &Op, args: &[&TensorType], result: &TensorType) -> Work {
        let traffic = args.iter().map(|ty| self.bytes(ty)).fold(self.bytes(result), u64::saturating_add);
        let moved = self.moved(traffic, traffic);
        // Vectors hold as many elements as there are of the widest type.
        let alike = args.iter().copied().filter(|ty| ty.shape == result.shape);
        let widest = alike.fold(result, |widest, ty| if ty.dtype.size() > widest.dtype.size() { ty } else { widest });
        let on_the_way = |count| self.each_vector(widest, count) + self.share_of_storing(result);
        match op {
            Op::Unary(f) => on_the_way(operations::unary(*f)),
            Op::Binary(f) => on_the_way(operations::binary(*f)),
            Op::Select | Op::Convert(_) => on_the_way(1),
            Op::Reduce { .. } | Op::ArgReduce { .. } => {
                let read = args.iter().map(|ty| self.each_vector(ty, 1));
                read.fold(self.share_of_storing(result), |sum, work| sum + work)
            }
            Op::Pad { .. } => on_the_way(2),
            Op::Gather { axis, .. } => {
                let run = self.volume(args.first().into_iter().flat_map(|x| x.shape.iter().skip(axis + 1)));
                let together = run.saturating_mul(result.dtype.size() as u64) >= self.vector_bytes();
                if together { on_the_way(2) } else { on_the_way(1) + self.each_element(result) }
            }
            Op::GatherElements { .. } | Op::GatherNd { .. } => on_the_way(1) + self.each_element(result),
            Op::Concat { .. } => moved,
            Op::Transpose { perm } if perm.last().is_some_and(|&last| last + 1 == perm.len()) => moved,
            Op::Contract { batch, contract, out } => {
                let &[lhs, rhs] = args else { return moved };
                moved + self.contraction(batch, contract, [lhs, rhs], *out)
            }
            Op::Conv { window, groups, out } => {
                let &[image, weights] = args else { return moved };
                moved + self.convolution(window, *groups as u64, [image, weights], result, *out)
            }
            Op::Pool { window, .. } | Op::PoolIndex { window } => moved + self.each_vector(result, taps(window)),
            _ => moved + self.each_element(result),
        }
    }

    fn contraction(
        &self,
        batch: &[(usize, usize)],
        contract: &[(usize, usize)],
        [lhs, rhs]: [&TensorType; 2],
        out: DType,
    ) -> Work {
        let free = |ty: &TensorType, side: fn(&(usize, usize)) -> usize| {
            let paired = |axis: &usize| batch.iter().chain(contract).any(|pair| side(pair) == *axis);
            let axes = (0..ty.rank()).filter(|axis| !paired(axis));
            axes.fold(1u64, |n, axis| n.saturating_mul(self.size(&ty.shape[axis])))
        };
        let (rows, columns) = (free(lhs, |pair| pair.0), free(rhs, |pair| pair.1));
        let along = |pairs: &[(usize, usize)]| self.volume(pairs.iter().filter_map(|&(left, _)| lhs.shape.get(left)));
        self.tiles([lhs.dtype, rhs.dtype, out], rows, columns, along(contract)).times(along(batch))
    }

    fn convolution(
        &self,
        window: &Window,
        groups: u64,
        [image, weights]: [&TensorType; 2],
        result: &TensorType,
        out: DType,
    ) -> Work {
        let channels = |ty: &TensorType| ty.shape.last().map_or(1, |dim| self.size(dim));
        let depth = taps(window).saturating_mul(channels(image) / groups.max(1)).max(1);
        if groups > 1 {
            // Lanes over channels: a load and a multiply-add for each tap.
            return self.each_vector(result, depth.saturating_mul(2));
        }
        let columns = channels(result);
        let rows = self.volume(&result.shape) / columns.max(1);
        self.tiles([image.dtype, weights.dtype, out], rows, columns, depth)
    }

    /// Register tiles of the target's row for these types, as even as can be.
    fn tiles(&self, [left, right, sum]: [DType; 3], rows: u64, columns: u64, depth: u64) -> Work {
        let Some(product) = self.costs.target.product(left, right, sum) else {
            let multiplies = rows.saturating_mul(columns).saturating_mul(depth);
            return Work { millicycles: multiplies.saturating_mul(2 * INSTRUCTION), ..Work::default() };
        };
        let vectors = columns.div_ceil(product.lanes() as u64);
        let (high, wide) = product.tiles.first().map_or((1, 1), |&(rows, vectors)| (rows as u64, vectors as u64));
        let (down, across) = (rows.div_ceil(high), vectors.div_ceil(wide));
        let even = |size: u64, count: u64| size.div_ceil(count.max(1));
        let step = product.step(even(rows, down), even(vectors, across));
        let tiles = down.saturating_mul(across);
        Work { tiles, ..step.times(tiles.saturating_mul(depth)) }
    }
}

fn taps(window: &Window) -> u64 {
    window.size.iter().fold(1, |n, &size| n.saturating_mul(size as u64))
}

/// Whether a transpose leaves the order in memory as it is.
pub fn moves_units_only(x: &TensorType, perm: &[usize]) -> bool {
    let solid = perm.iter().filter(|&&axis| x.shape.get(axis).is_some_and(|d| !d.is_const(1)));
    solid.is_sorted()
}
