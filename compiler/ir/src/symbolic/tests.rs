//! Chains of shape arithmetic as exporters write them, in text, with the symbolic value they have.

use super::*;
use crate::parse::graph as parse;

/// The elements of the last node's result, printed.
fn value(nodes: &str) -> String {
    let text = format!(
        "dim n in 0..\ndim m in 1..9\ndim c in 0.. from node\ngraph @t(%0: f32[n, m], %1: i64[2], %2: i64[]) -> () {{\n\
         %9 = dims dims=[n, m, 64] scalar=false : i64[3]\n{nodes}\n}}"
    );
    let graph = parse(&text).unwrap();
    crate::verify::verify(&graph).unwrap();
    let last = graph.nodes.iter().rev().find_map(|n| n.outputs.first()).unwrap();
    let mut values = SymbolicValues::default();
    match values.of(&graph, *last) {
        Some(dims) => dims.iter().map(|d| graph.dims.display(d).to_string()).collect::<Vec<_>>().join(", "),
        None => "unknown".into(),
    }
}

#[test]
fn chains() {
    for (nodes, expected) in [
        // Shape -> Gather -> Unsqueeze -> Concat
        (
            "%10 = constant i64[] [1]\n%11 = gather %9, %10 axis=0 batch=0 : i64[]\n\
             %12 = reshape %11 shape=[1] : i64[1]\n%13 = constant i64[1] [-1]\n%14 = concat %12, %13 axis=0 : i64[2]",
            "m, -1",
        ),
        // Slice, ReduceProd
        ("%10 = slice %9 starts=[1] sizes=[2] steps=[1] : i64[2]\n%11 = reduce %10 op=prod axes=[0] : i64[]", "64*m"),
        // Where(shape == -1, ones, shape), the pattern of Expand
        (
            "%10 = constant i64[3] [-1, -1, -1]\n%11 = eq %9, %10 : bool[3]\n%12 = constant i64[3] [1, 1, 1]\n\
             %13 = select %11, %12, %9 : i64[3]",
            "n, m, 64",
        ),
        // Resize: Cast to float, times scale, floor, cast back
        (
            "%10 = convert %9 to=f32 : f32[3]\n%11 = constant f32[3] [2.0, 0.5, 1.0]\n%12 = mul %10, %11 : f32[3]\n\
             %13 = floor %12 : f32[3]\n%14 = convert %13 to=i64 : i64[3]",
            "2*n, floor(m/2), 64",
        ),
        ("%10 = constant i64[3] [4, 4, 5]\n%11 = div %9, %10 : i64[3]", "floor(n/4), floor(m/4), 12"),
        (
            "%10 = constant i64[3] [-9, 0, 7]\n%11 = constant i64[3] [2, 0, -2]\n%12 = div %10, %11 : i64[3]",
            "-4, 0, -3",
        ),
        ("%10 = constant i64[3] [-9, 9, 7]\n%11 = constant i64[3] [2, -2, 4]\n%12 = mod %10, %11 : i64[3]", "1, -1, 3"),
        ("%10 = constant i64[3] [0, 1, 64]\n%11 = ge %9, %10 : bool[3]", "1, 1, 1"),
        ("%10 = constant i64[3] [-1, 9, 64]\n%11 = le %9, %10 : bool[3]", "0, 1, 1"),
        ("%10 = constant i64[3] [10, 10, 10]\n%11 = min %9, %10 : i64[3]", "min(10, n), m, 10"),
        ("%10 = constant i64[3] [9223372036854775807, 2, 3]\n%11 = min %9, %10 : i64[3]", "n, min(2, m), 3"),
        ("%10 = convert %9 to=i32 : i32[3]\n%11 = neg %10 : i32[3]", "-n, -m, -64"),
        ("%10 = convert %9 to=i8 : i8[3]", "unknown"),
        ("%10 = iota dtype=i64 shape=[4] axis=0 : i64[4]", "0, 1, 2, 3"),
        ("%10 = constant i64[] [7]\n%11 = pad %9, %10 low=[1] high=[2] mode=constant : i64[6]", "7, n, m, 64, 7, 7"),
        ("%10 = reshape %9 shape=[1, 3] : i64[1, 3]\n%11 = transpose %10 perm=[1, 0] : i64[3, 1]", "n, m, 64"),
        ("%10 = reshape %2 shape=[1] : i64[1]\n%11 = broadcast %10 shape=[2] axes=[0] : i64[2]", "unknown"),
        // Part of a tensor is known.
        (
            "%10 = concat %1, %9 axis=0 : i64[5]\n%11 = constant i64[1] [3]\n\
             %12 = gather %10, %11 axis=0 batch=0 : i64[1]",
            "m",
        ),
        // After binding, the data is the symbol.
        ("bind_dims %2 symbols=[c]\n%10 = reshape %2 shape=[1] : i64[1]", "c"),
        ("%10 = constant u8[2] [200, 100]\n%11 = add %10, %10 : u8[2]", "144, 200"),
        ("%10 = constant f32[2] [1.5, nan:7fc00000]\n%11 = convert %10 to=i64 : i64[2]", "1, 0"),
    ] {
        assert_eq!(value(nodes), expected, "{nodes}");
    }
}

#[test]
fn large_tensors_are_not_followed() {
    assert_eq!(value("%10 = constant i64[5000] splat=1\n%11 = neg %10 : i64[5000]"), "unknown");
}
