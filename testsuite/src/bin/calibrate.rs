//! Measures the rates of the cost model on this machine, which `cargo xtask calibrate` starts, and prints them as a row
//! of `targets/desc/src/rates.rs`.
//!
//! Each rate is what one more unit adds: the difference between two graphs that differ in it alone, compiled as models
//! are and run on one thread. A graph's time is the least of many; a machine that does other work yields other rates.

use std::process::ExitCode;
use std::time::Instant;

use nnc::driver::{Compilation, Options, Unwatched};
use nnc::errors::{Failure, Result};
use nnc_desc::Target;
use nnc_ir::DType;
use nnc_runtime::{Pool, Runner, TensorRef, Threads};

fn main() -> ExitCode {
    let target = std::env::args().nth(1).unwrap_or_else(|| "native".to_owned());
    match Target::parse(&target).map_err(Failure::from).and_then(|target| calibrate(&target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Picoseconds that a graph over inputs of `f32` takes.
fn time(target: &Target, graph: &str, inputs: &[&[i64]]) -> Result<f64> {
    let options = Options { target: target.clone(), ..Options::native("calibrate")? };
    let graph = nnc_ir::parse::graph(graph).map_err(|e| Failure::internal(format!("{e}\n{graph}")))?;
    let model = Compilation::new(&options, &mut Unwatched)?.load_graph(graph, "calibrate")?;
    let data: Vec<Vec<f32>> = inputs.iter().map(|dims| vec![0.5; dims.iter().product::<i64>() as usize]).collect();
    let tensors: Vec<TensorRef<'_>> = inputs.iter().zip(&data).map(|(dims, data)| TensorRef::new(dims, data)).collect();
    let mut runner = Runner::new(model, Threads::Serial);
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < 0.5 {
        let mut runs = 0;
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < 0.005 {
            runner.run(&tensors)?;
            runs += 1;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(runs));
    }
    Ok(best * 1e12)
}

/// A product of `rows` by `columns` over `depth`.
fn product(target: &Target, rows: i64, columns: i64, depth: i64) -> Result<f64> {
    let graph = format!(
        "graph @g(%0 a: f32[{rows}, {depth}], %1 b: f32[{depth}, {columns}]) -> (y: %2) {{
  %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[{rows}, {columns}]
}}"
    );
    time(target, &graph, &[&[rows, depth], &[depth, columns]])
}

/// The negative of `count` elements.
fn stream(target: &Target, count: i64) -> Result<f64> {
    let graph = format!("graph @g(%0 x: f32[{count}]) -> (y: %1) {{\n  %1 = neg %0 : f32[{count}]\n}}");
    time(target, &graph, &[&[count]])
}

/// Picoseconds for sixty-four bytes more, where `bytes` are read and written in all.
fn line(target: &Target, bytes: u64) -> Result<f64> {
    let count = bytes as i64 / 8;
    Ok((stream(target, count)? - stream(target, count / 2)?) / (bytes as f64 / 2.0 / 64.0))
}

/// `count` kernels of one vector each, each reading what the one before wrote.
fn steps(target: &Target, count: usize) -> Result<f64> {
    let results: Vec<String> = (1..=count).map(|i| format!("y{i}: %{i}")).collect();
    let nodes: Vec<String> = (1..=count).map(|i| format!("  %{i} = neg %{} : f32[16]\n", i - 1)).collect();
    time(target, &format!("graph @g(%0 x: f32[16]) -> ({}) {{\n{}}}", results.join(", "), nodes.concat()), &[&[16]])
}

/// The first half of each of `count` rows.
fn rows(target: &Target, count: i64) -> Result<f64> {
    let graph = format!(
        "graph @g(%0 x: f32[{count}, 32]) -> (y: %1) {{
  %1 = slice %0 starts=[0, 0] sizes=[{count}, 16] steps=[1, 1] : f32[{count}, 16]
}}"
    );
    time(target, &graph, &[&[count, 32]])
}

/// The least picoseconds of a range for which two threads take at most four fifths of what one takes, mostly.
fn worth_sharing() -> f64 {
    let pool = Pool::shared();
    let busy = |seconds: f64| {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            std::hint::spin_loop();
        }
    };
    for nanoseconds in (9..20).map(|power| f64::from(1 << power)) {
        let seconds = nanoseconds * 1e-9;
        let shared = |_: u32| {
            let start = Instant::now();
            pool.parallel_for(2, 1, |range| range.for_each(|_| busy(seconds)));
            start.elapsed().as_secs_f64() <= 1.6 * seconds
        };
        if (0..1000).filter(|&i| shared(i)).count() > 500 {
            return nanoseconds * 1e3;
        }
    }
    f64::INFINITY
}

fn calibrate(target: &Target) -> Result<()> {
    let f32_product = target.product(DType::F32, DType::F32, DType::F32);
    let product_row = f32_product.ok_or_else(|| Failure::internal("no product of f32".to_owned()))?;
    let rates = target.rates;
    let (high, vectors) = product_row.tiles[0];
    let columns = (vectors * product_row.lanes()) as i64;
    // Tiles of which sixteen more elements are summed.
    let (tiles, more) = (8, 64);
    let (short, long) = (
        product(target, tiles * high as i64, columns, more)?,
        product(target, tiles * high as i64, columns, 2 * more)?,
    );
    let step = product_row.step(high as u64, vectors as u64);
    let cycles = (tiles * more) as f64 * step.millicycles.max(step.load_millicycles) as f64 / 1000.0;
    let launch = (steps(target, 33)? - steps(target, 1)?) / 32.0;
    let iteration = (rows(target, 256)? - rows(target, 128)?) / 128.0;
    println!("processor runs  {}: {}", target.name, product_row.name);
    let line_of = |name: &str, measured: f64, now: u64| println!("{name:<15} {measured:>9.0} ps, in the table {now}");
    line_of("cycle", (long - short) / cycles, rates.cycle);
    line_of("l2_line", line(target, rates.l2_bytes / 2)?, rates.l2_line);
    line_of("l3_line", line(target, rates.l3_bytes / 2)?, rates.l3_line);
    line_of("memory_line", line(target, 256 << 20)?, rates.memory_line);
    line_of("tile", (2.0 * short - long - launch) / tiles as f64, rates.tile);
    line_of("iteration", iteration, rates.iteration);
    line_of("launch", launch, rates.launch);
    line_of("fork", worth_sharing(), rates.fork);
    Ok(())
}
