//! Changes of an archive of arrays, which leave it an archive: the headers of arrays (types, orders, shapes, lengths), and
//! the numbers of the archive's own headers and directory. Checksums fit what they are of, so that reading goes on.
//!
//! Sources: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16; NEP 1, "A simple file format for NumPy arrays".

use super::mutate::NUMBERS;
use crate::fuzz::random::Random;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

const TYPES: &[&str] = &[
    "'<f4'",
    "'>f4'",
    "'|f4'",
    "'=f4'",
    "'<f2'",
    "'<f8'",
    "'<i8'",
    "'<u8'",
    "'|b1'",
    "'|u1'",
    "'<f16'",
    "'<c8'",
    "'O'",
    "'<U4'",
    "'|V2'",
    "''",
    "'<f4",
    "[('a', '<f4')]",
    "'<f999999999999999999999'",
    "None",
];
const SHAPES: &[&str] = &[
    "()",
    "(0,)",
    "(1,)",
    "(2, 3)",
    "(-1,)",
    "(1,,)",
    "(",
    "3",
    "(4294967296, 4294967296)",
    "(9223372036854775807,)",
    "(99999999999999999999,)",
    "(0, 9223372036854775807)",
    "(1L,)",
    "(1.5,)",
    "None",
    "( 1 , 1 )",
];

/// A file in the archive.
struct Entry {
    name: Vec<u8>,
    data: Vec<u8>,
}

/// A few changes; the file itself when it is no archive of files as they are.
pub fn change(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let Some(mut entries) = read(file).filter(|entries| !entries.is_empty()) else { return file.to_vec() };
    for _ in 0..1 + random.below(2) {
        let at = random.below(entries.len());
        match random.below(8) {
            0..=3 => header(random, &mut entries[at].data),
            4 => {
                let end = random.below(entries[at].data.len() + 1);
                entries[at].data.truncate(end);
            }
            5 => entries[at].name = random.of::<&[u8]>(&[b"", b"x", b"../x.npy", b"x0.npy", b"\xff.npy"]).to_vec(),
            6 => {
                let Entry { name, data } = &entries[at];
                let copy = Entry { name: name.clone(), data: data.clone() };
                entries.push(copy);
            }
            _ => {}
        }
    }
    let (mut bytes, numbers) = write(&entries);
    for _ in 0..random.below(3) {
        let &(at, width) = random.of(&numbers);
        let old = bytes[at..at + width].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        let new = match random.below(3) {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            _ => *random.of(NUMBERS),
        };
        bytes[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
    }
    bytes
}

/// Changes the header of an array: what it says, or how long it is.
fn header(random: &mut Random, data: &mut Vec<u8>) {
    let Some(length) = data.get(8..10).map(|b| usize::from(b[0]) | usize::from(b[1]) << 8) else { return };
    if random.percent(15) {
        let at = 6 + random.below(4);
        data[at] = *random.of(&[0, 1, 2, 3, 0xff]);
        return;
    }
    let Some(old) = data.get(10..10 + length).map(|text| String::from_utf8_lossy(text).into_owned()) else { return };
    let field = |name: &str, end: &str| {
        let from = old.find(name)? + name.len();
        Some(old[from..].split_once(end)?.0.trim().to_owned() + end.trim_matches(','))
    };
    let dtype = field("'descr':", ",").unwrap_or_default();
    let shape = field("'shape':", ")").unwrap_or_default();
    let (mut dtype, mut order, mut shape) = (dtype.as_str(), "False", shape.as_str());
    match random.below(4) {
        0 => dtype = *random.of(TYPES),
        1 => order = *random.of(&["True", "0", "None", "'C'"]),
        _ => shape = *random.of(SHAPES),
    }
    let mut text = format!("{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}");
    if random.percent(10) {
        text = random
            .of(&["", "{}", "{'descr': '<f4'}", "[1, 2]", "{'descr': '<f4', 'descr': '<f8', 'shape': ()}"])
            .to_string();
    }
    if random.percent(80) {
        text += "\n";
    }
    let stated = if random.percent(90) { text.len() } else { random.below(300) };
    data.splice(8..10 + length, [&(stated as u16).to_le_bytes()[..], text.as_bytes()].concat());
}

/// The files of an archive that holds them as they are.
fn read(file: &[u8]) -> Option<Vec<Entry>> {
    let number =
        |at: usize, width: usize| Some(file.get(at..at + width)?.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)));
    let mut at = 0;
    let mut entries = vec![];
    while file.get(at..at + 4)? == LOCAL {
        let (mut size, name, extra) = (number(at + 22, 4)?, number(at + 26, 2)?, number(at + 28, 2)?);
        if size == 0xffff_ffff {
            // The greater number is the second of the extra field's.
            size = number(at + 30 + name + 4, 8)?;
        }
        let from = at + 30 + name + extra;
        let (name, data) = (file.get(at + 30..at + 30 + name)?, file.get(from..from + size)?);
        entries.push(Entry { name: name.to_vec(), data: data.to_vec() });
        at = from + size;
    }
    Some(entries)
}

/// The archive, and where its numbers stand: place and width.
fn write(entries: &[Entry]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let (mut out, mut numbers, mut directory) = (vec![], vec![], vec![]);
    let put = |out: &mut Vec<u8>, numbers: &mut Vec<(usize, usize)>, value: usize, width: usize| {
        numbers.push((out.len(), width));
        out.extend(&(value as u64).to_le_bytes()[..width]);
    };
    for Entry { name, data } in entries {
        let start = out.len();
        let checksum = crc(data) as usize;
        // Version, flags, method, time, date, checksum, sizes, lengths of the name and of what follows it.
        let fields = [
            (20, 2),
            (0, 2),
            (0, 2),
            (0, 2),
            (0, 2),
            (checksum, 4),
            (data.len(), 4),
            (data.len(), 4),
            (name.len(), 2),
            (0, 2),
        ];
        out.extend(LOCAL);
        fields.iter().for_each(|&(value, width)| put(&mut out, &mut numbers, value, width));
        out.extend(name);
        out.extend(data);
        directory.push((start, fields, name));
    }
    let begin = out.len();
    for (start, fields, name) in &directory {
        out.extend(CENTRAL);
        put(&mut out, &mut numbers, 20, 2);
        fields.iter().for_each(|&(value, width)| put(&mut out, &mut numbers, value, width));
        // Length of the comment, disk, two kinds of attributes, where the file is.
        let fields = [(0, 2), (0, 2), (0, 2), (0, 4), (*start, 4)];
        fields.iter().for_each(|&(value, width)| put(&mut out, &mut numbers, value, width));
        out.extend(*name);
    }
    let size = out.len() - begin;
    out.extend(END);
    // Two disks, two counts, size and place of the directory, length of the comment.
    let fields = [(0, 2), (0, 2), (entries.len(), 2), (entries.len(), 2), (size, 4), (begin, 4), (0, 2)];
    fields.iter().for_each(|&(value, width)| put(&mut out, &mut numbers, value, width));
    (out, numbers)
}

/// The checksum of a file, CRC-32.
fn crc(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    /// What is written unchanged is taken, so that a refusal is due to the change.
    #[test]
    fn archives_read_back() {
        let x = [1f32, 2.0, 3.0];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        nnc::npz::write(file.as_file_mut(), &[("x", nnc_runtime::TensorRef::new(&[3], &x))]).unwrap();
        let entries = read(&std::fs::read(file.path()).unwrap()).unwrap();
        std::fs::write(file.path(), write(&entries).0).unwrap();
        let mut archive = nnc::npz::Reader::open(file.path()).unwrap();
        let array = archive.array("x", nnc_runtime::DType::F32, |_| Ok(())).unwrap().unwrap();
        assert_eq!(array.view().as_slice::<f32>().unwrap(), x);
    }
}
