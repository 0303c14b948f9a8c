//! Tests of the repository as a whole: its files, the arrows between crates, golden files of passes, and models that
//! are compiled, linked into programs and run, the cases of `testsuite/cases` and random ones among them.

mod arrows;
mod artifact;
mod common;
mod digits;
mod emulated;
mod examples;
mod fuzz;
mod golden;
mod guard;
mod places;
mod sizes;
mod tidy;
mod wide;
