//! nnc-ops
