//! nnc-runtime
