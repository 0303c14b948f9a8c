//! Upper and lower case of UTF-8 text, in core operations.
//!
//! Every byte that begins a character stands for it: its code is put together from the bytes that follow, replaced by that of
//! the other case, and written anew; bytes that continue one are written with it. Characters whose other case is several, as
//! that of U+00DF, stay as they are: the mapping is that of `towupper` and `towlower`.
//!
//! Source: RFC 3629 for UTF-8; the cases are those of the Unicode version that Rust's library has.

use crate::context::Context;
use crate::error::Result;
use crate::strings::Runs;
use nnc_ir::op::{BinaryOp, PadMode};
use nnc_ir::{DType, Dim, Tensor, ValueId};

/// The case that letters are to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
}

/// The only character of an iterator.
fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

impl Case {
    /// The codes of characters that are of the other case, ascending, and what they become.
    fn codes(self) -> (Vec<i64>, Vec<i64>) {
        let other = |c: char| match self {
            Case::Lower => single(c.to_lowercase()),
            Case::Upper => single(c.to_uppercase()),
        };
        let pairs = ('\0'..=char::MAX).filter_map(|c| Some((c, other(c).filter(|&o| o != c)?)));
        pairs.map(|(from, to)| (i64::from(u32::from(from)), i64::from(u32::from(to)))).unzip()
    }

    /// A word in that case.
    pub fn of(self, word: &str) -> String {
        let (from, to) = self.codes();
        let code = |c: char| match from.binary_search(&i64::from(u32::from(c))) {
            Ok(at) => u32::try_from(to[at]).ok().and_then(char::from_u32).unwrap_or(c),
            Err(_) => c,
        };
        word.chars().map(code).collect()
    }
}

impl Context<'_, '_> {
    /// A table of strings in the other case.
    pub(crate) fn cased(&mut self, [offsets, bytes]: [ValueId; 2], case: Case) -> Result<[ValueId; 2]> {
        let size = self.dim(bytes, 0);
        let (code, continues) = self.codes_of(bytes)?;
        let (from, to) = case.codes();
        let count = from.len() as i64;
        let (from, to) = (self.ints_constant(&from), self.ints_constant(&[to, vec![0]].concat()));
        let place = self.find_among(code, from)?;
        let known = self.binary_scalar(BinaryOp::Lt, place, count as f64)?;
        let other = self.gather(to, place)?;
        let code = self.select(known, other, code)?;
        let length = self.lengths_of(code, continues)?;
        // No character takes twice the bytes in its other case.
        let Runs { offsets: marks, of, within } = self.runs(length, size * 2)?;
        let (code, length) = (self.gather(code, of)?, self.gather(length, of)?);
        let byte = self.byte_of(code, length, within)?;
        Ok([self.gather(marks, offsets)?, byte])
    }

    /// For each byte the code of the character that it begins, and whether it continues one instead.
    fn codes_of(&mut self, bytes: ValueId) -> Result<(ValueId, ValueId)> {
        let size = self.dim(bytes, 0);
        let padded = self.pad(bytes, vec![Dim::ZERO], vec![Dim::from(3)], PadMode::Constant, 0.0)?;
        let mut parts = vec![];
        for i in 0..4 {
            let part = self.slice_axis(padded, 0, Dim::from(i), size.clone())?;
            parts.push(self.convert(part, DType::I64)?);
        }
        let first = parts[0];
        // From the longest form to the shortest: each takes those that begin below it.
        let mut code = first;
        for (limit, bits, following) in [(256.0, 7.0, 3), (240.0, 15.0, 2), (224.0, 31.0, 1)] {
            let mut longer = self.binary_scalar(BinaryOp::And, first, bits)?;
            for &part in &parts[1..=following] {
                longer = self.binary_scalar(BinaryOp::Mul, longer, 64.0)?;
                let low = self.binary_scalar(BinaryOp::And, part, 63.0)?;
                longer = self.add(longer, low)?;
            }
            let of_form = self.binary_scalar(BinaryOp::Lt, first, limit)?;
            code = self.select(of_form, longer, code)?;
        }
        let ascii = self.binary_scalar(BinaryOp::Lt, first, 192.0)?;
        let code = self.select(ascii, first, code)?;
        let (above, below) =
            (self.binary_scalar(BinaryOp::Ge, first, 128.0)?, self.binary_scalar(BinaryOp::Lt, first, 192.0)?);
        Ok((code, self.binary(BinaryOp::And, above, below)?))
    }

    /// How many bytes a character takes; none where it is none.
    fn lengths_of(&mut self, code: ValueId, none: ValueId) -> Result<ValueId> {
        let mut length = self.int_scalar(1);
        for limit in [0x80, 0x800, 0x1_0000] {
            let beyond = self.binary_scalar(BinaryOp::Ge, code, f64::from(limit))?;
            let more = self.convert(beyond, DType::I64)?;
            length = self.add(length, more)?;
        }
        let zero = self.int_scalar(0);
        self.select(none, zero, length)
    }

    /// Byte `step` of a character that takes `length`.
    fn byte_of(&mut self, code: ValueId, length: ValueId, step: ValueId) -> Result<ValueId> {
        let behind = self.sub(length, step)?;
        let six = self.binary_scalar(BinaryOp::Mul, behind, 6.0)?;
        let shift = self.binary_scalar(BinaryOp::Sub, six, 6.0)?;
        let high = self.binary(BinaryOp::Shr, code, shift)?;
        let prefixes = self.constant(Tensor::from_slice(&[5], &[0i64, 0, 0xc0, 0xe0, 0xf0]));
        let prefix = self.gather(prefixes, length)?;
        let first = self.add(high, prefix)?;
        let low = self.binary_scalar(BinaryOp::And, high, 63.0)?;
        let next = self.binary_scalar(BinaryOp::Add, low, 128.0)?;
        let begins = self.binary_scalar(BinaryOp::Eq, step, 0.0)?;
        let byte = self.select(begins, first, next)?;
        self.convert(byte, DType::U8)
    }
}
