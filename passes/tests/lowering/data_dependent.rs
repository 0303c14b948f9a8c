//! Scatters, scans, sorts, selections and random numbers.

use super::{check, lowered, planned};

#[test]
fn scatter_elements_applies_updates_in_order() {
    for op in ["replace", "add", "mul", "max", "min"] {
        for dtype in ["f32", "f16", "i32", "u8"] {
            check(
                &format!(
                    "dim n in 4..
                     graph @t(%0: {dtype}[5, n, 3], %1: i64[4, 6, 3], %2: {dtype}[4, 6, 3]) -> (y: %3) {{
                       %3 = scatter_elements %0, %1, %2 axis=1 op={op} : {dtype}[5, n, 3]
                     }}"
                ),
                &[4, 7],
                if dtype == "f16" { 4e-3 } else { 1e-5 },
            );
        }
    }
    // Along the last axis and along the only one, without updates, and of a computed operand.
    check(
        "dim n in 0..
         graph @t(%0: f32[2, 9], %1: i64[2, n], %2: f32[2, n], %3: f32[4], %4: i64[n], %5: f32[n]) -> (y: %7, z: %8) {
           %6 = exp %0 : f32[2, 9]
           %7 = scatter_elements %6, %1, %2 axis=1 op=add : f32[2, 9]
           %8 = scatter_elements %3, %4, %5 axis=0 op=replace : f32[4]
         }",
        &[0, 1, 11],
        1e-5,
    );
}

#[test]
fn scatter_nd_of_elements_slices_and_everything() {
    for op in ["replace", "add", "max"] {
        check(
            &format!(
                "dim n in 0..
                 graph @t(%0: f32[4, 5, 6], %1: i64[n, 3], %2: f32[n], %3: i64[n, 2, 1], %4: f32[n, 2, 5, 6],
                          %5: i64[2, 0], %6: f32[2, 4, 5, 6]) -> (x: %7, y: %8, z: %9) {{
                   %7 = scatter_nd %0, %1, %2 op={op} : f32[4, 5, 6]
                   %8 = scatter_nd %0, %3, %4 op={op} : f32[4, 5, 6]
                   %9 = scatter_nd %0, %5, %6 op={op} : f32[4, 5, 6]
                 }}"
            ),
            &[0, 1, 9],
            1e-5,
        );
    }
}

#[test]
fn an_index_out_of_range_stops_the_run() {
    let text = "graph @t(%0: f32[3], %1: i64[1], %2: f32[1]) -> (y: %3) {
                  %3 = scatter_elements %0, %1, %2 axis=0 op=replace : f32[3]
                }";
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for (index, status) in [(0i64, 0), (2, 0), (3, 8), (-1, 8), (i64::MIN, 8)] {
        let inputs =
            [(vec![3], bytes(&[1.0, 2.0, 3.0])), (vec![1], index.to_le_bytes().to_vec()), (vec![1], bytes(&[7.0]))];
        let found = match nnc_kernels::interpret::run(&lowered(text), &inputs) {
            Ok(_) => 0,
            Err(nnc_kernels::interpret::RunError::Failed { status, .. }) => status,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, status, "index {index}");
    }
}

#[test]
fn cumulative_along_every_axis() {
    for (dtype, op) in
        [("f32", "sum"), ("f32", "prod"), ("f32", "max"), ("f16", "sum"), ("i64", "sum"), ("i32", "min"), ("u8", "max")]
    {
        for axis in 0..3 {
            for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
                check(
                    &format!(
                        "dim n in 0..
                         graph @t(%0: {dtype}[3, n, 5]) -> (y: %1) {{
                           %1 = cumulative %0 op={op} axis={axis} exclusive={exclusive} reverse={reverse} : {dtype}[3, n, 5]
                         }}"
                    ),
                    &[0, 1, 4],
                    if dtype == "f16" { 2e-3 } else { 1e-5 },
                );
            }
        }
    }
}

#[test]
fn top_k_sorts_stably() {
    for largest in [true, false] {
        for dtype in ["f32", "f16", "i64", "u8"] {
            check(
                &format!(
                    "dim n in 5..
                     graph @t(%0: {dtype}[2, n, 3]) -> (v: %1, i: %2, w: %3, j: %4, a: %5, b: %6) {{
                       %1, %2 = top_k %0 axis=1 k=4 largest={largest} : {dtype}[2, 4, 3], i64[2, 4, 3]
                       %3, %4 = top_k %0 axis=1 k=n largest={largest} : {dtype}[2, n, 3], i64[2, n, 3]
                       %5, %6 = top_k %0 axis=2 k=1 largest={largest} : {dtype}[2, n, 1], i64[2, n, 1]
                     }}"
                ),
                &[5, 6, 33],
                0.0,
            );
        }
        check(
            &format!(
                "graph @t() -> (v: %1, i: %2, w: %3, j: %4) {{
                   %0 = constant f32[9] [1.0, nan:7fc00000, -0.0, 0.0, inf, -inf, nan:ffc00000, 0.0, 1.0]
                   %1, %2 = top_k %0 axis=0 k=9 largest={largest} : f32[9], i64[9]
                   %3, %4 = top_k %0 axis=0 k=0 largest={largest} : f32[0], i64[0]
                 }}"
            ),
            &[1],
            0.0,
        );
    }
}

#[test]
fn top_k_of_more_than_there_is_fails() {
    let text = "dim n in 0..
                dim k in 0..
                graph @t(%0: f32[n], %1: f32[k]) -> (v: %2, i: %3) {
                  %2, %3 = top_k %0 axis=0 k=k largest=true : f32[k], i64[k]
                }";
    let inputs = |n: i64, k: i64| [(vec![n], vec![0; 4 * n as usize]), (vec![k], vec![0; 4 * k as usize])];
    for (n, k) in [(0, 0), (3, 0), (3, 3)] {
        assert!(nnc_kernels::interpret::run(&lowered(text), &inputs(n, k)).is_ok(), "{k} of {n}");
    }
    assert!(nnc_kernels::interpret::run(&lowered(text), &inputs(3, 4)).is_err());
}

#[test]
fn non_zero_coordinates() {
    check(
        "dim n in 0..
         dim count in 0.. <= 8*n from node
         dim count2 in 0.. <= 8*n from node
         dim one in 0..1 from node
         graph @t(%0: i32[2, n, 4], %1: f32[]) -> (y: %2, z: %4, w: %6, o: %7) {
           %2 = non_zero %0 count=count : i64[count, 3]
           %3 = convert %2 to=f32 : f32[count, 3]
           %4 = transpose %3 perm=[1, 0] : f32[3, count]
           %5 = non_zero %0 count=count2 : i64[count2, 3]
           %6 = concat %2, %5 axis=0 : i64[count + count2, 3]
           %7 = non_zero %1 count=one : i64[one, 0]
         }",
        &[0, 1, 5],
        0.0,
    );
    check(
        "dim count in 0..4 from node
         graph @t() -> (y: %1) {
           %0 = constant f32[5] [0.0, nan:7fc00000, -0.0, -3.0, 1.0]
           %1 = non_zero %0 count=count : i64[count, 1]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn more_nonzeros_than_memory_fail() {
    let text = "dim count in 0..2 from node
                graph @t(%0: i32[4]) -> (y: %1) {
                  %1 = non_zero %0 count=count : i64[count, 1]
                }";
    let input = |values: [i32; 4]| [(vec![4], values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())];
    assert!(nnc_kernels::interpret::run(&lowered(text), &input([0, 1, 1, 0])).is_ok());
    let error = nnc_kernels::interpret::run(&lowered(text), &input([1, 1, 1, 0])).expect_err("no room");
    assert!(matches!(error, nnc_kernels::interpret::RunError::Failed { status: 12, .. }), "{error}");
}

#[test]
fn distinct_values() {
    for sorted in [true, false] {
        for dtype in ["i64", "i32", "f32"] {
            check(
                &format!(
                    "dim n in 0..
                     dim count in 0.. <= n from node
                     graph @t(%0: {dtype}[n]) -> (v: %1, f: %2, i: %3, c: %4) {{
                       %1, %2, %3, %4 = unique %0 sorted={sorted} count=count : {dtype}[count], i64[count], i64[n], i64[count]
                     }}"
                ),
                &[0, 1, 2, 40],
                0.0,
            );
        }
        check(
            &format!(
                "dim count in 0..12 from node
                 graph @t() -> (v: %1, f: %2, i: %3, c: %4) {{
                   %0 = constant f32[12] [2.0, nan:7fc00000, -0.0, 0.0, inf, -inf, nan:ffc00000, 0.0, 1.0, 2.0, 1.0, 1.0]
                   %1, %2, %3, %4 = unique %0 sorted={sorted} count=count : f32[count], i64[count], i64[12], i64[count]
                 }}"
            ),
            &[1],
            0.0,
        );
    }
}

#[test]
fn sizes_from_data() {
    check(
        "dim a in 0..3 from node
         dim b in 0..3 from node
         dim c in 0..3 from node
         graph @t(%0: i64[5], %1: i64[], %2: f32[]) -> (y: %4, z: %5) {
           %3 = slice %0 starts=[4] sizes=[2] steps=[-2] : i64[2]
           bind_dims %3 symbols=[a, b]
           bind_dims %1 symbols=[c]
           %4 = broadcast %2 shape=[a, 2, b, c] axes=[] : f32[a, 2, b, c]
           %5 = iota dtype=i64 shape=[c + 2, b] axis=0 : i64[c + 2, b]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn random_numbers() {
    for distribution in ["uniform(-1.5, 2.5)", "normal(1.0, 3.0)"] {
        for (dtype, tolerance) in [("f32", 1e-7), ("f64", 1e-14), ("f16", 1e-3)] {
            check(
                &format!(
                    "dim n in 0..
                     graph @t(%0: i64[]) -> (y: %1, z: %2) {{
                       %1 = random %0 distribution={distribution} dtype={dtype} shape=[3, 7] seed=12345678901234567890 : {dtype}[3, 7]
                       %2 = random %0 distribution={distribution} dtype={dtype} shape=[2, 4] seed=1 : {dtype}[2, 4]
                     }}"
                ),
                &[1],
                tolerance,
            );
        }
    }
}

#[test]
fn places_of_pooled_elements() {
    for dtype in ["f32", "u8", "f16"] {
        check(
            &format!(
                "graph @t(%0: {dtype}[2, 7, 6, 3], %1: {dtype}[1, 9, 2]) -> (y: %2, z: %3) {{
                   %2 = pool_index %0 window={{size=[3, 2] strides=[2, 1] dilations=[1, 2] pad_low=[1, 1] pad_high=[1, 0]}} : i64[2, 4, 5, 3]
                   %3 = pool_index %1 window={{size=[2] strides=[3] dilations=[1] pad_low=[3] pad_high=[2]}} : i64[1, 5, 2]
                 }}"
            ),
            &[1],
            0.0,
        );
    }
}

/// Two trees that ask, and one that is a leaf; more walks than go together, and fewer.
#[test]
fn leaves_of_trees() {
    for dtype in ["f32", "f64"] {
        for missing in [false, true] {
            check(
                &format!(
                    "dim n in 0..
                     graph @t(%0: {dtype}[n, 3]) -> (y: %5) {{
                       %1 = exp %0 : {dtype}[n, 3]
                       %2 = constant {dtype}[7] [1.0, 0.5, 2.0, 0.0, 0.0, 0.0, 0.0]
                       %3 = constant i32[7, 4] [0, 1, 4, 5, 2, 3, 2, 2, 1, 3, 5, 6,
                                                0, 3, 3, 3, 0, 4, 4, 4, 0, 5, 5, 5, 0, 6, 6, 6]
                       %4 = constant i32[3] [0, 2, 6]
                       %5 = tree_leaf %1, %2, %3, %4 missing={missing} : i64[n, 3]
                     }}"
                ),
                &[0, 1, 2, 33, 70],
                0.0,
            );
        }
    }
}

/// Before, at, between and after keys, with equal ones among them.
#[test]
fn positions_among_keys() {
    check(
        "dim n in 0..
         graph @t(%0: f32[n]) -> (y: %5, z: %6) {
           %1 = constant f32[] [4.0]
           %2 = broadcast %1 shape=[n] axes=[] : f32[n]
           %3 = mul %0, %2 : f32[n]
           %4 = constant f32[5] [-1.0, 0.0, 0.0, 1.5, 3.0]
           %5 = lower_bound %3, %4 : i64[n]
           %7 = constant i64[3] [-9, 2, 3]
           %8 = convert %3 to=i64 : i64[n]
           %9 = cumulative %8 op=max axis=0 exclusive=false reverse=false : i64[n]
           %6 = lower_bound %7, %9 : i64[3]
         }",
        &[0, 1, 33],
        0.0,
    );
}

/// Strings of no letter and one, in an alphabet of two, made of the data.
#[test]
fn strings_among_keys_and_through_automata() {
    let classes: Vec<String> = (0..256).map(|byte| (byte % 2).to_string()).collect();
    let classes = classes.join(", ");
    let text = format!(
        "dim n in 4..
        graph @t(%0: f32[n]) -> (y: %30, z: %31) {{
          %1 = constant f32[] [0.0]
          %2 = broadcast %1 shape=[n] axes=[] : f32[n]
          %3 = lt %0, %2 : bool[n]
          %4 = convert %3 to=u8 : u8[n]
          %8 = slice %3 starts=[0] sizes=[n - 3] steps=[1] : bool[n - 3]
          %6 = convert %8 to=i64 : i64[n - 3]
          %5 = cumulative %6 op=sum axis=0 exclusive=false reverse=false : i64[n - 3]
          %12 = constant i64[5] [0, 2, 3, 3, 4]
          %13 = constant u8[4] [0, 1, 1, 0]
          %14 = constant u8[256] [{classes}]
          %15 = constant i64[3, 2] [1, 0, 2, 1, 0, 2]
          %30 = find_string %5, %4, %12, %13 : i64[n - 4]
          %31 = run_automaton %5, %4, %14, %15 : i64[n - 4]
        }}"
    );
    check(&text, &[4, 5, 40], 0.0);
}

/// Bytes from the data, three kinds of which one is a space and one a delimiter; limits that count and that do not.
#[test]
fn strings_in_pieces_and_order() {
    for (delimiter, most) in [("", i64::MAX), ("", 1), (" ", i64::MAX), (" !", 2), ("!", 0)] {
        let text = format!(
            "dim n in 4..
             dim c in 0.. <= 2*n from node
             graph @t(%0: f32[n]) -> (y: %10, z: %11, w: %12) {{
               %1 = constant f32[] [4.0]
               %2 = broadcast %1 shape=[n] axes=[] : f32[n]
               %3 = mul %0, %2 : f32[n]
               %4 = constant f32[] [32.5]
               %5 = broadcast %4 shape=[n] axes=[] : f32[n]
               %6 = add %3, %5 : f32[n]
               %7 = convert %6 to=u8 : u8[n]
               %8 = constant i64[4] [0, 1, 1, 4]
               %10, %11 = split_strings %8, %7 delimiter=\"{delimiter}\" most={most} count=c : i64[c, 2], i64[4]
               %13 = constant i64[2, 4] [0, 1, 2, 2, 0, 0, 1, 2]
               %14 = constant i64[2, 4] [2, 0, 0, 2, 1, 0, 0, 1]
               %12 = compare_strings %8, %7, %13, %14 : i64[2, 4]
             }}"
        );
        check(&text, &[4, 9], 0.0);
    }
}

/// Offsets are the caller's: a string that begins before the bytes, ends before it begins, or ends behind them stops the run.
#[test]
fn strings_outside_of_their_bytes_stop_the_run() {
    for operation in [
        "%9 = find_string %0, %1, %2, %3 : i64[2]",
        "%9 = compare_strings %0, %1, %4, %4 : i64[2]",
        "%9, %8 = split_strings %0, %1 delimiter=\"\" most=9 count=c : i64[c, 2], i64[3]",
    ] {
        let program = lowered(&format!(
            "dim c in 0..20 from node
             graph @t(%0: i64[3], %1: u8[5]) -> (y: %9) {{
               %2 = constant i64[2] [0, 2]
               %3 = constant u8[2] [1, 2]
               %4 = constant i64[2] [0, 1]
               {operation}
             }}"
        ));
        let run = |offsets: [i64; 3]| {
            let offsets = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
            nnc_kernels::interpret::run(&program, &[(vec![3], offsets), (vec![5], vec![7; 5])])
        };
        assert!(run([0, 5, 5]).is_ok() && run([2, 2, 4]).is_ok(), "{operation}");
        for bad in [[-1, 3, 5], [3, 2, 5], [0, 3, 6], [i64::MIN, i64::MAX, 0], [0, i64::MIN, i64::MAX]] {
            assert!(run(bad).is_err(), "{bad:?} {operation}");
        }
    }
}

#[test]
fn tables_of_strings_are_checked() {
    let spans = "graph @t(%0: i64[5], %1: u8[n]) -> (y: %9) {";
    for (lines, expected) in [
        (
            "%2 = constant i64[2] [0, 3]\n %3 = constant u8[2] [1, 2]\n \
             %9 = find_string %0, %1, %2, %3 : i64[4]",
            "do not fit their bytes",
        ),
        (
            "%2 = constant u8[256] splat=2\n %3 = constant i64[1, 2] [0, 0]\n \
             %9 = run_automaton %0, %1, %2, %3 : i64[4]",
            "leads out of its states",
        ),
        (
            "%2 = constant u8[256] splat=1\n %3 = constant i64[1, 2] [0, 1]\n \
             %9 = run_automaton %0, %1, %2, %3 : i64[4]",
            "leads out of its states",
        ),
    ] {
        let graph = nnc_ir::parse::graph(&format!("dim n in 0..\n{spans}\n {lines}\n}}")).unwrap();
        let error = planned(&graph, &nnc_desc::Target::parse("x86_64").unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn trees_that_lead_out_of_their_tables_are_refused() {
    let text = "graph @t(%0: f32[4, 3]) -> (y: %4) {
                  %1 = constant f32[3] [0.5, 0.0, 0.0]
                  %2 = constant i32[3, 4] [0, 1, 3, 2, 0, 1, 1, 1, 0, 2, 2, 2]
                  %3 = constant i32[1] [0]
                  %4 = tree_leaf %0, %1, %2, %3 missing=false : i64[4, 1]
                }";
    let graph = nnc_ir::parse::graph(text).unwrap();
    let error = planned(&graph, &nnc_desc::Target::parse("x86_64").unwrap(), &[]).unwrap_err().to_string();
    assert!(error.contains("node 0 of the trees"), "{error}");
}

#[test]
fn constants_are_results() {
    check(
        "graph @t() -> (y: %0, z: %0, w: %1) {
           %0 = constant i64[3] [5, 6, 7]
           %1 = constant f32[2] [1.5, 1.5]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn what_a_count_leaves_over_has_room() {
    // As many elements as are not found: most where the count is least.
    check(
        "dim n in 0..
         dim count in 0.. <= n from node
         graph @t(%0: f32[n], %1: f32[n]) -> (y: %4, v: %5) {
           %2 = non_zero %0 count=count : i64[count, 1]
           %3 = slice %1 starts=[count] sizes=[n - count] steps=[1] : f32[n - count]
           %4 = cumulative %3 op=sum axis=0 exclusive=false reverse=false : f32[n - count]
           %5, %6 = top_k %4 axis=0 k=n - count largest=true : f32[n - count], i64[n - count]
         }",
        &[0, 1, 40],
        1e-5,
    );
}

/// In a loop as well, where the seed is one of the things around it, and where half of the numbers are read.
#[test]
fn random_numbers_by_the_seed_of_the_run() {
    check(
        "dim n in 0..
         dim seed in 0.. from run
         dim trips in 0..3 from node
         graph @t(%0: f32[n]) -> (y: %4, z: %5, s: %7) {
           %1 = constant i64[] [3]
           %2 = constant bool[] [true]
           %3 = dims dims=[seed] scalar=true : i64[]
           %4 = random %3 distribution=uniform(0.0, 1.0) dtype=f32 shape=[n, 3] seed=77 : f32[n, 3]
           %5, %6 = loop %1, %2, %0 carried=1 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[], %2: f32[n]) -> (c: %1, s: %7, r: %6) {
             %3 = dims dims=[seed] scalar=true : i64[]
             %4 = add %3, %0 : i64[]
             %5 = random %4 distribution=uniform(-1.0, 1.0) dtype=f32 shape=[2, n] seed=78 : f32[2, n]
             %6 = slice %5 starts=[1, 0] sizes=[1, n] steps=[1, 1] : f32[1, n]
             %8 = reshape %6 shape=[n] : f32[n]
             %7 = add %2, %8 : f32[n]
           } : f32[n], f32[trips, 1, n]
           %7 = dims dims=[seed] scalar=true : i64[]
         }",
        &[0, 1, 5],
        1e-6,
    );
}
