//! Pooling: windows, their borders, and what becomes of both.

use super::check;

#[test]
fn pools_and_global_mean() {
    check(
        "graph @t(%0: f32[1, 7, 7, 20]) -> (y: %2, z: %3, w: %5) {
           %1 = exp %0 : f32[1, 7, 7, 20]
           %2 = pool %1 op=max window={size=[3, 3] strides=[2, 2] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} : f32[1, 4, 4, 20]
           %3 = pool %1 op=sum window={size=[2, 2] strides=[2, 2] dilations=[1, 1] pad_low=[0, 0] pad_high=[1, 1]} : f32[1, 4, 4, 20]
           %4 = reduce %1 op=sum axes=[1, 2] : f32[1, 20]
           %5 = sqrt %4 : f32[1, 20]
         }",
        &[1],
        1e-5,
    );
}

/// Windows that lie wholly in the border are the reduction's empty value, not the nearest element.
/// A border that every window reaches out of is not written; one that holds a whole window is.
#[test]
fn pool_over_a_border_of_its_own() {
    let pooled = |op: &str, fill: &str, high: &str, size: &str, result: &str| {
        format!(
            "dim n in 1..
             graph @t(%0: f32[1, n, 3]) -> (y: %3) {{
               %1 = constant f32[] [{fill}]
               %2 = pad %0, %1 low=[0, 1, 0] high=[0, {high}, 0] mode=constant : f32[1, {size}, 3]
               %3 = pool %2 op={op} window={{ size=[3] strides=[2] dilations=[1] pad_low=[0] pad_high=[0] }} : f32[1, {result}, 3]
             }}"
        )
    };
    let rounded = ("2*floor(n/2) - n + 2", "2*floor(n/2) + 3", "floor(n/2) + 1");
    let wide = ("2*floor(n/2) - n + 3", "2*floor(n/2) + 4", "floor(n/2) + 1");
    let holds_a_window = ("2*floor(n/2) - n + 4", "2*floor(n/2) + 5", "floor(n/2) + 2");
    for (op, fill, (high, size, result), regions) in [
        ("max", "-inf", rounded, 1),
        ("min", "inf", rounded, 1),
        ("max", "0.0", rounded, 2),
        ("sum", "0.0", rounded, 2),
        ("max", "-inf", wide, 2),
        ("max", "-inf", holds_a_window, 2),
    ] {
        let text = pooled(op, fill, high, size, result);
        check(&text, &[1, 2, 3, 8], 1e-6);
        let graph = nnc_ir::parse::graph(&text).unwrap();
        assert_eq!(nnc_passes::regions::fuse(&graph).list.len(), regions, "{text}");
    }
}

#[test]
fn pool_with_a_border_larger_than_its_window() {
    for (op, low, high) in [("max", 3, 3), ("min", 2, 0), ("max", 1, 4), ("sum", 3, 3)] {
        let result = 5 + low + high - 1;
        check(
            &format!(
                "graph @t(%0: f32[1, 5, 3]) -> (y: %1) {{
                   %1 = pool %0 op={op} window={{ size=[2] strides=[1] dilations=[1] pad_low=[{low}] pad_high=[{high}] }} : f32[1, {result}, 3]
                 }}"
            ),
            &[1],
            1e-6,
        );
    }
}
