//! Why a file was refused.
//!
//! Invariant: an error prints in one line whatever the file holds: names are untrusted, so control
//! characters are escaped and long names are cut.

/// What sort of refusal it is, from which the command chooses its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file cannot be read.
    Io,
    /// The file breaks a rule of ONNX or of protobuf.
    Malformed,
    /// The file is right, but uses what this compiler does not read.
    Unsupported,
    /// The file is larger or deeper than the limits on untrusted input allow.
    Limit,
}

/// A file that was refused: which, where in it, what is wrong and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.line())]
pub struct ImportError {
    pub(crate) file: String,
    pub(crate) place: Option<String>,
    pub(crate) what: String,
    pub(crate) help: &'static str,
    pub(crate) kind: ErrorKind,
}

/// The result of a step of the import.
pub(crate) type Result<T> = std::result::Result<T, ImportError>;

impl ImportError {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, help: &'static str) -> ImportError {
        ImportError { file: String::new(), place: None, what: what.into(), help, kind }
    }

    /// The file breaks a rule.
    pub(crate) fn malformed(what: impl Into<String>) -> ImportError {
        ImportError::new(ErrorKind::Malformed, what, "export the model again")
    }

    /// Names the file, unless a file is named already (external data names its own).
    pub(crate) fn in_file(mut self, file: &str) -> ImportError {
        if self.file.is_empty() {
            self.file = file.to_owned();
        }
        self
    }

    /// Names the innermost node or tensor: the first caller to do so wins.
    pub(crate) fn at(mut self, sort: &str, name: &str) -> ImportError {
        if self.place.is_none() {
            self.place = Some(format!("{sort} `{}`", clip(name)));
        }
        self
    }

    /// What sort of refusal it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The refused file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The node or tensor it is about, such as ``node `Conv#12` ``.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    fn line(&self) -> String {
        let mut line = self.file.clone();
        for part in [self.place.as_deref(), Some(&self.what)].into_iter().flatten() {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(part);
        }
        if !self.help.is_empty() {
            line.push_str("; ");
            line.push_str(self.help);
        }
        let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        line.chars().map(printable).collect()
    }
}

/// A name short enough for a message.
pub(crate) fn clip(name: &str) -> String {
    const MOST: usize = 120;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
