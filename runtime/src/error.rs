//! The one error type: a status for programs, one line of text for people.

use nnc_abi::Status;

/// Why a model was not loaded or a run did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    status: Status,
    message: String,
}

/// [`std::result::Result`] with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its one-line message.
    pub fn new(status: Status, message: impl Into<String>) -> Error {
        debug_assert_ne!(status, Status::Ok);
        Error { status, message: message.into() }
    }

    /// What went wrong, for programs.
    pub fn status(&self) -> Status {
        self.status
    }
}
