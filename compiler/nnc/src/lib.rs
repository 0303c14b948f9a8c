//! The whole of nnc: the pipeline from an ONNX file to native code, and what the `nnc` command does with the result.
//!
//! [`driver`] runs the pipeline and is what other programs call; [`commands`] holds one file per subcommand. The other
//! modules serve those: the command as a program ([`cli`]), files ([`npz`], [`cases`], [`output`]), tensors
//! ([`mod@array`], [`mod@strings`], [`inputs`] of usual [`sizes`], [`compare`] with what they should be, [`mod@reference`]), runs in memory
//! between fences ([`guard`]), [`helper`] processes, a budget for compiling ([`memory`]), measured choices ([`mod@tune`]),
//! reports ([`inspect`], [`explain`], [`summary`], [`statistics`], [`progress`]) and [`errors`].
//!
//! Invariants: no input makes a command panic; a failure is one line on stderr and exit code 1 or 2; an output file
//! appears whole or not at all.

pub mod allocated;
pub mod array;
pub mod cases;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod dims;
pub mod driver;
pub mod errors;
pub mod explain;
pub mod guard;
pub mod helper;
pub mod inputs;
pub mod inspect;
pub mod memory;
pub mod name;
pub mod npz;
pub mod output;
pub mod packed;
pub mod panics;
pub mod progress;
pub mod reference;
pub mod sequences;
pub mod sizes;
pub mod states;
pub mod statistics;
pub mod strings;
pub mod summary;
pub mod tune;
