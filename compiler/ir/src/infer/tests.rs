//! One table: for each operation, graphs that infer and graphs that do not, written as text.
//!
//! `verify` re-infers every node, so a line is accepted exactly when `infer` yields the types it states. Accepted lines
//! are also printed and read back.

use crate::DType;
use crate::op::{BinaryOp, UnaryOp};
use crate::parse::{Constants, graph_with};
use crate::print;
use crate::verify::verify;

/// Puts a node into a graph with operands of every kind: `%0`, ... are listed here.
fn text(node: &str) -> String {
    let inputs = "%0: f32[n, 4], %1: f32[n, 4], %2: bool[n, 4], %3: i64[n, 4], %4: f32[4, 6], %5: f32[2, 8, 8, 3], \
        %6: f32[3, 3, 3, 16], %7: i64[5], %8: i64[], %9: f32[], %10: bool[], %11: i64[2, 3, 1], %12: u8[2, 4], \
        %13: i8[4, 6], %14: f32[7, 2, 20], %15: f32[5, 20], %16: f32[20], %17: f32[2, 5], %18: f32[15], %19: i64[2], \
        %20: f32[1, 9, 4], %21: f32[1, 2, 9], %22: f32[n, m], %23: f32[3, 3, 1, 6], %24: f32[2, 3, 4], %25: bool[3], \
        %26: f32[n, h, w, 3], %27: i64[3], %28: i64[5, 1], %29: f32[5, 6], %30: i64[5, 6]";
    format!(
        "dim n in 0..\ndim m in 1..9\ndim h in 0..\ndim w in 0..\ndim c in 0.. <= n*m from node\n\
         graph @t({inputs}) -> () {{\n  {node}\n}}\n"
    )
}

fn check(node: &str) -> Result<(), String> {
    let text = text(node);
    let graph = graph_with(&text, &Constants::default()).map_err(|e| format!("parse: {e}"))?;
    verify(&graph).map_err(|e| e.to_string())?;
    let printed = print::graph(&graph);
    let again = graph_with(&printed, &Constants::of(&graph)).map_err(|e| format!("parse: {e}"))?;
    if print::graph(&again) == printed { Ok(()) } else { Err(format!("unstable text:\n{printed}")) }
}

#[test]
fn accepted() {
    let window = "window={size=[3, 3] strides=[2, 2] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]}";
    let branches = "then=graph @a(%0 x: f32[n, 4]) -> (y: %1) {\n %1 = tanh %0 : f32[n, 4] ; Tanh\n } \
         otherwise=graph @b(%0 x: f32[n, 4]) -> (y: %0) {\n }";
    let body = "body=graph @body(%0: i64[], %1: bool[], %2: f32[n, 4]) -> (again: %1, x: %3, s: %3) {\n\
         %3 = exp %2 : f32[n, 4]\n }";
    let lstm = "cell={kind=lstm reverse=false activations=[sigmoid, tanh, affine(0.5, -1.0)] clip=none \
         input_forget=false peepholes=true sequence_lengths=true}";
    let gru = "cell={kind=gru_linear_before_reset reverse=true activations=[hard_sigmoid(0.2, 0.5), relu] clip=3.5 \
         input_forget=false peepholes=false sequence_lengths=false}";
    let nodes = [
        "%40 = constant f32[2, 2] [1.0, -0.0, inf, nan:7fc00001]  ; Constant \"w\"",
        "%40 = constant f32[64, 64] splat=0.1",
        "%40 = constant i8[64, 64] random=7",
        "%40 = constant bool[3] [true, false, true]",
        "%40 = constant u64[1] [18446744073709551615]",
        "%40 = constant f16[2] [0.333251953125, 65504.0]",
        "%40 = constant f64[1] [0.1]",
        "%40 = constant f32[0, 4] []",
        "%40 = dims dims=[n, 3*n*m + 1] scalar=false : i64[2]",
        "%40 = dims dims=[floor((n + 1)/2)] scalar=true : i64[]",
        "%40 = iota dtype=f32 shape=[n, 3] axis=1 : f32[n, 3]",
        "%40 = neg %0 : f32[n, 4]",
        "%40 = not %2 : bool[n, 4]",
        "%40 = bit_not %3 : i64[n, 4]",
        "%40 = is_nan %0 : bool[n, 4]",
        "%40 \"a name\" = add %0, %1 : f32[n, 4]",
        "%40 = lt %3, %3 : bool[n, 4]",
        "%40 = and %2, %2 : bool[n, 4]",
        "%40 = select %2, %0, %1 : f32[n, 4]",
        "%40 = convert %0 to=i8 : i8[n, 4]",
        "%40 = bitcast %0 to=i32 : i32[n, 4]",
        "%40 = broadcast %16 shape=[n, 20, m] axes=[1] : f32[n, 20, m]",
        "%40 = broadcast %9 shape=[n] axes=[] : f32[n]",
        "%40 = reshape %0 shape=[4*n] : f32[4*n]",
        "%40 = reshape %22 shape=[m, 1, n] : f32[m, 1, n]",
        "%40 = transpose %24 perm=[2, 0, 1] : f32[4, 2, 3]",
        "%40 = slice %24 starts=[0, 2, 1] sizes=[2, 3, 2] steps=[1, -1, 2] : f32[2, 3, 2]",
        "%40 = pad %0, %9 low=[n, 0] high=[0, 2] mode=constant : f32[2*n, 6]",
        "%40 = concat %0, %1 axis=1 : f32[n, 8]",
        "%40 = concat %0, %22, %22 axis=1 : f32[n, 2*m + 4]",
        "%40 = reduce %24 op=sum axes=[0, 2] : f32[3]",
        "%40 = arg_reduce %24 axis=1 max=true last=false : i64[2, 4]",
        "%40 = contract %0, %4 batch=[] contract=[(1, 0)] out=f32 : f32[n, 6]",
        "%40 = contract %0, %1 batch=[(0, 0)] contract=[(1, 1)] out=f32 : f32[n]",
        "%40 = contract %12, %13 batch=[] contract=[(1, 0)] out=i32 : i32[2, 6]",
        &format!("%40 = conv %5, %6 {window} groups=1 out=f32 : f32[2, 4, 4, 16]"),
        &format!("%40 = conv %26, %23 {window} groups=3 out=f32 : f32[n, floor((h + 1)/2), floor((w + 1)/2), 6]"),
        "%40 = conv %5, %6 window={size=[3, 3] strides=[1, 1] dilations=[2, 2] pad_low=[0, 1] pad_high=[0, 0]} groups=1 \
         out=f32 : f32[2, 4, 5, 16]",
        &format!("%40 = pool %5 op=max {window} : f32[2, 4, 4, 3]"),
        &format!("%40 = pool_index %5 {window} : i64[2, 4, 4, 3]"),
        "%40 = gather %24, %7 axis=1 batch=0 : f32[2, 5, 4]",
        "%40 = gather %24, %11 axis=2 batch=2 : f32[2, 3, 1]",
        "%40 = gather %24, %8 axis=0 batch=0 : f32[3, 4]",
        "%40 = gather_elements %24, %11 axis=2 : f32[2, 3, 1]",
        "%40 = gather_nd %24, %11 batch=1 : f32[2, 3, 4]",
        "%40 = scatter_nd %29, %28, %29 op=add : f32[5, 6]",
        "%40 = scatter_elements %29, %30, %29 axis=0 op=replace : f32[5, 6]",
        "%40 = cumulative %24 op=sum axis=2 exclusive=true reverse=false : f32[2, 3, 4]",
        "%40, %41 = top_k %24 axis=2 k=2 largest=true : f32[2, 3, 2], i64[2, 3, 2]",
        "%40 = non_zero %22 count=c : i64[c, 2]",
        "%40, %41, %42, %43 = unique %16 sorted=true count=c : f32[c], i64[c], i64[20], i64[c]",
        "%40 = non_max_suppression %20, %21, %8, %9, %9 center=false count=c : i64[c, 3]",
        "%60 = constant f32[3] [0.5, 0.0, 0.0]\n %61 = constant i32[3, 4] [1, 1, 2, 2, 0, 1, 1, 1, 0, 2, 2, 2]\n \
         %62 = constant i32[2] [0, 1]\n %40 = tree_leaf %0, %60, %61, %62 missing=true : i64[n, 2]",
        "%40 = lower_bound %0, %16 : i64[n, 4]",
        "%60 = constant u8[4] [97, 98, 98, 99]\n %61 = constant i64[3] [0, 2, 4]\n %62 = constant u8[256] splat=1\n \
         %63 = constant i64[2, 3] [0, 1, 1, 1, 0, 1]\n %41 = find_string %7, %60, %61, %60 : i64[4]\n \
         %40 = run_automaton %7, %60, %62, %63 : i64[4]",
        "%60 = constant u8[4] [97, 98, 98, 99]\n %61 = constant i64[3] [0, 2, 4]\n \
         %40 = compare_strings %61, %60, %8, %8 : i64[]\n \
         %41, %42 = split_strings %61, %60 delimiter=\", \" most=3 count=c : i64[c, 2], i64[3]",
        "bind_dims %8 symbols=[c]",
        "require left=n relation=at_most right=n + 4 what=\"a \\\"size\\\"\"",
        &format!(
            "%40 y, %41, %42 = recurrent %14, %15, %16, %17, %17, %18, %19 {lstm} : f32[7, 2, 5], f32[2, 5], f32[2, 5]"
        ),
        &format!(
            "%50 = constant f32[7, 2, 15] splat=0.0\n %51 = constant f32[5, 15] splat=0.0\n %40, %41 = \
            recurrent %50, %51, %18, %17 {gru} : f32[7, 2, 5], f32[2, 5]"
        ),
        "%40 = random %8 distribution=normal(0.0, 1.5) dtype=f32 shape=[n, 2] seed=9 : f32[n, 2]",
        &format!("%40 = if %10, %0 varying=[] sizes=[] {branches} : f32[n, 4]"),
        &format!("%40, %41 = loop %8, %10, %0 carried=1 varying=[] sizes=[] trips=c {body} : f32[n, 4], f32[c, n, 4]"),
    ];
    for node in nodes {
        assert_eq!(check(node), Ok(()), "{node}");
    }
    for name in crate::op::NAMES {
        assert!(nodes.iter().any(|node| node.contains(&format!("{name} "))), "no line for {name}");
    }
}

#[test]
fn elementwise_functions() {
    let dtypes = [("%0", DType::F32), ("%2", DType::Bool), ("%3", DType::I64)];
    for f in UnaryOp::ALL {
        let accepted = dtypes
            .iter()
            .filter(|(x, dtype)| check(&format!("%40 = {} {x} : {}[n, 4]", f.name(), f.result(*dtype))).is_ok());
        assert!(accepted.count() > 0, "{f:?}");
    }
    for f in BinaryOp::ALL {
        let accepted = dtypes
            .iter()
            .filter(|(x, dtype)| check(&format!("%40 = {} {x}, {x} : {}[n, 4]", f.name(), f.result(*dtype))).is_ok());
        assert!(accepted.count() > 0, "{f:?}");
    }
}

#[test]
fn refused() {
    let window =
        |size: &str| format!("window={{size={size} strides=[1, 1] dilations=[1, 1] pad_low=[0, 0] pad_high=[0, 0]}}");
    for (node, reason) in [
        ("%40 = neg %2 : bool[n, 4]", "not defined on bool"),
        ("%40 = exp %3 : i64[n, 4]", "not defined on i64"),
        ("%40 = neg %0, %1 : f32[n, 4]", "takes 1 operands, got 2"),
        ("%40 = add %0, %22 : f32[n, 4]", "operands differ"),
        ("%40 = add %0, %3 : f32[n, 4]", "operands differ"),
        ("%40 = shl %0, %0 : f32[n, 4]", "not defined on f32"),
        ("%40 = add %0, %1 : f32[n, 5]", "the operation yields f32[s0, 4]"),
        ("%40 = select %0, %0, %1 : f32[n, 4]", "the condition must be bool"),
        ("%40 = bitcast %0 to=i64 : i64[n, 4]", "cannot see"),
        ("%40 = dims dims=[n, m] scalar=true : i64[]", "a scalar needs one"),
        ("%40 = iota dtype=i64 shape=[n] axis=1 : i64[n]", "axis 1 is not one of"),
        ("%40 = broadcast %0 shape=[m, 4] axes=[0, 1] : f32[m, 4]", "not provably equal"),
        ("%40 = broadcast %0 shape=[n, 4] axes=[1, 0] : f32[n, 4]", "must increase"),
        ("%40 = reshape %0 shape=[n, 5] : f32[n, 5]", "has 4*s0 elements"),
        ("%40 = reshape %24 shape=[-2, -3, 4] : f32[-2, -3, 4]", "negative"),
        ("%40 = transpose %24 perm=[0, 1, 1] : f32[2, 3, 3]", "not a permutation"),
        ("%40 = transpose %24 perm=[0, 1] : f32[2, 3]", "not a permutation"),
        ("%40 = slice %24 starts=[0, 2, 1] sizes=[2, 3, 2] steps=[1, -1, 3] : f32[2, 3, 2]", "leave the range"),
        ("%40 = slice %24 starts=[0, 0, 0] sizes=[2, 3, 4] steps=[1, 0, 1] : f32[2, 3, 4]", "a step is 0"),
        ("%40 = pad %24, %9 low=[-1, 0, 0] high=[0, 0, 0] mode=constant : f32[1, 3, 4]", "is -1"),
        ("%40 = pad %24, %9 low=[2, 0, 0] high=[0, 0, 0] mode=reflect : f32[4, 3, 4]", "too short"),
        ("%40 = concat axis=0 : f32[4]", "needs an operand"),
        ("%40 = concat %0, %24 axis=1 : f32[n, 8]", "operands differ"),
        ("%40 = reduce %24 op=sum axes=[2, 0] : f32[3]", "must be sorted"),
        ("%40 = reduce %2 op=max axes=[0] : bool[4]", "needs numbers"),
        ("%40 = contract %0, %4 batch=[] contract=[(0, 0)] out=f32 : f32[4, 6]", "not provably equal"),
        ("%40 = contract %0, %4 batch=[] contract=[(1, 0), (1, 1)] out=f32 : f32[n]", "paired twice"),
        ("%40 = contract %12, %13 batch=[] contract=[(1, 0)] out=u8 : u8[2, 6]", "accumulates in i32"),
        (&format!("%40 = conv %5, %6 {} groups=1 out=f32 : f32[2, 8, 8, 16]", window("[2, 2]")), "kernel axis 0"),
        (&format!("%40 = conv %5, %6 {} groups=2 out=f32 : f32[2, 6, 6, 16]", window("[3, 3]")), "input channels"),
        (&format!("%40 = pool %5 op=max {} : f32[2, 0, 0, 3]", window("[9, 9]")), "does not fit"),
        (&format!("%40 = pool %5 op=prod {} : f32[2, 6, 6, 3]", window("[3, 3]")), "pools by"),
        (&format!("%40 = pool %5 op=max {} : f32[2, 6, 6, 3]", window("[3]")), "the window needs"),
        ("%40 = gather %24, %17 axis=1 batch=0 : f32[2, 2, 5, 4]", "the index must be i64"),
        ("%40 = gather %24, %11 axis=1 batch=2 : f32[2, 3, 1]", "do not fit axis"),
        ("%40 = gather_elements %24, %7 axis=2 : f32[5]", "must have rank 3"),
        ("%40 = gather_nd %24, %3 batch=3 : f32[n]", "do not fit"),
        ("%40 = scatter_nd %29, %28, %4 op=add : f32[5, 6]", "the updates must be f32[5, 6]"),
        ("%40 = scatter_elements %29, %30, %4 axis=0 op=add : f32[5, 6]", "the updates must be"),
        ("%40 = cumulative %24 op=sum axis=3 exclusive=true reverse=false : f32[2, 3, 4]", "axis 3"),
        ("%40, %41 = top_k %24 axis=2 k=5 largest=true : f32[2, 3, 5], i64[2, 3, 5]", "exceeds"),
        ("%40 = non_max_suppression %20, %21, %9, %9, %9 center=false count=c : i64[c, 3]", "limit per class"),
        ("bind_dims %7 symbols=[c]", "must be i64[1]"),
        ("%40 = random %8 distribution=normal(0.0, 1.5) dtype=i8 shape=[n] seed=9 : i8[n]", "draws floats"),
        (
            "%40 = if %10, %0 varying=[] sizes=[] then=graph @a(%0: f32[n, 4]) -> (y: %0) { } otherwise=graph @b(%0: f32[4]) -> (y: %0) { } \
            : f32[n, 4]",
            "the branch `else` is",
        ),
        (
            "%40, %41 = loop %8, %10, %0 carried=1 varying=[] sizes=[] trips=c body=graph @b(%0: i64[], %1: bool[], %2: f32[n, 4]) -> \
            (again: %0, x: %2) { } : f32[n, 4], f32[c]",
            "the body yields must be bool",
        ),
    ] {
        let error = check(node).expect_err(node);
        assert!(error.contains(reason), "{node}\n  {error}\n  lacks: {reason}");
    }
}
