//! `nnc_abi.h` says the same as the crate `nnc-abi`: sizes, offsets, codes.

mod common;

use std::fmt::Write;
use std::process::Command;

use nnc_runtime::abi::{self, DType, DimKind, Status};

/// `ModelDescriptor` is `model_descriptor` in C.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (i, c) in name.replace("DType", "Dtype").char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn header_and_crate_agree() {
    let mut expected: Vec<(String, u64)> = Vec::new();
    for structure in abi::layout::STRUCTURES {
        let name = snake(structure.name);
        expected.push((format!("sizeof(struct nnc_{name})"), structure.size as u64));
        for (field, offset) in structure.fields {
            expected.push((format!("offsetof(struct nnc_{name}, {field})"), *offset as u64));
        }
    }
    expected.extend(DType::ALL.map(|d| (format!("NNC_{}", d.name().to_uppercase()), d.code().into())));
    for status in Status::ALL {
        expected.push((format!("NNC_{}", snake(&format!("{status:?}")).to_uppercase()), *status as u64));
    }
    for kind in [DimKind::Constant, DimKind::Symbol, DimKind::Expression, DimKind::Data] {
        expected.push((format!("NNC_DIM_{}", format!("{kind:?}").to_uppercase()), kind as u64));
    }
    for arch in abi::Arch::ALL {
        let name = arch.name().to_uppercase();
        expected.push((format!("NNC_ARCH_{name}"), arch as u64));
        for (feature, bit) in abi::features_of(arch) {
            let feature = feature.replace(['.', '-'], "_").to_uppercase();
            expected.push((format!("NNC_{name}_{feature}"), *bit));
        }
    }
    expected.push(("NNC_MAGIC".into(), abi::MAGIC));
    expected.push(("NNC_WEIGHTS_MAGIC".into(), abi::WEIGHTS_MAGIC));
    expected.push(("NNC_ABI_VERSION".into(), abi::ABI_VERSION.into()));
    expected.push(("NNC_ALIGNMENT".into(), abi::ALIGNMENT as u64));
    expected.push(("NNC_FLAG_WEIGHTS_IN_FILE".into(), abi::FLAG_WEIGHTS_IN_FILE.into()));
    expected.push(("NNC_FLAG_STATES".into(), abi::FLAG_STATES.into()));
    expected.push(("NNC_FLAG_ALLOCATES".into(), abi::FLAG_ALLOCATES.into()));
    expected.push(("NNC_TENSOR_ALLOCATED".into(), abi::TENSOR_ALLOCATED.into()));

    let folder = common::folder("c_header");
    let mut program = format!("{}\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n", abi::C_HEADER);
    for (expression, _) in &expected {
        writeln!(program, "printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    program.push_str("return 0; }\n");
    let (source, binary) = (folder.join("sizes.c"), folder.join("sizes"));
    std::fs::write(&source, program).unwrap();
    if !common::cc(&["-std=c99", "-pedantic", source.to_str().unwrap(), "-o", binary.to_str().unwrap()]) {
        return;
    }
    let output = Command::new(&binary).output().unwrap();
    let found: Vec<u64> = String::from_utf8(output.stdout).unwrap().lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(found.len(), expected.len());
    for ((expression, value), found) in expected.iter().zip(found) {
        assert_eq!(found, *value, "{expression}");
    }
}

#[test]
fn headers_are_valid_c_plus_plus() {
    let folder = common::folder("c_plus_plus");
    let source = folder.join("empty.cpp");
    std::fs::write(&source, "#include \"nnc.h\"\n#include \"nnc.h\"\nint main() { return 0; }\n").unwrap();
    // Syntax only: a C compiler without a C++ one beside it cannot, and is no reason to fail.
    let arguments = ["-fsyntax-only", "-Iinclude", source.to_str().unwrap()];
    let manifest = env!("CARGO_MANIFEST_DIR");
    if let Ok(output) = Command::new("c++").current_dir(manifest).args(["-Wall", "-pedantic"]).args(arguments).output()
    {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A new function of the C API must not take the symbol of somebody's model.
#[test]
fn names_of_functions_are_reserved() {
    let header = include_str!("../include/nnc.h");
    let mut found = 0;
    for (at, prefix) in header.match_indices(abi::MODEL_SYMBOL_PREFIX) {
        let rest = &header[at + prefix.len()..];
        let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        let name = &rest[..end.unwrap()];
        // The placeholder in comments has no name.
        if !name.is_empty() {
            found += 1;
            assert!(abi::RESERVED_MODEL_NAMES.contains(&name), "{name}");
        }
    }
    assert!(found >= 6);
}
