//! The side file that holds the weights of a model past 2 GiB, or of one compiled so.
//!
//! It is `weights_bytes` of weights followed by a [`WeightsTrailer`]. It is mapped, not read: pages come in when a run
//! touches them and are shared by all processes. The trailer's hash is compared with the model's, the weights themselves
//! are not hashed again, as that would read them all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use nnc_abi::{Status, WEIGHTS_MAGIC, layout::weights_trailer as trailer};

use crate::signature::Signature;
use crate::{Error, Result};

/// Where the side file of the artifact at `artifact` is, if it has one: where links lead, beside the artifact.
pub(crate) fn beside(artifact: &Path, signature: &Signature) -> Result<Option<PathBuf>> {
    let Some(name) = &signature.weights_file else { return Ok(None) };
    let unreadable = |e| Error::new(Status::NotFound, format!("{}: {e}", artifact.display()));
    Ok(Some(artifact.canonicalize().map_err(unreadable)?.with_file_name(name)))
}

/// Maps the side file of a model and checks that it is this model's.
pub(crate) fn map(path: &Path, signature: &Signature) -> Result<Mmap> {
    map_checked(path, signature.weights_bytes, &signature.weights_hash)
}

fn map_checked(path: &Path, weights_bytes: u64, weights_hash: &[u8; 32]) -> Result<Mmap> {
    let unreadable = |e: io::Error| {
        let message = format!("{}: weights of the model: {e}; they go where the model goes", path.display());
        Error::new(Status::NotFound, message)
    };
    // Asked before opening: opening a pipe would wait for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    // SAFETY: the mapping is private and read-only. As with any library, whoever changes the file while it is in use
    // breaks the program; that is stated in the guide.
    let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
    let expected = weights_bytes.checked_add(trailer::SIZE as u64);
    let end = map.len().wrapping_sub(trailer::SIZE);
    let matches = expected == Some(map.len() as u64)
        && map[end..][..8] == WEIGHTS_MAGIC.to_le_bytes()
        && map[end + trailer::WEIGHTS_BYTES..][..8] == weights_bytes.to_le_bytes()
        && map[end + trailer::WEIGHTS_HASH..][..32] == weights_hash[..];
    if matches {
        Ok(map)
    } else {
        let message = format!("{}: not the weights this model was compiled with", path.display());
        Err(Error::new(Status::NotAModel, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn only_the_right_file_is_taken() {
        let path = std::env::temp_dir().join(format!("nnc-weights-{}", std::process::id()));
        let hash = [7; 32];
        let mut file = vec![1u8; 128];
        file.extend(WEIGHTS_MAGIC.to_le_bytes());
        file.extend(128u64.to_le_bytes());
        file.extend([0; 16]);
        file.extend(hash);
        std::fs::write(&path, &file).unwrap();
        assert_eq!(&map_checked(&path, 128, &hash).unwrap()[..128], &[1; 128]);
        assert_eq!(map_checked(&path, 128, &[8; 32]).unwrap_err().status(), Status::NotAModel);
        assert_eq!(map_checked(&path, 64, &hash).unwrap_err().status(), Status::NotAModel);
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(map_checked(&path, 128, &hash).unwrap_err().status(), Status::NotAModel);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(map_checked(&path, 128, &hash).unwrap_err().status(), Status::NotFound);
    }
}
