//! Branches and loops.

use super::{check, lowered};

#[test]
fn branches() {
    let text = |condition: bool| {
        format!(
            "dim n in 0..
             graph @t(%0: f32[n, 4], %1: f32[4]) -> (y: %4, z: %5, u: %6) {{
               %2 = constant bool[] [{condition}]
               %3 = constant f32[4, 3] random=1
               %4, %5, %6 = if %2, %0, %1, %3 varying=[] sizes=[] then=graph @then(%0: f32[n, 4], %1: f32[4], %2: f32[4, 3]) -> (a: %3, b: %1, c: %4) {{
                 %3 = contract %0, %2 batch=[] contract=[(1, 0)] out=f32 : f32[n, 3]
                 %4 = constant i64[2] [5, 6]
               }} otherwise=graph @else(%0: f32[n, 4], %1: f32[4], %2: f32[4, 3]) -> (a: %4, b: %5, c: %6) {{
                 %3 = exp %0 : f32[n, 4]
                 %4 = slice %3 starts=[0, 1] sizes=[n, 3] steps=[1, 1] : f32[n, 3]
                 %5 = neg %1 : f32[4]
                 %6 = iota dtype=i64 shape=[2] axis=0 : i64[2]
               }} : f32[n, 3], f32[4], i64[2]
             }}"
        )
    };
    check(&text(true), &[0, 1, 5], 1e-5);
    check(&text(false), &[0, 1, 5], 1e-5);
}

#[test]
fn a_branch_with_a_size_of_its_own() {
    check(
        "dim n in 0..
         dim count in 0.. <= n from node
         graph @t(%0: f32[n], %1: bool[]) -> (y: %2) {
           %2 = if %1, %0 varying=[] sizes=[] then=graph @then(%0: f32[n]) -> (a: %6) {
             %1 = floor %0 : f32[n]
             %2 = non_zero %1 count=count : i64[count, 1]
             %3 = gather %0, %2 axis=0 batch=0 : f32[count, 1]
             %4 = reduce %3 op=sum axes=[0, 1] : f32[]
             %6 = exp %4 : f32[]
           } otherwise=graph @else(%0: f32[n]) -> (a: %1) {
             %1 = constant f32[] [2.5]
           } : f32[]
         }",
        &[0, 1, 9],
        1e-5,
    );
}

/// Branches whose results differ in size: as an output, as an operand, beside a result of one size, in a concatenation.
#[test]
fn branches_of_different_sizes() {
    for condition in [true, false] {
        let text = format!(
            "dim n in 0..
             dim count in 0.. <= n from node
             dim a in 0.. <= n + 2 from node
             dim b in 0.. <= 4 from node
             graph @t(%0: f32[n, 3]) -> (y: %2, z: %3, u: %5, v: %6) {{
               %1 = constant bool[] [{condition}]
               %2, %3 = if %1, %0 varying=[(0, 0), (1, 1)] sizes=[a, b] then=graph @then(%0: f32[n, 3]) -> (a: %2, b: %4) {{
                 %1 = constant f32[2, 3] random=1
                 %2 = concat %1, %0 axis=0 : f32[n + 2, 3]
                 %3 = constant f32[3, 4] random=2
                 %4 = contract %0, %3 batch=[] contract=[(1, 0)] out=f32 : f32[n, 4]
               }} otherwise=graph @else(%0: f32[n, 3]) -> (a: %5, b: %0) {{
                 %1 = reduce %0 op=max axes=[1] : f32[n]
                 %2 = floor %1 : f32[n]
                 %3 = non_zero %2 count=count : i64[count, 1]
                 %4 = gather %0, %3 axis=0 batch=0 : f32[count, 1, 3]
                 %5 = reshape %4 shape=[count, 3] : f32[count, 3]
               }} : f32[a, 3], f32[n, b]
               %4 = constant f32[1, 3] random=3
               %5 = concat %4, %2 axis=0 : f32[a + 1, 3]
               %6 = reduce %3 op=sum axes=[1] : f32[n]
             }}"
        );
        check(&text, &[0, 1, 5], 1e-5);
    }
}

/// A branch that takes a part of what it captures, of a size that it checks first.
#[test]
fn a_branch_that_assumes_a_size() {
    for (condition, sizes) in [(true, &[0, 3, 5, 9][..]), (false, &[5])] {
        let text = format!(
            "dim n in 0..
             dim five in 5..5 from node
             dim a in 0.. <= max(5, n) from node
             graph @t(%0: f32[n]) -> (y: %2) {{
               %1 = constant bool[] [{condition}]
               %2 = if %1, %0 varying=[(0, 0)] sizes=[a] then=graph @then(%0: f32[n]) -> (a: %1) {{
                 %1 = neg %0 : f32[n]
               }} otherwise=graph @else(%0: f32[n]) -> (a: %4) {{
                 %1 = dims dims=[n] scalar=true : i64[]
                 bind_dims %1 symbols=[five]
                 %2 = slice %0 starts=[0] sizes=[5] steps=[1] : f32[5]
                 %3 = constant f32[5] random=1
                 %4 = add %2, %3 : f32[5]
               }} : f32[a]
             }}"
        );
        check(&text, sizes, 1e-6);
    }
}

#[test]
fn loops_carry_values() {
    // Two values that change places, one that stays, one that is computed; a captured constant and a captured value.
    for trip in [-1i64, 0, 1, 4] {
        check(
            &format!(
                "dim n in 0..
                 dim trips in 0.. from node
                 graph @t(%0: f32[n], %1: f32[n], %2: f32[n], %3: f32[n]) -> (a: %7, b: %8, c: %9, d: %10, e: %11) {{
                   %4 = constant i64[] [{trip}]
                   %5 = constant bool[] [true]
                   %6 = constant f32[] [0.5]
                   %7, %8, %9, %10 = loop %4, %5, %0, %1, %2, %0, %3, %6 carried=4 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[],
                       %2: f32[n], %3: f32[n], %4: f32[n], %5: f32[n], %6: f32[n], %7: f32[]) -> (go: %1, a: %3, b: %2, c: %4, d: %12) {{
                     %8 = convert %0 to=f32 : f32[]
                     %9 = mul %8, %7 : f32[]
                     %10 = broadcast %9 shape=[n] axes=[] : f32[n]
                     %11 = add %5, %10 : f32[n]
                     %12 = mul %11, %6 : f32[n]
                   }} : f32[n], f32[n], f32[n], f32[n]
                   %11 = dims dims=[trips] scalar=true : i64[]
                 }}"
            ),
            &[0, 1, 5],
            1e-5,
        );
    }
}

#[test]
fn loops_stop_and_scan() {
    check(
        "dim n in 0..
         dim trips in 0..12 from node
         graph @t(%0: f32[n, 2]) -> (a: %4, s: %5, t: %6, u: %7, v: %8) {
           %1 = constant i64[] [9223372036854775807]
           %2 = constant bool[] [true]
           %3 = constant i64[] [1]
           %4, %5, %6, %7 = loop %1, %2, %3, %0 carried=1 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[], %2: i64[], %3: f32[n, 2])
               -> (go: %6, a: %4, s: %9, t: %0, u: %3) {
             %4 = add %2, %2 : i64[]
             %5 = constant i64[] [100]
             %6 = lt %4, %5 : bool[]
             %7 = convert %4 to=f32 : f32[]
             %8 = broadcast %7 shape=[n, 2] axes=[] : f32[n, 2]
             %9 = mul %8, %3 : f32[n, 2]
           } : i64[], f32[trips, n, 2], i64[trips], f32[trips, n, 2]
           %8 = transpose %5 perm=[1, 0, 2] : f32[n, trips, 2]
         }",
        &[0, 1, 3],
        1e-5,
    );
}

#[test]
fn loops_end_by_what_they_carry() {
    // The condition is a carried value that is overwritten before, and one that looks at such a value.
    for again in ["%2", "%5"] {
        check(
            &format!(
                "dim trips in 0..9 from node
                 graph @t(%0: f32[2, 2]) -> (a: %5, b: %6, s: %7) {{
                   %1 = constant i64[] [7]
                   %2 = constant bool[] [true]
                   %3 = constant bool[] [false]
                   %5, %8, %6, %7 = loop %1, %2, %2, %3, %0 carried=3 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[],
                       %2: bool[], %3: bool[], %4: f32[2, 2]) -> (go: {again}, a: %3, b: %6, c: %7, s: %0) {{
                     %5 = not %3 : bool[]
                     %6 = not %2 : bool[]
                     %7 = transpose %4 perm=[1, 0] : f32[2, 2]
                   }} : bool[], bool[], f32[2, 2], i64[trips]
                 }}"
            ),
            &[1],
            1e-5,
        );
    }
}

#[test]
fn loops_within_loops() {
    check(
        "dim n in 0..
         dim outer in 0..5 from node
         dim inner in 0..5 from node
         graph @t(%0: f32[n]) -> (a: %4, s: %5) {
           %1 = constant i64[] [3]
           %2 = constant bool[] [true]
           %4, %5 = loop %1, %2, %0 carried=1 varying=[] sizes=[] trips=outer body=graph @body(%0: i64[], %1: bool[], %2: f32[n]) -> (go: %1, a: %4, s: %6) {
             %4, %5 = loop %0, %1, %2 carried=1 varying=[] sizes=[] trips=inner body=graph @inner(%0: i64[], %1: bool[], %2: f32[n]) -> (go: %1, a: %3, s: %3) {
               %3 = sin %2 : f32[n]
             } : f32[n], f32[inner, n]
             %6 = reduce %5 op=sum axes=[0] : f32[n]
           } : f32[n], f32[outer, n]
         }",
        &[0, 1, 5],
        1e-5,
    );
}

#[test]
fn a_scan_past_its_bound_fails() {
    let text = "dim trips in 0..2 from node
                graph @t(%0: i64[]) -> (s: %2) {
                  %1 = constant bool[] [true]
                  %2 = loop %0, %1 carried=0 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[]) -> (go: %1, s: %0) {
                  } : i64[trips]
                }";
    let run = |n: i64| nnc_kernels::interpret::run(&lowered(text), &[(vec![], n.to_le_bytes().to_vec())]);
    assert_eq!(run(2).expect("room for two")[0].0, [2]);
    assert_eq!(run(-7).expect("no iteration")[0].0, [0]);
    assert!(matches!(run(3), Err(nnc_kernels::interpret::RunError::Bound { .. })));
}

/// Values that grow: along their first axis, along their last, by what another one has, and two that change places.
#[test]
fn carried_values_grow() {
    for trip in [0i64, 1, 4] {
        check(
            &format!(
                "dim n in 0..
                 dim a in 0.. <= n*5 from node
                 dim b in 0.. <= n + 8 from node
                 dim c in 0.. <= 5 from node
                 dim d in 0.. <= 5 from node
                 dim trips in 0.. from node
                 graph @t(%0: f32[n], %1: f32[2, n]) -> (a: %8, b: %9, c: %10, d: %11) {{
                   %2 = constant i64[] [{trip}]
                   %3 = constant bool[] [true]
                   %4 = constant f32[1] [1.5]
                   %5 = constant f32[2] [1.0, 2.0]
                   %6 = transpose %1 perm=[1, 0] : f32[n, 2]
                   %7 = constant f32[2, 2] [1.0, 2.0, 3.0, 4.0]
                   %8, %9, %10, %11 = loop %2, %3, %0, %1, %4, %5, %0, %7 carried=4
                       varying=[(0, 0), (1, 1), (2, 0), (3, 0)] sizes=[a, b, c, d] trips=trips
                       body=graph @body(%0: i64[], %1: bool[], %2: f32[a], %3: f32[2, b], %4: f32[c], %5: f32[d], %6: f32[n], %7: f32[2, 2])
                       -> (go: %1, a: %8, b: %9, c: %5, d: %4) {{
                     %8 = concat %2, %6 axis=0 : f32[a + n]
                     %9 = concat %7, %3 axis=1 : f32[2, b + 2]
                   }} : f32[a], f32[2, b], f32[c], f32[d]
                 }}"
            ),
            &[0, 1, 3],
            1e-5,
        );
    }
}

/// What grows past the memory there is for it stops the run before it is written there.
#[test]
fn growth_past_its_bound_fails() {
    let text = "dim a in 0.. <= 4 from node
                dim trips in 0..9 from node
                graph @t(%0: i64[]) -> (s: %3) {
                  %1 = constant bool[] [true]
                  %2 = constant i64[2] [1, 2]
                  %3 = loop %0, %1, %2 carried=1 varying=[(0, 0)] sizes=[a] trips=trips
                      body=graph @body(%0: i64[], %1: bool[], %2: i64[a]) -> (go: %1, a: %4) {
                    %3 = constant i64[1] [7]
                    %4 = concat %2, %3 axis=0 : i64[a + 1]
                  } : i64[a]
                }";
    let run = |n: i64| nnc_kernels::interpret::run(&lowered(text), &[(vec![], n.to_le_bytes().to_vec())]);
    assert_eq!(run(2).expect("room for two more")[0].0, [4]);
    let failed = run(3).expect_err("no room");
    assert!(matches!(failed, nnc_kernels::interpret::RunError::Check { .. }), "{failed:?}");
}
