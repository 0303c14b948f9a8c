//! A copy of a message without the weights.
//!
//! Every tensor, large or small, loses its elements; in their place the copy carries an 8-byte
//! number in `raw_data`, the tensor's place in [`Stripped::tensors`]. As no element of the file
//! reaches the copy, a file cannot forge such a number. The copy is what `onnx-protobuf` decodes:
//! its depth, its message count and its size are bounded here, because that decoder (protobuf
//! 3.4.0) recurses without a limit on hostile input (RUSTSEC-2024-0437).

use std::ops::Range;

use crate::{
    ErrorKind, ImportError,
    error::Result,
    schema::{Fate, Kind},
    wire::{Reader, put_varint},
};

/// The deepest nesting of messages; a subgraph in a subgraph takes three levels.
const MOST_LEVELS: usize = 64;
/// The most messages: nodes, attributes, tensors, types, dimensions and so on. One costs up to
/// half a kilobyte once decoded.
const MOST_MESSAGES: usize = 1 << 21;
/// The most bytes of structure: everything but the tensors' elements.
const MOST_BYTES: usize = 1 << 30;
/// A message's length is written before its content is known, so room for it is kept: a varint
/// of this many bytes holds lengths up to [`MOST_BYTES`].
const LENGTH_ROOM: usize = 5;

/// A message without its weights, and where in the file its tensors are.
pub(crate) struct Stripped {
    pub(crate) message: Vec<u8>,
    pub(crate) tensors: Vec<Range<usize>>,
    messages: usize,
}

impl Stripped {
    /// Copies the message of `kind` at `range` of `file`.
    pub(crate) fn new(file: &[u8], range: Range<usize>, kind: Kind) -> Result<Stripped> {
        let mut stripped = Stripped { message: Vec::new(), tensors: Vec::new(), messages: 0 };
        stripped.copy(file, range, kind, 0)?;
        Ok(stripped)
    }

    fn copy(&mut self, file: &[u8], range: Range<usize>, kind: Kind, level: usize) -> Result<()> {
        self.messages += 1;
        if self.messages > MOST_MESSAGES {
            return Err(limit(format!("has more than {MOST_MESSAGES} nodes, tensors and types")));
        }
        if level >= MOST_LEVELS {
            return Err(limit(format!("is nested more than {MOST_LEVELS} messages deep at byte {}", range.start)));
        }
        let tensor = (kind == Kind::Tensor).then(|| range.clone());
        let mut reader = Reader::new(file, range);
        loop {
            let start = reader.position();
            let Some(field) = reader.next_field()? else {
                break;
            };
            match kind.fate(field.number) {
                Fate::Drop => {}
                Fate::Copy => {
                    let bytes = &file[start..reader.position()];
                    self.room(bytes.len())?;
                    self.message.extend_from_slice(bytes);
                }
                Fate::Enter(inner) => {
                    let content = field.content()?;
                    self.room(16)?;
                    put_varint(&mut self.message, u64::from(field.number) << 3 | 2);
                    let length_at = self.message.len();
                    self.message.extend_from_slice(&[0; LENGTH_ROOM]);
                    self.copy(file, content, inner, level + 1)?;
                    let length = self.message.len() - length_at - LENGTH_ROOM;
                    for place in 0..LENGTH_ROOM {
                        let more = if place + 1 < LENGTH_ROOM { 0x80 } else { 0 };
                        self.message[length_at + place] = (length >> (7 * place)) as u8 & 0x7f | more;
                    }
                }
            }
        }
        if let Some(range) = tensor {
            self.room(16)?;
            put_varint(&mut self.message, 9 << 3 | 2);
            put_varint(&mut self.message, 8);
            self.message.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
            self.tensors.push(range);
        }
        Ok(())
    }

    fn room(&self, more: usize) -> Result<()> {
        if self.message.len() + more > MOST_BYTES {
            return Err(limit(format!("has more than {MOST_BYTES} bytes besides its weights")));
        }
        Ok(())
    }
}

/// The place in the file of the tensor whose stripped `raw_data` is `token`.
pub(crate) fn find<'a>(tensors: &'a [Range<usize>], token: &[u8]) -> Option<&'a Range<usize>> {
    let number = u64::from_le_bytes(token.try_into().ok()?);
    tensors.get(usize::try_from(number).ok()?)
}

fn limit(what: String) -> ImportError {
    ImportError::new(ErrorKind::Limit, what, "it is no model this compiler accepts")
}
