//! The one error type of the command: whose fault it is, and one line of text.
//!
//! Invariants: a [`Failure`] prints as one line, whatever names a file holds; its exit code is 1 for the user's mistake
//! and 2 for a model that nnc cannot compile, never 101.

use std::fmt;
use std::path::Path;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// A wrong argument, a damaged file, an input that does not fit.
    User,
    /// The model is right but nnc cannot compile it, or fails at it.
    Compiler,
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", OneLine(message))]
pub struct Failure {
    blame: Blame,
    message: String,
}

/// [`std::result::Result`] with [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Blame {
    /// The exit code of a process that fails for it.
    pub fn exit_code(self) -> u8 {
        match self {
            Blame::User => 1,
            Blame::Compiler => 2,
        }
    }
}

impl Failure {
    /// The user's mistake: `file: node: what; what to do`.
    pub fn user(message: impl Into<String>) -> Failure {
        Failure { blame: Blame::User, message: message.into() }
    }

    /// A model that nnc cannot compile.
    pub fn unsupported(message: impl Into<String>) -> Failure {
        Failure { blame: Blame::Compiler, message: message.into() }
    }

    /// A defect of nnc.
    pub fn internal(message: impl fmt::Display) -> Failure {
        Failure::unsupported(format!("{message}; this is a defect of nnc, please report it"))
    }

    /// A file operation that the system refused.
    pub fn io(path: &Path, what: &str, error: &std::io::Error) -> Failure {
        Failure::user(format!("{}: {what}: {error}", path.display()))
    }

    /// What the runtime says of a run, with the model's file in front.
    pub fn of_run(file: &Path, error: nnc_runtime::Error) -> Failure {
        let message = error.to_string();
        let failure = Failure::from(error);
        if message.starts_with(&file.display().to_string()) { failure } else { failure.in_file(file.display()) }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        self.blame.exit_code()
    }

    /// The same failure with the file it is about in front.
    #[must_use]
    pub fn in_file(self, file: impl fmt::Display) -> Failure {
        Failure { message: format!("{file}: {}", self.message), ..self }
    }
}

impl From<nnc_onnx::ImportError> for Failure {
    fn from(error: nnc_onnx::ImportError) -> Failure {
        let blame = match error.kind() {
            nnc_onnx::ErrorKind::Unsupported | nnc_onnx::ErrorKind::Limit => Blame::Compiler,
            _ => Blame::User,
        };
        Failure { blame, message: error.to_string() }
    }
}

impl From<nnc_ops::TranslateError> for Failure {
    fn from(error: nnc_ops::TranslateError) -> Failure {
        let blame = match error.kind {
            nnc_ops::ErrorKind::Unsupported => Blame::Compiler,
            nnc_ops::ErrorKind::Invalid => Blame::User,
        };
        Failure { blame, message: error.to_string() }
    }
}

impl From<nnc_desc::TargetError> for Failure {
    fn from(error: nnc_desc::TargetError) -> Failure {
        Failure::user(error.to_string())
    }
}

impl From<nnc_cpu::CodegenError> for Failure {
    fn from(error: nnc_cpu::CodegenError) -> Failure {
        use nnc_cpu::CodegenError as E;
        match error {
            E::Kernel { .. } | E::TooLarge { .. } => Failure::unsupported(error.to_string()),
            E::WrongHost(_) | E::Io { .. } => Failure::user(error.to_string()),
            E::Backend { .. } | E::Program(_) | E::Link { .. } => Failure::internal(error),
        }
    }
}

impl From<nnc_runtime::Error> for Failure {
    fn from(error: nnc_runtime::Error) -> Failure {
        match error.status() {
            nnc_runtime::Status::Internal => Failure::internal(error),
            _ => Failure::user(error.to_string()),
        }
    }
}

/// The most characters of a message that are printed: names and shapes in a model may be of any length.
const MOST_CHARS: usize = 1000;

/// A text with all replaced that is not plain, so that it is one line and can steer neither terminal nor reader.
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(MOST_CHARS).try_for_each(|c| match c {
            '\n' => f.write_str(" "),
            c if !nnc_abi::is_plain(c) => f.write_str("\u{fffd}"),
            c => write!(f, "{c}"),
        })?;
        if self.0.chars().nth(MOST_CHARS).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_whatever_the_names() {
        let failure = Failure::user("a\nb\u{1b}[31m\u{202e}").in_file("m.onnx");
        assert_eq!(failure.to_string(), "m.onnx: a b\u{fffd}[31m\u{fffd}");
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::user("x".repeat(5000)).to_string().chars().count(), MOST_CHARS + 1);
        assert_eq!(Failure::internal("x").exit_code(), 2);
    }
}
