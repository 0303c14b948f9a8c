//! Tests of reading and writing npz archives.

use std::fs::File;

use super::*;

fn written(arrays: &[(&str, TensorRef<'_>)]) -> tempfile::NamedTempFile {
    let temp = tempfile::NamedTempFile::new().unwrap();
    write(&mut File::create(temp.path()).unwrap(), arrays).unwrap();
    temp
}

fn read(path: &Path, name: &str, dtype: DType) -> Result<Option<Array>> {
    Reader::open(path)?.array(name, dtype, |_| Ok(()))
}

/// An archive of one member.
fn archive(member: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let mut zip = zip::ZipWriter::new(File::create(temp.path()).unwrap());
    zip.start_file(member, zip::write::FileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap();
    temp
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn every_type_comes_back() {
    for dtype in DType::ALL.into_iter().filter(|t| numpy_type(*t).is_some()) {
        let data: Vec<u8> = (0..dtype.bytes_for(6).unwrap()).map(|b| b as u8 % 2).collect();
        let temp = written(&[("a/b:0", TensorRef::from_bytes(dtype, &[2, 3], &data))]);
        let mut reader = Reader::open(temp.path()).unwrap();
        assert_eq!(reader.names(), ["a/b:0"]);
        let accept = |header: &Header| {
            assert!(header.is(dtype), "{header:?}");
            Ok(())
        };
        let array = reader.array("a/b:0", dtype, accept).unwrap().unwrap();
        assert_eq!((array.dims(), array.bytes()), (&[2, 3][..], &data[..]), "{dtype}");
    }
}

#[test]
fn elements_of_less_than_a_byte() {
    let of = |descr: &str, dtype, bytes: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({},), }}\n", bytes.len());
        let temp = archive("x.npy", &npy(&header, bytes));
        read(temp.path(), "x", dtype).map(|array| array.map(|array| array.bytes().to_vec()).unwrap_or_default())
    };
    // As ml_dtypes saves them, as codes, and as numbers.
    for (descr, bytes) in [("|V1", [1, 15, 2]), ("|u1", [1, 15, 2]), ("|i1", [1, 255, 2])] {
        assert_eq!(of(descr, DType::I4, &bytes).unwrap(), [0xf1, 0x02], "{descr}");
    }
    for (descr, bytes, wrong) in [("|u1", [16], "16"), ("|i1", [0xf7], "-9")] {
        let error = of(descr, DType::I4, &bytes).unwrap_err().to_string();
        assert!(error.contains(&format!("i4 has no element {wrong}")), "{error}");
    }
}

#[test]
fn scalars_empty_arrays_and_missing_ones() {
    let temp = written(&[("scalar", TensorRef::new(&[], &[7i64])), ("empty", TensorRef::new::<f32>(&[0, 3], &[]))]);
    let scalar = read(temp.path(), "scalar", DType::I64).unwrap().unwrap();
    assert_eq!((scalar.dims(), scalar.bytes()[0]), (&[][..], 7));
    let empty = read(temp.path(), "empty", DType::F32).unwrap().unwrap();
    assert_eq!(empty.dims(), [0, 3]);
    assert!(read(temp.path(), "other", DType::F32).unwrap().is_none());
}

#[test]
fn fortran_order_and_big_endian() {
    let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
    let temp = archive("x.npy", &npy(header, &[0, 0, 0, 3, 0, 1, 0, 4, 0, 2, 0, 5]));
    let array = read(temp.path(), "x", DType::I16).unwrap().unwrap();
    assert_eq!(array.view().as_slice::<i16>(), Some(&[0, 1, 2, 3, 4, 5][..]));
}

#[test]
fn bfloat16_as_void() {
    let header = "{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }\n";
    let temp = archive("x.npy", &npy(header, &[0x80, 0x3f]));
    assert_eq!(read(temp.path(), "x", DType::BF16).unwrap().unwrap().bytes(), [0x80, 0x3f]);
}

#[test]
fn damaged_files_are_refused() {
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "no archive").unwrap();
    assert!(Reader::open(text.path()).is_err());
    assert!(Reader::open(Path::new("/nowhere/x.npz")).is_err());
    let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }\n";
    let short = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
    // Nothing of this size is set aside: the test would not get 4 TB, nor a header of 4 GB.
    let large = "{'descr': '<f4', 'fortran_order': True, 'shape': (1048576, 1048576), }\n";
    let long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec();
    let members = [
        npy("{'descr'", &[]),
        npy(huge, &[]),
        npy(large, &[0; 8]),
        npy(short, &[0; 8]),
        npy(short, &[0; 16]),
        b"\x93NUM".to_vec(),
        long,
    ];
    for member in members {
        let temp = archive("x.npy", &member);
        let error = read(temp.path(), "x", DType::F32).unwrap_err().to_string();
        assert!(error.contains("array `x`"), "{error}");
    }
}
