//! Choices: how the loops of each contraction run.
//!
//! What could be done is a list of candidates, each with what it costs by the target's model; the cheapest is taken, of
//! equals the first. Emission writes the choice down and decides nothing about speed itself.
//!
//! Invariants: a list is empty only where nothing can do it; it depends on sizes, types and the target alone, so that
//! equal problems are solved alike; where a size is not known, several are tried.

pub(crate) mod axes;
mod decide;
mod panels;
pub(crate) mod problem;
mod product;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod window;

use decide::Site;
pub(crate) use decide::accumulator_type;
pub use decide::{Choice, Decision, choose};
pub use problem::Problem;
pub use text::{ChoiceError, Taken, parse, print, take};

use nnc_desc::tiles::Tile;
use nnc_desc::{Product, Target, Work};
use nnc_ir::{Dim, DimTable};

/// Sizes tried where one is not known; what counts is the cost of an element, on average.
pub const TRIED: [u64; 4] = [1, 16, 128, MANY];

/// The largest size tried: many, and a multiple of every tile's rows.
pub const MANY: u64 = 504;

/// The sizes of a sum of products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Independent products.
    pub batch: Dim,
    /// Row axes that no single stride walks, together.
    pub outer: Dim,
    /// Rows that one stride walks.
    pub rows: Dim,
    /// Elements of the left operand from row to row.
    pub row_stride: Dim,
    /// Columns.
    pub columns: Dim,
    /// Products summed for one element.
    pub depth: Dim,
    /// Contiguous runs of which the sum is made.
    pub runs: Dim,
    /// Bytes of an element.
    pub element_bytes: u64,
    /// Whether the right operand is packed into panels, rather than read where it lies.
    pub packed: bool,
    /// Whether register tiles can do it.
    pub panels: bool,
    /// Whether lanes over channels can: each channel is summed over a window of its own, of few taps.
    pub depthwise: bool,
}

/// What a contraction is done by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Register tiles over panels of columns.
    Panels(Panels),
    /// Lanes over channels, the window written out.
    Depthwise,
}

/// How the loops over tiles run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panels {
    /// The register tile.
    pub tile: Tile,
    /// Rows of one parallel iteration.
    pub block: Dim,
    /// Panels outside of rows: each stays in cache while the rows pass. Otherwise all panels pass over each block.
    pub panels_outside: bool,
    /// What is fetched meanwhile.
    pub fetch: Fetch,
}

/// What a tile brings into cache beside its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Nothing.
    Nothing,
    /// Its panel, a little ahead.
    Ahead,
    /// Its part of the next panel.
    Next,
}

/// One way to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is done.
    pub algorithm: Algorithm,
    /// What it costs, in picoseconds of one core; where sizes are not known, of [`MANY`].
    pub cost: u64,
}

/// The sizes of a [`Shape`] in numbers.
#[derive(Clone, Copy)]
struct Sizes {
    batch: u64,
    outer: u64,
    rows: u64,
    columns: u64,
    depth: u64,
    runs: u64,
}

impl Sizes {
    /// Multiply-adds of the whole.
    fn volume(&self) -> u64 {
        [self.outer, self.rows, self.columns, self.depth].into_iter().fold(self.batch, u64::saturating_mul)
    }
}

impl Shape {
    /// The sizes where symbols are `unknown`.
    fn sizes(&self, dims: &DimTable, unknown: u64) -> Sizes {
        let size = |dim: &Dim| assumed(dim, dims, unknown);
        Sizes {
            batch: size(&self.batch),
            outer: size(&self.outer),
            rows: size(&self.rows),
            columns: size(&self.columns),
            depth: size(&self.depth),
            runs: size(&self.runs),
        }
    }

    /// Whether no size depends on a symbol.
    pub fn is_known(&self) -> bool {
        let sizes = [&self.batch, &self.outer, &self.rows, &self.columns, &self.depth, &self.runs];
        sizes.into_iter().all(|size| size.as_const().is_some())
    }

    /// What some work costs on the target, which is asked at several sizes where one is not known.
    fn cost(&self, target: &Target, dims: &DimTable, work: &dyn Fn(&Sizes) -> Work) -> u64 {
        let whole = self.sizes(dims, MANY);
        if self.is_known() {
            return target.rates.cost(&work(&whole));
        }
        let of_whole = |sizes: &Sizes| {
            let cost = u128::from(target.rates.cost(&work(sizes)));
            cost * u128::from(whole.volume()) / u128::from(sizes.volume().max(1))
        };
        // Where a symbol is too small for a window there is nothing to do.
        let tried = TRIED.into_iter().map(|unknown| self.sizes(dims, unknown)).filter(|sizes| sizes.volume() > 0);
        let costs: Vec<u128> = tried.map(|sizes| of_whole(&sizes)).collect();
        let mean = costs.iter().sum::<u128>() / costs.len().max(1) as u128;
        u64::try_from(mean).unwrap_or(u64::MAX)
    }

    /// Nanoseconds on one core of what costs so many picoseconds, whatever the sizes come to be.
    pub fn nanoseconds(&self, dims: &DimTable, cost: u64) -> Dim {
        let volume = &(&self.batch * &self.outer) * &(&(&self.rows * &self.columns) * &self.depth);
        nanoseconds(cost, self.sizes(dims, MANY).volume(), &volume)
    }
}

/// All ways to do a contraction, the cheapest first.
pub fn candidates(shape: &Shape, product: &Product, target: &Target, dims: &DimTable) -> Vec<Candidate> {
    let cost = |work: &dyn Fn(&Sizes) -> Work| shape.cost(target, dims, work);
    let ways = if shape.panels { panels::ways(shape, product) } else { vec![] };
    let of_panels = |way: Panels| Candidate {
        cost: cost(&|sizes| panels::work(shape, sizes, product, &way, target.rates)),
        algorithm: Algorithm::Panels(way),
    };
    let mut list: Vec<Candidate> = ways.into_iter().map(of_panels).collect();
    if shape.depthwise {
        list.push(Candidate { algorithm: Algorithm::Depthwise, cost: cost(&|sizes| depthwise(sizes, product)) });
    }
    list.sort_by_key(|candidate| candidate.cost);
    list
}

/// A work that is known, or so much that it is worth sharing anyway.
pub(crate) fn known(work: Dim) -> Dim {
    if work == Dim::OVERFLOW { Dim::from(i64::MAX >> 8) } else { work }
}

/// A size as the cost model takes it where symbols are `unknown`, within their bounds.
pub(crate) fn assumed(size: &Dim, dims: &DimTable, unknown: u64) -> u64 {
    let value = |symbol| {
        let info = dims.lookup(symbol)?;
        Some((unknown as i64).min(info.max).max(info.min))
    };
    size.eval(&value).map_or(unknown, |n| n.max(0).unsigned_abs())
}

/// Nanoseconds that work of some volume takes, when as much as is assumed of it costs so many picoseconds.
pub fn nanoseconds(cost: u64, assumed: u64, volume: &Dim) -> Dim {
    let assumed = assumed.max(1);
    let cost = (cost / 1000).max(1);
    let rounded = |n: u64, by: u64| Dim::from(((n + by / 2) / by).max(1).min(i64::MAX as u64) as i64);
    match volume.as_const() {
        Some(_) => Dim::from(cost.min(i64::MAX as u64) as i64),
        None if assumed >= cost => volume.floor_div(&rounded(assumed, cost)).max(&Dim::ONE),
        None => volume * &rounded(cost, assumed),
    }
}

/// Each tap of each vector of results is a load and a multiply-add.
fn depthwise(sizes: &Sizes, product: &Product) -> Work {
    let vectors = sizes.batch.div_ceil(product.lanes() as u64);
    let rows = sizes.outer.saturating_mul(sizes.rows);
    let taps = sizes.depth.saturating_mul(product.millicycles(1, 1).min(1000));
    Work { millicycles: rows.saturating_mul(vectors).saturating_mul(taps), launches: 1, ..Work::default() }
}
