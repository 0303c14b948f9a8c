//! What units of work cost on the targets of the table: the constants of the cost model.
//!
//! Source: cache sizes are the smallest of processors in use that have the target's features. Everything else is what
//! `cargo xtask calibrate` printed on a Xeon of generation Sapphire Rapids (virtual machine, 2 threads), rounded;
//! `aarch64` takes the row of `x86_64`, whose vectors are as wide.

/// Prices on one core, in picoseconds but where the unit is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Bytes of a core's first-level data cache.
    pub l1_bytes: u64,
    /// Bytes of a core's second-level cache.
    pub l2_bytes: u64,
    /// Bytes that a core may hope to keep in the last level.
    pub l3_bytes: u64,
    /// A cycle.
    pub cycle: u64,
    /// Sixty-four bytes that stream from or to the second level. (Those of the first are loads and stores.)
    pub l2_line: u64,
    /// Sixty-four bytes that stream from or to the last level.
    pub l3_line: u64,
    /// Sixty-four bytes that stream from or to what is beyond.
    pub memory_line: u64,
    /// Beginning and ending a register tile, its products and epilogue aside.
    pub tile: u64,
    /// Beginning an iteration of a kernel's parallel loop.
    pub iteration: u64,
    /// Beginning a step on the thread that runs the plan.
    pub launch: u64,
    /// The least work that is worth handing to another thread.
    pub fork: u64,
}

macro_rules! rates {
    ($($name:ident $l1:literal $l2:literal $l3:literal $cycle:literal $l2_line:literal $l3_line:literal $memory:literal
        $tile:literal $iteration:literal $launch:literal $fork:literal;)*) => {
        $(
            #[doc = concat!("Rates of `", stringify!($name), "`.")]
            pub(crate) const $name: Rates = Rates {
                l1_bytes: $l1 << 10,
                l2_bytes: $l2 << 10,
                l3_bytes: $l3 << 10,
                cycle: $cycle,
                l2_line: $l2_line,
                l3_line: $l3_line,
                memory_line: $memory,
                tile: $tile,
                iteration: $iteration,
                launch: $launch,
                fork: $fork,
            };
        )*
    };
}

rates! {
    //          caches in KiB    cycle   64 bytes of L2, L3, memory   tile iteration launch      fork
    X86_64          32  256 4096   333           850  3_000  6_500   10_000   3_000  10_000   4_000_000;
    X86_64_AVX2     32  512 4096   333           850  3_000  6_500   10_000   3_000  10_000   4_000_000;
    X86_64_AVX512   32 1024 8192   333           850  3_000  6_500   10_000   3_000  10_000   4_000_000;
    AARCH64         64  512 4096   333           850  3_000  6_500   10_000   3_000  10_000   4_000_000;
}
