//! What holds for every artifact, shown on the two digit models.

use std::fs;
use std::path::Path;
use std::process::Command;

use nnc_runtime::{Model, Pool, TensorRef, Threads};

use crate::common::{CNN_RIGHT, Digits, TRANSFORMER_RIGHT, compile, folder, run, targets};

pub const MODELS: [(&str, &[i64], usize); 2] =
    [("digits_cnn", &[1, 8, 8], CNN_RIGHT), ("digits_transformer", &[8, 8], TRANSFORMER_RIGHT)];

/// The logits of a batch.
pub fn logits(model: &Model, dims: &[i64], images: &[f32], threads: &Threads) -> Vec<f32> {
    let batch = [&[(images.len() / 64) as i64][..], dims].concat();
    let outputs = model.run_with(&[TensorRef::new(&batch, images)], threads).expect("it runs");
    outputs[0].as_slice::<f32>().expect("floats").to_vec()
}

/// The digits that logits say.
pub fn answers(logits: &[f32]) -> Vec<String> {
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("ten classes");
    logits.chunks(10).map(|row| best(row).to_string()).collect()
}

#[test]
fn every_target_and_batch_size_gives_the_same_answers() {
    let (digits, folder) = (Digits::read(), folder("digits-targets"));
    for (name, dims, right) in MODELS {
        for target in targets() {
            let path = folder.join(format!("{name}-{target}.so"));
            compile(&format!("{name}.onnx"), &path, &["--target", target]);
            let model = Model::load(&path).expect("it loads");
            let whole = logits(&model, dims, &digits.images, &Threads::Serial);
            assert_eq!(digits.right(answers(&whole).iter().map(String::as_str)), right, "{name} {target}");
            for batch in [1, 7, 64] {
                let parts = digits.images.chunks(batch * 64);
                let parts: Vec<f32> = parts.flat_map(|p| logits(&model, dims, p, &Threads::Serial)).collect();
                let scale = whole.iter().fold(0f32, |m, x| m.max(x.abs()));
                let worst = whole.iter().zip(&parts).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(parts.len() == whole.len() && worst <= 1e-5 * scale, "{name} {target} batch {batch}: {worst}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let (digits, folder) = (Digits::read(), folder("digits-threads"));
    for (name, dims, _) in MODELS {
        let path = folder.join("model.so");
        compile(&format!("{name}.onnx"), &path, &[]);
        let model = Model::load(&path).expect("it loads");
        let bits = |threads: &Threads, images: &[f32]| -> Vec<u32> {
            logits(&model, dims, images, threads).iter().map(|x| x.to_bits()).collect()
        };
        let serial = bits(&Threads::Serial, &digits.images);
        for threads in [1, 2, 8] {
            assert!(serial == bits(&Threads::Pool(Pool::new(threads)), &digits.images), "{name}: {threads} threads");
        }
        // Sixteen threads run the one loaded model, each on its own part of the images and on all of them.
        let pool = Threads::Pool(Pool::new(2));
        std::thread::scope(|scope| {
            for i in 0..16 {
                let (bits, serial, digits, pool) = (&bits, &serial, &digits, &pool);
                let part = &digits.images[i * 20 * 64..][..20 * 64];
                scope.spawn(move || {
                    let alone = bits(&Threads::Serial, part);
                    for _ in 0..20 {
                        assert!(alone == bits(if i % 2 == 0 { pool } else { &Threads::Serial }, part));
                    }
                    assert!(*serial == bits(pool, &digits.images));
                });
            }
        });
    }
}

#[test]
fn same_command_same_bytes() {
    let folder = folder("digits-bytes");
    for (name, ..) in MODELS {
        for target in ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"] {
            for extension in ["so", "o", "a"] {
                let path = folder.join(format!("model.{extension}"));
                let build = || {
                    compile(&format!("{name}.onnx"), &path, &["--target", target]);
                    [fs::read(&path).expect("an artifact"), fs::read(folder.join("model.h")).expect("a header")]
                };
                assert!(build() == build(), "{name} {target} .{extension} differs");
            }
        }
    }
}

#[test]
fn libraries_need_nothing() {
    let folder = folder("digits-symbols");
    for (name, ..) in MODELS {
        for target in ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"] {
            let path = folder.join("model.so");
            compile(&format!("{name}.onnx"), &path, &["--target", target]);
            let symbols = |kind: &str, path: &Path| run(Command::new("nm").args(["-D", kind]).arg(path));
            assert_eq!(symbols("--undefined-only", &path), "", "{name} {target}");
            let exported = symbols("--defined-only", &path);
            let mut exported: Vec<&str> = exported.lines().filter_map(|l| l.split(' ').next_back()).collect();
            exported.sort_unstable();
            assert_eq!(exported, ["nnc_model", "nnc_model_model"], "{name} {target}");
        }
    }
}
