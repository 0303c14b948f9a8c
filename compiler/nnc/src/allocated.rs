//! What a run asks its caller for, by the sizes without a bound that make it so.

use std::collections::BTreeMap;

use nnc_ir::{Dim, Symbol};
use nnc_kernels::{Place, Program, Step};

/// A line for each size without a bound: its name, the node that finds it, how many tensors it makes the run ask for, and
/// the outputs among them.
pub fn lines(program: &Program) -> Vec<String> {
    let mut found = Found::default();
    found.steps(program, &program.steps);
    let line = |(symbol, (tensors, outputs)): (&Symbol, &(usize, Vec<String>))| {
        let name = program.dims.display(&Dim::sym(*symbol)).to_string();
        let by = found.binds.get(symbol).map_or_else(String::new, |origin| format!(", which {origin} finds"));
        let plural = if *tensors == 1 { "" } else { "s" };
        let outputs = match outputs.as_slice() {
            [] => String::new(),
            names => format!(", of which outputs: {}", names.join(", ")),
        };
        format!("{name}{by}: {tensors} tensor{plural}{outputs}")
    };
    found.sizes.iter().map(line).collect()
}

#[derive(Default)]
struct Found {
    /// The node that finds each size.
    binds: BTreeMap<Symbol, String>,
    /// Tensors that mention a size, and outputs.
    sizes: BTreeMap<Symbol, (usize, Vec<String>)>,
}

impl Found {
    fn steps(&mut self, program: &Program, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Bind { symbol, origin, .. } => drop(self.binds.insert(*symbol, origin.clone())),
                Step::Allocate { buffer, bytes, .. } => {
                    let buffer = &program.buffers[buffer.0 as usize];
                    let open = |symbol: &Symbol| Dim::sym(*symbol).greatest(&program.dims).is_none();
                    for symbol in bytes.symbols().into_iter().filter(open) {
                        let (tensors, outputs) = self.sizes.entry(symbol).or_default();
                        *tensors += 1;
                        if let Place::Output(_) = buffer.place
                            && !outputs.contains(&buffer.name)
                        {
                            outputs.push(buffer.name.clone());
                        }
                    }
                }
                Step::If { then, otherwise, .. } => {
                    self.steps(program, then);
                    self.steps(program, otherwise);
                }
                Step::While { body, .. } => self.steps(program, body),
                Step::Run { .. } | Step::Check(_) | Step::Release { .. } => {}
            }
        }
    }
}
