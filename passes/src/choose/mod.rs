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
pub(crate) mod stored;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod window;

use decide::Site;
pub(crate) use decide::accumulator_type;
pub use decide::{Choice, Decision, choose};
pub use problem::Problem;
use stored::Stored;
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
    /// How the right operand is stored where it is packed into panels.
    pub(crate) stored: Stored,
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
    /// What it costs, in picoseconds of one core; where sizes are not known, of [`MANY`], on average of those tried.
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

    /// What some work costs on the target at each of the sizes tried, for as much as there is of [`MANY`].
    fn costs(&self, target: &Target, dims: &DimTable, work: &dyn Fn(&Sizes) -> Work) -> Vec<u128> {
        let whole = self.sizes(dims, MANY);
        if self.is_known() {
            return vec![u128::from(target.rates.cost(&work(&whole)))];
        }
        let of_whole = |sizes: Sizes| {
            let cost = u128::from(target.rates.cost(&work(&sizes)));
            cost * u128::from(whole.volume()) / u128::from(sizes.volume().max(1))
        };
        // Where a symbol is too small for a window there is nothing to do.
        let tried = TRIED.into_iter().map(|unknown| self.sizes(dims, unknown)).filter(|sizes| sizes.volume() > 0);
        tried.map(of_whole).collect()
    }

    /// Nanoseconds on one core of what costs so many picoseconds, whatever the sizes come to be.
    pub fn nanoseconds(&self, dims: &DimTable, cost: u64) -> Dim {
        let volume = &(&self.batch * &self.outer) * &(&(&self.rows * &self.columns) * &self.depth);
        nanoseconds(cost, self.sizes(dims, MANY).volume(), &volume)
    }
}

/// All ways to do a contraction, the cheapest first.
pub fn candidates(shape: &Shape, product: &Product, target: &Target, dims: &DimTable) -> Vec<Candidate> {
    let costs = |work: &dyn Fn(&Sizes) -> Work| shape.costs(target, dims, work);
    let ways = if shape.panels { panels::ways(shape, product) } else { vec![] };
    let of_panels =
        |way: Panels| (costs(&|sizes| panels::work(shape, sizes, product, &way, target.rates)), Algorithm::Panels(way));
    let mut ways: Vec<_> = ways.into_iter().map(of_panels).collect();
    if shape.depthwise {
        ways.push((costs(&|sizes| depthwise(sizes, product)), Algorithm::Depthwise));
    }
    ranked(ways)
}

/// Ways by how much longer than the best each takes, on average over the sizes tried: were their times themselves
/// averaged, the smallest sizes, where an element costs the most, would decide alone.
fn ranked(ways: Vec<(Vec<u128>, Algorithm)>) -> Vec<Candidate> {
    let sizes = ways.first().map_or(0, |(costs, _)| costs.len());
    let best: Vec<u128> = (0..sizes).map(|at| ways.iter().map(|(costs, _)| costs[at]).min().unwrap_or(0)).collect();
    let scale = best.iter().sum::<u128>() / (best.len().max(1) as u128).pow(2);
    let cost = |costs: Vec<u128>| {
        let longer = |(cost, best): (u128, &u128)| cost.saturating_mul(scale) / (*best).max(1);
        let sum = costs.into_iter().zip(&best).map(longer).fold(0, u128::saturating_add);
        u64::try_from(sum).unwrap_or(u64::MAX)
    };
    let candidate = |(costs, algorithm)| Candidate { cost: cost(costs), algorithm };
    let mut list: Vec<Candidate> = ways.into_iter().map(candidate).collect();
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
    let tap = Work { millicycles: 1000, ..product.step(1, 1) };
    let taps = rows.saturating_mul(vectors).saturating_mul(sizes.depth);
    Work { launches: 1, ..tap.times(taps) }
}
