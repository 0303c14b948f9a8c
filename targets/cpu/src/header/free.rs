//! The typed functions of a model with free dimensions: sizes come first, and each buffer with the room it has, which is
//! compared with what the sizes ask for before the model runs.
//!
//! Every dimension of an input that is no constant is an argument; one that is computed from others is too, and `plan`
//! checks that it is what it must be.

use super::names::{Names, comment, distinct};
use super::{arguments, assign_run, context, tensors};
use crate::object::descriptor::symbol_name;
use nnc_ir::{Dim, Encoding};
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;
use std::fmt::{Result, Write};

/// Writes `NAME_sizes`, `NAME_plan` and `NAME_run`.
pub(super) fn functions(out: &mut String, program: &Program, names: &Names, name: &str, beside: bool) -> Result {
    let free = Free::new(program, names, beside);
    free.sizes(out, names, name)?;
    free.plan(out, names, name)?;
    count(out, name)?;
    free.run(out, names, name)
}

/// What is free about a model.
struct Free<'a> {
    program: &'a Program,
    /// The sizes that are arguments, and their names.
    sizes: Vec<(&'a Dim, String)>,
    /// Whether the weights lie in a file beside the artifact.
    beside: bool,
}

impl<'a> Free<'a> {
    fn new(program: &'a Program, names: &Names, beside: bool) -> Free<'a> {
        let mut dims: Vec<(&Dim, String)> = vec![];
        for (input, name) in program.inputs.iter().zip(&names.inputs) {
            for (axis, dim) in input.shape.iter().enumerate() {
                if dim.as_const().is_some() || dims.iter().any(|(known, _)| *known == dim) {
                    continue;
                }
                let symbol = dim.as_symbol().and_then(|s| program.dims.lookup(s));
                dims.push((dim, symbol.map_or_else(|| format!("{name}_dim{axis}"), |info| info.name.clone())));
            }
        }
        let sizes = distinct(dims.iter().map(|(_, name)| name.as_str()));
        Free { program, sizes: dims.into_iter().map(|(dim, _)| dim).zip(sizes).collect(), beside }
    }

    /// The arguments of the sizes.
    fn parameters(&self) -> Vec<String> {
        self.sizes.iter().map(|(_, name)| format!("int64_t n_{name}")).collect()
    }

    /// An initialiser of the dimensions of all inputs.
    fn input_dims(&self) -> String {
        let text = |dim: &Dim| match self.sizes.iter().find(|(known, _)| *known == dim) {
            Some((_, name)) => format!("n_{name}"),
            None => dim.as_const().unwrap_or(0).to_string(),
        };
        let dims: Vec<String> = self.program.inputs.iter().flat_map(|p| &p.shape).map(text).collect();
        // C has no empty arrays.
        if dims.is_empty() { "0".to_owned() } else { dims.join(", ") }
    }

    /// Dimensions of all outputs, at least one.
    fn output_dims_len(&self) -> usize {
        rank_sum(&self.program.outputs).max(1)
    }

    fn sizes(&self, out: &mut String, names: &Names, name: &str) -> Result {
        writeln!(
            out,
            "/* Sizes of a run: its workspace, and the dimensions of its outputs. */\nstruct {name}_sizes {{"
        )?;
        writeln!(out, "    uint64_t workspace_bytes;")?;
        for (name, p) in names.outputs.iter().zip(&self.program.outputs).filter(|(_, p)| !p.shape.is_empty()) {
            let dims: Vec<String> = p.shape.iter().map(|d| self.program.dims.display(d).to_string()).collect();
            writeln!(out, "    int64_t out_{name}[{}]; /* [{}] */", p.shape.len(), comment(&dims.join(", ")))?;
        }
        writeln!(out, "}};\n")
    }

    /// Copies the dimensions of the outputs to `sizes`.
    fn copy_sizes(&self, out: &mut String, names: &Names, indent: &str) -> Result {
        let fields = names.outputs.iter().zip(&self.program.outputs);
        let fields = fields.flat_map(|(name, p)| (0..p.shape.len()).map(move |axis| (name, axis)));
        for (at, (name, axis)) in fields.enumerate() {
            writeln!(out, "{indent}sizes->out_{name}[{axis}] = output_dims[{at}];")?;
        }
        Ok(())
    }

    fn plan(&self, out: &mut String, names: &Names, name: &str) -> Result {
        writeln!(
            out,
            "/* The sizes of a run with inputs of these sizes; of an output that depends on data, the most. Answers"
        )?;
        writeln!(out, " * an enum nnc_status. */")?;
        let mut list = self.parameters();
        list.push(format!("struct {name}_sizes *sizes"));
        writeln!(out, "static inline int32_t {name}_plan({})\n{{", list.join(", "))?;
        writeln!(out, "    const int64_t input_dims[] = {{{}}};", self.input_dims())?;
        writeln!(out, "    int64_t output_dims[{}];", self.output_dims_len())?;
        writeln!(out, "    struct nnc_plan_result result;\n    int32_t status;")?;
        for (field, value) in [
            ("out_dims", "output_dims"),
            ("workspace_bytes", "0"),
            ("fault_dim", "-1"),
            ("fault_expected", "-1"),
            ("fault.number", "-1"),
            ("fault.left", "0"),
            ("fault.right", "0"),
        ] {
            writeln!(out, "    result.{field} = {value};")?;
        }
        writeln!(out, "    status = {}.plan(input_dims, &result);", symbol_name(self.program))?;
        writeln!(out, "    if (status != NNC_OK) return status;")?;
        writeln!(out, "    sizes->workspace_bytes = result.workspace_bytes;")?;
        self.copy_sizes(out, names, "    ")?;
        writeln!(out, "    return NNC_OK;\n}}\n")
    }

    fn run(&self, out: &mut String, names: &Names, name: &str) -> Result {
        let program = self.program;
        writeln!(
            out,
            "/* Runs the model on inputs of these sizes. Each `len_` is the room of a buffer in elements; one that is"
        )?;
        writeln!(
            out,
            " * too small is refused with NNC_BUFFER_TOO_SMALL. `sizes`: what the outputs turned out to be, or null."
        )?;
        writeln!(
            out,
            " * `workspace`: as many bytes as {name}_plan says, aligned to 64. `context`: {}.",
            context(program)
        )?;
        writeln!(out, " * Answers an enum nnc_status. */")?;
        let mut list = self.parameters();
        for argument in arguments(program, names) {
            list.push(format!("{}{}", argument.declaration, argument.name));
            list.push(format!("uint64_t len_{}", argument.name));
        }
        list.push(format!("struct {name}_sizes *sizes"));
        if self.beside {
            list.push("const void *weights".to_owned());
        }
        list.push("void *workspace".to_owned());
        list.push("uint64_t workspace_bytes".to_owned());
        list.push("const struct nnc_run_context *context".to_owned());
        writeln!(out, "static inline int32_t {name}_run({})\n{{", list.join(", "))?;
        writeln!(out, "    const int64_t input_dims[] = {{{}}};", self.input_dims())?;
        writeln!(out, "    int64_t output_dims[{}];", self.output_dims_len())?;
        tensors(out, names)?;
        writeln!(out, "    struct {name}_sizes planned;\n    struct nnc_run_args args;")?;
        let sizes: Vec<String> = self.sizes.iter().map(|(_, size)| format!("n_{size}, ")).collect();
        writeln!(out, "    int32_t status = {name}_plan({}&planned);", sizes.concat())?;
        writeln!(out, "    if (status != NNC_OK) return status;")?;
        let mut at = 0;
        for (input, p) in names.inputs.iter().zip(&program.inputs) {
            let rank = p.shape.len();
            let needed = numbers(p, &format!("{name}_count(input_dims + {at}, {rank})"));
            writeln!(out, "    if (len_in_{input} < {needed}) return NNC_BUFFER_TOO_SMALL;")?;
            at += rank;
        }
        for (output, p) in names.outputs.iter().zip(&program.outputs) {
            let (rank, dims) = (p.shape.len(), format!("planned.out_{output}"));
            let dims = if rank == 0 { "output_dims" } else { &dims };
            let needed = numbers(p, &format!("{name}_count({dims}, {rank})"));
            writeln!(out, "    if (len_out_{output} < {needed}) return NNC_BUFFER_TOO_SMALL;")?;
        }
        assign_run(out, program, self.beside, ["input_dims", "output_dims", "workspace_bytes"])?;
        writeln!(out, "    status = {}.run(&args);", symbol_name(program))?;
        writeln!(out, "    if (status != NNC_OK || !sizes) return status;\n    *sizes = planned;")?;
        self.copy_sizes(out, names, "    ")?;
        writeln!(out, "    return NNC_OK;\n}}\n")
    }
}

/// How many numbers of its C type a buffer holds, by the elements of its tensor: strings end where the next one begins, the
/// last one too, and narrow elements share bytes.
fn numbers(parameter: &Parameter, elements: &str) -> String {
    match parameter.encoding {
        None => elements.to_owned(),
        Some(Encoding::Strings) => format!("{elements} + 1"),
        Some(encoding) => match 8 / encoding.bits().max(1) {
            1 => elements.to_owned(),
            // Elements may be too many to count, so nothing is added to them.
            shared => format!("{elements} / {shared} + ({elements} % {shared} != 0)"),
        },
    }
}

/// Writes the function that counts the elements of a tensor.
fn count(out: &mut String, name: &str) -> Result {
    writeln!(
        out,
        "/* Elements of a tensor; more than there can be if they are too many to count. */\n\
         static inline uint64_t {name}_count(const int64_t *dims, uint32_t rank)\n\
         {{\n    \
             uint64_t count = 1;\n    \
             uint32_t axis;\n    \
             for (axis = 0; axis < rank; axis++) {{\n        \
                 uint64_t size = dims[axis] < 0 ? 0 : (uint64_t)dims[axis];\n        \
                 if (size != 0 && count > UINT64_MAX / size) return UINT64_MAX;\n        \
                 count *= size;\n    \
             }}\n    \
             return count;\n\
         }}\n"
    )
}

fn rank_sum(parameters: &[Parameter]) -> usize {
    parameters.iter().map(|p| p.shape.len()).sum()
}
