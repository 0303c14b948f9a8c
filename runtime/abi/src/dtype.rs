//! Element types, numbered as in ONNX's `TensorProto.DataType` so that no table stands between a model file and its
//! descriptor.

/// An element type. Elements narrower than a byte are packed, the first in the low bits.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // The names are the documentation.
pub enum DType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    /// A tensor of strings is where they lie in the bytes that the next tensor holds (of type U8, with one dimension): one
    /// `i64` offset more than it has elements. String `i` reaches from offset `i` to offset `i + 1`; they ascend from 0.
    String = 8,
    /// One byte, 0 or 1.
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    C64 = 14,
    C128 = 15,
    BF16 = 16,
    F8E4M3FN = 17,
    F8E4M3FNUZ = 18,
    F8E5M2 = 19,
    F8E5M2FNUZ = 20,
    U4 = 21,
    I4 = 22,
    F4E2M1 = 23,
    F8E8M0 = 24,
    U2 = 25,
    I2 = 26,
}

impl DType {
    /// Every type, by ascending code.
    pub const ALL: [DType; 26] = {
        use DType::*;
        [
            F32, U8, I8, U16, I16, I32, I64, String, Bool, F16, F64, U32, U64, C64, C128, BF16, F8E4M3FN, F8E4M3FNUZ,
            F8E5M2, F8E5M2FNUZ, U4, I4, F4E2M1, F8E8M0, U2, I2,
        ]
    };

    /// The type with this ONNX code.
    pub const fn from_code(code: u32) -> Option<DType> {
        if code >= 1 && code <= Self::ALL.len() as u32 { Some(Self::ALL[code as usize - 1]) } else { None }
    }

    /// The ONNX code.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Bits of one element; 0 for strings, which have no fixed size.
    pub const fn bits(self) -> u32 {
        use DType::*;
        match self {
            String => 0,
            U2 | I2 => 2,
            U4 | I4 | F4E2M1 => 4,
            U8 | I8 | Bool | F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F8E8M0 => 8,
            U16 | I16 | F16 | BF16 => 16,
            F32 | I32 | U32 => 32,
            F64 | I64 | U64 | C64 => 64,
            C128 => 128,
        }
    }

    /// Bytes of a dense tensor of `elements` (of strings, of their offsets), or `None` when that overflows.
    pub const fn bytes_for(self, elements: u64) -> Option<u64> {
        if matches!(self, DType::String) {
            return match elements.checked_add(1) {
                Some(offsets) => offsets.checked_mul(8),
                None => None,
            };
        }
        match elements.checked_mul(self.bits() as u64) {
            Some(bits) => Some(bits.div_ceil(8)),
            None => None,
        }
    }

    /// The name used in messages and in the text forms.
    pub const fn name(self) -> &'static str {
        use DType::*;
        match self {
            F32 => "f32",
            U8 => "u8",
            I8 => "i8",
            U16 => "u16",
            I16 => "i16",
            I32 => "i32",
            I64 => "i64",
            String => "string",
            Bool => "bool",
            F16 => "f16",
            F64 => "f64",
            U32 => "u32",
            U64 => "u64",
            C64 => "c64",
            C128 => "c128",
            BF16 => "bf16",
            F8E4M3FN => "f8e4m3fn",
            F8E4M3FNUZ => "f8e4m3fnuz",
            F8E5M2 => "f8e5m2",
            F8E5M2FNUZ => "f8e5m2fnuz",
            U4 => "u4",
            I4 => "i4",
            F4E2M1 => "f4e2m1",
            F8E8M0 => "f8e8m0",
            U2 => "u2",
            I2 => "i2",
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for (i, dtype) in DType::ALL.into_iter().enumerate() {
            assert_eq!(dtype.code(), i as u32 + 1);
            assert_eq!(DType::from_code(dtype.code()), Some(dtype));
        }
        assert_eq!(DType::from_code(0), None);
        assert_eq!(DType::from_code(27), None);
    }

    #[test]
    fn sizes_round_up_and_do_not_overflow() {
        assert_eq!(DType::I4.bytes_for(3), Some(2));
        assert_eq!(DType::U2.bytes_for(5), Some(2));
        assert_eq!(DType::F32.bytes_for(3), Some(12));
        assert_eq!(DType::F32.bytes_for(u64::MAX / 16), None);
        assert_eq!(DType::String.bytes_for(1), Some(16));
        assert_eq!(DType::String.bytes_for(u64::MAX), None);
    }
}
