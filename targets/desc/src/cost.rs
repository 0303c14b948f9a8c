//! The cost model: what work costs one core of a target, in picoseconds.
//!
//! It serves to choose between ways to compute the same, and to tell which work is worth sharing out between threads; it
//! predicts no time. Who asks counts the work by resource ([`Work`]); the target's [`Rates`] price each unit. Arithmetic and the
//! streams from the levels of memory run side by side: the busiest counts in full, the others by a share. What
//! begins and ends loops, tiles and steps is added, and so is what memory makes a core wait for.

use crate::products::Product;
use crate::rates::Rates;

/// What a kernel or a graph operation does, counted by resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Thousandths of cycles in which arithmetic units are busy.
    pub millicycles: u64,
    /// Thousandths of cycles in which load ports are busy with what the first-level cache holds.
    pub load_millicycles: u64,
    /// Bytes streamed from or to the second-level cache.
    pub l2_bytes: u64,
    /// Bytes streamed from or to the last-level cache.
    pub l3_bytes: u64,
    /// Bytes streamed from or to what is beyond.
    pub memory_bytes: u64,
    /// Bytes from beyond the second level that nothing fetches before they are wanted.
    pub awaited_bytes: u64,
    /// Register tiles.
    pub tiles: u64,
    /// Iterations of parallel loops.
    pub iterations: u64,
    /// Steps.
    pub launches: u64,
}

impl Work {
    /// Adds bytes that stream again and again from a block of memory of `block` bytes: from the level that holds it. The first
    /// level costs no more than the loads themselves.
    #[must_use]
    pub fn streaming(mut self, rates: &Rates, block: u64, bytes: u64) -> Work {
        let level = if block <= rates.l1_bytes * 3 / 4 {
            return self;
        } else if block <= rates.l2_bytes * 3 / 4 {
            &mut self.l2_bytes
        } else if block <= rates.l3_bytes * 3 / 4 {
            &mut self.l3_bytes
        } else {
            &mut self.memory_bytes
        };
        *level = level.saturating_add(bytes);
        self
    }

    /// Does this `times` over.
    #[must_use]
    pub fn times(self, times: u64) -> Work {
        let by = |n: u64| n.saturating_mul(times);
        Work {
            millicycles: by(self.millicycles),
            load_millicycles: by(self.load_millicycles),
            l2_bytes: by(self.l2_bytes),
            l3_bytes: by(self.l3_bytes),
            memory_bytes: by(self.memory_bytes),
            awaited_bytes: by(self.awaited_bytes),
            tiles: by(self.tiles),
            iterations: by(self.iterations),
            launches: by(self.launches),
        }
    }
}

impl std::ops::Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            millicycles: self.millicycles.saturating_add(other.millicycles),
            load_millicycles: self.load_millicycles.saturating_add(other.load_millicycles),
            l2_bytes: self.l2_bytes.saturating_add(other.l2_bytes),
            l3_bytes: self.l3_bytes.saturating_add(other.l3_bytes),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            awaited_bytes: self.awaited_bytes.saturating_add(other.awaited_bytes),
            tiles: self.tiles.saturating_add(other.tiles),
            iterations: self.iterations.saturating_add(other.iterations),
            launches: self.launches.saturating_add(other.launches),
        }
    }
}

impl Rates {
    /// What work costs, in picoseconds.
    pub fn cost(&self, work: &Work) -> u64 {
        let lines = |bytes: u64, price: u64| bytes.saturating_mul(price) / 64;
        // Two that run side by side: the busier in full, the other by a share.
        let beside = |one: u64, other: u64, share: u64| one.max(other).saturating_add(one.min(other) / share);
        let far = work.l2_bytes.saturating_add(work.l3_bytes).saturating_add(work.memory_bytes);
        let loads = work.load_millicycles.saturating_add(lines(far, FILL));
        let core = work.millicycles.max(loads).saturating_mul(self.cycle) / 1000;
        let near = beside(core, lines(work.l2_bytes, self.l2_line), 8);
        let near = beside(near, lines(work.l3_bytes, self.l3_line), 4);
        [
            beside(near, lines(work.memory_bytes, self.memory_line), 2),
            lines(work.awaited_bytes, self.memory_line),
            work.tiles.saturating_mul(self.tile),
            work.iterations.saturating_mul(self.iteration),
            work.launches.saturating_mul(self.launch),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Thousandths of cycles that a line from beyond the first level takes from load ports: it is stored, and loads that missed it
/// are done again. A tile of 28 rows by a vector, whose loads fill the ports, takes 1.2 times as long as one of 14 by 2
/// where both operands stream from the second level.
const FILL: u64 = 1000;

/// Cycles between two multiply-adds into one register.
const LATENCY: u64 = 4;

impl Product {
    /// One summed element of a tile of `rows` by `vectors`: its multiply-adds, or waiting for those of the element before;
    /// and its loads, a broadcast a row and the vectors, two of either a cycle.
    pub fn step(&self, rows: u64, vectors: u64) -> Work {
        let multiplies = rows.saturating_mul(vectors).saturating_mul(10_000) / u64::from(self.per_ten_cycles).max(1);
        let load_millicycles = rows.saturating_add(vectors).saturating_mul(500);
        Work { millicycles: multiplies.max(LATENCY * 1000), load_millicycles, ..Work::default() }
    }
}
