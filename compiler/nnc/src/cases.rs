//! Test cases in the format of ONNX's backend tests.
//!
//! A case is a folder with `model.onnx`, folders `test_data_set_N` holding `input_J.pb` and `output_J.pb` by position,
//! and optionally `tolerance.txt` with `rtol atol`. A map is the tensors of its values, `input_J.pb`, and of its keys,
//! `input_J.keys.pb`.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/OnnxBackendTest.md>.

use std::path::{Path, PathBuf};

use crate::compare::Tolerance;
use crate::errors::{Failure, Result};

/// The deepest nesting of folders that is searched.
const MOST_LEVELS: usize = 16;

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its folder.
    pub folder: PathBuf,
    /// How far a float may be off.
    pub tolerance: Tolerance,
    /// Its data sets, in order.
    pub sets: Vec<DataSet>,
}

/// One set of inputs and the outputs expected for it.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Its folder.
    pub folder: PathBuf,
    /// The positions of the inputs, and their files.
    pub inputs: Vec<(usize, PathBuf)>,
    /// The positions of the outputs, and their files.
    pub outputs: Vec<(usize, PathBuf)>,
}

/// The folders of all cases in these folders, sorted within each.
///
/// # Errors
/// When a folder cannot be read or has no case.
pub fn discover(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut cases = vec![];
    for folder in folders {
        let before = cases.len();
        search(folder, 0, &mut cases)?;
        if cases.len() == before {
            let message = format!("{}: no test case in it; a case is a folder with model.onnx", folder.display());
            return Err(Failure::user(message));
        }
    }
    Ok(cases)
}

fn search(folder: &Path, level: usize, cases: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join("model.onnx").is_file() {
        cases.push(folder.to_owned());
    } else if level < MOST_LEVELS {
        for entry in entries(folder)? {
            if entry.is_dir() {
                search(&entry, level + 1, cases)?;
            }
        }
    }
    Ok(())
}

/// A folder's entries, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut entries = list().map_err(|e| Failure::io(folder, "cannot be read", &e))?;
    entries.sort();
    Ok(entries)
}

impl Case {
    /// Reads a case's folder, but not its tensors.
    ///
    /// # Errors
    /// When it cannot be read or its tolerance is not two numbers.
    pub fn open(folder: &Path) -> Result<Case> {
        let mut sets = vec![];
        for entry in entries(folder)? {
            if let Some(number) = numbered(&entry, "test_data_set_", "").filter(|_| entry.is_dir()) {
                sets.push((number, DataSet::open(&entry)?));
            }
        }
        sets.sort_by_key(|set| set.0);
        Ok(Case {
            folder: folder.to_owned(),
            tolerance: tolerance(&folder.join("tolerance.txt"))?,
            sets: sets.into_iter().map(|set| set.1).collect(),
        })
    }

    /// The model's file.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model.onnx")
    }
}

fn tolerance(file: &Path) -> Result<Tolerance> {
    match std::fs::read_to_string(file) {
        Ok(text) => Tolerance::parse(&text)
            .ok_or_else(|| Failure::user(format!("{}: not two numbers, rtol and atol", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Tolerance::default()),
        Err(error) => Err(Failure::io(file, "cannot be read", &error)),
    }
}

impl DataSet {
    fn open(folder: &Path) -> Result<DataSet> {
        let entries = entries(folder)?;
        let files = |prefix: &str| {
            let number = |e: &PathBuf| Some((numbered(e, prefix, ".pb")?, e.clone()));
            let mut files: Vec<(usize, PathBuf)> = entries.iter().filter_map(number).collect();
            files.sort();
            files
        };
        Ok(DataSet { folder: folder.to_owned(), inputs: files("input_"), outputs: files("output_") })
    }
}

/// The number in a file's name between a prefix and a suffix.
fn numbered(path: &Path, prefix: &str, suffix: &str) -> Option<usize> {
    path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_orders() {
        let root = tempfile::tempdir().unwrap();
        for case in ["node/b", "node/a", "light/c"] {
            for set in ["test_data_set_10", "test_data_set_9"] {
                let set = root.path().join(case).join(set);
                std::fs::create_dir_all(&set).unwrap();
                for file in ["input_10.pb", "input_2.pb", "output_0.pb", "notes.txt"] {
                    std::fs::write(set.join(file), "").unwrap();
                }
            }
            std::fs::write(root.path().join(case).join("model.onnx"), "").unwrap();
        }
        let found = discover(&[root.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|f| f.strip_prefix(root.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["light/c", "node/a", "node/b"]);
        let case = Case::open(&found[0]).unwrap();
        assert_eq!(case.tolerance, Tolerance::default());
        assert!(case.sets[0].folder.ends_with("test_data_set_9"));
        let positions: Vec<usize> = case.sets[0].inputs.iter().map(|f| f.0).collect();
        assert_eq!((positions, case.sets[0].outputs.len()), (vec![2, 10], 1));
        std::fs::write(found[0].join("tolerance.txt"), "1e-2").unwrap();
        assert!(Case::open(&found[0]).is_err());
    }

    #[test]
    fn nothing_to_test_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(discover(&[root.path().to_owned()]).is_err());
        assert!(discover(&[root.path().join("absent")]).is_err());
    }
}
