//! Register tiles of a contraction: how many rows and columns are kept in registers.
//!
//! With R vector registers, a tile of `rows` by `width` elements uses `rows * width / lanes` accumulators and leaves
//! registers for one row of the right operand and a broadcast of the left. Fewer rows go with a wider panel, so that
//! a convolution over a 7-wide image still keeps the multipliers busy.

/// Rows assumed when their number is not known: many, and a multiple of every tile's.
const MANY_ROWS: usize = 504;

/// Shape of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Most rows at once.
    pub rows: usize,
    /// Columns: a multiple of the lanes.
    pub width: usize,
}

impl Tile {
    /// The cheapest of some shapes (rows, vectors per row) for a product of `rows` (`None` when not known) by `columns`.
    pub(crate) fn of(shapes: &[(usize, usize)], lanes: usize, rows: Option<usize>, columns: usize) -> Tile {
        let cost = |&(r, v): &(usize, usize)| {
            let panels = columns.div_ceil(v * lanes);
            let tail = rows.unwrap_or(MANY_ROWS);
            let blocks = tail.div_ceil(r);
            // Per summed element: v loads of the right operand and one broadcast per row, against rows * v
            // multiply-adds; two of either start in a cycle.
            let loads = blocks * v + tail;
            let multiplies = tail * v;
            panels * loads.max(multiplies).max(blocks * 8)
        };
        // Of equals, the first; where the number of rows is not known, the one that leaves the fewest over.
        let left_over = |&(r, _): &(usize, usize)| if rows.is_none() { r } else { 0 };
        let best = shapes.iter().min_by_key(|s| (cost(s), left_over(s))).copied().unwrap_or((4, 2));
        Tile { rows: best.0, width: best.1 * lanes }
    }
}
