//! Where each weight lies, and writing them without holding them.
//!
//! Weights begin at multiples of 64 bytes. Two weights with equal content and packing are stored once; contents are
//! compared by hash, and only where lengths agree.

use nnc_abi::ALIGNMENT;
use nnc_kernels::Weight;
use rustc_hash::FxHashMap;
use std::io::{self, BufWriter, Write};

/// The layout of the weights section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Where each weight begins.
    pub(crate) offsets: Vec<u64>,
    /// The weights that are written, in order, by number.
    stored: Vec<usize>,
    /// Bytes of the section.
    pub(crate) bytes: u64,
}

impl Layout {
    pub(crate) fn new(weights: &[Weight]) -> Layout {
        let mut layout = Layout::default();
        // Candidates for sharing by type, shape of the packing and length, hashed when there is a second one.
        let mut groups: FxHashMap<(nnc_ir::DType, &nnc_kernels::Pack, usize), Vec<usize>> = FxHashMap::default();
        let mut hashes: FxHashMap<usize, blake3::Hash> = FxHashMap::default();
        for (i, weight) in weights.iter().enumerate() {
            let group = groups.entry((weight.source.dtype, &weight.pack, weight.source.data.len())).or_default();
            let twin = group.iter().copied().find(|&other| {
                let mut hash =
                    |k: usize| *hashes.entry(k).or_insert_with(|| blake3::hash(weights[k].source.data.bytes()));
                hash(other) == hash(i)
            });
            if let Some(twin) = twin {
                let offset = layout.offsets[twin];
                layout.offsets.push(offset);
                continue;
            }
            group.push(i);
            layout.offsets.push(layout.bytes);
            layout.stored.push(i);
            layout.bytes += (weight.packed_bytes() as u64).next_multiple_of(ALIGNMENT as u64);
        }
        layout
    }

    /// Writes the section; answers its hash.
    pub(crate) fn write_to(&self, weights: &[Weight], out: &mut dyn Write) -> io::Result<[u8; 32]> {
        let hashing = Hashing { out, hasher: blake3::Hasher::new() };
        // Packing writes rows of a few cache lines; hash and file take more at a time.
        let mut out = BufWriter::with_capacity(1 << 18, hashing);
        for &i in &self.stored {
            let weight = &weights[i];
            weight.write_to(&mut out)?;
            let bytes = weight.packed_bytes();
            out.write_all(&[0; ALIGNMENT][..bytes.next_multiple_of(ALIGNMENT) - bytes])?;
        }
        out.flush()?;
        Ok(*out.get_ref().hasher.finalize().as_bytes())
    }
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
