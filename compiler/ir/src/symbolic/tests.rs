//! Tests of symbolic evaluation.
