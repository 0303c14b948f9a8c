//! What `nnc compile` says of an artifact when it is done.

use std::time::Duration;

use nnc_cpu::Artifact;
use nnc_ir::Dim;
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;

/// Most outputs that are named.
const NAMED: usize = 4;

/// An artifact in numbers.
#[derive(Clone, Debug)]
pub struct Summary {
    code_bytes: u64,
    weights_bytes: u64,
    workspace: String,
    outputs: Vec<String>,
}

impl Summary {
    /// Of a program and what it became.
    pub fn new(program: &Program, artifact: &Artifact) -> Summary {
        let output = |p: &Parameter| {
            let sizes: Vec<String> = p.shape.iter().map(|d| program.dims.display(d).to_string()).collect();
            format!("{} {} [{}]", p.name, p.dtype, sizes.join(", "))
        };
        let mut outputs: Vec<String> = program.outputs.iter().take(NAMED).map(output).collect();
        let more = program.outputs.len().saturating_sub(NAMED);
        outputs.extend((more > 0).then(|| format!("and {more} more")));
        Summary {
            code_bytes: artifact.code_bytes,
            weights_bytes: artifact.weights_bytes,
            workspace: workspace(program),
            outputs,
        }
    }

    /// The line.
    pub fn line(&self, took: Duration) -> String {
        format!(
            "{:.2} s, code {} bytes, weights {} bytes, workspace {}, outputs {}",
            took.as_secs_f64(),
            self.code_bytes,
            self.weights_bytes,
            self.workspace,
            self.outputs.join(", ")
        )
    }
}

/// How much memory a run takes: in bytes, or by the names of the sizes that say it if the expression is long.
fn workspace(program: &Program) -> String {
    const LONG: usize = 120;
    let (dims, bytes) = (&program.dims, &program.workspace_bytes);
    let text = dims.display(bytes).to_string();
    let mut text = match text.len() <= LONG {
        true => format!("{text} bytes"),
        false => {
            let names: Vec<String> =
                bytes.symbols().into_iter().map(|s| dims.display(&Dim::sym(s)).to_string()).collect();
            format!("by {}", names.join(", "))
        }
    };
    if program.allocates() {
        text += " and what a run asks for";
    }
    text
}

/// A line for each stage with its time, then one with all of it.
pub fn stages(timings: &[(String, Duration)]) -> Vec<String> {
    let line = |name: &str, took: Duration| format!("{name:<20} {:>9.3} s", took.as_secs_f64());
    let all = timings.iter().map(|(_, took)| *took).sum();
    timings.iter().map(|(name, took)| line(name, *took)).chain([line("all", all)]).collect()
}
