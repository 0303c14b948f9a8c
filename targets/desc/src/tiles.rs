//! Register tiles of a contraction: how many rows and columns are kept in registers.
//!
//! With R vector registers, a tile of `rows` by `width` elements uses `rows * width / lanes` accumulators and leaves
//! registers for one row of the right operand and a broadcast of the left. Fewer rows go with a wider panel, so that
//! a convolution over a 7-wide image still keeps the multipliers busy.
//!
//! Rows whose number is known when compiling are cut into nearly equal tiles ([`even`]), so that no tile is much smaller
//! than the rest. Of a number that a run decides, full tiles leave a rest, for which there are smaller tiles of each
//! number of rows up to [`most_left`]; [`left`] says which of them run.

/// Shape of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Most rows at once.
    pub rows: usize,
    /// Columns: a multiple of the lanes.
    pub width: usize,
}

/// Accumulators that a tile needs to keep the multipliers busy: two begin in each cycle and take four cycles.
const BUSY: u64 = 8;

/// The nearly equal tiles of at most `most` rows: (rows, how many), larger first.
pub fn even(rows: u64, most: u64) -> [(u64, u64); 2] {
    let count = rows.div_ceil(most.max(1)).max(1);
    let (least, larger) = (rows / count, rows % count);
    [(least + 1, larger), (least, if least == 0 { 0 } else { count - larger })]
}

/// Most rows of a tile smaller than one of `most` rows and `vectors` vectors a row. Two tiles of half the rows are as good
/// as one, and need less code, unless each is too small to keep the multipliers busy.
pub fn most_left(most: u64, vectors: u64) -> u64 {
    let half = most.div_ceil(2);
    if half * vectors < BUSY { most.saturating_sub(1) } else { half }
}

/// The tiles of the `rows` rows, fewer than `most`, that full tiles leave.
pub fn left(rows: u64, most: u64, vectors: u64) -> [(u64, u64); 2] {
    even(rows, most_left(most, vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_a_tile_that_there_is() {
        for (most, vectors) in [(14, 2), (9, 3), (7, 4), (28, 1), (24, 1), (6, 2), (4, 3), (12, 1), (2, 1), (1, 1)] {
            for rows in 0..most {
                let tiles = left(rows, most, vectors);
                assert_eq!(tiles.iter().map(|(rows, count)| rows * count).sum::<u64>(), rows, "{rows} of {most}");
                let there_are = |&(rows, count): &(u64, u64)| count == 0 || rows <= most_left(most, vectors);
                assert!(tiles.iter().all(there_are) && tiles[0].1 + tiles[1].1 <= 2, "{rows} of {most}: {tiles:?}");
            }
        }
        assert_eq!(left(13, 14, 2), [(7, 1), (6, 1)]);
        assert_eq!(left(5, 6, 2), [(6, 0), (5, 1)]);
        assert_eq!(even(13, 6), [(5, 1), (4, 2)]);
    }
}
