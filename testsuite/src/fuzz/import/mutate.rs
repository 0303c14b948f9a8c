//! Changes of files: of bytes, which know nothing of what is in them, and of structure, which leave a message a message.

use super::wire::{self, Field, Kind, Value};
use crate::fuzz::random::Random;

/// Numbers at which something usually changes.
pub const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    16,
    127,
    255,
    1000,
    65_536,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
    u64::MAX - 1,
];

/// Floats likewise.
const FLOATS: &[f32] = &[0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e30, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// The largest file that mutation makes.
const MOST_BYTES: usize = 1 << 20;

/// How many changes to make: mostly one, for of several one is usually refused before the others are seen.
fn changes(random: &mut Random) -> usize {
    if random.percent(60) { 1 } else { 1 + random.below(4) }
}

/// A few changes of bytes; `other` is a file to take pieces of.
pub fn bytes(random: &mut Random, mut file: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..changes(random) {
        let at = random.below(file.len());
        let length = if random.percent(70) { 8 } else { 200 };
        let end = (at + 1 + random.below(length)).min(file.len());
        match random.below(7) {
            0 if !file.is_empty() => file[at] ^= 1 << random.below(8),
            1 if !file.is_empty() => file[at] = *random.of(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => file.truncate(at),
            3 => drop(file.drain(at..end)),
            4 => {
                let piece = file[at..end].to_vec();
                insert(random, &mut file, &piece);
            }
            5 => {
                let from = random.below(other.len());
                let to = (from + random.below(100)).min(other.len());
                insert(random, &mut file, &other[from..to]);
            }
            _ => {
                let mut number = vec![];
                wire::put_varint(&mut number, *random.of(NUMBERS));
                insert(random, &mut file, &number);
            }
        }
    }
    file
}

fn insert(random: &mut Random, file: &mut Vec<u8>, piece: &[u8]) {
    let at = random.below(file.len() + 1);
    file.splice(at..at, piece.iter().copied());
}

/// A few changes of a message's structure; the file itself when it is no such message.
pub fn structure(random: &mut Random, file: &[u8], kind: Kind) -> Vec<u8> {
    let Some(mut fields) = wire::parse(file, kind) else { return file.to_vec() };
    let mut out = vec![];
    for _ in 0..changes(random) {
        one(random, &mut fields, kind);
        let mut now = vec![];
        wire::print(&fields, &mut now);
        if now.len() > MOST_BYTES {
            break;
        }
        out = now;
    }
    out
}

/// One change at a random place.
fn one(random: &mut Random, fields: &mut Vec<Field>, kind: Kind) {
    let total = wire::count(fields);
    let mut target = random.below(total);
    let mut pool: Vec<(Field, Kind)> = vec![];
    // Weights are many bytes and say little.
    wire::walk(fields, kind, &mut |field, kind| {
        if !matches!(&field.value, Value::Bytes(bytes) if bytes.len() > 256) {
            pool.push((field.clone(), kind));
        }
    });
    wire::change_nth(fields, kind, &mut target, &mut |list, place, kind| change(random, list, place, kind, &pool));
}

fn change(random: &mut Random, list: &mut Vec<Field>, place: usize, kind: Kind, pool: &[(Field, Kind)]) {
    match random.below(10) {
        0 => drop(list.remove(place)),
        1 => {
            let copies = if random.percent(85) { 1 } else { 1 + random.below(500) };
            let copy = list[place].clone();
            list.splice(place..place, std::iter::repeat_n(copy, copies));
        }
        2 => {
            let other = random.below(list.len());
            list.swap(place, other);
        }
        3 | 4 => {
            // A field of another message of the sort, here or in the place of this one.
            let same: Vec<&Field> = pool.iter().filter(|(_, k)| *k == kind).map(|(field, _)| field).collect();
            if !same.is_empty() {
                let donor = (*random.of(&same)).clone();
                if random.percent(50) { list[place] = donor } else { list.insert(place, donor) }
            }
        }
        5 => nest(random, list, place, pool),
        _ => replace(random, &mut list[place].value, pool),
    }
}

/// Puts a graph of the model into a node's attribute.
fn nest(random: &mut Random, list: &mut [Field], place: usize, pool: &[(Field, Kind)]) {
    let graphs: Vec<&Field> =
        pool.iter().map(|(field, _)| field).filter(|f| matches!(f.value, Value::Message(Kind::Graph, _))).collect();
    let (Value::Message(Kind::Node, node), false) = (&mut list[place].value, graphs.is_empty()) else { return };
    let graph = Field { number: 6, ..(*random.of(&graphs)).clone() };
    let name = *random.of(&["body", "then_branch", "else_branch"]);
    let name = Field { number: 1, value: Value::Bytes(name.as_bytes().to_vec()) };
    let sort = Field { number: 20, value: Value::Varint(5) };
    node.push(Field { number: 5, value: Value::Message(Kind::Attribute, vec![name, graph, sort]) });
}

/// Another value of the same sort.
fn replace(random: &mut Random, value: &mut Value, pool: &[(Field, Kind)]) {
    match value {
        Value::Varint(number) => {
            *number = match random.below(3) {
                0 => number.wrapping_add(1),
                1 => number.wrapping_sub(1),
                _ => *random.of(NUMBERS),
            }
        }
        Value::Fixed32(bytes) => *bytes = random.of(FLOATS).to_le_bytes(),
        Value::Fixed64(bytes) => *bytes = random.of(NUMBERS).to_le_bytes(),
        Value::Bytes(bytes) => match random.below(5) {
            // Another name of the model.
            0..=2 => {
                let names: Vec<&Vec<u8>> = pool
                    .iter()
                    .filter_map(|(field, _)| match &field.value {
                        Value::Bytes(bytes) => Some(bytes),
                        _ => None,
                    })
                    .collect();
                if !names.is_empty() {
                    bytes.clone_from(random.of::<&Vec<u8>>(&names));
                }
            }
            // A packed list of numbers, or floats.
            3 => {
                bytes.clear();
                for _ in 0..random.below(6) {
                    wire::put_varint(bytes, *random.of(NUMBERS));
                }
            }
            _ => {
                let elements = bytes.len() / 4;
                match elements {
                    0 => bytes.push(random.below(256) as u8),
                    _ => {
                        let at = 4 * random.below(elements);
                        bytes[at..at + 4].copy_from_slice(&random.of(FLOATS).to_le_bytes());
                    }
                }
            }
        },
        Value::Message(kind, fields) => {
            let same: Vec<&Vec<Field>> = pool
                .iter()
                .filter_map(|(field, _)| match &field.value {
                    Value::Message(k, fields) if k == kind => Some(fields),
                    _ => None,
                })
                .collect();
            match same.is_empty() || random.percent(10) {
                true => fields.clear(),
                false => fields.clone_from(random.of::<&Vec<Field>>(&same)),
            }
        }
    }
}
