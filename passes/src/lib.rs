//! nnc-passes
