//! Weights in other files next to the model.
//!
//! Names are looked up in the folder of the model's path as it was given. Invariant: no file is opened that lies neither
//! in that folder or below it, nor, if the model's path is a symbolic link, directly beside the file that it leads to;
//! whether it is named by an absolute path, by `..` or reached through a symbolic link. The second folder is for caches
//! that keep all files in one place and give them names by links, as `huggingface_hub` does
//! (`snapshots/REVISION/model.onnx` leads to `../../blobs/HASH`). A folder of links from elsewhere cannot use it to reach
//! other files: its model would have to be a file that lies beside them.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/ExternalData.md>. `checksum` is ignored.

use std::{
    collections::HashMap,
    fs::File,
    path::{Component, Path, PathBuf},
};

use onnx_protobuf::StringStringEntryProto;

use crate::{
    Bytes, ErrorKind, ImportError,
    error::{Result, clip},
};

/// The files beside a model, each mapped once.
pub(crate) struct ExternalFiles {
    folder: Option<PathBuf>,
    /// The model's path, if there is one.
    model: Option<PathBuf>,
    mapped: HashMap<PathBuf, Bytes>,
}

impl ExternalFiles {
    /// Files in `folder`; with none, external data is refused.
    pub(crate) fn new(folder: Option<&Path>) -> ExternalFiles {
        ExternalFiles { folder: folder.map(Path::to_owned), model: None, mapped: HashMap::new() }
    }

    /// Files for the model at `path`.
    pub(crate) fn of_model(path: &Path) -> ExternalFiles {
        ExternalFiles { model: Some(path.to_owned()), ..ExternalFiles::new(crate::load::folder_of(path)) }
    }

    /// The files that were used, in order of their paths.
    pub(crate) fn used(&self) -> Vec<PathBuf> {
        let mut used: Vec<PathBuf> = self.mapped.keys().cloned().collect();
        used.sort();
        used
    }

    /// The `expected` bytes that the entries of a tensor's `external_data` point to.
    pub(crate) fn read(&mut self, entries: &[StringStringEntryProto], expected: usize) -> Result<Bytes> {
        let entry = |key: &str| {
            let last = entries.iter().rev().find(|entry| entry.key == key);
            last.map(|entry| entry.value.as_str()).filter(|value| !value.is_empty())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| {
                ImportError::malformed(format!("the {key} `{}` of its external data is not a number", clip(text)))
            }),
        };
        let Some(location) = entry("location") else {
            return Err(ImportError::malformed("its external data has no location"));
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(expected);
        if length != expected {
            return Err(ImportError::malformed(format!(
                "its external data has {length} bytes, its shape asks for {expected}"
            )));
        }
        let file = self.open(location)?;
        let range = offset..offset.saturating_add(length);
        file.slice(range).ok_or_else(|| {
            ImportError::new(
                ErrorKind::Malformed,
                format!(
                    "its data ({length} bytes at {offset}) reaches past the end of `{}`, which \
                     has {} bytes",
                    clip(location),
                    file.len()
                ),
                "copy the whole file next to the model",
            )
        })
    }

    fn open(&mut self, location: &str) -> Result<Bytes> {
        let outside = || {
            ImportError::new(
                ErrorKind::Malformed,
                format!("its external data `{}` is outside the model's folder", clip(location)),
                "put the file next to the model",
            )
        };
        let unreadable = |error: std::io::Error| {
            ImportError::new(
                ErrorKind::Io,
                format!("its external data `{}` cannot be read: {error}", clip(location)),
                "put the file next to the model",
            )
        };
        let relative = Path::new(location);
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(plain) || location.contains('\\') {
            return Err(outside());
        }
        let Some(folder) = &self.folder else {
            return Err(ImportError::new(
                ErrorKind::Unsupported,
                "has external data, but the model was not loaded from a folder",
                "load it from its file",
            ));
        };
        let folder = folder.canonicalize().map_err(unreadable)?;
        // Only the canonical path shows where symbolic links lead, so it is what is opened.
        let path = folder.join(relative).canonicalize().map_err(unreadable)?;
        let model = self.model.as_ref().and_then(|model| model.canonicalize().ok());
        let beside_model = model.is_some_and(|model| path.parent() == model.parent());
        if !path.starts_with(&folder) && !beside_model {
            return Err(outside());
        }
        if let Some(bytes) = self.mapped.get(&path) {
            return Ok(bytes.clone());
        }
        // Opening a pipe would wait for its writer, so look before opening.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a regular file")));
        }
        let file = File::open(&path).map_err(unreadable)?;
        let bytes = Bytes::map(&file).map_err(unreadable)?;
        self.mapped.insert(path, bytes.clone());
        Ok(bytes)
    }
}
