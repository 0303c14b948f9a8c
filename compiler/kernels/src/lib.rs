//! nnc-kernels
