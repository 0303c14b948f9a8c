//! How many vector instructions an elementwise operation takes, for the cost model.
//!
//! Source: counted in what `nnc_kernels::math` writes the functions out to; instructions of low throughput count as often
//! as simple ones that could start meanwhile.

use nnc_ir::op::{BinaryOp, UnaryOp};

/// Instructions of a function of one operand.
pub fn unary(f: UnaryOp) -> u64 {
    use UnaryOp::*;
    match f {
        Neg | Abs | Floor | Ceil | Round | Trunc | Not | BitNot | IsNan | IsInf => 1,
        Sign => 2,
        Sqrt | Recip => 6,
        Rsqrt => 10,
        _ => 16,
    }
}

/// Instructions of a function of two operands.
pub fn binary(f: BinaryOp) -> u64 {
    match f {
        BinaryOp::Div => 6,
        BinaryOp::Mod | BinaryOp::Rem => 10,
        BinaryOp::Pow | BinaryOp::Atan2 => 40,
        _ => 1,
    }
}
