//! What tests share: kernels from the statements of their loop, and random numbers, the same on every machine.
//!
//! Source: Sebastiano Vigna, "SplitMix64" (2015), prng.di.unimi.it/splitmix64.c.

/// A generator; its state is the seed.
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `n`; 0 when `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    /// The numbers below `n` in some order.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            perm.swap(i, self.below(i + 1));
        }
        perm
    }
}

/// A kernel of eight rows that reads one buffer and writes another.
pub(crate) fn kernel_of(body: &str) -> nnc_kernels::Kernel {
    let text = format!("kernel @k(x0: read f32 align 4, y1: write f32 align 4) parallel p in 0..8 {{\n{body}\n}}\n");
    nnc_kernels::parse::kernel(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
