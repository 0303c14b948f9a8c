//! ONNX Runtime as a second reference, in a Python process that lives as long as the run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nnc::errors::Result;
use nnc::helper::{Answer, Helper};

/// What ONNX Runtime said of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It wrote `output_J.pb` into every data set.
    Ran,
    /// It does not take the model or its inputs; why.
    Refused(String),
    /// There is no ONNX Runtime here.
    Absent,
}

/// ONNX Runtime, where there is one.
pub struct Oracle(Option<Helper>);

impl Oracle {
    /// The oracle of a Python with `onnxruntime`; of none, one that is absent.
    pub fn new(python: Option<&Path>) -> Oracle {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/fuzz_oracle.py");
        let helper = python.filter(|p| works(p)).map(|python| {
            let mut command = Command::new(python);
            command.arg(script);
            Helper::new(command, Duration::from_secs(60))
        });
        Oracle(helper)
    }

    /// Whether there is an ONNX Runtime.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Runs every data set of a case and writes the outputs beside the inputs.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn ask(&mut self, folder: &Path) -> Result<Opinion> {
        let Some(helper) = &mut self.0 else { return Ok(Opinion::Absent) };
        Ok(match helper.ask(&folder.display().to_string())? {
            Answer::Line(line) if line == "ran" => Opinion::Ran,
            Answer::Line(line) => Opinion::Refused(line),
            Answer::Crashed(end) => Opinion::Refused(format!("ONNX Runtime crashed: {end}")),
            Answer::Silent => Opinion::Refused("ONNX Runtime took too long".to_owned()),
        })
    }
}

fn works(python: &Path) -> bool {
    let probe = Command::new(python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    probe.is_ok_and(|output| output.status.success())
}

/// The Python of the environment that `cargo xtask test` makes, or the one that `NNC_PYTHON` names.
pub fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NNC_PYTHON") {
        return Some(named.into());
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Some(root.join(folder).join("venv/bin/python")).filter(|p| p.exists())
}
