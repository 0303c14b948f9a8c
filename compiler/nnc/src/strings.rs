//! Strings between files and models: a tensor of strings is an array of offsets, and one of bytes.
//!
//! numpy has strings of a fixed number of characters, of four bytes each, filled up with zeros.

use nnc_runtime::{DType, TensorRef};

use crate::array::Array;
use crate::errors::{Failure, Result};

/// The two arrays that stand for strings in row-major order.
///
/// # Errors
/// When they do not fit the dimensions.
pub fn arrays<S: AsRef<[u8]>>(dims: Vec<i64>, strings: impl IntoIterator<Item = S>) -> Result<[Array; 2]> {
    let strings = nnc_runtime::Strings::new(strings);
    let [offsets, bytes] = strings.inputs(&dims);
    let offsets = Array::from_bytes(DType::String, dims.clone(), offsets.data)?;
    Ok([offsets, Array::from_bytes(DType::U8, bytes.dims.to_vec(), bytes.data)?])
}

/// The strings of numpy's characters, so many to each.
///
/// # Errors
/// When a character is none.
pub fn from_characters(dims: Vec<i64>, width: usize, characters: &[u8]) -> Result<[Array; 2]> {
    let refuse = || Failure::user("a string has a character that Unicode has not");
    let mut strings = vec![];
    for string in characters.chunks_exact((4 * width).max(1)) {
        let codes = string.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        let text: Option<String> = codes.map(char::from_u32).collect();
        strings.push(text.ok_or_else(refuse)?.trim_end_matches('\0').to_owned());
    }
    if width == 0 {
        let count = dims.iter().product::<i64>();
        strings = vec![String::new(); usize::try_from(count).unwrap_or(0)];
    }
    arrays(dims, strings)
}

/// numpy's characters of strings, and how many each has. Bytes that are no UTF-8 become U+FFFD.
///
/// # Errors
/// When the offsets do not lie within the bytes.
pub fn to_characters(offsets: TensorRef<'_>, bytes: TensorRef<'_>) -> Result<(usize, Vec<u8>)> {
    let strings = nnc_runtime::string_refs(offsets, bytes);
    let strings = strings.ok_or_else(|| Failure::user("the offsets of strings do not fit their bytes"))?;
    let texts: Vec<Vec<char>> = strings.iter().map(|s| String::from_utf8_lossy(s).chars().collect()).collect();
    let width = texts.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut characters = Vec::with_capacity(texts.len() * width * 4);
    for text in texts {
        let padding = std::iter::repeat_n('\0', width - text.len());
        let codes = text.into_iter().chain(padding).map(|c| u32::from(c).to_le_bytes());
        codes.for_each(|code| characters.extend_from_slice(&code));
    }
    Ok((width, characters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters() {
        let [offsets, bytes] = arrays(vec![3], ["na\u{ef}ve", "", "\u{1f600}"]).unwrap();
        let (width, characters) = to_characters(offsets.view(), bytes.view()).unwrap();
        assert_eq!((width, characters.len()), (5, 60));
        let [back, same] = from_characters(vec![3], width, &characters).unwrap();
        assert_eq!((back.bytes(), same.bytes()), (offsets.bytes(), bytes.bytes()));
        assert!(from_characters(vec![1], 1, &[0, 0, 0x11, 0]).is_err());
        assert_eq!(from_characters(vec![2], 0, &[]).unwrap()[0].bytes(), [0; 24]);
    }
}
