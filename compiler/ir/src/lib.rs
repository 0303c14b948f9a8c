//! nnc-ir
