//! Why a value is stored, so that the region that computes it ends there.

use std::fmt;

/// Why a region ends in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is an output of the graph.
    Output,
    /// An operation that reads it needs it in memory.
    NeededInMemory,
    /// More than one kernel reads it.
    SeveralKernels,
    /// A reduction and something else read it, and it costs more to compute it twice than to keep it.
    ReducedAndRead,
    /// Computing it where it is read would pass a limit on the size of kernels.
    Limit,
    /// A reduction whose result is not one element for each row of the kernel that reads it.
    OtherRows,
    /// The kernel that reads it has other loops, or a contraction, window or reduction of its own.
    OtherLoops,
    /// An operation in steps of its own writes it.
    Sequential,
    /// Fusion is switched off.
    Unfused,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Output => "it is an output",
            Reason::NeededInMemory => "what reads it needs it in memory",
            Reason::SeveralKernels => "several kernels read it",
            Reason::ReducedAndRead => "a reduction and something else read it",
            Reason::Limit => "its kernel would become too large",
            Reason::OtherRows => "what reads it has other rows",
            Reason::OtherLoops => "what reads it has loops of its own",
            Reason::Sequential => "the operation runs in steps of its own",
            Reason::Unfused => "fusion is switched off",
        })
    }
}
