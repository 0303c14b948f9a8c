//! Loops over several axes at once.

use super::check;

/// Normalisation by groups of channels: sizes that only the run knows divide what goes over channels and positions at once.
#[test]
fn groups_of_channels_and_positions() {
    check(
        "dim n in 1..
         dim m in 1..
         graph @t(%0: f32[2, n, m, 6], %1: f32[2, 3]) -> (y: %5, z: %9, w: %11) {
           %2 = transpose %0 perm=[0, 3, 1, 2] : f32[2, 6, n, m]
           %3 = reshape %2 shape=[2, 3, 2*m*n] : f32[2, 3, 2*n*m]
           %4 = reduce %3 op=sum axes=[2] : f32[2, 3]
           %5 = mul %4, %1 : f32[2, 3]
           %6 = broadcast %5 shape=[2, 3, 2*n*m] axes=[0, 1] : f32[2, 3, 2*n*m]
           %7 = sub %3, %6 : f32[2, 3, 2*n*m]
           %8 = reshape %7 shape=[2, 6, n, m] : f32[2, 6, n, m]
           %9 = exp %8 : f32[2, 6, n, m]
           %10 = reshape %6 shape=[2, 6, n, m] : f32[2, 6, n, m]
           %11 = mul %2, %10 : f32[2, 6, n, m]
         }",
        &[1, 3, 9],
        1e-4,
    );
}
