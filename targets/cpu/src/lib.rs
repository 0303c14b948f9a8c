//! nnc-cpu
