//! Protobuf messages as trees that can be changed at any place and written again, whether or not they still make sense.
//!
//! Only the nesting of ONNX's messages is known, not what fields mean: a library's decoded form could not hold a field
//! twice, in the wrong order or of the wrong type.
//!
//! Source: the protobuf encoding guide, <https://protobuf.dev/programming-guides/encoding/>; `onnx.proto`.

/// The messages whose insides are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Opset,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TypeTensor,
    TypeSequence,
    Shape,
    Dim,
    Function,
}

impl Kind {
    /// The message that a field holds, if it holds one.
    fn inner(self, number: u32) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8) | (Kind::Function, 9) => Kind::Opset,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11..=13) => Kind::ValueInfo,
            (Kind::Graph, 15) | (Kind::Attribute, 22) => Kind::Sparse,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Attribute, 5 | 10) | (Kind::Sparse, 1 | 2) => Kind::Tensor,
            (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Attribute, 14) | (Kind::ValueInfo, 2) | (Kind::TypeSequence, 1) => Kind::Type,
            (Kind::Type, 1) => Kind::TypeTensor,
            (Kind::Type, 4 | 9) => Kind::TypeSequence,
            (Kind::TypeTensor, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Dim,
            _ => return None,
        })
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Kind, Vec<Field>),
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u32,
    pub value: Value,
}

/// The fields of a message; `None` when the bytes are none.
pub fn parse(mut bytes: &[u8], kind: Kind) -> Option<Vec<Field>> {
    let mut fields = vec![];
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            5 => Value::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let content = take(&mut bytes, len)?;
                let message = kind.inner(number).and_then(|inner| Some((inner, parse(content, inner)?)));
                message.map_or_else(|| Value::Bytes(content.to_vec()), |(kind, fields)| Value::Message(kind, fields))
            }
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends a number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the fields of a message.
pub fn print(fields: &[Field], out: &mut Vec<u8>) {
    for Field { number, value } in fields {
        let mut tag = |kind: u64| put_varint(out, u64::from(*number) << 3 | kind);
        match value {
            Value::Varint(value) => {
                tag(0);
                put_varint(out, *value);
            }
            Value::Fixed64(bytes) => {
                tag(1);
                out.extend_from_slice(bytes);
            }
            Value::Fixed32(bytes) => {
                tag(5);
                out.extend_from_slice(bytes);
            }
            Value::Bytes(bytes) => {
                tag(2);
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Value::Message(_, fields) => {
                tag(2);
                let mut content = vec![];
                print(fields, &mut content);
                put_varint(out, content.len() as u64);
                out.extend_from_slice(&content);
            }
        }
    }
}

/// How many fields there are, those of inner messages included.
pub fn count(fields: &[Field]) -> usize {
    let inside = |field: &Field| match &field.value {
        Value::Message(_, inner) => count(inner),
        _ => 0,
    };
    fields.iter().map(|field| 1 + inside(field)).sum()
}

/// Calls `change` with field number `n` of all: the list it stands in, its place, and the message the list is of.
pub fn change_nth(
    fields: &mut Vec<Field>,
    kind: Kind,
    n: &mut usize,
    change: &mut dyn FnMut(&mut Vec<Field>, usize, Kind),
) -> bool {
    for place in 0..fields.len() {
        if *n == 0 {
            change(fields, place, kind);
            return true;
        }
        *n -= 1;
        if let Value::Message(inner, nested) = &mut fields[place].value
            && change_nth(nested, *inner, n, change)
        {
            return true;
        }
    }
    false
}

/// Calls `see` with every field and the message it is in.
pub fn walk<'a>(fields: &'a [Field], kind: Kind, see: &mut dyn FnMut(&'a Field, Kind)) {
    for field in fields {
        see(field, kind);
        if let Value::Message(inner, nested) = &field.value {
            walk(nested, *inner, see);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        // A model with a graph with a node of one input, and an opset.
        let bytes = [0x08, 0x09, 0x3a, 0x05, 0x0a, 0x03, 0x0a, 0x01, b'x', 0x42, 0x02, 0x10, 0x15];
        let fields = parse(&bytes, Kind::Model).unwrap();
        assert_eq!(count(&fields), 6);
        assert!(matches!(fields[1].value, Value::Message(Kind::Graph, _)));
        let mut again = vec![];
        print(&fields, &mut again);
        assert_eq!(again, bytes);
        assert_eq!(parse(&bytes[..5], Kind::Model), None);
    }
}
