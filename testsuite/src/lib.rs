//! What the test suite has in code beside its tests: the differential fuzzer.

pub mod fuzz;
