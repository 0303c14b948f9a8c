//! nnc-testsuite
