//! Tests of the text form; the round trip of every operation is in `infer/tests.rs`.

use super::*;
use crate::print;
use expect_test::expect;
use proptest::prelude::*;

#[test]
fn encodings() {
    let text = "dim n in 0..
dim m in 0..
graph @g(
    %0 city: i64[n + 1] as string[n],
    %1 city.bytes: u8[m],
    %2 w: u8[3] as i4[5]) -> (
    y: %0 as string[1, n],
    y.bytes: %1,
    w: %2 as u2[3, 4]) {
}
";
    let graph = graph(text).unwrap();
    crate::verify::verify(&graph).unwrap();
    assert_eq!(print::graph(&graph), text);
}

#[test]
fn layout() {
    let text = r#"
; run: interpret
dim batch in 0..
dim "odd name" in 1..8
dim count in 0.. <= 64*batch from node
graph @digits(%0 image: f32[batch, 64], %4: f32["odd name"]) -> (logits: %3, "a b": %5) {
  ; a comment
  %1 = constant f32[64, 10] random=1
  %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[batch, 10]   ; MatMul "fc"
  %3 act = tanh %2 : f32[batch, 10]
  %5 = non_zero %0 count=count : i64[count, 2]
  %6 = convert %5 to=bool : bool[count, 2] ; keep
  %7 = constant bool[] [true]
  %8 = if %7, %3 varying=[] sizes=[] then=graph @a(%0: f32[batch, 10]) -> (y: %1) { %1 = exp %0 : f32[batch, 10] }
    otherwise=graph @b(%0: f32[batch, 10]) -> (y: %0) { } : f32[batch, 10]
}
"#;
    let graph = graph(text).unwrap();
    crate::verify::verify(&graph).unwrap();
    let printed = print::graph(&graph);
    expect![[r#"
        dim batch in 0..
        dim "odd name" in 1..8
        dim count in 0.. <= 64*batch from node
        graph @digits(%0 image: f32[batch, 64], %4: f32["odd name"]) -> (logits: %3, "a b": %5) {
          %1 = constant f32[64, 10] hash=edeb17bf81dff693
          %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[batch, 10]  ; MatMul "fc"
          %3 act = tanh %2 : f32[batch, 10]
          %5 = non_zero %0 count=count : i64[count, 2]
          %6 = convert %5 to=bool : bool[count, 2]  ; keep
          %7 = constant bool[] [true]
          %8 = if %7, %3 varying=[] sizes=[] then=graph @a(%0: f32[batch, 10]) -> (y: %1) {
            %1 = exp %0 : f32[batch, 10]
          } otherwise=graph @b(%0: f32[batch, 10]) -> (y: %0) {
          } : f32[batch, 10]
        }
    "#]]
    .assert_eq(&printed);
    let again = graph_with(&printed, &Constants::of(&graph)).unwrap();
    assert_eq!(print::graph(&again), printed);
    assert!(super::graph(&printed).unwrap_err().to_string().contains("line 5: no constant with hash"));
}

#[test]
fn errors_name_the_line() {
    for (text, message) in [
        ("graph @t() -> () {\n %0 = frobnicate : f32[]\n}", "line 2: `frobnicate` is not an operation"),
        ("graph @t() -> () {\n\n %0 = constant f32[2] [1.0]\n}", "line 3: 1 elements where 2 belong"),
        ("graph @t(%0: f32[k]) -> () {\n}", "line 1: unknown dimension `k`"),
        ("graph @t(%99999999: f32[]) -> () {\n}", "line 1: `%99999999` is not a value"),
        ("graph @t() -> () {\n %0 = constant f32[9999999999999] splat=1\n}", "line 2: the constant is too large"),
        ("graph @t() -> () {\n %0 = exp %0\n}", "line 3: 1 results with 0 types"),
        ("dim n in 0..\ndim n in 0..\n", "line 2: the dimension `n` is declared twice or has no name"),
        ("graph @t() -> () {\n} x", "line 2: expected the end of the text, found `x`"),
    ] {
        assert_eq!(graph(text).unwrap_err().to_string(), message, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Sound text with one stretch replaced: refused or accepted, never a panic.
    #[test]
    fn damaged_text_does_not_panic(at in 0usize..400, cut in 0usize..20, put in "[%a-z0-9=\\[\\](){}:,;\" .*/-]{0,8}") {
        let text = "dim n in 0..\ngraph @t(%0: f32[n, 4], %1 b: bool[]) -> (y: %3) {\n %2 = reduce %0 op=sum axes=[1] : \
            f32[n]\n %3 = top_k %2 axis=0 k=floor(n/2) largest=true : f32[floor(n/2)], i64[floor(n/2)]\n %4 = if %1 varying=[] sizes=[] \
            then=graph @a() -> (z: %0) { %0 = constant i8[2] [1, -1] } otherwise=graph @b() -> () { } : i8[2]\n}";
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        if let Ok(graph) = graph(&format!("{}{put}{}", &text[..at], &text[end..])) {
            let _ = crate::verify::verify(&graph);
            let printed = print::graph(&graph);
            let again = super::graph(&printed).map(|g| print::graph(&g));
            prop_assert_eq!(again, Ok(printed));
        }
    }
}
