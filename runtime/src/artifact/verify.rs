//! Comparing an artifact with the hashes it carries.
//!
//! Two hashes cover every bit of the ELF file: that of the weights, and that of everything else, in which the hash of the
//! weights is contained. The one place that no hash covers is the second hash itself. BLAKE3 throughout.

use std::ops::Range;

use crate::signature::Signature;

/// What is wrong with an artifact: `elf` in `file`, with the hash at `hash_at` and the embedded weights at `weights`.
pub(super) fn artifact(
    file: &[u8],
    elf: &Range<usize>,
    hash_at: Option<Range<usize>>,
    weights: Option<Range<usize>>,
    signature: &Signature,
) -> Result<(), String> {
    let hash_at = hash_at.filter(|_| signature.artifact_hash != [0; 32]).ok_or("it carries no hash to verify")?;
    if let Some(weights) = &weights
        && let Some(why) = weights_differ(&file[weights.clone()], &signature.weights_hash)
    {
        return Err(why);
    }
    let mut hasher = blake3::Hasher::new();
    let mut at = elf.start;
    // The two holes, by position.
    let mut holes = vec![(hash_at, true)];
    holes.extend(weights.map(|w| (w, false)));
    holes.sort_unstable_by_key(|h| h.0.start);
    for (hole, zeros) in holes {
        let before = file.get(at..hole.start).ok_or("its weights and its descriptor overlap")?;
        hasher.update(before);
        if zeros {
            hasher.update(&[0; 32]);
        }
        at = hole.end;
    }
    hasher.update(file.get(at..elf.end).ok_or("its descriptor lies outside of it")?);
    match hasher.finalize() == signature.artifact_hash {
        true => Ok(()),
        false => Err("the code or the descriptor is damaged: it differs from its hash".to_owned()),
    }
}

/// What is wrong with weights.
pub(crate) fn weights_differ(weights: &[u8], hash: &[u8; 32]) -> Option<String> {
    (blake3::hash(weights) != *hash).then(|| "the weights are damaged: they differ from their hash".to_owned())
}
