//! `cargo xtask demo`: from the source of nnc to a model that runs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nnc_runtime::{Model, TensorRef, Threads};
use npyz::npz::NpzArchive;

use crate::shell::{cargo, command, nnc, root, run, target};

/// Values of one image.
const PIXELS: usize = 64;
/// Scores of one image.
const DIGITS: usize = 10;

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
    let model = Model::load(&artifact)?;
    let mut runner = nnc_runtime::Runner::new(model, Threads::Serial);
    let mut times = Vec::with_capacity(labels.len());
    let mut right = 0;
    for (image, label) in images.chunks(PIXELS).zip(&labels) {
        let start = Instant::now();
        runner.run(&[TensorRef::new(&[1, 1, 8, 8], image)])?;
        times.push(start.elapsed());
        let logits = runner.output(0);
        let logits = logits.as_slice::<f32>().context("the model gives floats")?;
        right += usize::from(best(logits) == *label);
    }
    times.sort_unstable();

    let dims = [labels.len() as i64, 1, 8, 8];
    let batch = [TensorRef::new(&dims, &images)];
    runner.run(&batch)?;
    let start = Instant::now();
    runner.run(&batch)?;
    let whole = start.elapsed();
    let logits = runner.output(0);
    let logits = logits.as_slice::<f32>().context("the model gives floats")?;
    let together = logits.chunks(DIGITS).zip(&labels).filter(|(row, label)| best(row) == **label).count();
    ensure!(together == right, "one image at a time {right} are right, as one batch {together}");

    let n = labels.len();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("accuracy  {right} of {n} test images ({:.1} %)", 100.0 * right as f64 / n as f64);
    println!("latency   {:.1} µs for one image (median, one thread)", us(times[n / 2]));
    println!("          {:.1} µs for a batch of {n}, {:.2} µs an image", us(whole), us(whole) / n as f64);
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

/// The digit with the highest score.
fn best(logits: &[f32]) -> i64 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.map_or(-1, |i| i as i64)
}
