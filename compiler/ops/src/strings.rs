//! Tensors of strings, which exist while a model is translated only: numbers into a table of strings.
//!
//! A table is where its strings begin in their bytes: `i64[k + 1]` ascending offsets and `u8[m]`. A tensor of strings is an
//! `i64` tensor of its shape that says which string of the table each element is. So whatever moves elements moves
//! numbers (`movement.rs`), and what looks into strings does so once for each of the table.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::scope::Compound;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// A tensor of strings.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    /// Which string of the table each element is: `i64` of the tensor's shape.
    pub numbers: ValueId,
    /// Where the strings of the table begin and end: `i64[k + 1]`.
    pub offsets: ValueId,
    /// The bytes of the table.
    pub bytes: ValueId,
    /// Whether the elements are the strings of the table, each once and in order.
    pub whole: bool,
    /// What the bytes of all elements together are at most, where more is known than the longest string tells.
    pub total: Option<Dim>,
}

impl Strings {
    /// The three values, to be changed together.
    pub fn values_mut(&mut self) -> [&mut ValueId; 3] {
        [&mut self.numbers, &mut self.offsets, &mut self.bytes]
    }
}

/// Where runs of elements lie that follow each other.
pub(crate) struct Runs {
    /// Where each begins, and where the last one ends: `i64[n + 1]`.
    pub offsets: ValueId,
    /// The run of each element.
    pub of: ValueId,
    /// How many elements of its run come before each.
    pub within: ValueId,
}

/// Offsets and bytes of a table of these strings.
pub(crate) fn table(strings: &[impl AsRef<[u8]>]) -> [Tensor; 2] {
    let mut offsets = vec![0i64];
    let mut bytes: Vec<u8> = vec![];
    for string in strings {
        bytes.extend_from_slice(string.as_ref());
        offsets.push(bytes.len() as i64);
    }
    [Tensor::from_slice(&[offsets.len()], &offsets), Tensor::from_slice(&[bytes.len()], &bytes)]
}

impl Context<'_, '_> {
    /// Input `index`, which the operator requires to be of strings.
    pub(crate) fn strings_input(&mut self, index: usize) -> Result<Strings> {
        let strings = self.optional_strings(index)?;
        strings.ok_or_else(|| invalid(format!("input {index} must be a tensor of strings")))
    }

    /// Input `index` if it is a tensor of strings.
    pub(crate) fn optional_strings(&mut self, index: usize) -> Result<Option<Strings>> {
        if !self.has_input(index) {
            return Ok(None);
        }
        Ok(match self.compound_input(index)? {
            Some(Compound::Strings(strings)) => Some(strings),
            _ => None,
        })
    }

    /// Makes output `index` a tensor of strings.
    pub(crate) fn define_strings(&mut self, index: usize, strings: Strings) {
        self.define_compound(index, Compound::Strings(strings));
    }

    /// Whole strings of a table, in a shape.
    pub(crate) fn whole_table(&mut self, [offsets, bytes]: [ValueId; 2], shape: &[Dim]) -> Result<Strings> {
        let count = self.dim(offsets, 0) - 1;
        let numbers = self.iota(DType::I64, &[count], 0)?;
        let numbers = self.reshape(numbers, shape)?;
        let total = Some(self.dim(bytes, 0));
        Ok(Strings { numbers, offsets, bytes, whole: true, total })
    }

    /// Constant strings in a shape of as many elements.
    pub(crate) fn constant_strings(&mut self, shape: &[usize], strings: &[impl AsRef<[u8]>]) -> Result<Strings> {
        if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(strings.len()) {
            return Err(invalid(format!("{} strings do not fit the shape {shape:?}", strings.len())));
        }
        let parts = table(strings).map(|part| self.constant(part));
        let shape: Vec<Dim> = shape.iter().map(|&d| Dim::from(d)).collect();
        self.whole_table(parts, &shape)
    }

    /// The strings of a constant table that numbers say.
    pub(crate) fn strings_of(&mut self, strings: &[impl AsRef<[u8]>], numbers: ValueId) -> Strings {
        let [offsets, bytes] = table(strings).map(|part| self.constant(part));
        Strings { numbers, offsets, bytes, whole: false, total: None }
    }

    /// What an operation says of each element, from what it says of each string of the table, `x[k]`.
    pub(crate) fn by_number(&mut self, x: ValueId, strings: &Strings) -> Result<ValueId> {
        if strings.whole {
            let shape = self.shape(strings.numbers);
            return self.reshape(x, &shape);
        }
        self.gather(x, strings.numbers)
    }

    /// Which of the keys each element is, or their number if it is none.
    pub(crate) fn find_strings(&mut self, strings: &Strings, keys: &[impl AsRef<[u8]>]) -> Result<ValueId> {
        let [offsets, bytes] = table(keys).map(|part| self.constant(part));
        let found = self.one(Op::FindString, &[strings.offsets, strings.bytes, offsets, bytes])?;
        self.by_number(found, strings)
    }

    /// The first element of each pair of neighbours, and the second: of `n + 1` elements, `n` each.
    pub(crate) fn neighbours(&mut self, x: ValueId) -> Result<[ValueId; 2]> {
        let count = self.dim(x, 0) - 1;
        Ok([self.slice_axis(x, 0, Dim::ZERO, count.clone())?, self.slice_axis(x, 0, Dim::ONE, count)?])
    }

    /// Several tensors of strings over one table: their numbers, offsets and bytes.
    pub(crate) fn join_tables(&mut self, tensors: &[Strings]) -> Result<(Vec<ValueId>, [ValueId; 2])> {
        let Some(first) = tensors.first() else { return Err(invalid("there are no strings")) };
        let same = |s: &Strings| s.offsets == first.offsets && s.bytes == first.bytes;
        if tensors.iter().all(same) {
            return Ok((tensors.iter().map(|s| s.numbers).collect(), [first.offsets, first.bytes]));
        }
        let (mut numbers, mut offsets, mut bytes) = (vec![], vec![], vec![]);
        let (mut strings_before, mut bytes_before) = (Dim::ZERO, Dim::ZERO);
        for tensor in tensors {
            let shift = self.dim_scalar(bytes_before.clone())?;
            offsets.push(self.add(tensor.offsets, shift)?);
            let shift = self.dim_scalar(strings_before.clone())?;
            numbers.push(self.add(tensor.numbers, shift)?);
            bytes.push(tensor.bytes);
            // Between two tables is a string that nobody asks for: what is left of the bytes of the first.
            strings_before = strings_before + self.dim(tensor.offsets, 0);
            bytes_before = bytes_before + self.dim(tensor.bytes, 0);
        }
        Ok((numbers, [self.concat(&offsets, 0)?, self.concat(&bytes, 0)?]))
    }

    /// The table with an empty string more, and that one's number.
    pub(crate) fn with_empty_string(&mut self, offsets: ValueId) -> Result<(ValueId, ValueId)> {
        let count = self.dim(offsets, 0) - 1;
        let last = self.slice_axis(offsets, 0, count.clone(), Dim::ONE)?;
        Ok((self.concat(&[offsets, last], 0)?, self.dim_scalar(count)?))
    }

    /// The elements one after the other: as a table that has each once and in order.
    pub(crate) fn packed(&mut self, strings: &Strings) -> Result<[ValueId; 2]> {
        if strings.whole {
            return Ok([strings.offsets, strings.bytes]);
        }
        let count = self.ty(strings.numbers).count();
        let numbers = self.reshape(strings.numbers, std::slice::from_ref(&count))?;
        let [begins, ends] = self.neighbours(strings.offsets)?;
        let lengths = self.sub(ends, begins)?;
        let most = match &strings.total {
            Some(total) => total.clone(),
            None => self.longest(strings, lengths) * &count,
        };
        let (begins, lengths) = (self.gather(begins, numbers)?, self.gather(lengths, numbers)?);
        let Runs { offsets, of, within } = self.runs(lengths, most)?;
        let begin = self.gather(begins, of)?;
        let at = self.add(begin, within)?;
        Ok([offsets, self.gather(strings.bytes, at)?])
    }

    /// Runs of these lengths, `[n]`, one after the other; together they are at most `most` long.
    pub(crate) fn runs(&mut self, lengths: ValueId, most: Dim) -> Result<Runs> {
        let count = self.dim(lengths, 0);
        let sum = Op::Cumulative { op: ReduceOp::Sum, axis: 0, exclusive: false, reverse: false };
        let ends = self.one(sum, &[lengths])?;
        let zero = self.ints_constant(&[0]);
        let offsets = self.concat(&[zero, ends], 0)?;
        let total = self.slice_axis(offsets, 0, count, Dim::ONE)?;
        let total = self.bind_dim(total, None, Some(most))?;
        // Place `i` is of the first run that ends behind it.
        let place = self.iota(DType::I64, &[total], 0)?;
        let behind = self.binary_scalar(BinaryOp::Add, place, 1.0)?;
        let of = self.one(Op::LowerBound, &[behind, ends])?;
        let [starts, _] = self.neighbours(offsets)?;
        let start = self.gather(starts, of)?;
        Ok(Runs { offsets, of, within: self.sub(place, start)? })
    }

    /// How long a string of the table is at most.
    fn longest(&mut self, strings: &Strings, lengths: ValueId) -> Dim {
        let known = self.constant_ints(lengths).map(|lengths| lengths.into_iter().max().unwrap_or(0));
        known.map_or_else(|| self.dim(strings.bytes, 0), |longest| Dim::from(longest.max(0)))
    }
}
