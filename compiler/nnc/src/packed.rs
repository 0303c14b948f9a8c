//! Elements of 4 and 2 bits between files, which have one to a byte, and models, which have them packed, the first in the
//! low bits.

use std::borrow::Cow;

use nnc_runtime::DType;

/// Whether several elements share a byte.
pub fn is_packed(dtype: DType) -> bool {
    (1..8).contains(&dtype.bits())
}

/// Whether elements are signed integers, which have their sign in all higher bits of a byte.
fn is_signed(dtype: DType) -> bool {
    matches!(dtype, DType::I4 | DType::I2)
}

/// The bits of a byte that an element has.
fn mask(dtype: DType) -> u8 {
    u8::MAX >> (8 - dtype.bits().clamp(1, 8))
}

/// Elements, one to a byte, as a model has them. `signed` says that the bytes are signed integers, not codes.
///
/// # Errors
/// The element that the type does not have.
pub fn pack(dtype: DType, elements: &[u8], signed: bool) -> Result<Vec<u8>, i64> {
    let (bits, mask) = (dtype.bits().clamp(1, 8) as usize, mask(dtype));
    if let Some(&wrong) = elements.iter().find(|&&e| if signed { extended(dtype, e) != e } else { e & !mask != 0 }) {
        return Err(if signed { (wrong as i8).into() } else { wrong.into() });
    }
    let byte = |group: &[u8]| group.iter().enumerate().fold(0, |byte, (i, e)| byte | (e & mask) << (i * bits));
    Ok(elements.chunks(8 / bits).map(byte).collect())
}

/// The element in the low bits of a byte, as a byte.
fn extended(dtype: DType, element: u8) -> u8 {
    let code = element & mask(dtype);
    let sign = 1u8 << (dtype.bits().clamp(1, 8) - 1);
    if is_signed(dtype) { (code ^ sign).wrapping_sub(sign) } else { code }
}

/// So many elements, one to a byte, signed integers as such; of other types the bytes as they are.
pub fn unpack(dtype: DType, bytes: &[u8], count: usize) -> Cow<'_, [u8]> {
    if !is_packed(dtype) {
        return Cow::Borrowed(bytes);
    }
    let bits = dtype.bits() as usize;
    let elements = bytes.iter().flat_map(|&byte| (0..8 / bits).map(move |i| extended(dtype, byte >> (i * bits))));
    Cow::Owned(elements.take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (dtype, elements, bytes) in [
            (DType::I4, &[0xffu8, 7, 0xf8][..], &[0x7f, 0x08][..]),
            (DType::U4, &[15, 1], &[0x1f]),
            (DType::I2, &[0, 1, 0xfe, 0xff, 1], &[0b1110_0100, 0b01]),
            (DType::F4E2M1, &[9], &[9]),
        ] {
            assert_eq!(pack(dtype, elements, is_signed(dtype)).unwrap(), bytes, "{dtype}");
            assert_eq!(&*unpack(dtype, bytes, elements.len()), elements, "{dtype}");
        }
        assert_eq!(pack(DType::I4, &[0x0f], false), Ok(vec![0x0f]));
        assert_eq!(pack(DType::I4, &[0xf7], true), Err(-9));
        assert_eq!(pack(DType::U2, &[3, 4], false), Err(4));
    }
}
