//! Outputs kept as inputs of the next run: appended in place, or copied when nothing reads the input any more.

use super::{check_with, planned};
use nnc_kernels::kernel::Access;
use nnc_kernels::plan::{Argument, Place, Program, Step};

/// A decoder's attention: keys and values of one more position behind those of the positions before.
const ATTENTION: &str = "dim past in 0..9
graph @t(%0 q: f32[2, 3, 1, 4], %1 k: f32[2, 3, past, 4], %2 v: f32[2, 3, past, 4], %3 x: f32[2, 1, 12])
    -> (y: %20, k_new: %7, v_new: %9) {
  %4 = reshape %3 shape=[2, 1, 3, 4] : f32[2, 1, 3, 4]
  %5 = transpose %4 perm=[0, 2, 1, 3] : f32[2, 3, 1, 4]
  %6 = exp %5 : f32[2, 3, 1, 4]
  %7 = concat %1, %6 axis=2 : f32[2, 3, past + 1, 4]
  %8 = neg %5 : f32[2, 3, 1, 4]
  %9 = concat %2, %8 axis=2 : f32[2, 3, past + 1, 4]
  %10 = transpose %7 perm=[0, 1, 3, 2] : f32[2, 3, 4, past + 1]
  %11 = contract %0, %10 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[2, 3, 1, past + 1]
  %12 = tanh %11 : f32[2, 3, 1, past + 1]
  %13 = contract %12, %9 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[2, 3, 1, 4]
  %14 = reduce %1 op=sum axes=[2] : f32[2, 3, 4]
  %15 = reshape %14 shape=[2, 3, 1, 4] : f32[2, 3, 1, 4]
  %20 = add %13, %15 : f32[2, 3, 1, 4]
}
";

#[test]
fn what_is_new_is_appended() {
    check_with(ATTENTION, &[(1, 1), (2, 2)], &[0, 1, 5, 9], 1e-6);
    let graph = nnc_ir::parse::graph(ATTENTION).expect("a graph");
    let target = nnc_desc::Target::parse("x86_64-avx2").expect("a target");
    let program = planned(&graph, &target, &[(1, 1), (2, 2)]).expect("a program");
    assert_eq!(program.states.iter().map(|s| s.growth).collect::<Vec<_>>(), [Some((2, 10)); 2]);
    let written = written(&program);
    assert!(written.len() >= 2);
    for argument in written {
        assert_eq!(program.dims.display(&argument.offset).to_string(), "4*past", "only behind what is there");
    }
}

/// What kernels write of states.
fn written(program: &Program) -> Vec<&Argument> {
    let mut found = vec![];
    for step in &program.steps {
        let Step::Run { kernel, arguments, .. } = step else { continue };
        let declared = program.kernels[kernel.0 as usize].buffers.iter();
        let declared = declared.filter(|b| !matches!(b.access, Access::Scratch { .. }));
        let all = declared.zip(arguments);
        found.extend(all.filter(|(b, _)| b.access == Access::Write).map(|(_, argument)| argument));
    }
    found.retain(|a| matches!(program.buffers[a.buffer.0 as usize].place, Place::State(_)));
    found
}

#[test]
fn a_state_of_one_shape_is_read_before_it_is_replaced() {
    let text = "graph @t(%0 h: f32[3, 5], %1 x: f32[3, 5]) -> (h_new: %3, y: %5, first: %0) {
           %2 = add %0, %1 : f32[3, 5]
           %3 = tanh %2 : f32[3, 5]
           %4 = transpose %0 perm=[1, 0] : f32[5, 3]
           %5 = contract %3, %4 batch=[] contract=[(1, 0)] out=f32 : f32[3, 3]
         }";
    check_with(text, &[(0, 0)], &[1], 1e-6);
}

/// Each becomes what the other, or a part of it, was.
#[test]
fn states_change_places() {
    let text = "graph @t(%0 a: f32[2, 3], %1 b: f32[2, 3], %2 c: f32[3, 2], %4 d: f16[2], %5 e: f16[2])
             -> (b: %1, a: %0, c: %3, e: %5, d: %4) {
           %3 = transpose %0 perm=[1, 0] : f32[3, 2]
         }";
    check_with(text, &[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)], &[1], 0.0);
    check_with(text, &[(0, 0), (1, 1)], &[1], 0.0);
}

#[test]
fn a_state_that_stays_or_is_constant() {
    let text = "graph @t(%0 a: f32[2], %1 b: f32[2]) -> (a: %0, b: %2, c: %2) {
           %2 = constant f32[2] [1.0, 2.0]
         }";
    check_with(text, &[(0, 0), (1, 1)], &[1], 0.0);
}

/// Growing at the front, by a part of itself, outermost, by a size of its own, and to a value that is an output as well.
#[test]
fn other_ways_to_grow() {
    let front = "dim n in 0..7
         graph @t(%0 s: f32[2, n], %1 x: f32[2, 3]) -> (s_new: %2) {
           %2 = concat %1, %0 axis=1 : f32[2, n + 3]
         }";
    check_with(front, &[(0, 0)], &[0, 1, 7], 0.0);
    let twice = "dim n in 0..7
         graph @t(%0 s: f32[2, n]) -> (s_new: %1) {
           %1 = concat %0, %0 axis=1 : f32[2, 2*n]
         }";
    check_with(twice, &[(0, 0)], &[0, 1, 7], 0.0);
    let outermost = "dim n in 0..7
         dim m in 1..7
         graph @t(%0 s: f32[n, m, 2], %1 x: f32[n, m, 2]) -> (y: %2, s_new: %2, z: %3) {
           %2 = concat %0, %1 axis=0 : f32[2*n, m, 2]
           %3 = neg %2 : f32[2*n, m, 2]
         }";
    check_with(outermost, &[(0, 1)], &[1, 7], 0.0);
    check_with(outermost, &[(0, 0)], &[1, 7], 0.0);
}

#[test]
fn what_is_no_state_is_refused() {
    let text = "dim n in 0..
graph @t(%0 s: f32[n], %1 x: f32[2], %2 i: i64[2]) -> (s: %3, y: %4) {
  %3 = concat %0, %1 axis=0 : f32[n + 2]
  %4 = neg %1 : f32[2]
}
";
    let graph = nnc_ir::parse::graph(text).expect("a graph");
    let target = nnc_desc::Target::parse("x86_64").expect("a target");
    for (tie, words) in [((0, 0), "has no bound"), ((2, 1), "must agree"), ((9, 0), "no such input")] {
        let error = planned(&graph, &target, &[tie]).expect_err("it is refused").to_string();
        assert!(error.contains(words), "{error}");
    }
}
