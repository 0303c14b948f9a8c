//! nnc-desc
