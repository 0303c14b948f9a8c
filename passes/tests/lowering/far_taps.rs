//! Dilated windows, much of whose taps read nothing but border.

use super::check;

/// Taps that read nothing but border are left out: images smaller and larger than the dilation, borders on one side, steps,
/// more than one block of rows, groups, sizes that only the run knows.
#[test]
fn convolutions_of_far_taps() {
    let windows = [
        "size=[3, 3] strides=[1, 1] dilations=[12, 12] pad_low=[12, 12] pad_high=[12, 12]",
        "size=[3, 3] strides=[1, 1] dilations=[5, 1] pad_low=[5, 1] pad_high=[5, 1]",
        "size=[5, 3] strides=[1, 1] dilations=[4, 6] pad_low=[8, 6] pad_high=[8, 6]",
        "size=[3, 4] strides=[1, 1] dilations=[4, 5] pad_low=[8, 0] pad_high=[0, 15]",
        "size=[1, 3] strides=[1, 1] dilations=[1, 7] pad_low=[0, 7] pad_high=[0, 7]",
    ];
    for window in windows {
        for groups in [1, 2] {
            let weights = format!("{}, {}, 24", &window[6..10], 6 / groups);
            for (shape, sizes) in [("1, 7, 6", vec![1]), ("2, 10, 130", vec![1]), ("1, n, n", vec![1, 5, 9, 31])] {
                check(
                    &format!(
                        "dim n in 1..
                         graph @t(%0: f32[{shape}, 6]) -> (y: %2) {{
                           %1 = constant f32[{weights}] random=2
                           %2 = conv %0, %1 window={{{window}}} groups={groups} out=f32 : f32[{shape}, 24]
                         }}"
                    ),
                    &sizes,
                    1e-5,
                );
            }
        }
    }
    check(
        "graph @t(%0: f32[1, 9, 12, 6]) -> (y: %2) {
           %1 = constant f32[3, 3, 6, 20] random=2
           %2 = conv %0, %1 window={size=[3, 3] strides=[2, 3] dilations=[4, 4] pad_low=[4, 4] pad_high=[4, 4]} groups=1 out=f32 : f32[1, 5, 4, 20]
         }",
        &[1],
        1e-5,
    );
}
