//! Tests of the interpreter on kernels with known answers.
