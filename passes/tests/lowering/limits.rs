//! Graphs that would make kernels without bound if everything that can be inlined were.

use super::check;
use std::fmt::Write;

/// A graph over one input; each element of `steps` is a node, which reads earlier ones by number.
fn graph(input: &str, nodes: &[String], result: usize) -> String {
    let mut text = format!("graph @t(%0: {input}) -> (y: %{result}) {{\n");
    for node in nodes {
        let _ = writeln!(text, "  {node}");
    }
    text + "}\n"
}

/// Every link reads the one before at two places: 2^40 places without a limit.
#[test]
fn two_slices_of_every_sum() {
    let mut nodes = vec!["%1 = constant f32[] [0.5]".to_owned()];
    let mut last = 0;
    for i in 0..40 {
        let n = 2 + 4 * i;
        nodes.push(format!("%{n} = pad %{last}, %1 low=[1] high=[1] mode=constant : f32[18]"));
        nodes.push(format!("%{} = slice %{n} starts=[0] sizes=[16] steps=[1] : f32[16]", n + 1));
        nodes.push(format!("%{} = slice %{n} starts=[2] sizes=[16] steps=[1] : f32[16]", n + 2));
        nodes.push(format!("%{} = max %{}, %{} : f32[16]", n + 3, n + 1, n + 2));
        last = n + 3;
    }
    check(&graph("f32[16]", &nodes, last), &[1], 1e-6);
}

#[test]
fn a_thousand_operations_in_a_row() {
    let nodes: Vec<String> =
        (0..1000).map(|i| format!("%{} = {} %{i} : f32[5]", i + 1, if i % 2 == 0 { "sin" } else { "neg" })).collect();
    check(&graph("f32[5]", &nodes, 1000), &[1], 1e-5);
}

/// Each reshape to other sizes doubles an index expression.
#[test]
fn reshapes_of_transposes_of_reshapes() {
    let mut nodes = vec![];
    for i in 0..30 {
        let n = 2 * i;
        let shape = if i % 2 == 0 { (4, 9) } else { (6, 6) };
        nodes.push(format!(
            "%{} = reshape %{n} shape=[{}, {}] : f32[{}, {}]",
            n + 1,
            shape.0,
            shape.1,
            shape.0,
            shape.1
        ));
        nodes.push(format!("%{} = transpose %{} perm=[1, 0] : f32[{}, {}]", n + 2, n + 1, shape.1, shape.0));
    }
    check(&graph("f32[6, 6]", &nodes, 60), &[1], 1e-6);
}

#[test]
fn dimensions_in_a_long_list() {
    let dims: Vec<String> = (0..700).map(|i| if i % 7 == 0 { "n".to_owned() } else { i.to_string() }).collect();
    let text = format!(
        "dim n in 0..
         graph @t(%0: i64[n], %1: i64[700]) -> (y: %3) {{
           %2 = dims dims=[{}] scalar=false : i64[700]
           %3 = add %1, %2 : i64[700]
         }}",
        dims.join(", ")
    );
    check(&text, &[3], 0.0);
}

#[test]
fn a_buffer_beyond_all_memory_is_refused() {
    let text = "graph @t(%0: f32[1048576, 1048576]) -> (y: %1) {
  %1 = neg %0 : f32[1048576, 1048576]
}
";
    let graph = nnc_ir::parse::graph(text).unwrap();
    let target = nnc_desc::Target::parse("x86_64").unwrap();
    let error = super::planned(&graph, &target, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("1099511627776 bytes"), "{error}");
}

/// Their sums could not be represented.
#[test]
fn tensors_too_large_for_any_size() {
    for size in ["n + 288230376151711744", "288230376151711744*n", "288230376151711744"] {
        let text = format!(
            "dim n in 0..
             graph @t(%0: f32[], %1: f32[n]) -> (y: %4) {{
               %2 = broadcast %0 shape=[{size}] axes=[] : f32[{size}]
               %3 = cumulative %2 op=sum axis=0 exclusive=false reverse=false : f32[{size}]
               %4 = reduce %3 op=sum axes=[0] : f32[]
             }}"
        );
        let graph = nnc_ir::parse::graph(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let target = nnc_desc::Target::parse("x86_64").unwrap();
        let error = super::planned(&graph, &target, &[]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("would take more than"), "{error}");
    }
}
