//! Register tiles of a contraction: how many rows and columns are kept in registers.
//!
//! With R vector registers, a tile of `rows` by `width` elements uses `rows * width / lanes` accumulators and leaves
//! registers for one row of the right operand and a broadcast of the left. Fewer rows go with a wider panel, so that
//! a convolution over a 7-wide image still keeps the multipliers busy.

/// Shape of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Most rows at once.
    pub rows: usize,
    /// Columns: a multiple of the lanes.
    pub width: usize,
}
