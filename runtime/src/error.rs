//! The one error type: a status for programs, one line of text for people.

use nnc_abi::{Status, is_plain};

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
    /// An error with its message, of which characters that would break the line or change its direction are replaced.
    pub fn new(status: Status, message: impl Into<String>) -> Error {
        debug_assert_ne!(status, Status::Ok);
        let mut message = message.into();
        if !message.chars().all(is_plain) {
            message = message.chars().map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect();
        }
        Error { status, message }
    }

    /// What went wrong, for programs.
    pub fn status(&self) -> Status {
        self.status
    }
}
