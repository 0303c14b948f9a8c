//! Reading protobuf's wire format in place.
//!
//! Invariants: a reader never looks past the end it was given, positions are offsets into the
//! whole file (so messages can name them), and groups, which no ONNX message has, are refused.
//!
//! Source: the protobuf encoding guide, <https://protobuf.dev/programming-guides/encoding/>.

use std::ops::Range;

use crate::{ErrorKind, ImportError, error::Result};

/// A cursor over one message inside a file.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

/// One field of a message.
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) value: FieldValue,
}

/// What a field holds; fixed-width numbers and contents are given by their place in the file.
pub(crate) enum FieldValue {
    Varint(u64),
    Fixed64(Range<usize>),
    Fixed32(Range<usize>),
    Content(Range<usize>),
}

impl Field {
    /// The place of the content; an error if the field is a number.
    pub(crate) fn content(&self) -> Result<Range<usize>> {
        match &self.value {
            FieldValue::Content(range) => Ok(range.clone()),
            _ => Err(ImportError::malformed(format!(
                "field {} holds a number where the format has a message or bytes",
                self.number
            ))),
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader of the message at `range` of `file`; a range past the end reads as truncated.
    pub(crate) fn new(file: &'a [u8], range: Range<usize>) -> Reader<'a> {
        let end = range.end.min(file.len());
        Reader { file, at: range.start.min(end), end }
    }

    /// The offset of the next byte.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next field, or `None` at the end of the message.
    pub(crate) fn next_field(&mut self) -> Result<Option<Field>> {
        if self.at == self.end {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 || number >= 1 << 29 {
            return Err(broken(start, "no field has this number"));
        }
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(self.take(8)?),
            2 => {
                let len = self.varint()?;
                FieldValue::Content(self.take(len)?)
            }
            5 => FieldValue::Fixed32(self.take(4)?),
            3 | 4 => return Err(broken(start, "groups are not part of ONNX")),
            _ => return Err(broken(start, "there is no such wire type")),
        };
        Ok(Some(Field { number, value }))
    }

    /// The next varint, or `None` at the end: for packed lists.
    pub(crate) fn next_varint(&mut self) -> Result<Option<u64>> {
        if self.at == self.end { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.at;
        let mut value = 0u64;
        for place in 0..10 {
            let Some(&byte) = self.file[..self.end].get(self.at) else {
                return Err(truncated(self.end));
            };
            self.at += 1;
            if place == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken(start, "a number has more than 64 bits"))
    }

    fn take(&mut self, len: u64) -> Result<Range<usize>> {
        let left = self.end - self.at;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let range = self.at..self.at + len;
                self.at = range.end;
                Ok(range)
            }
            _ => Err(truncated(self.at)),
        }
    }
}

fn broken(offset: usize, what: &str) -> ImportError {
    ImportError::new(
        ErrorKind::Malformed,
        format!("not a valid protobuf message at byte {offset}: {what}"),
        "check that it is an ONNX file",
    )
}

fn truncated(offset: usize) -> ImportError {
    ImportError::new(
        ErrorKind::Malformed,
        format!("ends too early: the data at byte {offset} is shorter than it claims"),
        "download or export the file again",
    )
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
