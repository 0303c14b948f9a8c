//! Activations of recurrent layers.
//!
//! Source: ONNX LSTM, GRU and RNN operator definitions (onnx.ai/onnx/operators).

use nnc_ir::DType;
use nnc_ir::op::{Activation, BinaryOp, UnaryOp};
use nnc_kernels::kernel::Expr;

/// A gate within the bounds that the layer sets.
pub(super) fn clip(limit: Option<f32>, dtype: DType, x: Expr) -> Expr {
    match limit {
        None => x,
        Some(limit) => {
            let bound = |v: f32| Expr::constant(dtype, f64::from(v));
            let low = Expr::binary(BinaryOp::Max, x, bound(-limit));
            Expr::binary(BinaryOp::Min, low, bound(limit))
        }
    }
}

/// An activation as an expression; none is the identity.
pub(super) fn activate(activation: Option<&Activation>, dtype: DType, x: Expr) -> Expr {
    let constant = |v: f32| Expr::constant(dtype, f64::from(v));
    let binary = Expr::binary;
    let Some(activation) = activation else { return x };
    match *activation {
        Activation::Sigmoid => Expr::unary(UnaryOp::Sigmoid, x),
        Activation::Tanh => Expr::unary(UnaryOp::Tanh, x),
        Activation::Relu => binary(BinaryOp::Max, x, constant(0.0)),
        Activation::Affine { alpha, beta } => {
            binary(BinaryOp::Add, binary(BinaryOp::Mul, constant(alpha), x), constant(beta))
        }
        Activation::LeakyRelu { alpha } => {
            let negative = binary(BinaryOp::Lt, x.clone(), constant(0.0));
            Expr::select(negative, binary(BinaryOp::Mul, constant(alpha), x.clone()), x)
        }
        Activation::ThresholdedRelu { alpha } => {
            Expr::select(binary(BinaryOp::Gt, x.clone(), constant(alpha)), x, constant(0.0))
        }
        Activation::ScaledTanh { alpha, beta } => {
            let inner = Expr::unary(UnaryOp::Tanh, binary(BinaryOp::Mul, constant(beta), x));
            binary(BinaryOp::Mul, constant(alpha), inner)
        }
        Activation::HardSigmoid { alpha, beta } => {
            let line = binary(BinaryOp::Add, binary(BinaryOp::Mul, constant(alpha), x), constant(beta));
            binary(BinaryOp::Min, binary(BinaryOp::Max, line, constant(0.0)), constant(1.0))
        }
        Activation::Elu { alpha } => {
            let curve = binary(BinaryOp::Mul, constant(alpha), Expr::unary(UnaryOp::Expm1, x.clone()));
            Expr::select(binary(BinaryOp::Lt, x.clone(), constant(0.0)), curve, x)
        }
        Activation::Softsign => {
            let size = Expr::unary(UnaryOp::Abs, x.clone());
            binary(BinaryOp::Div, x, binary(BinaryOp::Add, size, constant(1.0)))
        }
        Activation::Softplus => {
            // max(x, 0) + log1p(exp(-|x|)) does not overflow.
            let size = Expr::unary(UnaryOp::Neg, Expr::unary(UnaryOp::Abs, x.clone()));
            let tail = Expr::unary(UnaryOp::Log1p, Expr::unary(UnaryOp::Exp, size));
            binary(BinaryOp::Add, binary(BinaryOp::Max, x, constant(0.0)), tail)
        }
    }
}
