//! nnc-abi
