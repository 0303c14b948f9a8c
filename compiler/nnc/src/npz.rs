//! `.npz` files: numpy's `np.savez` is read, and `np.load` reads what is written here.
//!
//! Every element type of nnc has its numpy type, but for those that numpy does not know. bfloat16 is written as `uint16`,
//! 8-bit and 4-bit floats are as `uint8`, their codes, 4- and 2-bit integers as `int8` or `uint8`, one to a byte; they are
//! read from these, and from the void types that the `ml_dtypes` package saves. Strings are two arrays here and one there.
//! Arrays in Fortran order and of the other byte order are read too. An archive is untrusted: an array's header is read, and looked at by the
//! caller, before memory for the elements is asked for.
//!
//! Source: the format's description, <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use nnc_runtime::{DType, TensorRef};
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{Endianness, NpyFile, NpyHeader, Order, TypeChar, TypeStr, WriterBuilder};

use crate::array::Array;
use crate::errors::{Failure, Result};
use crate::{packed, strings};

/// An open archive.
pub struct Reader {
    path: PathBuf,
    archive: NpzArchive<BufReader<File>>,
}

/// What an array's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The numpy type, such as `<f4`.
    pub numpy: String,
    /// The dimensions.
    pub dims: Vec<i64>,
    types: Vec<DType>,
    /// Characters of each string.
    width: usize,
}

impl Header {
    /// Whether the elements can be taken as `dtype`.
    pub fn is(&self, dtype: DType) -> bool {
        self.types.contains(&dtype)
    }

    /// `f32 [1, 3]`
    pub fn describe(&self) -> String {
        match self.types.first() {
            Some(dtype) => format!("{dtype} {:?}", self.dims),
            None => format!("numpy type {} {:?}", self.numpy, self.dims),
        }
    }
}

impl Reader {
    /// Opens an archive.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn open(path: &Path) -> Result<Reader> {
        let read = || Ok(BufReader::new(File::open(path)?));
        let reader = read().map_err(|e| Failure::io(path, "cannot be read", &e))?;
        let refuse = |e: io::Error| {
            let path = path.display();
            Failure::user(format!("{path}: not an npz archive: {e}; write it with np.savez"))
        };
        Ok(Reader { path: path.to_owned(), archive: guard(|| NpzArchive::new(reader)).map_err(refuse)? })
    }

    /// The names of the arrays, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.archive.array_names().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Reads the array called `name` once `accept` has agreed to its header; `None` if there is none of that name.
    ///
    /// # Errors
    /// What `accept` says, or when the array is damaged.
    pub fn array(
        &mut self,
        name: &str,
        dtype: DType,
        accept: impl FnOnce(&Header) -> Result<()>,
    ) -> Result<Option<Array>> {
        let damaged = |e: io::Error| Failure::user(format!("{}: array `{name}`: {e}", self.path.display()));
        guard(|| check_header_size(&self.path, name)).map_err(damaged)?;
        let archive = &mut self.archive;
        let Some(file) = guard(|| archive.by_name(name)).map_err(damaged)? else {
            return Ok(None);
        };
        let header = header(&file)?;
        accept(&header)?;
        read_elements(file, dtype, header.dims).map(Some).map_err(damaged)
    }

    /// Reads the strings called `name`, as offsets and bytes, once `accept` has agreed to their header; `None` if there are
    /// none of that name.
    ///
    /// # Errors
    /// What `accept` says, or when the array is damaged.
    pub fn strings(&mut self, name: &str, accept: impl FnOnce(&Header) -> Result<()>) -> Result<Option<[Array; 2]>> {
        let mut found = None;
        let mut accept = Some(accept);
        let array = self.array(name, DType::String, |header| {
            found = Some((header.dims.clone(), header.width));
            accept.take().map_or(Ok(()), |accept| accept(header))
        })?;
        let (Some(array), Some((dims, width))) = (array, found) else { return Ok(None) };
        strings::from_characters(dims, width, array.bytes()).map(Some)
    }
}

/// The longest header of an array; what version 1 of the format allows, and far more than any needs.
const LONGEST_HEADER: u64 = 1 << 16;

/// Looks at how long an array's header says it is: the reader of npyz sets that much memory aside at once.
fn check_header_size(path: &Path, name: &str) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?))?;
    let Ok(mut member) = archive.by_name(&npyz::npz::file_name_from_array_name(name)) else { return Ok(()) };
    let mut head = [0; 12];
    member.read_exact(&mut head)?;
    // Magic number, version; then, from version 2 on, a length of four bytes.
    let length = if head[6] >= 2 { u32::from_le_bytes([head[8], head[9], head[10], head[11]]) } else { 0 };
    if u64::from(length) > LONGEST_HEADER { Err(io::Error::other("its header is too long")) } else { Ok(()) }
}

/// Calls into the archive readers, which do unchecked arithmetic on sizes that a file states.
fn guard<T>(body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let damaged = |_| Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(damaged)
}

fn header(file: &NpyHeader) -> Result<Header> {
    let numpy = file.dtype().descr().replace('\'', "");
    let types = match file.dtype() {
        npyz::DType::Plain(plain) => types_of(&plain),
        _ => vec![],
    };
    let width = match file.dtype() {
        npyz::DType::Plain(plain) => usize::try_from(plain.size_field()).unwrap_or(usize::MAX),
        _ => 0,
    };
    let dims = file.shape().iter().map(|&d| i64::try_from(d)).collect::<Result<_, _>>();
    let dims = dims.map_err(|_| Failure::user("a dimension of an npz array is too large"))?;
    Ok(Header { numpy, dims, types, width })
}

/// The element types whose codes are bytes in a file.
const CODES: &[DType] = &[
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F8E8M0,
    DType::F4E2M1,
    DType::U4,
    DType::I4,
    DType::U2,
    DType::I2,
];

/// The element types that a numpy type can be read as, the natural one first.
fn types_of(numpy: &TypeStr) -> Vec<DType> {
    match (numpy.type_char(), numpy.size_field()) {
        (TypeChar::Bool, 1) => vec![DType::Bool],
        (TypeChar::Float, 2) => vec![DType::F16],
        (TypeChar::Float, 4) => vec![DType::F32],
        (TypeChar::Float, 8) => vec![DType::F64],
        (TypeChar::Int, 1) => vec![DType::I8, DType::I4, DType::I2],
        (TypeChar::Int, 2) => vec![DType::I16],
        (TypeChar::Int, 4) => vec![DType::I32],
        (TypeChar::Int, 8) => vec![DType::I64],
        (TypeChar::Uint, 1) => [&[DType::U8], CODES].concat(),
        (TypeChar::Uint, 2) => vec![DType::U16, DType::BF16],
        (TypeChar::Uint, 4) => vec![DType::U32],
        (TypeChar::Uint, 8) => vec![DType::U64],
        (TypeChar::RawData, 1) => CODES.to_vec(),
        (TypeChar::RawData, 2) => vec![DType::BF16],
        (TypeChar::UnicodeStr, _) => vec![DType::String],
        _ => vec![],
    }
}

/// The numpy type that an element type is written as.
fn numpy_type(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "|b1",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::I8 | DType::I4 | DType::I2 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        code if CODES.contains(&code) => "|u1",
        DType::U16 | DType::BF16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        _ => return None,
    })
}

/// The elements of an array; of strings their characters, on one axis more.
fn read_elements<R: Read>(file: NpyFile<R>, dtype: DType, dims: Vec<i64>) -> io::Result<Array> {
    if !packed::is_packed(dtype) {
        return read_bytes(file, dtype, dims);
    }
    let signed = matches!(file.dtype(), npyz::DType::Plain(plain) if plain.type_char() == TypeChar::Int);
    let bytes = read_bytes(file, DType::U8, dims.clone())?;
    let elements = packed::pack(dtype, bytes.bytes(), signed);
    let elements = elements.map_err(|wrong| io::Error::other(format!("{dtype} has no element {wrong}")))?;
    Array::from_bytes(dtype, dims, &elements).map_err(io::Error::other)
}

/// As [`read_elements`], of types of whole bytes.
fn read_bytes<R: Read>(file: NpyFile<R>, dtype: DType, dims: Vec<i64>) -> io::Result<Array> {
    let (mut stored_dims, mut dtype, mut width) = (dims.clone(), dtype, 1);
    if let (DType::String, npyz::DType::Plain(plain)) = (dtype, file.dtype()) {
        (dtype, width) = (DType::U32, usize::try_from(plain.size_field()).map_err(io::Error::other)?);
        stored_dims.push(i64::try_from(width).map_err(io::Error::other)?);
    }
    let size = (dtype.bits() / 8).max(1) as usize;
    let big = matches!(file.dtype(), npyz::DType::Plain(t) if t.endianness() == Endianness::Big);
    let fortran = file.order() == Order::Fortran && dims.len() > 1;
    let mut reader = file.into_inner();
    let mut array = Array::read(dtype, stored_dims, &mut reader)?;
    if fortran && width > 0 {
        let stored = array;
        array = Array::zeros(dtype, stored.dims().to_vec()).map_err(io::Error::other)?;
        reorder(stored.bytes(), &dims, size * width, array.bytes_mut());
    }
    // The checksum is looked at when the end is reached.
    if reader.read(&mut [0])? != 0 {
        return Err(io::Error::other("it has more elements than its shape"));
    }
    if big {
        array.bytes_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    Ok(array)
}

/// Copies elements whose first index runs fastest to where the last one does.
fn reorder(from: &[u8], dims: &[i64], size: usize, to: &mut [u8]) {
    let mut index = vec![0i64; dims.len()];
    for cell in to.chunks_exact_mut(size) {
        let offset = index.iter().zip(dims).rev().fold(0, |at, (&i, &d)| at * d + i) as usize;
        cell.copy_from_slice(&from[offset * size..][..size]);
        for (i, d) in index.iter_mut().zip(dims).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
}

/// Writes an archive of named arrays.
///
/// # Errors
/// When the file cannot be written.
pub fn write(out: &mut File, arrays: &[(&str, TensorRef<'_>)]) -> io::Result<()> {
    let mut archive = NpzWriter::new(BufWriter::new(out));
    let mut rest = arrays.iter();
    while let Some((name, array)) = rest.next() {
        let count = array.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
        let elements = packed::unpack(array.dtype, array.data, count.unwrap_or(0));
        let mut characters = None;
        if let (DType::String, Some((_, bytes))) = (array.dtype, rest.clone().next()) {
            rest.next();
            characters = Some(strings::to_characters(*array, *bytes).map_err(io::Error::other)?);
        }
        let (numpy, data) = match &characters {
            Some((width, characters)) => (Some(format!("<U{width}")), &characters[..]),
            None => (numpy_type(array.dtype).map(str::to_owned), &elements[..]),
        };
        let numpy = numpy.and_then(|t| t.parse::<TypeStr>().ok());
        let Some(numpy) = numpy else {
            let message = format!("array `{name}`: numpy has no type {}", array.dtype);
            return Err(io::Error::other(message));
        };
        let shape: Vec<u64> = array.dims.iter().map(|&d| d.max(0) as u64).collect();
        let options = zip::write::FileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(data.len() >= 1 << 31);
        let zip = archive.zip_writer();
        zip.start_file(npyz::npz::file_name_from_array_name(name), options)?;
        npyz::WriteOptions::new_header_only()
            .dtype(npyz::DType::Plain(numpy))
            .shape(&shape)
            .writer(&mut *zip)
            .write_header_only()?;
        zip.write_all(data)?;
    }
    archive.zip_writer().finish()?.flush()
}

#[cfg(test)]
mod tests;
