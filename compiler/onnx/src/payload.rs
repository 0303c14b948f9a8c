//! The elements of a tensor, as they stand in the file, to little-endian bytes.
//!
//! `raw_data`, and floats and doubles packed in one piece, are little-endian already and stay in
//! the file; other fields hold varints and are rewritten. Invariant: the result has exactly the
//! length that the element type and shape ask for, and no more memory is asked for than a small
//! multiple of the bytes present in the file.
//!
//! Source: the comments of `TensorProto` in `onnx.proto`, which say which type lies in which field.

use std::{ops::Range, sync::Arc};

use crate::{
    Bytes, ElemType, ErrorKind, ImportError, TensorData,
    error::Result,
    wire::{FieldValue, Reader},
};

const SEGMENT: u32 = 3;
const FLOAT_DATA: u32 = 4;
const INT32_DATA: u32 = 5;
const STRING_DATA: u32 = 6;
const INT64_DATA: u32 = 7;
const RAW_DATA: u32 = 9;
const DOUBLE_DATA: u32 = 10;
const UINT64_DATA: u32 = 11;

/// Reads the elements of the tensor message at `range`, which has `count` elements of type `elem`.
pub(crate) fn read(file: &Bytes, range: Range<usize>, elem: ElemType, count: usize) -> Result<TensorData> {
    let found = survey(file, range.clone())?;
    if elem == ElemType::String {
        return strings(file, range, count, &found);
    }
    let expected = elem.byte_len(count).ok_or_else(|| ImportError::malformed("its size in bytes overflows"))?;
    let home = field_of(elem);
    let in_home = found.typed == Some(home);
    if let Some(raw) = &found.raw {
        if found.typed.is_none() {
            check_len(raw.len(), expected, elem, count)?;
            return slice(file, raw.clone());
        }
        if !raw.is_empty() {
            return Err(ImportError::malformed("has its elements twice: raw and typed"));
        }
    }
    if found.typed.is_none() {
        check_len(0, expected, elem, count)?;
        return Ok(TensorData::Bytes(Bytes::new(Vec::new())));
    }
    if !in_home {
        return Err(ImportError::malformed(format!("its elements are not in the field that holds the type {elem}")));
    }
    if let (FLOAT_DATA | DOUBLE_DATA, Some(whole)) = (home, found.whole) {
        check_len(whole.len(), expected, elem, count)?;
        return slice(file, whole);
    }
    let bytes = rewrite(file, range, home, elem, count, expected)?;
    check_len(bytes.len(), expected, elem, count)?;
    Ok(TensorData::Bytes(Bytes::new(bytes)))
}

/// What a first pass over the tensor's fields found.
#[derive(Default)]
struct Found {
    /// The last `raw_data`, which is the one that counts.
    raw: Option<Range<usize>>,
    /// The typed field that holds elements.
    typed: Option<u32>,
    /// The content of that field, where it is one packed piece.
    whole: Option<Range<usize>>,
    pieces: usize,
}

fn survey(file: &[u8], range: Range<usize>) -> Result<Found> {
    let mut found = Found::default();
    let mut reader = Reader::new(file, range);
    while let Some(field) = reader.next_field()? {
        match field.number {
            SEGMENT => {
                return Err(ImportError::new(ErrorKind::Unsupported, "is stored in segments", "store it whole"));
            }
            RAW_DATA => found.raw = Some(field.content()?),
            FLOAT_DATA | INT32_DATA | STRING_DATA | INT64_DATA | DOUBLE_DATA | UINT64_DATA => {
                let content = match field.value {
                    FieldValue::Content(content) => Some(content),
                    _ => None,
                };
                let packed = field.number != STRING_DATA;
                if packed && content.as_ref().is_some_and(|content| content.is_empty()) {
                    continue;
                }
                if found.typed.is_some_and(|typed| typed != field.number) {
                    return Err(ImportError::malformed("has elements of two types"));
                }
                found.typed = Some(field.number);
                found.pieces += 1;
                found.whole = if found.pieces == 1 { content } else { None };
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The field that holds elements of a type.
fn field_of(elem: ElemType) -> u32 {
    match elem {
        ElemType::Float | ElemType::Complex64 => FLOAT_DATA,
        ElemType::Double | ElemType::Complex128 => DOUBLE_DATA,
        ElemType::Int64 => INT64_DATA,
        ElemType::Uint32 | ElemType::Uint64 => UINT64_DATA,
        ElemType::String => STRING_DATA,
        _ => INT32_DATA,
    }
}

/// Turns the numbers of field `home` into bytes.
fn rewrite(
    file: &[u8],
    range: Range<usize>,
    home: u32,
    elem: ElemType,
    count: usize,
    expected: usize,
) -> Result<Vec<u8>> {
    // A varint takes at least one byte of the file and gives at most eight.
    let mut out = Vec::with_capacity(expected.min(range.len().saturating_mul(8)));
    let mut six_bits = SixBits::default();
    let mut put = |out: &mut Vec<u8>, value: u64| {
        match elem.bits() {
            64 => out.extend_from_slice(&value.to_le_bytes()),
            32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
            16 => out.extend_from_slice(&(value as u16).to_le_bytes()),
            6 => six_bits.put(out, value as u8),
            _ => out.push(value as u8),
        }
        if out.len() > expected {
            return Err(too_long(expected, elem, count));
        }
        Ok(())
    };
    let mut reader = Reader::new(file, range);
    while let Some(field) = reader.next_field()? {
        if field.number != home {
            continue;
        }
        match field.value {
            FieldValue::Varint(value) if !fixed_width(home) => put(&mut out, value)?,
            FieldValue::Fixed32(place) if home == FLOAT_DATA => out.extend_from_slice(&file[place]),
            FieldValue::Fixed64(place) if home == DOUBLE_DATA => {
                out.extend_from_slice(&file[place]);
            }
            FieldValue::Content(place) if fixed_width(home) => out.extend_from_slice(&file[place]),
            FieldValue::Content(place) => {
                let mut list = Reader::new(file, place);
                while let Some(value) = list.next_varint()? {
                    put(&mut out, value)?;
                }
            }
            _ => {
                return Err(ImportError::malformed("an element is coded as another type"));
            }
        }
        if out.len() > expected {
            return Err(too_long(expected, elem, count));
        }
    }
    six_bits.finish(&mut out);
    Ok(out)
}

fn fixed_width(field: u32) -> bool {
    matches!(field, FLOAT_DATA | DOUBLE_DATA)
}

/// Packs 6-bit elements, which come one to a number, from the low bits.
#[derive(Default)]
struct SixBits {
    bits: u32,
    held: u32,
}

impl SixBits {
    fn put(&mut self, out: &mut Vec<u8>, value: u8) {
        self.bits |= u32::from(value & 0x3f) << self.held;
        self.held += 6;
        if self.held >= 8 {
            out.push(self.bits as u8);
            self.bits >>= 8;
            self.held -= 8;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held > 0 {
            out.push(self.bits as u8);
        }
    }
}

fn strings(file: &Bytes, range: Range<usize>, count: usize, found: &Found) -> Result<TensorData> {
    if found.raw.as_ref().is_some_and(|raw| !raw.is_empty()) {
        return Err(ImportError::malformed("strings cannot be raw data"));
    }
    if found.typed.is_some_and(|typed| typed != STRING_DATA) {
        return Err(ImportError::malformed("its elements are not in the field that holds strings"));
    }
    if found.pieces != count {
        return Err(ImportError::malformed(format!("holds {} strings, its shape asks for {count}", found.pieces)));
    }
    let mut out = Vec::with_capacity(count);
    let mut reader = Reader::new(file, range);
    while let Some(field) = reader.next_field()? {
        if field.number == STRING_DATA {
            out.push(file[field.content()?].to_vec());
        }
    }
    Ok(TensorData::Strings(Arc::new(out)))
}

fn slice(file: &Bytes, range: Range<usize>) -> Result<TensorData> {
    let bytes = file.slice(range);
    Ok(TensorData::Bytes(bytes.ok_or_else(|| ImportError::malformed("its elements are cut off"))?))
}

/// An error unless the tensor has as many bytes as it should.
pub(crate) fn check_len(found: usize, expected: usize, elem: ElemType, count: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(ImportError::malformed(format!(
        "holds {found} bytes, its shape asks for {count} elements of type {elem}: {expected} bytes"
    )))
}

fn too_long(expected: usize, elem: ElemType, count: usize) -> ImportError {
    ImportError::malformed(format!(
        "holds more than the {count} elements of type {elem} ({expected} bytes) its shape asks for"
    ))
}
