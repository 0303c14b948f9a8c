//! Launches: what is joined and chained, what must not be, and that results stay as they are.

use super::{chain, join, parallelise, share};
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_ir::{DType, Dim, DimTable};
use nnc_kernels::kernel::Access;
use nnc_kernels::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, Step};
use nnc_kernels::{interpret, parse};

/// Elements of each buffer.
const ELEMENTS: i64 = 4096;

/// A program of kernels over buffers of f32: `x` the input, `y` the output, other letters in the workspace. A step is a
/// body in text form over buffers called like that, its items, its work, and whether it is apart.
fn program(steps: &[(&str, i64, i64, bool)]) -> Lowered {
    let mut names: Vec<char> = vec!['x', 'y'];
    let mut kernels = vec![];
    let mut plan = vec![];
    for (body, items, work, apart) in steps {
        let mut read: Vec<char> = vec![];
        let mut written: Vec<char> = vec![];
        for (at, c) in body.char_indices().filter(|(at, _)| body[at + 1..].starts_with('[')) {
            let list = if body[..at].ends_with("store ") { &mut written } else { &mut read };
            if !list.contains(&c) {
                list.push(c);
            }
        }
        read.retain(|c| !written.contains(c));
        let declared = |c: &char, access: &str| format!("{c}: {access} f32 align 4");
        let all = read.iter().map(|c| declared(c, "read")).chain(written.iter().map(|c| declared(c, "write")));
        let list = all.collect::<Vec<_>>().join(", ");
        let text = format!("kernel @k({list}) parallel p in 0..{items} {{\n{body}\n}}\n");
        let mut kernel = parse::kernel(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        kernel.name = format!("k_{}", kernels.len());
        kernels.push(kernel);
        let arguments = read.iter().chain(&written).map(|c| {
            if !names.contains(c) {
                names.push(*c);
            }
            let place = names.iter().position(|name| name == c).unwrap();
            Argument { buffer: BufferId(place as u32), offset: Dim::ZERO }
        });
        plan.push(Step::Run {
            kernel: KernelId(plan.len() as u32),
            arguments: arguments.collect(),
            params: vec![],
            extent: Dim::from(*items),
            work: Dim::from(*work),
            apart: *apart,
            origin: String::new(),
        });
    }
    let parameter = |name: &str| Parameter::plain(name.to_owned(), DType::F32, vec![Dim::from(ELEMENTS)]);
    let buffer = |(at, name): (usize, &char)| Buffer {
        name: name.to_string(),
        dtype: DType::F32,
        bytes: Dim::from(4 * ELEMENTS),
        place: match at {
            0 => Place::Input(0),
            1 => Place::Output(0),
            _ => Place::Workspace { offset: Dim::ZERO },
        },
    };
    let program = Program {
        name: "t".to_owned(),
        dims: DimTable::default(),
        inputs: vec![parameter("x")],
        outputs: vec![parameter("y")],
        weights: vec![],
        buffers: names.iter().enumerate().map(buffer).collect(),
        kernels,
        checks: vec![],
        steps: plan,
        workspace_bytes: Dim::ZERO,
    };
    Lowered { program, regions: vec![] }
}

/// What a program makes of some input, once its buffers have places.
fn run(lowered: &Lowered) -> Vec<u8> {
    let mut program = lowered.program.clone();
    crate::memory::plan(&mut program);
    crate::memory_check::check(&program).unwrap();
    nnc_kernels::verify::program(&program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let bytes = (0..ELEMENTS).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
    interpret::run(&program, &[(vec![ELEMENTS], bytes)]).unwrap_or_else(|e| panic!("{e}\n{program}")).remove(0).1
}

/// How many launches steps become by one of the two ways; their results are compared.
fn launches(way: fn(&mut Lowered, &Target), steps: &[(&str, i64, i64, bool)]) -> u64 {
    let mut lowered = program(steps);
    let before = run(&lowered);
    let target = Target::parse("x86_64-avx2").unwrap();
    way(&mut lowered, &target);
    share(&mut lowered, &target);
    assert_eq!(run(&lowered), before, "{}", lowered.program);
    lowered.program.launches()
}

/// Nanoseconds that are worth sharing out, and that are not.
const LARGE: i64 = 1_000_000;
const SMALL: i64 = 100;

const HALF: &str = "for vector i in 0..32 { store y[32*p + i] = load x[32*p + i] }";
const OTHER_HALF: &str = "for vector i in 0..32 { store y[32*p + i + 2048] = 2.0f32 }";

#[test]
fn independent_steps_are_joined() {
    assert_eq!(launches(join, &[(HALF, 64, LARGE, true), (OTHER_HALF, 64, LARGE, false)]), 1);
    assert_eq!(launches(join, &[(HALF, 64, SMALL, true), (OTHER_HALF, 64, LARGE, false)]), 1);
    let elsewhere = "for vector i in 0..32 { store a[32*p + i] = load x[32*p + i] }";
    assert_eq!(
        launches(join, &[(HALF, 64, LARGE, false), (elsewhere, 64, LARGE, false), (OTHER_HALF, 64, 1, true)]),
        1
    );
}

#[test]
fn steps_that_may_write_the_same_are_not_joined() {
    assert_eq!(launches(join, &[(HALF, 64, LARGE, false), (OTHER_HALF, 64, LARGE, false)]), 2);
}

#[test]
fn a_step_that_reads_the_result_is_not_joined() {
    let first = "for vector i in 0..32 { store a[32*p + i] = load x[32*p + i] }";
    let second = "for vector i in 0..32 { store y[32*p + i] = load a[32*p + i] }";
    assert_eq!(launches(join, &[(first, 128, LARGE, true), (second, 128, LARGE, true)]), 2);
}

#[test]
fn items_of_unlike_work_are_not_joined() {
    assert_eq!(launches(join, &[(HALF, 64, LARGE, true), (OTHER_HALF, 64, 10 * LARGE, true)]), 2);
}

#[test]
fn groups_of_items_are_chained() {
    // Sixteen groups: two items of 128 elements, then eight of 32.
    let first = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    let second = "for vector i in 0..32 { store y[32*p + i] = neg(load a[32*p + i]) }";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (second, 128, LARGE, true)]), 1);
    // Within its group an item may read what others wrote.
    let turned =
        "for vector i in 0..32 { store y[32*p + i] = load a[256*floor(p/8) - 32*p + 256*floor(p/8) + i + 224] }";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (turned, 128, LARGE, true)]), 1);
}

#[test]
fn a_neighbour_of_another_group_forbids_a_chain() {
    let first = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    let next = "for vector i in 0..128 { store y[128*p + i] = load a[128*p + i + 1] }";
    assert_eq!(launches(chain, &[(first, 31, LARGE, true), (next, 30, LARGE, true)]), 2);
    assert_eq!(
        launches(
            chain,
            &[
                (
                    "for vector i in 0..128 { store a[128*p + i] = 1.0f32 }\nfor vector i_2 in 0..128 { store y[128*p + i_2] = 0.0f32 }",
                    32,
                    LARGE,
                    true
                ),
                (
                    "if lt(index(p), index(31)) { for vector i in 0..128 { store b[128*p + i] = load a[128*p + i + 1] } }",
                    32,
                    LARGE,
                    true
                )
            ]
        ),
        2
    );
}

#[test]
fn another_order_of_groups_forbids_a_chain() {
    let first = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    let reversed = "for vector i in 0..128 { store y[128*p + i] = load a[-128*p + i + 3968] }";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (reversed, 32, LARGE, true)]), 2);
    let across = "for i in 0..128 { store y[128*p + i] = load a[32*i + p] }";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (across, 32, LARGE, true)]), 2);
    let denser = "for vector i in 0..64 { store y[64*p + i] = load a[64*p + i] }";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (denser, 32, LARGE, true)]), 2);
}

#[test]
fn small_steps_are_one_group() {
    let first = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    let across = "for i in 0..128 { store y[128*p + i] = load a[32*i + p] }";
    assert_eq!(launches(chain, &[(first, 32, SMALL, true), (across, 32, SMALL, true)]), 1);
}

#[test]
fn a_small_step_gives_way() {
    let first = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    let second = "for vector i in 0..64 { store y[64*p + i] = neg(load a[64*p + i]) }";
    let between = "store b[p] = 1.0f32";
    assert_eq!(launches(chain, &[(first, 32, LARGE, true), (between, 8, SMALL, true), (second, 64, LARGE, true)]), 2);
    // What the second needs stays before it, what the first made after.
    let needed = "store a[p + 4090] = 1.0f32";
    let short = "for vector i in 0..128 { store a[128*p + i] = neg(load x[128*p + i]) }";
    assert_eq!(launches(chain, &[(short, 31, LARGE, false), (needed, 6, SMALL, false), (second, 64, LARGE, true)]), 3);
}

#[test]
fn few_groups_of_much_work_are_not_chained() {
    let first = "for vector i in 0..1024 { store a[1024*p + i] = neg(load x[1024*p + i]) }";
    let second = "for vector i in 0..32 { store y[32*p + i] = neg(load a[32*p + i]) }";
    assert_eq!(launches(chain, &[(first, 4, LARGE, true), (second, 128, LARGE, true)]), 2);
}

#[test]
fn launches_declare_what_they_write() {
    let mut lowered = program(&[(HALF, 64, LARGE, true), (OTHER_HALF, 64, LARGE, true)]);
    join(&mut lowered, &Target::parse("x86_64").unwrap());
    let Some(Step::Run { kernel, apart, .. }) = lowered.program.steps.first() else { panic!("no step") };
    assert!(*apart);
    let kernel = &lowered.program.kernels[kernel.0 as usize];
    assert_eq!(kernel.buffers.iter().filter(|b| b.access == Access::Write).count(), 1, "{kernel:?}");
}

#[test]
fn loops_of_few_iterations_are_shared_together() {
    let nest = "for free i in 0..4 { for free i_2 in 0..5 { for free i_3 in 0..6 {
      for vector i_4 in 0..8 { store y[1000*i + 100*i_2 + 10*i_3 + i_4] = load x[100*i + 700*i_3 + i_4] }
    } } }";
    let steps = [(nest, 1, LARGE, true)];
    assert_eq!(launches(parallelise, &steps), 1);
    let mut lowered = program(&steps);
    parallelise(&mut lowered, &Target::parse("x86_64").unwrap());
    let Some(Step::Run { extent, .. }) = lowered.program.steps.first() else { panic!("no step") };
    assert_eq!(*extent, Dim::from(120));
}
