//! Candidates of register tiles over panels of columns: tile, rows of a block, and which loop is outside.

use super::{Fetch, Panels, Shape, Sizes};
use nnc_desc::tiles::{self, Tile};
use nnc_desc::{Product, Rates, Work};
use nnc_ir::Dim;

/// Most register tiles of one block: more iterations serve more threads.
const MOST_TILES: u64 = 8;

/// Cycles, in thousandths, of an instruction that widens a vector: beside multiply-adds there are two a cycle.
const CONVERSION: u64 = 500;

/// Cycles, in thousandths, that a tile spends between two runs of its sum.
const NEXT_RUN: u64 = 4000;

/// All ways to run the loops.
pub(super) fn ways(shape: &Shape, product: &Product) -> Vec<Panels> {
    let fetches = shape.packed && product.fetches();
    let fetch: &[Fetch] = if fetches { &[Fetch::Nothing, Fetch::Ahead, Fetch::Next] } else { &[Fetch::Nothing] };
    let mut list = vec![];
    for &(rows, vectors) in product.tiles {
        let tile = Tile { rows, width: vectors * product.lanes() };
        for block in blocks(&shape.rows, rows as u64) {
            for panels_outside in [false, true] {
                let way = |&fetch| Panels { tile, block: Dim::from(block as i64), panels_outside, fetch };
                list.extend(fetch.iter().map(way));
            }
        }
    }
    list
}

/// Numbers of rows to take at once: some tiles, or even parts of all rows.
fn blocks(rows: &Dim, tile: u64) -> Vec<u64> {
    let mut list: Vec<u64> = match rows.as_const() {
        // Some number of rows is in one block, so that the right operand passes once.
        None => [1, 2, 4, MOST_TILES, 2 * MOST_TILES].iter().map(|tiles| tiles * tile).collect(),
        Some(rows) => {
            let rows = rows.max(1).unsigned_abs();
            let even = |tiles: u64| rows.div_ceil(rows.div_ceil(tiles * tile));
            (1..=MOST_TILES).flat_map(|tiles| [even(tiles), (tiles * tile).min(rows)]).collect()
        }
    };
    list.sort_unstable();
    list.dedup();
    list
}

/// The register tiles of `rows` rows, whose number is known when compiling or not: (rows, how many).
fn tiles_of(rows: u64, most: u64, vectors: u64, known: bool) -> [(u64, u64); 3] {
    let full = if known { 0 } else { rows / most };
    let [larger, smaller] =
        if known { tiles::even(rows, most) } else { tiles::left(rows - full * most, most, vectors) };
    [(most, full), larger, smaller]
}

/// What a choice makes a core do.
pub(super) fn work(shape: &Shape, sizes: &Sizes, product: &Product, panels: &Panels, rates: &Rates) -> Work {
    let Sizes { outer, rows, columns, depth, runs, .. } = *sizes;
    let (lanes, width) = (product.lanes() as u64, panels.tile.width as u64);
    let block = panels.block.as_const().map_or(rows, i64::unsigned_abs).clamp(1, rows.max(1));
    let (full, rest) = (rows / block, rows % block);
    let blocks = rows.div_ceil(block);
    let panel_count = columns.div_ceil(width);
    let last = columns - (panel_count.max(1) - 1) * width;

    // One pass of all rows over all panels.
    let stride = shape.row_stride.as_const().map(|n| n.unsigned_abs().saturating_mul(shape.element_bytes));
    // A block of numbers with a zero point and scale of its own is a run.
    let runs = shape.stored.block.map_or(runs, |block| runs.max(depth / block.max(1) as u64));
    let next_runs = Work { millicycles: runs.saturating_mul(NEXT_RUN), ..Work::default() };
    let conversions = |vectors: u64| Work {
        millicycles: vectors.saturating_mul(shape.stored.conversions()).saturating_mul(CONVERSION),
        ..Work::default()
    };
    let (mut pass, mut tile_count, mut conflicts) = (Work::default(), 0u64, 0u64);
    for (rows, times) in [(block, full), (rest, u64::from(rest > 0))] {
        for (rows, count) in tiles_of(rows, panels.tile.rows as u64, width / lanes, shape.rows.as_const().is_some()) {
            let each = |columns: u64| {
                let vectors = columns.div_ceil(lanes);
                (product.step(rows, vectors) + conversions(vectors)).times(depth) + next_runs
            };
            let all = each(width).times(panel_count.saturating_sub(1)) + each(last);
            pass = pass + all.times(count * times);
            tile_count += count * times;
            let evicted = stride.map_or(0, |stride| evicted(rows, stride, rates.l1_bytes));
            conflicts = conflicts.saturating_add(evicted.saturating_mul(count * times));
        }
    }
    let pass = Work {
        l2_bytes: conflicts.saturating_mul(depth).saturating_mul(panel_count),
        tiles: tile_count.saturating_mul(panel_count),
        iterations: blocks.saturating_mul(panel_count),
        ..pass
    };

    // What streams: the panel of a tile, the rows of a block, and whichever operand passes again and again.
    let row = depth.saturating_mul(shape.element_bytes);
    let panel = depth.saturating_mul(width).saturating_mul(shape.stored.bits()) / 8;
    let right = panel.saturating_mul(panel_count);
    let left = row.saturating_mul(rows);
    let tiles_of_panel = tile_count.saturating_mul(outer).max(1);
    let work = if panels.panels_outside {
        fetching(pass.times(outer), panels.fetch, rates, right, tiles_of_panel)
            .streaming(rates, panel, right.saturating_mul(tiles_of_panel - 1))
            .streaming(rates, left.saturating_mul(outer), left.saturating_mul(outer).saturating_mul(panel_count))
    } else {
        let passes = blocks.saturating_mul(outer).max(1);
        let of_block = row.saturating_mul(block);
        let again = right.saturating_mul(passes - 1);
        fetching(pass.times(outer), panels.fetch, rates, right, tiles_of_panel / passes)
            .streaming(rates, right.saturating_add(of_block), again)
            .streaming(rates, panel, right.saturating_mul(tiles_of_panel.saturating_sub(passes)))
            .streaming(
                rates,
                of_block.saturating_add(panel),
                of_block.saturating_mul(passes).saturating_mul(panel_count),
            )
    };
    let result = rows.saturating_mul(columns).saturating_mul(outer).saturating_mul(shape.element_bytes);
    let work = work.streaming(rates, result, result).times(sizes.batch);
    Work { launches: 1, ..work }
}

/// Bytes by which the addresses of one set of a first-level cache differ.
const WAY: u64 = 4096;

/// Bytes that every element of a sum brings back from the second level, as rows of the left operand evict each other from
/// the first: rows a multiple of a way apart share a set. An eighth of a line for each row too many; a tile of 28 rows
/// 12 KiB apart takes 1.5 times as long as one of 14.
fn evicted(rows: u64, stride: u64, l1_bytes: u64) -> u64 {
    let apart = stride.max(64) % WAY;
    // Sets that the rows fall into: the stride's least power of two walks through all.
    let sets = if apart == 0 { 1 } else { WAY / (1 << apart.trailing_zeros()).max(64) };
    rows.div_ceil(sets).saturating_sub(l1_bytes / WAY) * 8
}

/// Cycles, in thousandths, that fetching a line takes from other loads.
const FETCH: u64 = 500;

/// Adds the first pass of the right operand, of which `tiles` use each panel: it comes from far when it does not fit the
/// second level, and what was not fetched before is waited for.
fn fetching(work: Work, fetch: Fetch, rates: &Rates, right: u64, tiles: u64) -> Work {
    let near = right <= rates.l2_bytes * 3 / 4;
    let fetched = |work: Work, times: u64| Work {
        millicycles: work.millicycles.saturating_add((right / 64).saturating_mul(times * FETCH)),
        memory_bytes: work.memory_bytes.saturating_add(if near { 0 } else { right }),
        ..work
    };
    match fetch {
        // Every tile fetches the whole panel.
        Fetch::Ahead => fetched(work, tiles),
        Fetch::Next => fetched(work, 1),
        Fetch::Nothing if near => work,
        Fetch::Nothing => Work { awaited_bytes: work.awaited_bytes.saturating_add(right), ..work },
    }
}
