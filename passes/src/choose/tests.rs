//! What is chosen where one way is plainly better.

use super::{Algorithm, Candidate, Fetch, Panels, Shape, candidates};
use nnc_desc::Target;
use nnc_ir::{DType, Dim, DimTable};

fn shape(rows: i64, columns: i64, depth: i64) -> Shape {
    let [rows, columns, depth] = [rows, columns, depth].map(Dim::from);
    Shape {
        batch: Dim::ONE,
        outer: Dim::ONE,
        row_stride: depth.clone(),
        rows,
        columns,
        depth,
        runs: Dim::ONE,
        element_bytes: 4,
        stored: super::stored::Stored::plain(nnc_ir::DType::F32),
        packed: true,
        panels: true,
        depthwise: false,
    }
}

fn list(target: &str, shape: &Shape) -> Vec<Candidate> {
    let target = Target::parse(target).unwrap();
    let product = target.product(DType::F32, DType::F32, DType::F32).unwrap();
    candidates(shape, product, &target, &DimTable::default())
}

fn panels(target: &str, shape: &Shape) -> Panels {
    match list(target, shape).swap_remove(0).algorithm {
        Algorithm::Panels(panels) => panels,
        other => panic!("{other}"),
    }
}

const TARGETS: [&str; 4] = ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"];

#[test]
fn the_cheapest_comes_first_and_nothing_is_named_twice() {
    for target in TARGETS {
        let list = list(target, &shape(128, 768, 768));
        assert!(list.is_sorted_by_key(|candidate| candidate.cost) && list[0].cost > 0);
        let mut names: Vec<String> = list.iter().map(|candidate| candidate.algorithm.to_string()).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}

#[test]
fn weights_that_do_not_stay_in_cache_are_fetched_before_they_are_wanted() {
    for target in ["x86_64-avx2", "x86_64-avx512"] {
        let large = panels(target, &shape(128, 3072, 768));
        assert!(large.panels_outside && large.fetch == Fetch::Next, "{target}: {large}");
        let row = panels(target, &shape(1, 3072, 768));
        assert_ne!(row.fetch, Fetch::Nothing, "{target}: {row}");
        assert_eq!(panels(target, &shape(3136, 64, 64)).fetch, Fetch::Nothing, "{target}");
        let read_in_place = Shape { packed: false, ..shape(128, 3072, 768) };
        assert_eq!(panels(target, &read_in_place).fetch, Fetch::Nothing, "{target}");
    }
}

#[test]
fn few_rows_go_with_wide_panels() {
    for (target, width) in [("x86_64-avx2", 24), ("x86_64-avx512", 64)] {
        assert_eq!(panels(target, &shape(1, 384, 512)).tile.width, width, "{target}");
    }
}

/// Twenty-eight rows a multiple of 4 KiB apart evict each other from the first-level cache.
#[test]
fn rows_that_share_a_set_of_the_cache_make_low_tiles() {
    let apart = |stride: i64| Shape { row_stride: Dim::from(stride), ..shape(504, 16, 3072) };
    let cost = |stride| {
        let list = list("x86_64-avx512", &apart(stride));
        let of_tile = |c: &&Candidate| matches!(&c.algorithm, Algorithm::Panels(p) if p.tile.rows == 28);
        list.iter().find(of_tile).unwrap().cost
    };
    assert!(cost(3072) > cost(3088), "{} {}", cost(3072), cost(3088));
}

#[test]
fn rows_known_at_run_time_are_served_at_every_number() {
    let mut dims = DimTable::default();
    let rows = Dim::sym(dims.fresh("n", 0, i64::MAX, None));
    for target in TARGETS {
        let some = panels(target, &Shape { rows: rows.clone(), ..shape(1, 768, 768) });
        // Neither a block as high as all rows nor a single one.
        assert!(some.block.as_const().is_some_and(|block| block >= some.tile.rows as i64), "{target}: {some}");
    }
}

/// The weights of a late layer pass once over all rows: an image of 504 pixels has 31 there, not 504.
#[test]
fn sizes_known_at_run_time_are_those_of_their_symbols() {
    let mut dims = DimTable::default();
    let pixels = dims.new_symbol(nnc_ir::SymbolInfo::input("pixels"));
    let rows = Dim::sym(pixels).floor_div(&Dim::from(16));
    let late = Shape { outer: rows.clone(), rows, ..shape(1, 384, 1728) };
    let target = Target::parse("x86_64-avx512").unwrap();
    let product = target.product(DType::F32, DType::F32, DType::F32).unwrap();
    let list = candidates(&late, product, &target, &dims);
    assert!(matches!(&list[0].algorithm, Algorithm::Panels(panels) if panels.panels_outside), "{}", list[0]);
}

#[test]
fn channels_by_themselves() {
    let one =
        Shape { batch: Dim::from(96), outer: Dim::from(56), depthwise: true, runs: Dim::from(3), ..shape(56, 1, 9) };
    for target in TARGETS {
        assert_eq!(list(target, &one)[0].algorithm, Algorithm::Depthwise, "{target}");
        let only = Shape { panels: false, ..one.clone() };
        assert_eq!(list(target, &only).len(), 1);
        let none = Shape { depthwise: false, ..only };
        assert!(list(target, &none).is_empty());
    }
}

/// Where an element costs a hundred times as much at one size, three in a hundred there weigh no more than elsewhere.
#[test]
fn ways_are_ranked_by_how_much_longer_than_the_best_they_take() {
    let way = |rows| Algorithm::Panels(Panels { block: Dim::from(rows), ..panels("x86_64", &shape(1, 16, 16)) });
    let ranked = super::ranked(vec![(vec![100_000, 1200, 1200], way(1)), (vec![103_000, 1000, 1000], way(2))]);
    assert_eq!(ranked[0].algorithm, way(2));
    // Where one size is known, the cost is the time.
    let known = super::ranked(vec![(vec![7], way(1)), (vec![5], way(2))]);
    assert_eq!(known.iter().map(|candidate| candidate.cost).collect::<Vec<_>>(), [5, 7]);
}

/// The loads of a tile of one vector fill the ports, so that lines from the second level delay it.
#[test]
fn operands_that_stream_make_tiles_of_many_loads_dear() {
    let of_tile = |depth: i64, rows: usize| {
        let list = list("x86_64-avx512", &Shape { row_stride: Dim::from(16), ..shape(504, 768, depth) });
        let found = list.iter().find(|c| matches!(&c.algorithm, Algorithm::Panels(p) if p.tile.rows == rows));
        found.unwrap().cost as f64
    };
    assert!(of_tile(768, 28) > 1.1 * of_tile(768, 14), "{} {}", of_tile(768, 28), of_tile(768, 14));
    assert!(of_tile(64, 28) < 1.1 * of_tile(64, 14), "{} {}", of_tile(64, 28), of_tile(64, 14));
}

#[test]
fn costs_grow_with_sizes_known_at_run_time() {
    let mut dims = DimTable::default();
    let n = dims.fresh("n", 0, i64::MAX, None);
    let shape = Shape { rows: Dim::sym(n), ..shape(1, 768, 768) };
    let cost = list("x86_64-avx2", &shape)[0].cost;
    let at = |rows: i64| shape.nanoseconds(&dims, cost).eval(&|_| Some(rows)).unwrap();
    let of_row = cost as f64 / 1000.0 / super::MANY as f64;
    for rows in [1, 100, 10_000] {
        let ratio = at(rows) as f64 / (rows as f64 * of_row);
        assert!((0.5..2.0).contains(&ratio), "{rows}: {ratio}");
    }
}
