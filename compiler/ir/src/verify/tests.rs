//! For each rule a graph that breaks it.

use super::*;
use crate::parse::graph as parse;
use crate::{DType, Data, Tensor};

fn broken_rule(text: &str) -> u8 {
    verify(&parse(text).expect(text)).expect_err(text).rule
}

#[test]
fn rules_expressible_in_text() {
    for (rule, text) in [
        (1, "graph @t(%0: f32[]) -> (y: %7) {\n}"),
        (1, "graph @t(%0: f32[]) -> () {\n %1 = exp %9 : f32[]\n}"),
        (2, "graph @t(%0: f32[]) -> () {\n %0 = exp %0 : f32[]\n}"),
        (2, "graph @t(%0: f32[], %0: f32[]) -> () {\n}"),
        (3, "graph @t(%0: f32[]) -> () {\n %1 = exp %2 : f32[]\n %2 = exp %0 : f32[]\n}"),
        (3, "graph @t(%0: f32[]) -> () {\n %1 = exp %1 : f32[]\n}"),
        (4, "graph @t(%1: f32[]) -> (y: %0) {\n}"),
        (5, "graph @t(%0: f32[]) -> () {\n %1 = exp %0 : f32[1]\n}"),
        (5, "graph @t(%0: f32[]) -> () {\n %1, %2 = exp %0 : f32[], f32[]\n}"),
        (7, "dim c in 0.. from node\ngraph @t(%0: f32[c]) -> () {\n}"),
        (7, "dim n in 0..\ngraph @t() -> () {\n %0 = dims dims=[n] scalar=true : i64[]\n}"),
        (
            7,
            "dim c in 0.. from node\ngraph @t(%0: i64[], %3: f32[3]) -> () {\n \
             %1 = dims dims=[c] scalar=true : i64[]\n bind_dims %0 symbols=[c]\n}",
        ),
        // What a branch defines is not visible behind it.
        (
            7,
            "dim c in 0.. from node\ngraph @t(%0: bool[], %1: i64[]) -> () {\n if %0, %1 varying=[] sizes=[] \
             then=graph @a(%0: i64[]) -> () {\n bind_dims %0 symbols=[c]\n } otherwise=graph @b(%0: i64[]) -> () {\n }\n \
             %2 = dims dims=[c] scalar=true : i64[]\n}",
        ),
        (
            8,
            "dim c in 0.. from node\ngraph @t(%0: i64[]) -> () {\n bind_dims %0 symbols=[c]\n bind_dims %0 symbols=[c]\n}",
        ),
        (8, "dim n in 0..\ngraph @t(%0: i64[], %1: f32[n]) -> () {\n bind_dims %0 symbols=[n]\n}"),
        (9, "dim n in 5..4\ngraph @t(%0: f32[n]) -> () {\n}"),
        (
            3,
            "graph @t(%0: bool[]) -> () {\n if %0 varying=[] sizes=[] then=graph @a() -> () {\n %1 = exp %0 : f32[]\n } \
             otherwise=graph @b() -> () {\n }\n}",
        ),
        (11, "dim n in 0..\ngraph @t(%0: i64[n] as string[n], %1: u8[9]) -> () {\n}"),
        (11, "graph @t(%0: i64[4] as string[3], %1: i8[9]) -> () {\n}"),
        (11, "graph @t(%0: i64[4] as string[3]) -> (y: %0) {\n}"),
        (11, "graph @t(%0: u8[2] as i4[5]) -> () {\n}"),
        (11, "graph @t(%0: u8[6] as f8e5m2[2, 3]) -> () {\n}"),
        (11, "graph @t(%0: i64[4], %1: u8[1]) -> (y: %0 as string[4], z: %1) {\n}"),
        (
            11,
            "graph @t(%0: bool[]) -> () {\n if %0 varying=[] sizes=[] then=graph @a() -> () {\n } \
             otherwise=graph @b(%0: i64[4] as string[3]) -> () {\n }\n}",
        ),
    ] {
        assert_eq!(broken_rule(text), rule, "{text}");
    }
}

#[test]
fn rules_beyond_text() {
    let mut graph = Graph::default();
    let data = Data::new(vec![0u8; 3]);
    graph.push_const(Tensor { dtype: DType::F32, shape: vec![1], data }, "");
    assert_eq!(verify(&graph).map_err(|e| e.rule), Err(6));

    let mut graph = Graph::default();
    let later = Symbol(1);
    graph.dims.fresh("a", 0, 9, Some(Dim::sym(later)));
    assert_eq!(verify(&graph).map_err(|e| e.rule), Err(9));

    let mut inner = Graph::default();
    inner.dims.fresh("inner", 0, 9, None);
    let mut graph = Graph::default();
    let condition = graph.add_input(TensorType::new(DType::Bool, vec![]), "c");
    let op = Op::If { varying: vec![], sizes: vec![], then: Box::new(inner), otherwise: Box::default() };
    graph.push(op, &[condition], "If").unwrap();
    assert_eq!(verify(&graph).map_err(|e| e.rule), Err(10));
}

#[test]
fn the_place_is_named() {
    let graph = parse("graph @net(%0: f32[]) -> () {\n %1 = exp %0 : f32[1]  ; Exp \"e\"\n}").unwrap();
    let message = verify(&graph).unwrap_err().to_string();
    assert_eq!(message, "graph net, node0 exp (Exp \"e\"): v1 is f32[1], the operation yields f32[] (rule 5)");
}
