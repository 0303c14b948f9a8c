//! Non-maximum suppression.

use super::check;

#[test]
fn non_max_suppression() {
    for center in [false, true] {
        for (most, iou, score) in [(3, 0.1, -0.5), (100, 0.3, 0.0), (0, 0.5, 0.0), (-1, 0.5, 0.0), (7, 0.0, 2.0)] {
            check(
                &format!(
                    "dim n in 0..
                     dim count in 0.. <= 6*n from node
                     graph @t(%0: f32[2, n, 4], %1: f32[2, 3, n]) -> (y: %5) {{
                       %2 = constant i64[] [{most}]
                       %3 = constant f32[] [{iou:?}]
                       %4 = constant f32[] [{score:?}]
                       %5 = non_max_suppression %0, %1, %2, %3, %4 center={center} count=count : i64[count, 3]
                     }}"
                ),
                &[0, 1, 2, 30],
                0.0,
            );
        }
    }
    // Many boxes kept, so that stripes have several blocks: crowded, and far apart.
    for spread in [0.25, 40.0] {
        check(
            &format!(
                "dim n in 0..
                 dim count in 0.. <= 2*n from node
                 graph @t(%0: f32[1, n, 2], %1: f32[1, n, 2], %2: f32[1, 2, n]) -> (y: %11) {{
                   %3 = constant i64[] [1000000]
                   %4 = constant f32[] [0.6]
                   %5 = constant f32[] [-1000.0]
                   %6 = constant f32[] [{spread:?}]
                   %7 = broadcast %6 shape=[1, n, 2] axes=[] : f32[1, n, 2]
                   %8 = mul %0, %7 : f32[1, n, 2]
                   %9 = add %8, %1 : f32[1, n, 2]
                   %10 = concat %8, %9 axis=2 : f32[1, n, 4]
                   %11 = non_max_suppression %10, %2, %3, %4, %5 center=false count=count : i64[count, 3]
                 }}"
            ),
            &[1, 400],
            0.0,
        );
    }
    // Equal scores, equal boxes, a box without area.
    check(
        "dim count in 0..6 from node
         graph @t() -> (y: %5) {
           %0 = constant f32[1, 6, 4] [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 3.0, 3.0, 3.0, 4.0,
                                       3.0, 3.0, 3.0, 4.0, 0.0, 0.0, 1.0, 1.0]
           %1 = constant f32[1, 1, 6] [0.5, 0.5, 0.9, 0.5, 0.5, nan:7fc00000]
           %2 = constant i64[] [6]
           %3 = constant f32[] [0.5]
           %4 = constant f32[] [0.1]
           %5 = non_max_suppression %0, %1, %2, %3, %4 center=false count=count : i64[count, 3]
         }",
        &[1],
        0.0,
    );
}
