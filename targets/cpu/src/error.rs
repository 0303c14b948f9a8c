//! Why code generation refused a program.

use std::path::PathBuf;

/// A refusal of code generation, linking or writing.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// A kernel has a form that no backend lowers.
    #[error("kernel {kernel}: {what}")]
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// The statement or expression, and why.
        what: String,
    },
    /// Cranelift refused a function, which is a defect of nnc.
    #[error("{function}: {message}")]
    Backend {
        /// The function's name.
        function: String,
        /// What Cranelift says.
        message: String,
    },
    /// The program contradicts itself or the binary interface.
    #[error("{0}")]
    Program(String),
    /// Weights do not fit the artifact.
    #[error("{what} has {bytes} bytes, more than the {limit} that one artifact can hold; put it into a file beside it")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// This machine cannot run code for the target.
    #[error("target {0} cannot run on this machine")]
    WrongHost(String),
    /// The linker refused.
    #[error("linking {path}: {message}")]
    Link {
        /// The artifact.
        path: PathBuf,
        /// What the linker says.
        message: String,
    },
    /// A file could not be written.
    #[error("writing {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl CodegenError {
    pub(crate) fn kernel(kernel: &str, what: impl Into<String>) -> CodegenError {
        CodegenError::Kernel { kernel: kernel.to_owned(), what: what.into() }
    }

    pub(crate) fn backend(function: &str, message: impl std::fmt::Display) -> CodegenError {
        CodegenError::Backend { function: function.to_owned(), message: message.to_string() }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> CodegenError {
        CodegenError::Io { path: path.to_owned(), source }
    }
}
