//! What is shown of each form; what can be read is read back.

use std::cell::RefCell;

use nnc_desc::Target;
use nnc_ir::{Graph, parse, print};
use nnc_kernels::Program;
use nnc_kernels::plan::Step;
use nnc_passes::choose::{self, Decision};
use nnc_passes::layout::{self, Layout};
use nnc_passes::pipeline::{self, Event, PipelineOptions, Yield};

/// A graph.
pub fn graph(graph: &Graph) -> Result<String, String> {
    let printed = print::graph(graph);
    let again = parse::graph_with(&printed, &parse::Constants::of(graph)).map_err(|e| e.to_string())?;
    if print::graph(&again) == printed { Ok(printed) } else { Err("printing and reading changes the graph".into()) }
}

/// The regions of a graph.
pub fn regions(graph: &Graph) -> Result<String, String> {
    let regions = nnc_passes::regions::fuse(graph);
    regions.verify(graph).map_err(|e| e.to_string())?;
    let printed = nnc_passes::regions::print(&regions.list);
    let again = nnc_passes::regions::parse(&printed).map_err(|e| e.to_string())?;
    if again == regions.list { Ok(printed) } else { Err("printing and reading changes the regions".into()) }
}

/// What a pass between the regions and the program yields.
pub fn plan(graph: &Graph, target: &Target, pass: &str) -> Result<String, String> {
    let printed = RefCell::new(Ok(String::new()));
    let observer = |event: &Event<'_>| {
        let text = match event.yields {
            Yield::Layout(graph, layout) => layout_text(graph, layout),
            Yield::Choices(decisions) => choices_text(decisions),
            _ => return,
        };
        let mut printed = printed.borrow_mut();
        if printed.is_ok() {
            *printed = text;
        }
    };
    let stop_after = Some(pass.to_owned());
    let options = PipelineOptions { stop_after, observer: Some(&observer), ..PipelineOptions::default() };
    pipeline::program(graph, target, &options).map_err(|e| e.to_string())?;
    printed.into_inner()
}

fn layout_text(graph: &Graph, layout: &Layout) -> Result<String, String> {
    let printed = layout::print(graph, layout);
    let again = layout::parse(graph, &printed).map_err(|e| e.to_string())?;
    if again == *layout { Ok(printed) } else { Err("printing and reading changes the layout".into()) }
}

fn choices_text(decisions: &[Decision]) -> Result<String, String> {
    let printed = choose::print(decisions);
    let taken = choose::parse(&printed).map_err(|e| e.to_string())?;
    let mut again = decisions.to_vec();
    choose::take(&mut again, &taken).map_err(|e| e.to_string())?;
    if again == decisions { Ok(printed) } else { Err("printing and reading changes the choices".into()) }
}

/// The regions of a graph, below each the choices made for it, without what they cost, and its steps; of those that it
/// shares with a region above only that.
pub fn program(graph: &Graph, target: &Target) -> Result<String, String> {
    plan(graph, target, "choose")?;
    let lowered = pipeline::program(graph, target, &PipelineOptions::default());
    let lowered = lowered.map_err(|e| e.to_string())?.ok_or("the pipeline stopped early")?;
    check_text(&lowered.program)?;
    let mut text = String::new();
    let mut shown = 0;
    for of in &lowered.regions {
        text += &nnc_passes::regions::print(std::slice::from_ref(&of.region));
        for choice in &of.choices {
            let taken = choice.candidates.first();
            let taken = taken.map_or_else(|| "no way".to_owned(), |taken| taken.algorithm.to_string());
            text += &format!(";   {}: {taken}\n", choice.shape.display(&graph.dims));
        }
        for position in of.steps.clone() {
            let step = &lowered.program.steps[position];
            let name = if position < shown { "in the launch above" } else { step_name(&lowered.program, step) };
            text += &format!(";   {name}\n");
        }
        shown = shown.max(of.steps.end);
    }
    Ok(text)
}

/// Checks that a program's own text reads back.
fn check_text(program: &Program) -> Result<(), String> {
    let printed = nnc_kernels::print::program(program);
    let again = nnc_kernels::parse::program(&printed, &program.constants()).map_err(|e| e.to_string())?;
    if nnc_kernels::print::program(&again) == printed {
        Ok(())
    } else {
        Err("printing and reading changes the program".into())
    }
}

/// What a step does: of a kernel its job, without the number that follows, which others change.
fn step_name<'a>(program: &'a Program, step: &Step) -> &'a str {
    match step {
        Step::Run { kernel, .. } => {
            let name = &program.kernels[kernel.0 as usize].name;
            name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_')
        }
        Step::Bind { .. } => "bind a size",
        Step::Check(_) => "check sizes",
        Step::Allocate { .. } => "allocate memory",
        Step::Release { .. } => "release memory",
        Step::If { .. } => "if",
        Step::While { .. } => "while",
    }
}
