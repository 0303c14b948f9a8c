//! The C header of a model: constants, indices, and a typed function where shapes are known.

use crate::object::descriptor::{describe, symbol_name};
use nnc_ir::DType;
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt::Write;

/// The text; it needs only libc.
pub(crate) fn text(program: &Program) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, program);
    out
}

fn write(out: &mut String, program: &Program) -> std::fmt::Result {
    let name = identifier(&program.name);
    let upper = name.to_uppercase();
    writeln!(out, "/* The model {name}, compiled by nnc. Needs only libc. */")?;
    writeln!(out, "#ifndef NNC_MODEL_{upper}_H\n#define NNC_MODEL_{upper}_H\n")?;
    out.push_str(nnc_abi::C_HEADER);
    writeln!(out, "\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n")?;
    writeln!(out, "extern const struct nnc_model_descriptor {};\n", symbol_name(program))?;
    for (kind, parameters) in [("input", &program.inputs), ("output", &program.outputs)] {
        writeln!(out, "/* Positions of {kind}s. */\nenum {name}_{kind} {{")?;
        let names = unique(parameters);
        for (i, name) in names.iter().enumerate() {
            writeln!(out, "    {upper}_{}_{} = {i},", kind.to_uppercase(), name.to_uppercase())?;
        }
        writeln!(out, "    {upper}_{}S = {}\n}};\n", kind.to_uppercase(), parameters.len())?;
        for (parameter, name) in parameters.iter().zip(&names) {
            shape(out, program, &format!("{upper}_{}", name.to_uppercase()), parameter)?;
        }
    }
    match program.workspace_bytes.as_const() {
        Some(bytes) => writeln!(out, "#define {upper}_WORKSPACE_BYTES UINT64_C({bytes})\n")?,
        None => writeln!(out, "/* The workspace depends on the input sizes: ask `plan`. */\n")?,
    }
    if all(program).all(|p| p.shape.iter().all(|d| d.as_const().is_some())) {
        function(out, program, &name, &upper)?;
    }
    writeln!(out, "#ifdef __cplusplus\n}}\n#endif\n\n#endif /* NNC_MODEL_{upper}_H */")
}

fn all(program: &Program) -> impl Iterator<Item = &Parameter> {
    program.inputs.iter().chain(&program.outputs)
}

fn shape(out: &mut String, program: &Program, prefix: &str, parameter: &Parameter) -> std::fmt::Result {
    let texts: Vec<String> = parameter.shape.iter().map(|d| program.dims.display(d).to_string()).collect();
    writeln!(out, "/* {}: {}[{}] */", comment(&parameter.name), parameter.dtype, comment(&texts.join(", ")))?;
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

fn function(out: &mut String, program: &Program, name: &str, upper: &str) -> std::fmt::Result {
    writeln!(
        out,
        "/* Runs the model. `workspace`: {upper}_WORKSPACE_BYTES bytes aligned to 64, or null if that is 0."
    )?;
    writeln!(out, " * `context`: threads to use, or null for none. Answers an enum nnc_status. */")?;
    write!(out, "static inline int32_t {name}_run(")?;
    let arguments = |parameters: &[Parameter], constant: &str, prefix: &str| -> Vec<String> {
        let one = |(p, name): (&Parameter, String)| format!("{constant}{} *{prefix}{name}", c_type(p.dtype));
        parameters.iter().zip(unique(parameters)).map(one).collect()
    };
    let mut list = arguments(&program.inputs, "const ", "in_");
    list.extend(arguments(&program.outputs, "", "out_"));
    list.push("void *workspace".to_owned());
    list.push("const struct nnc_run_context *context".to_owned());
    writeln!(out, "{})\n{{", list.join(", "))?;
    for (kind, parameters, element, prefix) in
        [("inputs", &program.inputs, "const void *", "in_"), ("outputs", &program.outputs, "void *", "out_")]
    {
        let names: Vec<String> = unique(parameters).iter().map(|name| format!("{prefix}{name}")).collect();
        // C has no empty arrays.
        let names = if names.is_empty() { "0".to_owned() } else { names.join(", ") };
        writeln!(out, "    {element}const {kind}[] = {{{names}}};")?;
    }
    writeln!(out, "    struct nnc_run_args args = {{0}};")?;
    writeln!(out, "    args.inputs = inputs;\n    args.outputs = outputs;\n    args.workspace = workspace;")?;
    let workspace = program.workspace_bytes.as_const().unwrap_or(0);
    writeln!(out, "    args.workspace_bytes = UINT64_C({workspace});\n    args.context = context;")?;
    writeln!(out, "    args.n_inputs = {};\n    args.n_outputs = {};", program.inputs.len(), program.outputs.len())?;
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

/// The parameters' names as identifiers that differ, also in capitals.
fn unique(parameters: &[Parameter]) -> Vec<String> {
    let names: Vec<String> = parameters.iter().map(|p| identifier(&p.name)).collect();
    let mut counts: FxHashMap<String, usize> = FxHashMap::default();
    for name in &names {
        *counts.entry(name.to_ascii_uppercase()).or_default() += 1;
    }
    let shared = |name: &str| counts.get(&name.to_ascii_uppercase()).is_some_and(|&n| n > 1);
    let mut taken: FxHashSet<String> = counts.keys().filter(|name| !shared(name)).cloned().collect();
    let one = |(i, name): (usize, &String)| {
        if !shared(name) {
            return name.clone();
        }
        // A number alone may make it the name of another: `a`, `A` and `a_0`.
        let mut own = format!("{name}_{i}");
        while !taken.insert(own.to_ascii_uppercase()) {
            own.push('_');
        }
        own
    };
    names.iter().enumerate().map(one).collect()
}

/// Letters, digits and underscores, not beginning with a digit.
fn identifier(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Text that cannot end a comment.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace(['\n', '\r'], " ")
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
    }

    #[test]
    fn names_differ() {
        let parameter = |name: &str| Parameter { name: name.to_owned(), dtype: DType::F32, shape: vec![] };
        let names = |list: &[&str]| unique(&list.iter().map(|name| parameter(name)).collect::<Vec<_>>());
        assert_eq!(names(&["x", "y"]), ["x", "y"]);
        assert_eq!(names(&["a.b", "A_B", "a_b_0"]), ["a_b_0_", "A_B_1", "a_b_0"]);
        // A search for each of so many would take minutes.
        let many: Vec<String> = (0..50_000).map(|i| format!("x.{}", i % 40_000)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found: FxHashSet<String> = names(&many).into_iter().collect();
        assert_eq!(found.len(), many.len());
    }

    #[test]
    fn names_become_identifiers() {
        assert_eq!(identifier("input.1:0"), "input_1_0");
        assert_eq!(identifier("3d"), "_3d");
        assert_eq!(comment("a*/b"), "a* /b");
    }
}
