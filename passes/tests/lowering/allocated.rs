//! Sizes without a bound: memory that steps ask for when it is known how much, and give back.

use super::{check, lowered};
use nnc_kernels::Step;

/// A size that an input holds, and what is computed with it.
const RANGE: &str = "dim n in 0.. from node
    graph @t(%0: i64[1], %1: f32[3]) -> (y: %8) {
      bind_dims %0 symbols=[n]
      %2 = iota dtype=i64 shape=[n, 3] axis=0 : i64[n, 3]
      %3 = convert %2 to=f32 : f32[n, 3]
      %4 = broadcast %1 shape=[n, 3] axes=[1] : f32[n, 3]
      %5 = mul %3, %4 : f32[n, 3]
      %6 = constant f32[3, 2] [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
      %7 = contract %5, %6 batch=[] contract=[(1, 0)] out=f32 : f32[n, 2]
      %8 = reduce %7 op=sum axes=[0] : f32[2]
    }";

#[test]
fn what_is_between_is_allocated() {
    check(RANGE, &[1], 1e-5);
    let program = lowered(RANGE);
    assert!(program.allocates() && !program.is_allocated_output(0));
    let count = |f: fn(&Step) -> bool| program.steps.iter().filter(|step| f(step)).count();
    let asked = count(|step| matches!(step, Step::Allocate { .. }));
    assert!(asked > 0);
    assert_eq!(count(|step| matches!(step, Step::Release { .. })), asked);
}

#[test]
fn outputs_are_allocated() {
    let text = "dim n in 0.. from node
        graph @t(%0: i64[], %1: f32[2]) -> (y: %3, z: %4, e: %5) {
          bind_dims %0 symbols=[n]
          %2 = broadcast %1 shape=[n, 2] axes=[1] : f32[n, 2]
          %3 = exp %2 : f32[n, 2]
          %4 = transpose %3 perm=[1, 0] : f32[2, n]
          %5 = iota dtype=i64 shape=[n, 0] axis=0 : i64[n, 0]
        }";
    check(text, &[1], 1e-5);
    let program = lowered(text);
    assert_eq!([0, 1, 2].map(|i| program.is_allocated_output(i)), [true; 3]);
    assert!(!program.steps.iter().any(|step| matches!(step, Step::Release { .. })), "outputs are the caller's");
}

/// How many elements there are is known when they have been found: as many as could be are asked for.
#[test]
fn what_is_counted_has_the_size_of_what_it_is_among() {
    check(
        "dim n in 0.. from node
         dim count in 0.. <= n from node
         graph @t(%0: i64[1]) -> (y: %4) {
           bind_dims %0 symbols=[n]
           %1 = iota dtype=i64 shape=[n] axis=0 : i64[n]
           %2 = convert %1 to=bool : bool[n]
           %3 = non_zero %2 count=count : i64[count, 1]
           %4 = neg %3 : i64[count, 1]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn branches_ask_for_what_they_yield() {
    check(
        "dim n in 0.. from node
         dim m in 0.. from node
         dim a in 0.. from node
         graph @t(%0: i64[1], %1: bool[], %2: f32[2]) -> (y: %5, z: %6) {
           bind_dims %0 symbols=[n]
           %3 = broadcast %2 shape=[n, 2] axes=[1] : f32[n, 2]
           %4 = exp %3 : f32[n, 2]
           %5 = if %1, %4, %0 varying=[(0, 0)] sizes=[a]
             then=graph @then(%0: f32[n, 2], %1: i64[1]) -> (y: %2) {
               %2 = concat %0, %0 axis=0 : f32[2*n, 2]
             } otherwise=graph @otherwise(%0: f32[n, 2], %1: i64[1]) -> (y: %3) {
               bind_dims %1 symbols=[m]
               %2 = constant f32[2] [7.0, 8.0]
               %3 = broadcast %2 shape=[m, 2] axes=[1] : f32[m, 2]
             } : f32[a, 2]
           %6 = neg %5 : f32[a, 2]
         }",
        &[1],
        1e-5,
    );
}

/// Values grow from iteration to iteration, hand on what another was, and are asked for each time.
#[test]
fn loops_ask_for_what_they_carry() {
    for trip in [0, 1, 5] {
        check(
            &format!(
                "dim n in 0..
                 dim a in 0.. from node
                 dim b in 0.. from node
                 dim trips in 0.. from node
                 graph @t(%0: f32[n], %1: f32[2, n]) -> (a: %4, b: %6) {{
                   %2 = constant i64[] [{trip}]
                   %3 = constant bool[] [true]
                   %4, %5 = loop %2, %3, %0, %1, %0 carried=2 varying=[(0, 0), (1, 1)] sizes=[a, b] trips=trips
                       body=graph @body(%0: i64[], %1: bool[], %2: f32[a], %3: f32[2, b], %4: f32[n])
                       -> (go: %1, a: %5, b: %7) {{
                     %5 = concat %2, %4 axis=0 : f32[a + n]
                     %6 = broadcast %2 shape=[2, a] axes=[1] : f32[2, a]
                     %7 = concat %6, %3 axis=1 : f32[2, a + b]
                   }} : f32[a], f32[2, b]
                   %6 = exp %5 : f32[2, b]
                 }}"
            ),
            &[0, 1, 3],
            1e-5,
        );
    }
}

/// Memory of rounds of a loop, of a size that each round finds.
#[test]
fn rounds_ask_for_what_they_need() {
    check(
        "dim n in 0..
         dim m in 0.. from node
         dim trips in 0..3 <= 3 from node
         graph @t(%0: f32[2]) -> (y: %3) {
           %1 = constant i64[] [3]
           %2 = constant bool[] [true]
           %3 = loop %1, %2, %0 carried=1 varying=[] sizes=[] trips=trips
             body=graph @body(%0: i64[], %1: bool[], %2: f32[2]) -> (go: %1, y: %8) {
             bind_dims %0 symbols=[m]
             %3 = broadcast %2 shape=[m, 2] axes=[1] : f32[m, 2]
             %4 = exp %3 : f32[m, 2]
             %5 = constant f32[2, 2] [1.0, 2.0, 3.0, 4.0]
             %6 = contract %4, %5 batch=[] contract=[(1, 0)] out=f32 : f32[m, 2]
             %7 = neg %6 : f32[m, 2]
             %8 = reduce %7 op=max axes=[0] : f32[2]
           } : f32[2]
         }",
        &[1],
        1e-4,
    );
}

/// What a branch within the rounds of a loop asks for is given back in each round.
#[test]
fn branches_of_rounds_give_back() {
    check(
        "dim n in 0..
         dim m in 0.. from node
         dim a in 0.. from node
         dim trips in 0..3 <= 3 from node
         graph @t(%0: f32[2], %1: bool[]) -> (y: %4) {
           %2 = constant i64[] [3]
           %3 = constant bool[] [true]
           %4 = loop %2, %3, %0, %1 carried=1 varying=[] sizes=[] trips=trips
             body=graph @body(%0: i64[], %1: bool[], %2: f32[2], %3: bool[]) -> (go: %1, y: %8) {
             bind_dims %0 symbols=[m]
             %4 = broadcast %2 shape=[m, 2] axes=[1] : f32[m, 2]
             %5 = exp %4 : f32[m, 2]
             %6 = if %3, %5 varying=[(0, 0)] sizes=[a]
               then=graph @then(%0: f32[m, 2]) -> (y: %1) {
                 %1 = concat %0, %0 axis=0 : f32[2*m, 2]
               } otherwise=graph @otherwise(%0: f32[m, 2]) -> (y: %0) {
               } : f32[a, 2]
             %7 = neg %6 : f32[a, 2]
             %8 = reduce %7 op=max axes=[0] : f32[2]
           } : f32[2]
         }",
        &[1],
        1e-4,
    );
}

/// A branch asks for what a loop in it fills before it is known how much that is.
#[test]
fn what_a_loop_finds_has_the_most_of_its_size() {
    check(
        "dim trips in 0..5 from node
         dim a in 0.. from node
         graph @t(%0: bool[], %1: f32[3]) -> (y: %2) {
           %2 = if %0, %1 varying=[(0, 0)] sizes=[a]
             then=graph @then(%0: f32[3]) -> (y: %4) {
               %1 = constant i64[] [4]
               %2 = constant bool[] [true]
               %3, %4 = loop %1, %2, %0 carried=1 varying=[] sizes=[] trips=trips
                 body=graph @body(%0: i64[], %1: bool[], %2: f32[3]) -> (go: %1, x: %3, y: %3) {
                 %3 = exp %2 : f32[3]
               } : f32[3], f32[trips, 3]
             } otherwise=graph @otherwise(%0: f32[3]) -> (y: %1) {
               %1 = reshape %0 shape=[1, 3] : f32[1, 3]
             } : f32[a, 3]
         }",
        &[1],
        1e-4,
    );
}
