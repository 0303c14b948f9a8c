//! The one list of operators. A line: the module (a file of this crate, declared by `lib.rs` from this table), and for
//! each operator in it the name, the first opset covered, the function, and the domain where that is not ONNX's own.
//!
//! rustfmt does not see modules declared by a macro; `cargo xtask tidy` formats them.

macro_rules! for_each_family {
    ($use:ident) => {
        $use! {
            identity { Identity 1 identity, Dropout 7 dropout }
            unary { Abs 6 abs, Neg 6 neg, Relu 6 relu, Sigmoid 6 sigmoid, Tanh 6 tanh, Sqrt 6 sqrt, Exp 6 exp, Log 6 log }
            arithmetic { Add 7 add, Sub 7 sub, Mul 7 mul, Div 7 div }
        }
    };
}

/// `mod` items of the families.
macro_rules! declare_modules {
    ($($module:ident { $($operator:ident $since:literal $function:ident $(in $domain:literal)?),* $(,)? })*) => {
        $(mod $module;)*
    };
}
