//! Golden files: `golden/STAGE/NAME.nnc` holds a graph, the line `; ----`, and what stands behind that stage.
//!
//! A stage is a pass of the graph, `fuse`, `lay_out`, `choose`, or `program` for all there is; [`text`] says what is shown of each. A first line `; numerics: strict`
//! leaves out the rewrites that change a value. `NNC_BLESS=1` rewrites what follows the line. All text is for one
//! target, so that no file depends on the machine. Whatever is printed reads back as the same, and every form of the
//! graph computes the same ([`agree`]).

mod agree;
mod text;

use std::fs;
use std::path::Path;

use nnc_desc::Target;
use nnc_ir::{Graph, parse, verify};
use nnc_passes::pipeline::{self, Numerics, PipelineOptions};

use crate::common::root;

const LINE: &str = "; ----\n";
const STRICT: &str = "; numerics: strict";
/// Divides the graph into regions.
const FUSE: &str = "fuse";
/// Say where values lie, and how products are done.
const PLAN: [&str; 2] = ["lay_out", "choose"];
/// All passes.
const PROGRAM: &str = "program";

fn graph_passes() -> impl Iterator<Item = &'static str> {
    pipeline::PASSES.iter().filter(|pass| pass.yields_graph()).map(|pass| pass.name)
}

/// The stages that there may be a folder of.
fn stages() -> Vec<&'static str> {
    graph_passes().chain([FUSE, PROGRAM]).chain(PLAN).collect()
}

/// What the files are about.
fn target() -> Target {
    Target::parse("x86_64-avx2").expect("a target")
}

/// Reads a graph that must be right.
fn read(text: &str) -> Result<Graph, String> {
    let graph = parse::graph(text).map_err(|e| e.to_string())?;
    verify::verify(&graph).map_err(|e| e.to_string())?;
    text::graph(&graph)?;
    Ok(graph)
}

/// What a file is to hold after the line.
fn expected(stage: &str, input: &str) -> Result<String, String> {
    let numerics = if input.starts_with(STRICT) { Numerics::Strict } else { Numerics::Default };
    let stop_after = graph_passes().any(|pass| pass == stage).then(|| stage.to_owned());
    let options = PipelineOptions { numerics, stop_after, ..PipelineOptions::default() };
    let before = read(input)?;
    let after = pipeline::optimize(before.clone(), &target(), &options).map_err(|e| e.to_string())?;
    agree::graphs(&before, &after, numerics)?;
    let mut printed = text::graph(&after)?;
    match stage {
        FUSE => printed += &text::regions(&after)?,
        PROGRAM => {
            printed += &text::program(&after, &target())?;
            agree::programs(&before, &after, &target())?;
        }
        _ if PLAN.contains(&stage) => printed += &text::plan(&after, &target(), stage)?,
        _ => {}
    }
    Ok(printed)
}

fn check(stage: &str, file: &Path) -> Result<(), String> {
    let content = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let (input, found) = content.split_once(LINE).unwrap_or((&content, ""));
    let expected = expected(stage, input)?;
    if expected == found {
        return Ok(());
    }
    if std::env::var_os("NNC_BLESS").is_none() {
        return Err(format!("run with NNC_BLESS=1 if this is meant:\n{expected}"));
    }
    fs::write(file, format!("{}\n{LINE}{expected}", input.trim_end())).map_err(|e| e.to_string())
}

#[test]
fn stages_yield_what_the_files_say() {
    let mut wrong = vec![];
    let mut count = 0;
    for folder in fs::read_dir(root().join("testsuite/golden")).expect("golden files") {
        let folder = folder.expect("an entry");
        let name = folder.file_name();
        let stage = stages().into_iter().find(|stage| *stage == name);
        let stage = stage.unwrap_or_else(|| panic!("golden/{} is no stage", name.display()));
        for entry in fs::read_dir(folder.path()).expect("a folder") {
            let file = entry.expect("an entry").path();
            count += 1;
            wrong.extend(check(stage, &file).err().map(|problem| format!("{}: {problem}", file.display())));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 20, "golden files are missing");
}
