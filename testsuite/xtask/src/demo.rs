//! `cargo xtask demo`: from the source of nnc to a model that runs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nnc_runtime::{Model, Runner, TensorRef, Threads};
use npyz::npz::NpzArchive;

use crate::shell::{cargo, command, nnc, root, run, target};

/// Values of one image.
const PIXELS: usize = 64;
/// Scores of one image.
const DIGITS: usize = 10;
/// How often the batch of all images is run.
const BATCH_RUNS: usize = 21;

/// Runs the command.
///
/// # Errors
/// When a step fails.
pub fn demo() -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    let folder = target().join("demo");
    std::fs::create_dir_all(&folder)?;
    let artifact = folder.join("digits_cnn.so");
    run(command(nnc("release")).args(["compile", "docs/examples/digits_cnn.onnx", "-o"]).arg(&artifact))?;
    run(command(nnc("release")).arg("inspect").arg(&artifact))?;

    let (images, labels) = digits(&root().join("docs/examples/digits.npz"))?;
    let mut runner = Runner::new(Model::load(&artifact)?, Threads::Serial);
    let mut times = Vec::with_capacity(labels.len());
    let mut right = 0;
    for (image, label) in images.chunks(PIXELS).zip(&labels) {
        let start = Instant::now();
        runner.run(&[TensorRef::new(&[1, 1, 8, 8], image)])?;
        times.push(start.elapsed());
        right += usize::from(answers(&runner)? == [*label]);
    }

    let dims = [labels.len() as i64, 1, 8, 8];
    let mut batch_times = vec![];
    for _ in 0..BATCH_RUNS {
        let start = Instant::now();
        runner.run(&[TensorRef::new(&dims, &images)])?;
        batch_times.push(start.elapsed());
    }
    let together = answers(&runner)?.iter().zip(&labels).filter(|(answer, label)| answer == label).count();
    ensure!(together == right, "one image at a time {right} are right, as one batch {together}");

    let n = labels.len();
    let (one, whole) = (median_us(times), median_us(batch_times));
    println!("accuracy  {right} of {n} test images ({:.1} %)", 100.0 * right as f64 / n as f64);
    println!("latency   {one:.1} µs for one image, {whole:.0} µs for all as one batch (median, one thread)");
    Ok(())
}

/// The test images, and what each shows.
fn digits(path: &Path) -> Result<(Vec<f32>, Vec<i64>)> {
    let mut archive = NpzArchive::open(path).with_context(|| format!("{}", path.display()))?;
    let images = archive.by_name("test_image")?.context("digits.npz has no test_image")?.into_vec::<f32>()?;
    let labels = archive.by_name("test_label")?.context("digits.npz has no test_label")?.into_vec::<i64>()?;
    ensure!(!labels.is_empty() && images.len() == labels.len() * PIXELS, "digits.npz: images and labels do not match");
    Ok((images, labels))
}

/// The digits with the highest scores of the last run.
fn answers(runner: &Runner) -> Result<Vec<i64>> {
    let logits = runner.output(0).as_slice::<f32>().context("the model gives floats")?;
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    Ok(logits.chunks(DIGITS).map(|row| best(row).map_or(-1, |i| i as i64)).collect())
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |t| t.as_secs_f64() * 1e6)
}
