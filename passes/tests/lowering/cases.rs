//! The graphs.

use super::check;

#[test]
fn elementwise_with_broadcasts() {
    check(
        "graph @t(%0: f32[3, 5, 7], %1: f32[7], %2: f32[5, 1]) -> (y: %7) {
           %3 = broadcast %1 shape=[3, 5, 7] axes=[2] : f32[3, 5, 7]
           %4 = broadcast %2 shape=[3, 5, 7] axes=[1, 2] : f32[3, 5, 7]
           %5 = add %0, %3 : f32[3, 5, 7]
           %6 = mul %5, %4 : f32[3, 5, 7]
           %7 = tanh %6 : f32[3, 5, 7]
         }",
        &[1],
        1e-6,
    );
}

#[test]
fn transpose_and_reshape() {
    check(
        "graph @t(%0: f32[2, 6, 4]) -> (y: %3) {
           %1 = transpose %0 perm=[0, 2, 1] : f32[2, 4, 6]
           %2 = reshape %1 shape=[8, 3, 2] : f32[8, 3, 2]
           %3 = exp %2 : f32[8, 3, 2]
         }",
        &[1],
        1e-6,
    );
}

/// Rows are so short that lanes go over the rows: what a softmax keeps of one has no place for all of them.
#[test]
fn product_of_the_rows_of_a_softmax() {
    check(
        "graph @t(%0: f32[2, 2, 2]) -> (y: %10) {
           %1 = reduce %0 op=max axes=[2] : f32[2, 2]
           %2 = broadcast %1 shape=[2, 2, 2] axes=[0, 1] : f32[2, 2, 2]
           %3 = sub %0, %2 : f32[2, 2, 2]
           %4 = exp %3 : f32[2, 2, 2]
           %5 = reduce %4 op=sum axes=[2] : f32[2, 2]
           %6 = recip %5 : f32[2, 2]
           %7 = broadcast %6 shape=[2, 2, 2] axes=[0, 1] : f32[2, 2, 2]
           %8 = mul %4, %7 : f32[2, 2, 2]
           %9 = reduce %8 op=prod axes=[2] : f32[2, 2]
           %10 = reshape %9 shape=[2, 2, 1] : f32[2, 2, 1]
         }",
        &[1],
        1e-6,
    );
}

#[test]
fn softmax_over_the_last_axis_of_symbolic_size() {
    check(
        "dim n in 0..
         graph @t(%0: f32[3, n]) -> (y: %7) {
           %1 = reduce %0 op=max axes=[1] : f32[3]
           %2 = broadcast %1 shape=[3, n] axes=[0] : f32[3, n]
           %3 = sub %0, %2 : f32[3, n]
           %4 = exp %3 : f32[3, n]
           %5 = reduce %4 op=sum axes=[1] : f32[3]
           %6 = broadcast %5 shape=[3, n] axes=[0] : f32[3, n]
           %7 = div %4, %6 : f32[3, n]
         }",
        &[1, 2, 37],
        1e-6,
    );
}

#[test]
fn matrix_product_with_bias_and_activation() {
    check(
        "dim n in 0..
         graph @t(%0: f32[n, 20]) -> (y: %6) {
           %1 = constant f32[20, 37] random=1
           %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[n, 37]
           %3 = constant f32[37] random=2
           %4 = broadcast %3 shape=[n, 37] axes=[1] : f32[n, 37]
           %5 = add %2, %4 : f32[n, 37]
           %6 = sigmoid %5 : f32[n, 37]
         }",
        &[1, 5, 70],
        1e-5,
    );
}

#[test]
fn attention_products() {
    check(
        "dim s in 1..
         graph @t(%0: f32[2, s, 12], %1: f32[2, s, 12]) -> (y: %10) {
           %2 = reshape %0 shape=[2, s, 3, 4] : f32[2, s, 3, 4]
           %3 = transpose %2 perm=[0, 2, 1, 3] : f32[2, 3, s, 4]
           %4 = reshape %1 shape=[2, s, 3, 4] : f32[2, s, 3, 4]
           %5 = transpose %4 perm=[0, 2, 3, 1] : f32[2, 3, 4, s]
           %6 = contract %3, %5 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[2, 3, s, s]
           %7 = transpose %4 perm=[0, 2, 1, 3] : f32[2, 3, s, 4]
           %8 = contract %6, %7 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[2, 3, s, 4]
           %9 = transpose %8 perm=[0, 2, 1, 3] : f32[2, s, 3, 4]
           %10 = reshape %9 shape=[2, s, 12] : f32[2, s, 12]
         }",
        &[1, 9, 33],
        1e-5,
    );
}

#[test]
fn convolutions() {
    check(
        "graph @t(%0: f32[1, 9, 9, 3]) -> (y: %9) {
           %1 = constant f32[3, 3, 3, 18] random=1
           %2 = conv %0, %1 window={size=[3, 3] strides=[2, 2] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=1 out=f32 : f32[1, 5, 5, 18]
           %3 = tanh %2 : f32[1, 5, 5, 18]
           %4 = constant f32[3, 3, 1, 18] random=2
           %5 = conv %3, %4 window={size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=18 out=f32 : f32[1, 5, 5, 18]
           %6 = constant f32[1, 1, 18, 40] random=3
           %7 = conv %5, %6 window={size=[1, 1] strides=[1, 1] dilations=[1, 1] pad_low=[0, 0] pad_high=[0, 0]} groups=1 out=f32 : f32[1, 5, 5, 40]
           %8 = constant f32[2, 2, 20, 8] random=4
           %9 = conv %7, %8 window={size=[2, 2] strides=[1, 1] dilations=[2, 1] pad_low=[1, 0] pad_high=[0, 1]} groups=2 out=f32 : f32[1, 4, 5, 8]
         }",
        &[1],
        1e-5,
    );
}

#[test]
fn gather_and_concat() {
    check(
        "graph @t(%0: i64[5], %1: f32[5, 6]) -> (y: %5, z: %1) {
           %2 = constant f32[10, 6] random=1
           %3 = gather %2, %0 axis=0 batch=0 : f32[5, 6]
           %4 = concat %3, %1, %3 axis=1 : f32[5, 18]
           %5 = neg %4 : f32[5, 18]
         }",
        &[1],
        1e-6,
    );
}

#[test]
fn arg_max_and_padding() {
    check(
        "graph @t(%0: f32[4, 9]) -> (y: %1, z: %3) {
           %1 = arg_reduce %0 axis=1 max=true last=false : i64[4]
           %2 = constant f32[] [0.5]
           %3 = pad %0, %2 low=[1, 2] high=[0, 3] mode=constant : f32[5, 14]
         }",
        &[1],
        1e-6,
    );
}

/// A result that is read in another order is not written by the product's kernel in its own.
#[test]
fn transposed_products() {
    check(
        "graph @t(%0: f32[4, 3]) -> (y: %4) {
           %1 = constant f32[3, 4] random=1
           %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[4, 4]
           %3 = transpose %2 perm=[1, 0] : f32[4, 4]
           %4 = exp %3 : f32[4, 4]
         }",
        &[1],
        1e-5,
    );
}

/// Columns of a right operand that lie apart, and do not fill a panel.
#[test]
fn products_with_packed_columns() {
    check(
        "dim n in 1..
         graph @t(%0: f32[n, 3], %1: f32[5, 3]) -> (y: %2) {
           %2 = contract %0, %1 batch=[] contract=[(1, 1)] out=f32 : f32[n, 5]
         }",
        &[1, 4],
        1e-5,
    );
}

#[test]
fn borders_that_repeat() {
    for mode in ["edge", "reflect", "wrap"] {
        check(
            &format!(
                "dim n in 4..
                 graph @t(%0: f32[5, n]) -> (y: %2) {{
                   %1 = constant f32[] [0.0]
                   %2 = pad %0, %1 low=[2, 3] high=[4, 1] mode={mode} : f32[11, n + 4]
                 }}"
            ),
            &[4, 7],
            0.0,
        );
    }
}

/// Extremes of integers on one side of 0, where a wrong start of the reduction shows.
#[test]
fn extremes_of_integers() {
    check(
        "graph @t(%0: i32[4, 9], %1: i8[1, 6, 2]) -> (a: %3, b: %4, c: %6) {
           %2 = bit_not %0 : i32[4, 9]
           %3 = reduce %2 op=max axes=[1] : i32[4]
           %4 = reduce %0 op=min axes=[0] : i32[9]
           %5 = bit_not %1 : i8[1, 6, 2]
           %6 = pool %5 op=max window={size=[3] strides=[2] dilations=[1] pad_low=[1] pad_high=[1]} : i8[1, 3, 2]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn recurrent_layers() {
    for (kind, gates, results) in [
        ("lstm", 32, ": f32[5, n, 8], f32[n, 8], f32[n, 8]"),
        ("gru", 24, ": f32[5, n, 8], f32[n, 8]"),
        ("gru_linear_before_reset", 24, ": f32[5, n, 8], f32[n, 8]"),
        ("rnn", 8, ": f32[5, n, 8], f32[n, 8]"),
    ] {
        let activations = match kind {
            "lstm" => "[sigmoid, tanh, tanh]",
            "rnn" => "[tanh]",
            _ => "[sigmoid, tanh]",
        };
        for (reverse, clip, lengths) in [
            (false, "none", false),
            (true, "none", false),
            (false, "0.25", false),
            (false, "none", true),
            (true, "none", true),
        ] {
            let (length, length_input) = if lengths { (", %5", ", %5: i64[n]") } else { ("", "") };
            let last = if kind == "lstm" { "%7, %8, %9" } else { "%7, %8" };
            let (c0, c0_input) = if kind == "lstm" { (", %4", ", %4: f32[n, 8]") } else { ("", "") };
            check(
                &format!(
                    "dim n in 1..
                     graph @t(%0: f32[5, n, {gates}], %3: f32[n, 8]{c0_input}{length_input}) -> (y: %7, h: %8) {{
                       %1 = constant f32[8, {gates}] random=1
                       %2 = constant f32[{gates}] random=2
                       {last} = recurrent %0, %1, %2, %3{c0}{length} cell={{kind={kind} reverse={reverse} activations={activations} clip={clip} input_forget=false peepholes=false sequence_lengths={lengths}}} {results}
                     }}"
                ),
                &[1, 3],
                1e-5,
            );
        }
    }
}

/// Weights that are inputs, or computed of one; in f32 and f64.
#[test]
fn recurrent_layers_of_computed_weights() {
    for dtype in ["f32", "f64"] {
        for (kind, gates, activations) in
            [("lstm", 20, "[sigmoid, tanh, tanh]"), ("gru", 15, "[sigmoid, tanh]"), ("rnn", 5, "[softplus]")]
        {
            let last = if kind == "lstm" { "%7, %8, %9" } else { "%7, %8" };
            let results = format!("{dtype}[4, n, 5], {dtype}[n, 5]");
            let results = if kind == "lstm" { format!("{results}, {dtype}[n, 5]") } else { results };
            let c0 = if kind == "lstm" { ", %3" } else { "" };
            for computed in ["%6 = sin %1", "%6 = transpose %5 perm=[1, 0]"] {
                check(
                    &format!(
                        "dim n in 1..
                         graph @t(%0: {dtype}[4, n, {gates}], %1: {dtype}[5, {gates}], %5: {dtype}[{gates}, 5],
                                  %2: {dtype}[{gates}], %3: {dtype}[n, 5]) -> (y: %7, h: %8) {{
                           {computed} : {dtype}[5, {gates}]
                           {last} = recurrent %0, %6, %2, %3{c0} cell={{kind={kind} reverse=true activations={activations} clip=1.5 input_forget=false peepholes=false sequence_lengths=false}} : {results}
                         }}"
                    ),
                    &[1, 3],
                    1e-5,
                );
            }
        }
    }
}

/// A state takes its share of an infinite candidate, and is not the difference of two infinities.
#[test]
fn recurrent_layers_of_infinite_candidates() {
    check(
        "graph @t(%0: f32[2, 3, 3], %3: f32[3, 1]) -> (y: %4) {
           %1 = constant f32[1, 3] [0.5, 0.25, 0.0]
           %2 = constant f32[3] [0.0, 0.0, inf]
           %4, %5 = recurrent %0, %1, %2, %3 cell={ kind=gru_linear_before_reset reverse=false activations=[sigmoid, elu(0.5)] clip=none input_forget=false peepholes=false sequence_lengths=false } : f32[2, 3, 1], f32[3, 1]
         }",
        &[1],
        1e-5,
    );
}

#[test]
fn sums_of_nothing_over_several_axes() {
    check(
        "graph @t(%0: f64[8, 9, 0, 3], %1: f64[8, 9, 0, 3], %2: f32[2, 0, 3], %3: f32[3, 2, 0, 5]) -> (y: %4, z: %5) {
           %4 = contract %0, %1 batch=[] contract=[(2, 2), (1, 1), (0, 0), (3, 3)] out=f64 : f64[]
           %5 = contract %2, %3 batch=[(2, 0)] contract=[(0, 1), (1, 2)] out=f32 : f32[3, 5]
         }",
        &[1],
        0.0,
    );
}

/// Reductions that are emitted outside of loops that may not run.
#[test]
fn softmax_of_nothing() {
    check(
        "graph @t(%0: f32[1, 0, 0, 1]) -> (y: %8) {
           %1 = reduce %0 op=max axes=[3] : f32[1, 0, 0]
           %2 = reshape %1 shape=[1, 0, 0, 1] : f32[1, 0, 0, 1]
           %3 = sub %0, %2 : f32[1, 0, 0, 1]
           %4 = exp %3 : f32[1, 0, 0, 1]
           %5 = reduce %4 op=sum axes=[3] : f32[1, 0, 0]
           %6 = reshape %5 shape=[1, 0, 0, 1] : f32[1, 0, 0, 1]
           %7 = log %6 : f32[1, 0, 0, 1]
           %8 = sub %3, %7 : f32[1, 0, 0, 1]
         }",
        &[1],
        0.0,
    );
}

#[test]
fn convolutions_of_a_single_pixel() {
    check(
        "graph @t(%0: f32[1, 1, 1, 3]) -> (y: %5) {
           %1 = exp %0 : f32[1, 1, 1, 3]
           %2 = constant f32[3, 3, 1, 3] random=2
           %3 = conv %1, %2 window={size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=3 out=f32 : f32[1, 1, 1, 3]
           %4 = constant f32[3, 3, 3, 5] random=4
           %5 = conv %3, %4 window={size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=1 out=f32 : f32[1, 1, 1, 5]
         }",
        &[1],
        1e-5,
    );
}

/// Weights that are computed, in one group and in several, are packed by a step.
#[test]
fn convolutions_with_computed_weights() {
    check(
        "dim n in 0..
         graph @t(%0: f32[n, 7, 9, 6], %1: f32[3, 3, 6, 21], %2: f32[24, 2, 7, 3], %3: f32[3, 3, 1, 21]) -> (y: %7, z: %8) {
           %4 = exp %1 : f32[3, 3, 6, 21]
           %5 = conv %0, %4 window={size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=1 out=f32 : f32[n, 7, 9, 21]
           %6 = transpose %2 perm=[1, 3, 2, 0] : f32[2, 3, 7, 24]
           %7 = conv %5, %6 window={size=[2, 3] strides=[2, 1] dilations=[1, 2] pad_low=[0, 2] pad_high=[1, 2]} groups=3 out=f32 : f32[n, 4, 9, 24]
           %8 = conv %5, %3 window={size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]} groups=21 out=f32 : f32[n, 7, 9, 21]
         }",
        &[1, 2],
        1e-5,
    );
}

/// Channels that are split are read where they are, borders of different widths included.
#[test]
fn convolutions_of_some_channels() {
    let text = |size: usize, start: usize, step: usize| {
        format!(
            "graph @t(%0: f32[1, {size}, 6, 3]) -> (y: %5, z: %8, w: %11) {{
               %1 = constant f32[1, 1, 3, 20] random=1
               %2 = conv %0, %1 window={{size=[1, 1] strides=[1, 1] dilations=[1, 1] pad_low=[0, 0] pad_high=[0, 0]}} groups=1 out=f32 : f32[1, {size}, 6, 20]
               %3 = slice %2 starts=[0, 0, 0, {start}] sizes=[1, {size}, 6, 7] steps=[1, 1, 1, {step}] : f32[1, {size}, 6, 7]
               %4 = constant f32[3, 3, 7, 5] random=2
               %5 = conv %3, %4 window={{size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]}} groups=1 out=f32 : f32[1, {size}, 6, 5]
               %6 = slice %2 starts=[0, 0, 0, 9] sizes=[1, {size}, 6, 1] steps=[1, 1, 1, 1] : f32[1, {size}, 6, 1]
               %7 = constant f32[3, 5, 1, 4] random=3
               %8 = conv %6, %7 window={{size=[3, 5] strides=[1, 1] dilations=[1, 1] pad_low=[2, 2] pad_high=[0, 2]}} groups=1 out=f32 : f32[1, {size}, 6, 4]
               %9 = slice %2 starts=[0, 0, 0, 9] sizes=[1, {size}, 6, 11] steps=[1, 1, 1, 1] : f32[1, {size}, 6, 11]
               %10 = constant f32[3, 3, 1, 11] random=4
               %11 = conv %9, %10 window={{size=[3, 3] strides=[1, 2] dilations=[1, 1] pad_low=[1, 1] pad_high=[1, 1]}} groups=11 out=f32 : f32[1, {size}, 3, 11]
             }}"
        )
    };
    let buffers = |text: &str| super::lowered(text).buffers.len();
    let in_place = buffers(&text(4, 2, 1));
    for (size, start, step) in [(4, 2, 1), (1, 2, 1), (4, 1, 2)] {
        check(&text(size, start, step), &[1], 1e-5);
        // Channels that do not lie side by side are put there.
        assert_eq!(buffers(&text(size, start, step)) - in_place, step - 1, "{size} {start} {step}");
    }
    // The input, three outputs, four weights, and what is split.
    assert_eq!(in_place, 1 + 3 + 4 + 1);
}

#[test]
fn borders_of_axes_that_may_be_empty() {
    // Computed operands, half precision, a bias that both the inside and others read, a row reduction, a gather, and two
    // borders in one kernel, along axes of their own.
    check(
        "dim n in 0..
         graph @t(%0: f32[n, 3], %1: f32[3], %20: f16[2, n], %30: i64[n], %31: f32[n, 9])
           -> (a: %5, b: %6, c: %21, d: %33, e: %36, f: %41) {
           %2 = constant f32[] [0.5]
           %3 = broadcast %1 shape=[n, 3] axes=[1] : f32[n, 3]
           %4 = add %0, %3 : f32[n, 3]
           %5 = pad %4, %2 low=[1, 0] high=[2, 0] mode=constant : f32[n + 3, 3]
           %7 = broadcast %1 shape=[n + 3, 3] axes=[1] : f32[n + 3, 3]
           %6 = mul %5, %7 : f32[n + 3, 3]
           %19 = constant f16[] [0.5]
           %21 = pad %20, %19 low=[1, 4] high=[0, 1] mode=constant : f16[3, n + 5]
           %32 = constant f32[4, 6] random=1
           %34 = gather %32, %30 axis=0 batch=0 : f32[n, 6]
           %33 = pad %34, %2 low=[2, 1] high=[0, 1] mode=constant : f32[n + 2, 8]
           %35 = reduce %31 op=sum axes=[1] : f32[n]
           %36 = pad %35, %2 low=[1] high=[n] mode=constant : f32[2*n + 1]
           %37 = transpose %20 perm=[1, 0] : f16[n, 2]
           %38 = convert %37 to=f32 : f32[n, 2]
           %39 = pad %38, %2 low=[0, 0] high=[3, 1] mode=constant : f32[n + 3, 3]
           %40 = pad %4, %2 low=[3, 0] high=[0, 0] mode=constant : f32[n + 3, 3]
           %41 = add %39, %40 : f32[n + 3, 3]
         }",
        &[0, 1, 2, 37],
        1e-5,
    );
    // Inside of a convolution's epilogue, and around nothing at all.
    check(
        "dim n in 0..
         graph @t(%0: f32[n, 4], %1: f32[0, 4], %8: f32[n, n]) -> (y: %6, z: %7, x: %9) {
           %2 = constant f32[] [2.0]
           %3 = constant f32[4, 20] random=1
           %4 = contract %0, %3 batch=[] contract=[(1, 0)] out=f32 : f32[n, 20]
           %5 = pad %4, %2 low=[0, 1] high=[1, 1] mode=constant : f32[n + 1, 22]
           %6 = tanh %5 : f32[n + 1, 22]
           %7 = pad %1, %2 low=[1, 1] high=[1, 0] mode=constant : f32[2, 5]
           %9 = pad %8, %2 low=[1, 0] high=[1, 2] mode=constant : f32[n + 2, n + 2]
         }",
        &[0, 1, 5],
        1e-5,
    );
}

#[test]
fn windows_over_axes_that_may_be_empty() {
    for (op, dilation) in [("max", 1), ("max", 2), ("sum", 1)] {
        let (more, less, narrow) = (dilation + 2, 2 * dilation - 1, dilation - 1);
        check(
            &format!(
                "dim n in 0..
                 graph @t(%0: f32[1, n, n, 20]) -> (y: %1, z: %3) {{
                   %1 = pool %0 op={op} window={{size=[3, 3] strides=[1, 1] dilations=[{dilation}, {dilation}] pad_low=[{dilation}, {dilation}] pad_high=[{dilation}, {dilation}]}} : f32[1, n, n, 20]
                   %2 = exp %0 : f32[1, n, n, 20]
                   %3 = pool %2 op={op} window={{size=[3, 3] strides=[1, 1] dilations=[{dilation}, {dilation}] pad_low=[{dilation}, {dilation}] pad_high=[{more}, {less}]}} : f32[1, n + 2, n + {narrow}, 20]
                 }}"
            ),
            &[0, 1, 4],
            1e-5,
        );
    }
}

#[test]
fn an_empty_axis_has_nothing_to_repeat() {
    for mode in ["edge", "reflect", "wrap"] {
        let text = format!(
            "dim n in 0..
             dim m in 0..
             graph @t(%0: f32[n], %1: f32[m]) -> (y: %3) {{
               %2 = constant f32[] [0.0]
               %3 = pad %0, %2 low=[m] high=[0] mode={mode} : f32[n + m]
             }}"
        );
        let program = super::lowered(&text);
        for (n, m, sound) in [(0, 0, true), (3, 2, true), (3, 0, true), (0, 1, false)] {
            let zeros = |count: i64| (vec![count], vec![0; 4 * count as usize]);
            let run = nnc_kernels::interpret::run(&program, &[zeros(n), zeros(m)]);
            let refused = matches!(run, Err(nnc_kernels::interpret::RunError::Check { .. }));
            assert!(run.is_ok() == sound && refused != sound, "{mode} {n} {m}: {run:?}");
        }
    }
}

#[test]
fn product_over_two_separate_axes_with_a_symbolic_number_of_columns() {
    for dtype in ["f32", "i32"] {
        let text = format!(
            "dim n in 0..
             graph @t(%0: {dtype}[3, 8, n, 4], %1: {dtype}[3, 8, n, 4]) -> (y: %2) {{
               %2 = contract %0, %1 batch=[(0, 0)] contract=[(1, 1), (3, 3)] out={dtype} : {dtype}[3, n, n]
             }}"
        );
        check(&text, &[0, 1, 5, 17], 1e-5);
    }
}
