//! What `run`, `bench` and `check` share: a model from either kind of file, and threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use nnc_ops::DimRange;
use nnc_runtime::{Model, Pool, Threads};

use crate::driver::{self, Options};
use crate::errors::Result;
use crate::progress;

/// The threads that a command runs a model on.
#[derive(Debug, Clone, clap::Args)]
pub struct ThreadArguments {
    /// Threads; by default as many as the process may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl ThreadArguments {
    /// The threads.
    pub fn threads(&self) -> Threads {
        self.threads.map_or(Threads::Shared, threads)
    }
}

/// So many threads.
pub fn threads(count: u16) -> Threads {
    match count {
        1 => Threads::Serial,
        n => Threads::Pool(Pool::new(usize::from(n))),
    }
}

/// Whether a file is an ONNX model to compile rather than a compiled one.
///
/// The name decides unless the content says otherwise.
pub fn is_source(path: &Path) -> bool {
    let mut magic = [0; 4];
    // Opening a pipe would wait for its writer.
    let regular = path.metadata().is_ok_and(|m| m.is_file());
    let read = regular && File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok();
    if read && [*b"\x7fELF", *b"!<ar"].contains(&magic) {
        return false;
    }
    path.extension().is_none_or(|e| !["so", "o", "a"].iter().any(|known| e == *known))
}

/// Loads a compiled model, or compiles an ONNX file, its dimensions within these ranges, into the memory of this process.
///
/// # Errors
/// When the file is neither, or cannot be run here.
pub fn load(path: &Path, dims: &BTreeMap<String, DimRange>) -> Result<Model> {
    if !is_source(path) {
        return Ok(Model::load(path)?);
    }
    let options = Options { dims: dims.clone(), ..Options::native(crate::name::from_path(path))? };
    let spinner = progress::spinner("compiling");
    let model = driver::load(path, &options);
    spinner.finish_and_clear();
    model
}
