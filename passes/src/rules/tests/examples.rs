//! An example or more for every rule: the rule alone must find something to rewrite, and be right. Patterns without
//! attributes are their own examples.

use super::{all_rules, check, parse};
use crate::rules::Rule;
use crate::rules::pattern::Pattern;
use crate::rules::rule::How;

/// Rule, signature (`%0`, `%1`, ... in order), body. The last value defined is the result.
pub(super) const EXAMPLES: &[(&str, &str, &str)] = &[
    ("convert-same", "f32[3]", "%10 = convert %0 to=f32 : f32[3]"),
    ("convert-back", "i8[3]", "%9 = convert %0 to=f32 : f32[3]\n%10 = convert %9 to=i8 : i8[3]"),
    ("bitcast-twice", "i32[3]", "%9 = bitcast %0 to=f32 : f32[3]\n%10 = bitcast %9 to=i32 : i32[3]"),
    ("convert-back", "i8[3]", "%9 = convert %0 to=f32 : f32[3]\n%10 = convert %9 to=i32 : i32[3]"),
    ("reshape-same", "f32[3]", "%10 = reshape %0 shape=[3] : f32[3]"),
    ("reshape-twice", "f32[6]", "%9 = reshape %0 shape=[2, 3] : f32[2, 3]\n%10 = reshape %9 shape=[3, 2] : f32[3, 2]"),
    (
        "transpose-transpose",
        "f32[2, 3, 4]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = transpose %9 perm=[2, 0, 1] : f32[3, 4, 2]",
    ),
    ("transpose-units", "f32[2, 1, 3]", "%10 = transpose %0 perm=[1, 0, 2] : f32[1, 2, 3]"),
    ("broadcast-same", "f32[2, 3]", "%10 = broadcast %0 shape=[2, 3] axes=[0, 1] : f32[2, 3]"),
    ("slice-all", "f32[2, 3]", "%10 = slice %0 starts=[0, 0] sizes=[2, 3] steps=[1, 1] : f32[2, 3]"),
    (
        "slice-slice",
        "f32[9]",
        "%9 = slice %0 starts=[8] sizes=[4] steps=[-2] : f32[4]\n%10 = slice %9 starts=[1] sizes=[2] steps=[2] : f32[2]",
    ),
    (
        "slice-concat",
        "f32[2, 3], f32[2, 4]",
        "%9 = concat %0, %1 axis=1 : f32[2, 7]\n%10 = slice %9 starts=[0, 4] sizes=[2, 2] steps=[1, 1] : f32[2, 2]",
    ),
    (
        "compare-counted",
        "i64[5]",
        "%8 = iota dtype=i64 shape=[500, 3] axis=0 : i64[500, 3]\n%9 = constant i64[500, 3] splat=500\n%10 = ge %8, %9 : bool[500, 3]",
    ),
    (
        "compare-narrower",
        "i64[5]",
        "%8 = iota dtype=i64 shape=[50, 30] axis=0 : i64[50, 30]\n%9 = iota dtype=i64 shape=[50, 30] axis=1 : i64[50, 30]\n%10 = gt %8, %9 : bool[50, 30]",
    ),
    (
        "slice-iota",
        "i64[5]",
        "%9 = iota dtype=i32 shape=[50, 30] axis=1 : i32[50, 30]\n%10 = slice %9 starts=[4, 20] sizes=[46, 3] steps=[1, -7] : i32[46, 3]",
    ),
    (
        "slice-of-indices",
        "f32[4, 6]",
        "%7 = iota dtype=i64 shape=[50, 30] axis=0 : i64[50, 30]\n%8 = iota dtype=i64 shape=[50, 30] axis=1 : i64[50, 30]\n%9 = le %7, %8 : bool[50, 30]\n%10 = slice %9 starts=[1, 5] sizes=[2, 3] steps=[2, -2] : bool[2, 3]",
    ),
    (
        "concat-maps",
        "f32[2, 3], f32[2, 4]",
        "%7 = exp %0 : f32[2, 3]\n%8 = exp %1 : f32[2, 4]\n%10 = concat %7, %8, %7 axis=1 : f32[2, 10]",
    ),
    (
        "concat-maps",
        "f32[2, 3], f32[2, 4]",
        "%5 = constant f32[2, 3] splat=2\n%6 = constant f32[2, 4] splat=2\n%7 = sub %5, %0 : f32[2, 3]\n%8 = sub %6, %1 : f32[2, 4]\n%10 = concat %7, %8 axis=1 : f32[2, 7]",
    ),
    ("concat-one", "f32[2, 3]", "%10 = concat %0 axis=1 : f32[2, 3]"),
    ("concat-one", "f32[2, 3], f32[2, 0]", "%10 = concat %0, %1 axis=1 : f32[2, 3]"),
    ("concat-concat", "f32[2], f32[3]", "%9 = concat %0, %1 axis=0 : f32[5]\n%10 = concat %9, %0 axis=0 : f32[7]"),
    ("divide-by-power-of-two", "f32[3]", "%9 = constant f32[3] splat=8\n%10 = div %0, %9 : f32[3]"),
    ("broadcast-squeeze", "f32[1, 3]", "%10 = broadcast %0 shape=[4, 2, 3] axes=[0, 2] : f32[4, 2, 3]"),
    (
        "broadcast-reshape",
        "f32[1, 3]",
        "%9 = reshape %0 shape=[3, 1] : f32[3, 1]\n%10 = broadcast %9 shape=[2, 3, 4] axes=[1, 2] : f32[2, 3, 4]",
    ),
    (
        "broadcast-broadcast",
        "f32[3]",
        "%9 = broadcast %0 shape=[2, 3] axes=[1] : f32[2, 3]\n%10 = broadcast %9 shape=[2, 4, 3] axes=[0, 2] : f32[2, 4, 3]",
    ),
    ("broadcast-units", "f32[3]", "%10 = broadcast %0 shape=[1, 3, 1] axes=[1] : f32[1, 3, 1]"),
    (
        "elementwise-broadcast",
        "f32[3]",
        "%9 = broadcast %0 shape=[2, 3] axes=[1] : f32[2, 3]\n%10 = exp %9 : f32[2, 3]",
    ),
    (
        "elementwise-broadcast",
        "f32[3], f32[2]",
        "%8 = broadcast %0 shape=[2, 4, 3] axes=[2] : f32[2, 4, 3]\n%9 = broadcast %1 shape=[2, 4, 3] axes=[0] : f32[2, 4, 3]\n%10 = sub %8, %9 : f32[2, 4, 3]",
    ),
    (
        "transpose-broadcast",
        "f32[2, 3]",
        "%9 = broadcast %0 shape=[2, 4, 3] axes=[0, 2] : f32[2, 4, 3]\n%10 = transpose %9 perm=[2, 1, 0] : f32[3, 4, 2]",
    ),
    (
        "reshape-broadcast",
        "f32[6, 2]",
        "%9 = broadcast %0 shape=[6, 4, 2] axes=[0, 2] : f32[6, 4, 2]\n%10 = reshape %9 shape=[2, 3, 2, 2, 2] : f32[2, 3, 2, 2, 2]",
    ),
    (
        "slice-broadcast",
        "f32[3]",
        "%9 = broadcast %0 shape=[3, 5] axes=[0] : f32[3, 5]\n%10 = slice %9 starts=[1, 4] sizes=[2, 3] steps=[1, -1] : f32[2, 3]",
    ),
    (
        "reduce-broadcast",
        "f32[3]",
        "%9 = broadcast %0 shape=[3, 5] axes=[0] : f32[3, 5]\n%10 = reduce %9 op=max axes=[1] : f32[3]",
    ),
    (
        "concat-splat",
        "f32[2]",
        "%7 = constant f32[2] splat=3\n%8 = constant f32[] splat=3\n%9 = broadcast %8 shape=[5000] axes=[] : f32[5000]\n%10 = concat %7, %9 axis=0 : f32[5002]",
    ),
    ("shrink-splat", "f32[2]", "%9 = constant f32[2] splat=3\n%10 = add %0, %9 : f32[2]"),
    ("elementwise-reshape", "f32[6]", "%9 = reshape %0 shape=[2, 3] : f32[2, 3]\n%10 = exp %9 : f32[2, 3]"),
    (
        "elementwise-reshape",
        "f32[2, 3], f32[3]",
        "%8 = reshape %0 shape=[1, 2, 3] : f32[1, 2, 3]\n%9 = broadcast %1 shape=[1, 2, 3] axes=[2] : f32[1, 2, 3]\n%10 = add %8, %9 : f32[1, 2, 3]",
    ),
    (
        "elementwise-reshape",
        "f32[4, 3], f32[3]",
        "%8 = reshape %0 shape=[2, 2, 3] : f32[2, 2, 3]\n%9 = broadcast %1 shape=[2, 2, 3] axes=[2] : f32[2, 2, 3]\n%10 = mul %9, %8 : f32[2, 2, 3]",
    ),
    (
        "reduce-reshape",
        "f32[2, 6, 4]",
        "%9 = reshape %0 shape=[2, 3, 2, 4] : f32[2, 3, 2, 4]\n%10 = reduce %9 op=sum axes=[1, 2] : f32[2, 4]",
    ),
    ("reduce-reshape", "f32[2, 1, 4]", "%10 = reduce %0 op=sum axes=[1] : f32[2, 4]"),
    ("reduce-reshape", "f32[2, 1, 4]", "%10 = reduce %0 op=sum axes=[1, 2] : f32[2]"),
    (
        "contract-reshape",
        "f32[2, 3, 4], f32[4, 5]",
        "%9 = reshape %0 shape=[6, 4] : f32[6, 4]\n%10 = contract %9, %1 batch=[] contract=[(1, 0)] out=f32 : f32[6, 5]",
    ),
    (
        "contract-split",
        "f32[2, 3, 4, 5]",
        "%7 = constant f32[6, 15] random=3\n%8 = transpose %0 perm=[0, 2, 1, 3] : f32[2, 4, 3, 5]\n%9 = reshape %8 shape=[2, 4, 15] : f32[2, 4, 15]\n%10 = contract %9, %7 batch=[] contract=[(2, 1)] out=f32 : f32[2, 4, 6]",
    ),
    (
        "slice-reshape",
        "f32[6, 4]",
        "%9 = reshape %0 shape=[6, 2, 2] : f32[6, 2, 2]\n%10 = slice %9 starts=[1, 0, 0] sizes=[3, 2, 2] steps=[1, 1, 1] : f32[3, 2, 2]",
    ),
    (
        "concat-reshape",
        "f32[2, 3], f32[4, 3]",
        "%8 = reshape %0 shape=[2, 1, 3] : f32[2, 1, 3]\n%9 = reshape %1 shape=[4, 1, 3] : f32[4, 1, 3]\n%10 = concat %8, %9 axis=0 : f32[6, 1, 3]",
    ),
    ("elementwise-transpose", "f32[2, 3]", "%9 = transpose %0 perm=[1, 0] : f32[3, 2]\n%10 = exp %9 : f32[3, 2]"),
    (
        "elementwise-transpose",
        "f32[2, 3, 4], f32[4, 2, 3]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = sub %1, %9 : f32[4, 2, 3]",
    ),
    (
        "concat-transpose",
        "f32[2, 3, 4], f32[5, 3, 4]",
        "%8 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%9 = transpose %1 perm=[2, 0, 1] : f32[4, 5, 3]\n%10 = concat %8, %9 axis=1 : f32[4, 7, 3]",
    ),
    (
        "reduce-transpose",
        "f32[2, 3, 4, 5]",
        "%9 = transpose %0 perm=[3, 1, 0, 2] : f32[5, 3, 2, 4]\n%10 = reduce %9 op=sum axes=[1, 3] : f32[5, 2]",
    ),
    (
        "reduce-transpose",
        "f32[2, 3, 4]",
        "%9 = transpose %0 perm=[2, 1, 0] : f32[4, 3, 2]\n%10 = arg_reduce %9 axis=1 max=true last=false : i64[4, 2]",
    ),
    (
        "along-axis-transpose",
        "f32[2, 3, 4]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = cumulative %9 op=sum axis=2 exclusive=false reverse=true : f32[4, 2, 3]",
    ),
    (
        "broadcast-transpose",
        "f32[2, 3, 4]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = broadcast %9 shape=[4, 5, 2, 3] axes=[0, 2, 3] : f32[4, 5, 2, 3]",
    ),
    (
        "contract-transpose",
        "f32[3, 2, 4, 5], f32[3, 5, 6]",
        "%9 = transpose %0 perm=[0, 2, 1, 3] : f32[3, 4, 2, 5]\n%10 = contract %9, %1 batch=[(0, 0)] contract=[(3, 1)] out=f32 : f32[3, 4, 2, 6]",
    ),
    (
        "contract-transpose",
        "f32[2, 3, 4, 5], f32[2, 4, 6, 5]",
        "%9 = transpose %0 perm=[1, 0, 2, 3] : f32[3, 2, 4, 5]\n%10 = contract %9, %1 batch=[(1, 0)] contract=[(3, 3)] out=f32 : f32[2, 3, 4, 4, 6]",
    ),
    (
        "contract-transpose",
        "f32[4, 5], f32[2, 3, 5]",
        "%9 = transpose %1 perm=[1, 2, 0] : f32[3, 5, 2]\n%10 = contract %0, %9 batch=[] contract=[(1, 1)] out=f32 : f32[4, 3, 2]",
    ),
    (
        "transpose-contract",
        "f32[2, 3, 4, 5], f32[2, 3, 5, 6]",
        "%9 = contract %0, %1 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[2, 3, 4, 6]\n%10 = transpose %9 perm=[1, 0, 2, 3] : f32[3, 2, 4, 6]",
    ),
    (
        "transpose-contract",
        "f32[5, 6]",
        "%8 = constant f32[4, 5] random=3\n%9 = contract %8, %0 batch=[] contract=[(1, 0)] out=f32 : f32[4, 6]\n%10 = transpose %9 perm=[1, 0] : f32[6, 4]",
    ),
    (
        "reshape-transpose",
        "f32[2, 5, 1, 4]",
        "%9 = transpose %0 perm=[0, 3, 1, 2] : f32[2, 4, 5, 1]\n%10 = reshape %9 shape=[2, 4, 5] : f32[2, 4, 5]",
    ),
    (
        "reshape-transpose",
        "f32[2, 3, 4, 6]",
        "%9 = transpose %0 perm=[3, 1, 2, 0] : f32[6, 3, 4, 2]\n%10 = reshape %9 shape=[2, 3, 12, 1, 2] : f32[2, 3, 12, 1, 2]",
    ),
    (
        "slice-transpose",
        "f32[2, 3, 4]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = slice %9 starts=[3, 0, 1] sizes=[2, 2, 2] steps=[-2, 1, 1] : f32[2, 2, 2]",
    ),
    (
        "pad-transpose",
        "f32[2, 3, 4], f32[]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[4, 2, 3]\n%10 = pad %9, %1 low=[1, 0, 2] high=[0, 3, 0] mode=constant : f32[5, 5, 5]",
    ),
    (
        "gather-transpose",
        "f32[4, 3, 5], i64[2, 2]",
        "%9 = transpose %0 perm=[2, 0, 1] : f32[5, 4, 3]\n%10 = gather %9, %1 axis=1 batch=0 : f32[5, 2, 2, 3]",
    ),
    (
        "reduce-reduce",
        "f32[2, 3, 4, 5]",
        "%9 = reduce %0 op=max axes=[1] : f32[2, 4, 5]\n%10 = reduce %9 op=max axes=[0, 2] : f32[4]",
    ),
    (
        "compare-by-range",
        "i64[2, 3]",
        "%8 = constant i64[] [0]\n%9 = broadcast %8 shape=[700] axes=[] : i64[700]\n%10 = iota dtype=i64 shape=[700] axis=0 : i64[700]\n%11 = ge %10, %9 : bool[700]",
    ),
    (
        "compare-by-range",
        "f32[20]",
        "%8 = sigmoid %0 : f32[20]\n%9 = constant f32[20] splat=1\n%10 = gt %8, %9 : bool[20]",
    ),
    (
        "max-by-range",
        "f32[20]",
        "%8 = sigmoid %0 : f32[20]\n%9 = constant f32[20] splat=-0.5\n%10 = max %8, %9 : f32[20]",
    ),
    ("min-by-range", "f32[20]", "%8 = tanh %0 : f32[20]\n%9 = constant f32[20] splat=1\n%10 = min %8, %9 : f32[20]"),
    ("positive-part", "f32[20]", "%8 = exp %0 : f32[20]\n%9 = constant f32[20] splat=0\n%10 = max %9, %8 : f32[20]"),
    ("magnitude-of-positive", "f32[20]", "%8 = sqrt %0 : f32[20]\n%10 = abs %8 : f32[20]"),
    (
        "gather-counted",
        "f32[2, 9, 3]",
        "%8 = constant i64[1, 3, 1] [2, 4, 6]\n%9 = broadcast %8 shape=[2, 3, 2] axes=[0, 1, 2] : i64[2, 3, 2]\n%10 = gather %0, %9 axis=1 batch=0 : f32[2, 2, 3, 2, 3]",
    ),
    (
        "gather-counted",
        "f32[700, 2]",
        "%8 = iota dtype=i64 shape=[1, 700] axis=1 : i64[1, 700]\n%9 = slice %8 starts=[0, 5] sizes=[1, 600] steps=[1, 1] : i64[1, 600]\n%10 = gather %0, %9 axis=0 batch=0 : f32[1, 600, 2]",
    ),
    ("gather-counted", "f32[4, 7]", "%8 = constant i64[3] [5, 3, 1]\n%10 = gather %0, %8 axis=1 batch=0 : f32[4, 3]"),
    ("gather-counted", "f32[4, 7]", "%8 = constant i64[2] splat=3\n%10 = gather %0, %8 axis=0 batch=0 : f32[2, 7]"),
    (
        "gather-coordinates",
        "f32[600, 700, 2]",
        "%6 = iota dtype=i64 shape=[600] axis=0 : i64[600]\n%7 = broadcast %6 shape=[3, 600, 1] axes=[1] : i64[3, 600, 1]\n%8 = constant i64[3, 1, 1] [4, 6, 8]\n%9 = broadcast %8 shape=[3, 600, 1] axes=[0, 1, 2] : i64[3, 600, 1]\n%10 = concat %7, %9 axis=2 : i64[3, 600, 2]\n%11 = gather_nd %0, %10 batch=0 : f32[3, 600, 2]",
    ),
    (
        "gather-one-value",
        "i64[3]",
        "%7 = constant f32[9, 2] splat=3\n%8 = constant i64[3] splat=4\n%9 = mod %0, %8 : i64[3]\n%10 = gather %7, %9 axis=0 batch=0 : f32[3, 2]",
    ),
    (
        "slice-gather",
        "f32[4, 5, 6], i64[2, 3]",
        "%9 = gather %0, %1 axis=1 batch=0 : f32[4, 2, 3, 6]\n%10 = slice %9 starts=[3, 0, 1, 5] sizes=[2, 1, 2, 3] steps=[-2, 1, 1, -1] : f32[2, 1, 2, 3]",
    ),
    (
        "slice-contract",
        "f32[2, 3, 4, 5], f32[2, 5, 6]",
        "%9 = contract %0, %1 batch=[(0, 0)] contract=[(3, 1)] out=f32 : f32[2, 3, 4, 6]\n%10 = slice %9 starts=[1, 2, 0, 4] sizes=[1, 2, 4, 2] steps=[1, -2, 1, 1] : f32[1, 2, 4, 2]",
    ),
    (
        "slice-conv",
        "f32[2, 5, 3], f32[2, 3, 4]",
        "%9 = conv %0, %1 window={ size=[2] strides=[1] dilations=[1] pad_low=[1] pad_high=[0] } groups=1 out=f32 : f32[2, 5, 4]\n%10 = slice %9 starts=[1, 0, 3] sizes=[1, 5, 2] steps=[1, 1, -2] : f32[1, 5, 2]",
    ),
    (
        "concat-products",
        "f32[3, 2, 5]",
        "%6 = constant f32[2, 5, 4] random=3\n%7 = constant f32[2, 5, 6] random=4\n%8 = contract %0, %6 batch=[(1, 0)] contract=[(2, 1)] out=f32 : f32[2, 3, 4]\n%9 = contract %0, %7 batch=[(1, 0)] contract=[(2, 1)] out=f32 : f32[2, 3, 6]\n%10 = concat %8, %9 axis=2 : f32[2, 3, 10]",
    ),
    (
        "concat-products",
        "f32[2, 5, 3]",
        "%6 = constant f32[1, 3, 4] random=3\n%7 = constant f32[1, 3, 2] random=4\n%8 = conv %0, %6 window={ size=[1] strides=[1] dilations=[1] pad_low=[0] pad_high=[0] } groups=1 out=f32 : f32[2, 5, 4]\n%9 = conv %0, %7 window={ size=[1] strides=[1] dilations=[1] pad_low=[0] pad_high=[0] } groups=1 out=f32 : f32[2, 5, 2]\n%10 = concat %8, %9 axis=2 : f32[2, 5, 6]",
    ),
    (
        "associate",
        "f32[2, 3, 4]",
        "%6 = constant f32[5, 3] random=3\n%7 = constant f32[5, 6] random=4\n%8 = contract %0, %6 batch=[] contract=[(1, 1)] out=f32 : f32[2, 4, 5]\n%9 = contract %8, %7 batch=[] contract=[(2, 0)] out=f32 : f32[2, 4, 6]",
    ),
    (
        "scaled-operand",
        "f32[2, 3], f32[4, 3]",
        "%6 = constant f32[2, 3] splat=0.3\n%7 = mul %0, %6 : f32[2, 3]\n%8 = contract %7, %1 batch=[] contract=[(1, 1)] out=f32 : f32[2, 4]",
    ),
    (
        "scaled-operand",
        "f32[2, 3], f32[4, 3]",
        "%6 = constant f32[4, 3] splat=-0.3\n%7 = mul %6, %1 : f32[4, 3]\n%8 = contract %0, %7 batch=[] contract=[(1, 1)] out=f32 : f32[2, 4]",
    ),
    (
        "sum-of-sums",
        "f32[2, 3, 4, 5]",
        "%9 = reduce %0 op=sum axes=[1] : f32[2, 4, 5]\n%10 = reduce %9 op=sum axes=[0, 2] : f32[4]",
    ),
    (
        "extreme-of-map",
        "f32[3, 4]",
        "%8 = constant f32[3, 4] splat=-0.3\n%9 = mul %8, %0 : f32[3, 4]\n%10 = reduce %9 op=max axes=[1] : f32[3]",
    ),
    (
        "extreme-of-map",
        "f32[3, 4]",
        "%8 = constant f32[3, 4] splat=0.3\n%9 = add %8, %0 : f32[3, 4]\n%10 = reduce %9 op=min axes=[0] : f32[4]",
    ),
    (
        "extreme-of-map",
        "f32[3, 4]",
        "%8 = constant f32[3, 4] splat=0.3\n%9 = min %8, %0 : f32[3, 4]\n%10 = reduce %9 op=max axes=[1] : f32[3]",
    ),
    ("extreme-of-map", "f32[3, 4]", "%9 = neg %0 : f32[3, 4]\n%10 = reduce %9 op=max axes=[1] : f32[3]"),
    ("pad-nothing", "f32[2, 3], f32[]", "%10 = pad %0, %1 low=[0, 0] high=[0, 0] mode=edge : f32[2, 3]"),
    (
        "pad-pad",
        "f32[2, 3], f32[]",
        "%9 = pad %0, %1 low=[1, 0] high=[0, 2] mode=constant : f32[3, 5]\n%10 = pad %9, %1 low=[1, 1] high=[1, 0] mode=constant : f32[5, 6]",
    ),
    (
        "conv-pad",
        "f32[1, 4, 5, 2], f32[3, 3, 2, 2]",
        "%8 = constant f32[] splat=0\n%9 = pad %0, %8 low=[0, 1, 2, 0] high=[0, 1, 0, 0] mode=constant : f32[1, 6, 7, 2]\n%10 = conv %9, %1 window={ size=[3, 3] strides=[1, 2] dilations=[1, 1] pad_low=[0, 1] pad_high=[0, 0] } groups=1 out=f32 : f32[1, 4, 3, 2]",
    ),
    (
        "pool-pad",
        "f32[1, 4, 2]",
        "%8 = constant f32[] splat=-inf\n%9 = pad %0, %8 low=[0, 1, 0] high=[0, 1, 0] mode=constant : f32[1, 6, 2]\n%10 = pool %9 op=max window={ size=[3] strides=[1] dilations=[1] pad_low=[0] pad_high=[0] } : f32[1, 4, 2]",
    ),
    ("divide-by-constant", "f32[3]", "%9 = constant f32[3] [3, 5, 7]\n%10 = div %0, %9 : f32[3]"),
    (
        "divide-by-broadcast",
        "f32[2, 3], f32[2]",
        "%6 = constant f32[2] splat=0.01\n%7 = exp %1 : f32[2]\n%8 = add %7, %6 : f32[2]\n%9 = broadcast %8 shape=[2, 3] axes=[0] : f32[2, 3]\n%10 = div %0, %9 : f32[2, 3]",
    ),
    ("power-half", "f32[3]", "%8 = abs %0 : f32[3]\n%9 = constant f32[3] splat=0.5\n%10 = pow %8, %9 : f32[3]"),
    (
        "power-minus-half",
        "f32[3]",
        "%6 = mul %0, %0 : f32[3]\n%7 = constant f32[3] splat=0.01\n%8 = add %6, %7 : f32[3]\n%9 = constant f32[3] splat=-0.5\n%10 = pow %8, %9 : f32[3]",
    ),
    ("cube", "f32[3]", "%9 = constant f32[3] splat=3\n%10 = pow %0, %9 : f32[3]"),
    (
        "merge-factors",
        "f32[3]",
        "%8 = constant f32[3] [3, 5, 7]\n%9 = mul %8, %0 : f32[3]\n%10 = constant f32[3] [2, 1, 0.5]\n%11 = mul %9, %10 : f32[3]",
    ),
    (
        "merge-addends",
        "f32[3]",
        "%8 = constant f32[3] [3, 5, 7]\n%9 = add %8, %0 : f32[3]\n%10 = constant f32[3] [2, 1, 0.5]\n%11 = add %9, %10 : f32[3]",
    ),
    ("subtract-constant", "f32[3]", "%9 = constant f32[3] [3, 5, 7]\n%10 = sub %0, %9 : f32[3]"),
    (
        "offset-then-scale",
        "f32[4, 3]",
        "%5 = constant f32[3, 2] random=3\n%6 = constant f32[4, 2] random=4\n%7 = constant f32[4, 2] random=5\n%8 = contract %0, %5 batch=[] contract=[(1, 0)] out=f32 : f32[4, 2]\n%9 = sub %8, %6 : f32[4, 2]\n%10 = mul %9, %7 : f32[4, 2]",
    ),
    (
        "merge-offsets",
        "f32[4, 3]",
        "%5 = constant f32[3, 2] random=3\n%6 = constant f32[4, 2] random=4\n%7 = constant f32[4, 2] random=5\n%8 = contract %0, %5 batch=[] contract=[(1, 0)] out=f32 : f32[4, 2]\n%9 = add %8, %6 : f32[4, 2]\n%10 = add %9, %7 : f32[4, 2]",
    ),
    (
        "conv-scale",
        "f32[1, 4, 6]",
        "%6 = constant f32[2, 3, 4] random=3\n%7 = constant f32[4] random=5\n%8 = conv %0, %6 window={ size=[2] strides=[1] dilations=[1] pad_low=[0] pad_high=[0] } groups=2 out=f32 : f32[1, 3, 4]\n%9 = broadcast %7 shape=[1, 3, 4] axes=[2] : f32[1, 3, 4]\n%10 = mul %8, %9 : f32[1, 3, 4]",
    ),
    (
        "contract-scale",
        "f32[4, 3]",
        "%6 = constant f32[3, 2] random=3\n%7 = constant f32[2] random=5\n%8 = contract %0, %6 batch=[] contract=[(1, 0)] out=f32 : f32[4, 2]\n%9 = broadcast %7 shape=[4, 2] axes=[1] : f32[4, 2]\n%10 = mul %8, %9 : f32[4, 2]",
    ),
];

/// The whole text of an example.
pub fn text(signature: &str, body: &str) -> String {
    let mut inputs = vec![];
    let mut depth = 0;
    let mut start = 0;
    for (i, c) in signature.char_indices().chain([(signature.len(), ',')]) {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                inputs.push(format!("%{} x{}: {}", inputs.len(), inputs.len(), signature[start..i].trim()));
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = body.lines().last().unwrap_or_default();
    let result = last.split_whitespace().next().unwrap_or_default();
    format!("graph @test({}) -> (y: {result}) {{\n{body}\n}}\n", inputs.join(", "))
}

/// The graphs that a rule's pattern describes; none when it has attributes, or is a function.
pub(super) fn generated(rule: &Rule) -> Vec<(String, String)> {
    let How::Pattern { left, right } = rule.how else { return vec![] };
    let well_formed = |(signature, body): &(String, String)| {
        nnc_ir::parse::graph(&text(signature, body)).is_ok_and(|graph| nnc_ir::verify::verify(&graph).is_ok())
    };
    Pattern::parse(left, right).unwrap().examples().into_iter().filter(well_formed).collect()
}

/// Examples with constants too large to write down: a triangle of each kind.
fn large(rule: &Rule) -> Vec<(String, String)> {
    let triangle = |(dtype, up_to, beyond, diagonal): (&str, &str, &str, usize)| {
        let value = |i: usize| if i % 40 < i / 40 + diagonal { up_to } else { beyond };
        let values: Vec<&str> = (0..36 * 40).map(value).collect();
        (
            "f32[1]".to_owned(),
            format!(
                "%9 = constant {dtype}[1, 36, 40] [{}]\n%10 = reshape %9 shape=[36, 40] : {dtype}[36, 40]",
                values.join(", ")
            ),
        )
    };
    let kinds =
        [("bool", "true", "false", 1), ("bool", "false", "true", 0), ("f32", "0", "-inf", 4), ("i32", "3", "0", 1)];
    if rule.name == "constant-triangle" { kinds.into_iter().map(triangle).collect() } else { vec![] }
}

/// Every example of a rule.
pub(super) fn of(rule: &Rule) -> Vec<(String, String)> {
    let by_hand = EXAMPLES.iter().filter(|e| e.0 == rule.name).map(|e| (e.1.to_owned(), e.2.to_owned()));
    by_hand.chain(generated(rule)).chain(large(rule)).collect()
}

#[test]
fn each_rule_alone() {
    let mut failures = vec![];
    for rule in all_rules() {
        let (by_hand, all) = (EXAMPLES.iter().filter(|e| e.0 == rule.name).count(), of(rule));
        let mut applied = 0;
        for (i, (signature, body)) in all.iter().enumerate() {
            let graph = parse(&text(signature, body));
            for seed in 1..4 {
                match check(&graph, &[rule], seed) {
                    Ok(found) if found.contains_key(rule.name) => applied += 1,
                    Ok(_) if i < by_hand => failures.push(format!("{} does not apply to\n{body}", rule.name)),
                    Ok(_) => {}
                    Err(error) => failures.push(format!("{}: {error}\nin\n{body}", rule.name)),
                }
            }
        }
        // Small constants are evaluated while loading, so `evaluate` needs what only rewriting makes constant.
        if applied == 0 && rule.name != "evaluate" {
            failures.push(format!("{} has no example", rule.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn names_are_distinct() {
    let names: std::collections::BTreeSet<_> = all_rules().iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), all_rules().len());
    assert!(EXAMPLES.iter().all(|e| names.contains(e.0)));
}

#[test]
fn all_rules_together() {
    for rule in all_rules() {
        for (signature, body) in of(rule) {
            if let Err(error) = check(&parse(&text(&signature, &body)), &all_rules(), 7) {
                panic!("{}: {error}\nin\n{body}", rule.name);
            }
        }
    }
}

#[test]
fn evaluates_what_becomes_constant() {
    let body = "%7 = constant bool[3] splat=true\n%8 = constant f32[3] random=1\n%9 = select %7, %8, %0 : f32[3]\n%10 = exp %9 : f32[3]";
    let applied = check(&parse(&text("f32[3]", body)), &all_rules(), 1).unwrap();
    assert!(applied.contains_key("evaluate"), "{applied:?}");
}

/// A border of anything but zeros is no border of a convolution; the judge would see that a rule took it for one.
#[test]
fn borders_of_other_values_stay() {
    for value in ["0.5", "0"] {
        let body = format!(
            "%5 = constant f32[] [{value}]\n%6 = pad %0, %5 low=[0, 1, 0] high=[0, 1, 0] mode=constant : f32[1, 6, 2]\n%7 = constant f32[3, 2, 1] random=1\n%8 = conv %6, %7 window={{size=[3] strides=[1] dilations=[1] pad_low=[0] pad_high=[0]}} groups=1 out=f32 : f32[1, 4, 1]"
        );
        let applied = check(&parse(&text("f32[1, 4, 2]", &body)), &all_rules(), 1).unwrap();
        assert_eq!(applied.contains_key("conv-pad"), value == "0");
    }
}
