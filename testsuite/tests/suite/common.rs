//! What the tests share: places, commands, and the images of digits.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nnc_desc::Target;
use nnc_runtime::DType;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testsuite is a folder of it").to_owned()
}

/// A file of `docs/examples`.
pub fn example(name: &str) -> PathBuf {
    root().join("docs/examples").join(name)
}

/// The `nnc` command.
pub const NNC: &str = env!("CARGO_BIN_EXE_nnc-testsuite");

/// A fresh folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The targets that this machine can run.
pub fn targets() -> Vec<&'static str> {
    let native = Target::parse("native").expect("nnc knows this machine");
    let fits = |name: &&str| {
        let target = Target::parse(name).expect("a target");
        target.arch == native.arch && target.features.iter().all(|f| native.features.has(f))
    };
    ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64", "native"].into_iter().filter(fits).collect()
}

/// Runs a command that must succeed; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// `nnc compile MODEL -o OUTPUT` and more arguments.
pub fn compile(model: &str, output: &Path, more: &[&str]) {
    let mut nnc = Command::new(NNC);
    run(nnc.arg("compile").arg(example(model)).arg("-o").arg(output).args(more));
}

/// Builds a program of `docs/examples/c` in a folder that holds the headers of its models.
pub fn cc(folder: &Path, source: &str, more: &[&str]) -> PathBuf {
    build_with("cc", folder, source, more)
}

/// The same with a compiler other than the system's.
pub fn build_with(compiler: &str, folder: &Path, source: &str, more: &[&str]) -> PathBuf {
    let program = folder.join("program");
    let mut cc = Command::new(compiler);
    cc.current_dir(folder).args(["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I."]);
    run(cc.arg(example("c").join(source)).args(more).arg("-o").arg(&program));
    program
}

/// Runs a program on the file of images; what it printed.
pub fn feed(program: impl AsRef<OsStr>, arguments: &[&str], images: &Path) -> String {
    let stdin = fs::File::open(images).expect("the images");
    run(Command::new(program).args(arguments).stdin(stdin))
}

/// The test images of digits with their labels.
pub struct Digits {
    /// 64 floats each.
    pub images: Vec<f32>,
    pub labels: Vec<i64>,
}

impl Digits {
    pub fn read() -> Digits {
        let mut archive = nnc::npz::Reader::open(&example("digits.npz")).expect("an archive");
        let mut array = |name, dtype| archive.array(name, dtype, |_| Ok(())).expect("an array").expect("it is there");
        let (images, labels) = (array("test_image", DType::F32), array("test_label", DType::I64));
        Digits {
            images: images.view().as_slice::<f32>().expect("floats").to_vec(),
            labels: labels.view().as_slice::<i64>().expect("integers").to_vec(),
        }
    }

    /// Writes the images as the example programs read them.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("images.f32");
        let bytes: Vec<u8> = self.images.iter().flat_map(|x| x.to_le_bytes()).collect();
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// How many of these answers are right.
    pub fn right<'a>(&self, answers: impl Iterator<Item = &'a str>) -> usize {
        let answers: Vec<i64> = answers.map(|a| a.parse().expect("a digit")).collect();
        assert_eq!(answers.len(), self.labels.len());
        answers.iter().zip(&self.labels).filter(|(a, b)| a == b).count()
    }
}

/// What ONNX Runtime gets right of the 500 images; `compare_digits.py` compares image for image.
pub const CNN_RIGHT: usize = 483;
/// The same of the transformer.
pub const TRANSFORMER_RIGHT: usize = 488;
