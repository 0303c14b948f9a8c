//! The C header of a model: constants, indices, and a typed function where shapes are known.
//!
//! Names of tensors come from the model's file and may be anything; `names` makes identifiers of them that differ, and
//! comments hold only text that is what it looks like.

mod names;

use crate::object::descriptor::{describe, symbol_name, type_code};
use names::Names;
use nnc_ir::{DType, Encoding};
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;
use std::fmt::Write;

/// The text; it needs only libc.
pub(crate) fn text(program: &Program) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, program);
    out
}

fn write(out: &mut String, program: &Program) -> std::fmt::Result {
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
        None => writeln!(out, "/* The workspace depends on the input sizes: ask `plan`. */\n")?,
    }
    if all(program).all(|p| p.shape.iter().all(|d| d.as_const().is_some())) {
        function(out, program, &names, &name, &upper)?;
    }
    writeln!(out, "#ifdef __cplusplus\n}}\n#endif\n\n#endif /* NNC_MODEL_{upper}_H */")
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

fn function(out: &mut String, program: &Program, names: &Names, name: &str, upper: &str) -> std::fmt::Result {
    writeln!(
        out,
        "/* Runs the model. `workspace`: {upper}_WORKSPACE_BYTES bytes aligned to 64, or null if that is 0."
    )?;
    writeln!(out, " * `context`: threads to use, or null for none. Answers an enum nnc_status. */")?;
    write!(out, "static inline int32_t {name}_run(")?;
    let mut list = vec![];
    for (name, p) in names.inputs.iter().zip(&program.inputs) {
        list.push(format!("const {} *in_{name}", c_type(p.dtype)));
    }
    for (name, p) in names.outputs.iter().zip(&program.outputs) {
        list.push(format!("{} *out_{name}", c_type(p.dtype)));
    }
    list.push("void *workspace".to_owned());
    list.push("const struct nnc_run_context *context".to_owned());
    writeln!(out, "{})\n{{", list.join(", "))?;
    for (kind, names, element, prefix) in
        [("inputs", &names.inputs, "const void *", "in_"), ("outputs", &names.outputs, "void *", "out_")]
    {
        let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
        // C has no empty arrays.
        let names = if names.is_empty() { "0".to_owned() } else { names.join(", ") };
        writeln!(out, "    {element}const {kind}[] = {{{names}}};")?;
    }
    // Every field by name: C++ has no `{0}` without warnings, C none without braces.
    writeln!(out, "    struct nnc_run_args args;")?;
    let workspace = program.workspace_bytes.as_const().unwrap_or(0);
    let fields = [
        ("inputs", "inputs".to_owned()),
        ("input_dims", "0".to_owned()),
        ("outputs", "outputs".to_owned()),
        ("output_dims", "0".to_owned()),
        ("workspace", "workspace".to_owned()),
        ("workspace_bytes", format!("UINT64_C({workspace})")),
        ("weights", "0".to_owned()),
        ("context", "context".to_owned()),
        ("n_inputs", program.inputs.len().to_string()),
        ("n_outputs", program.outputs.len().to_string()),
        ("fault", "0".to_owned()),
    ];
    for (field, value) in fields {
        writeln!(out, "    args.{field} = {value};")?;
    }
    writeln!(out, "    return {}.run(&args);\n}}\n", symbol_name(program))
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
