//! The C header of a model: constants, indices, and typed functions (`free`: where sizes are free).
//!
//! Names of tensors come from the model's file and may be anything; `names` makes identifiers of them that differ, and
//! comments hold only text that is what it looks like.

mod free;
mod names;

use crate::object::descriptor::{describe, symbol_name, type_code};
use names::Names;
use nnc_ir::{DType, Encoding, SymbolOrigin};
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;
use std::fmt::Write;

/// The text; it needs only libc.
///
/// `weights_file`: the file that the weights go to, if they go to one, of `weights_bytes` without its trailer.
pub(crate) fn text(program: &Program, weights_file: Option<&str>, weights_bytes: u64) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, program, weights_file.map(|name| (name, weights_bytes)));
    out
}

fn write(out: &mut String, program: &Program, weights: Option<(&str, u64)>) -> std::fmt::Result {
    let name = names::identifier(&program.name);
    let upper = name.to_uppercase();
    let names = Names::new(program);
    writeln!(out, "/* The model {name}, compiled by nnc. Needs only libc. */")?;
    writeln!(out, "#ifndef NNC_MODEL_{upper}_H\n#define NNC_MODEL_{upper}_H\n")?;
    out.push_str(nnc_abi::C_HEADER);
    writeln!(out, "\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n")?;
    writeln!(out, "extern const struct nnc_model_descriptor {};\n", symbol_name(program))?;
    for (kind, parameters, names) in
        [("input", &program.inputs, &names.inputs), ("output", &program.outputs, &names.outputs)]
    {
        let kind_upper = kind.to_uppercase();
        writeln!(out, "/* Positions of {kind}s. */\nenum {name}_{kind} {{")?;
        for (i, name) in names.iter().enumerate() {
            writeln!(out, "    {upper}_{kind_upper}_{} = {i},", name.to_uppercase())?;
        }
        writeln!(out, "    {upper}_{kind_upper}S = {}\n}};\n", parameters.len())?;
        for (name, parameter) in names.iter().zip(parameters) {
            shape(out, program, &format!("{upper}_{}", name.to_uppercase()), parameter)?;
        }
    }
    match program.workspace_bytes.as_const() {
        Some(bytes) => writeln!(out, "#define {upper}_WORKSPACE_BYTES UINT64_C({bytes})\n")?,
        None => writeln!(out, "/* The workspace depends on the input sizes: ask {name}_plan. */\n")?,
    }
    if let Some((file, bytes)) = weights {
        let file = names::comment(file);
        writeln!(
            out,
            "/* The weights lie in the file \"{file}\", which goes with the model: a program maps it, aligned to"
        )?;
        writeln!(out, " * NNC_ALIGNMENT, and passes it to each run. It ends in a struct nnc_weights_trailer. */")?;
        writeln!(out, "#define {upper}_WEIGHTS_BYTES UINT64_C({bytes})\n")?;
    }
    for (i, state) in program.states.iter().enumerate() {
        let (input, output) = (&names.inputs[state.input], &names.outputs[state.output]);
        writeln!(out, "/* State {i}: {output} is kept as {input}. Its block: */")?;
        let input = &program.inputs[state.input];
        let block = Parameter::plain(input.name.as_str(), input.dtype, program.block_shape(state));
        shape(out, program, &format!("{upper}_STATE{i}"), &block)?;
    }
    if !program.states.is_empty() {
        // What has states is run with blocks, which no typed function takes.
    } else if (0..program.outputs.len()).any(|i| program.is_allocated_output(i)) {
        writeln!(
            out,
            "/* How large some outputs are only a run tells (NNC_TENSOR_ALLOCATED): it asks the allocator in its"
        )?;
        writeln!(out, " * context for their memory. No typed function takes them: call `run` of the descriptor. */\n")?;
    } else if all(program).all(|p| p.shape.iter().all(|d| d.as_const().is_some())) {
        function(out, program, &names, &name, &upper, weights.is_some())?;
    } else {
        what_fixing_adds(out, program, &name, &upper)?;
        free::functions(out, program, &names, &name, weights.is_some())?;
    }
    writeln!(out, "#ifdef __cplusplus\n}}\n#endif\n\n#endif /* NNC_MODEL_{upper}_H */")
}

/// Says which macros are not there because sizes are free, and how to get them.
fn what_fixing_adds(out: &mut String, program: &Program, name: &str, upper: &str) -> std::fmt::Result {
    let free = program.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Input && info.min < info.max);
    let free: Vec<String> = free.map(|(_, info)| format!("--dim {}=N", names::comment(&info.name))).collect();
    if free.is_empty() {
        return Ok(());
    }
    writeln!(out, "/* Some sizes are free. Compiled with {}, this header also has", free.join(" "))?;
    writeln!(
        out,
        " * {upper}_WORKSPACE_BYTES and the {upper}_..._ELEMENTS and ..._DIM of all tensors, and {name}_run takes"
    )?;
    writeln!(out, " * neither sizes nor rooms, unless a size depends on data. */\n")
}

fn all(program: &Program) -> impl Iterator<Item = &Parameter> {
    program.inputs.iter().chain(&program.outputs)
}

fn shape(out: &mut String, program: &Program, prefix: &str, parameter: &Parameter) -> std::fmt::Result {
    let texts: Vec<String> = parameter.shape.iter().map(|d| program.dims.display(d).to_string()).collect();
    let shape = names::comment(&texts.join(", "));
    let stored = match parameter.encoding {
        None => "",
        Some(Encoding::Strings) => ": int64_t offsets, one more than strings, into the bytes, which come next",
        Some(encoding) => match encoding.bits() {
            2 => ": four to a uint8_t, the first in the low bits",
            4 => ": two to a uint8_t, the first in the low bits",
            _ => ": a uint8_t each",
        },
    };
    writeln!(out, "/* {}: {}[{shape}]{stored} */", names::comment(&parameter.name), type_code(parameter))?;
    writeln!(out, "#define {prefix}_RANK {}", parameter.shape.len())?;
    let mut elements = Some(1i64);
    for (i, dim) in parameter.shape.iter().enumerate() {
        let (_, _, value) = describe(program, dim);
        match dim.as_const() {
            Some(size) => writeln!(out, "#define {prefix}_DIM{i} {size}")?,
            None if value >= 0 => writeln!(out, "#define {prefix}_DIM{i}_MAX {value}")?,
            None => {}
        }
        elements = elements.and_then(|n| n.checked_mul(dim.as_const()?));
    }
    if let Some(n) = elements {
        writeln!(out, "#define {prefix}_ELEMENTS {n}")?;
    }
    writeln!(out)
}

fn function(
    out: &mut String,
    program: &Program,
    names: &Names,
    name: &str,
    upper: &str,
    beside: bool,
) -> std::fmt::Result {
    writeln!(
        out,
        "/* Runs the model. `workspace`: {upper}_WORKSPACE_BYTES bytes aligned to 64, or null if that is 0."
    )?;
    if beside {
        writeln!(out, " * `weights`: the mapped file of weights.")?;
    }
    writeln!(out, " * `context`: {}. Answers an enum nnc_status. */", context(program))?;
    write!(out, "static inline int32_t {name}_run(")?;
    let arguments = arguments(program, names).into_iter();
    let mut list: Vec<String> = arguments.map(|argument| argument.declaration + &argument.name).collect();
    if beside {
        list.push("const void *weights".to_owned());
    }
    list.push("void *workspace".to_owned());
    list.push("const struct nnc_run_context *context".to_owned());
    writeln!(out, "{})\n{{", list.join(", "))?;
    tensors(out, names)?;
    // Every field by name: C++ has no `{0}` without warnings, C none without braces.
    writeln!(out, "    struct nnc_run_args args;")?;
    let workspace = program.workspace_bytes.as_const().unwrap_or(0);
    assign_run(out, program, beside, ["0", "0", &format!("UINT64_C({workspace})")])?;
    writeln!(out, "    return {}.run(&args);\n}}\n", symbol_name(program))
}

/// What the context of a run is for.
fn context(program: &Program) -> &'static str {
    match program.allocates() {
        true => "threads to use, and the allocator that the run needs",
        false => "threads to use, or null for none",
    }
}

/// An argument of a typed function: a tensor.
struct Argument {
    /// Its type, up to its name.
    declaration: String,
    name: String,
}

/// The tensors as arguments.
fn arguments(program: &Program, names: &Names) -> Vec<Argument> {
    let inputs = names
        .inputs
        .iter()
        .zip(&program.inputs)
        .map(|(name, p)| Argument { declaration: format!("const {} *", c_type(p.dtype)), name: format!("in_{name}") });
    let outputs = names
        .outputs
        .iter()
        .zip(&program.outputs)
        .map(|(name, p)| Argument { declaration: format!("{} *", c_type(p.dtype)), name: format!("out_{name}") });
    inputs.chain(outputs).collect()
}

/// Writes the arrays of pointers to the tensors.
fn tensors(out: &mut String, names: &Names) -> std::fmt::Result {
    for (kind, names, element, prefix) in
        [("inputs", &names.inputs, "const void *", "in_"), ("outputs", &names.outputs, "void *", "out_")]
    {
        let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
        // C has no empty arrays.
        let names = if names.is_empty() { "0".to_owned() } else { names.join(", ") };
        writeln!(out, "    {element}const {kind}[] = {{{names}}};")?;
    }
    Ok(())
}

/// Writes the assignments to the fields of `args`; `sizes` are the dimensions of the inputs and outputs, and the bytes of
/// the workspace. Weights that lie `beside` the artifact are an argument.
fn assign_run(out: &mut String, program: &Program, beside: bool, sizes: [&str; 3]) -> std::fmt::Result {
    let [input_dims, output_dims, workspace_bytes] = sizes;
    let weights = if beside { "weights" } else { "0" };
    let (inputs, outputs) = (program.inputs.len().to_string(), program.outputs.len().to_string());
    let fields = [
        ("inputs", "inputs"),
        ("input_dims", input_dims),
        ("outputs", "outputs"),
        ("output_dims", output_dims),
        ("workspace", "workspace"),
        ("workspace_bytes", workspace_bytes),
        ("weights", weights),
        ("context", "context"),
        ("n_inputs", &inputs),
        ("n_outputs", &outputs),
        ("fault", "0"),
        ("states", "0"),
        ("n_states", "0"),
    ];
    for (field, value) in fields {
        writeln!(out, "    args.{field} = {value};")?;
    }
    Ok(())
}

/// The C type of an element; 16-bit floats are their bits.
fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool | DType::U8 => "uint8_t",
        DType::I8 => "int8_t",
        DType::U16 | DType::F16 | DType::BF16 => "uint16_t",
        DType::I16 => "int16_t",
        DType::U32 => "uint32_t",
        DType::I32 => "int32_t",
        DType::U64 => "uint64_t",
        DType::I64 => "int64_t",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::descriptor::dtype_code;

    #[test]
    fn the_code_of_a_type_is_that_of_the_interface() {
        for dtype in DType::ALL {
            assert_eq!(dtype_code(dtype).name(), dtype.name());
        }
        for &encoding in Encoding::ALL {
            let parameter = Parameter { encoding: Some(encoding), ..Parameter::plain("x", DType::U8, vec![]) };
            let code = type_code(&parameter);
            assert_eq!((code.name(), code.bits() as usize), (encoding.name(), encoding.bits()));
        }
    }

    /// A field that is added to the structure must be set here too.
    #[test]
    fn every_argument_of_a_run_is_set() {
        let source = include_str!("header.rs");
        for (field, _) in nnc_abi::layout::run_args::FIELDS {
            assert!(source.contains(&format!("(\"{field}\", ")), "{field}");
        }
    }
}
