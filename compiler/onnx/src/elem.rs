//! The element types of ONNX tensors.
//!
//! Source: `TensorProto.DataType` in `onnx.proto`. Kept here as our own list because the schema
//! of `onnx-protobuf` is older than the newest types.

macro_rules! elem_types {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $bits:literal, $text:literal;)*) => {
        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ElemType {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl ElemType {
            /// Every type, in the order of its ONNX number.
            pub const ALL: &'static [ElemType] = &[$(ElemType::$name,)*];

            /// The type with this ONNX number.
            pub fn from_number(number: i32) -> Option<ElemType> {
                match number {
                    $($number => Some(ElemType::$name),)*
                    _ => None,
                }
            }

            /// Bits of one element; 0 for strings, which have no fixed size.
            pub fn bits(self) -> usize {
                match self {
                    $(ElemType::$name => $bits,)*
                }
            }

            /// The ONNX name in lower case, such as `float16`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ElemType::$name => $text,)*
                }
            }
        }
    };
}

elem_types! {
    /// IEEE 754 single precision.
    Float = 1, 32, "float";
    /// Unsigned, 8 bits.
    Uint8 = 2, 8, "uint8";
    /// Signed, 8 bits.
    Int8 = 3, 8, "int8";
    /// Unsigned, 16 bits.
    Uint16 = 4, 16, "uint16";
    /// Signed, 16 bits.
    Int16 = 5, 16, "int16";
    /// Signed, 32 bits.
    Int32 = 6, 32, "int32";
    /// Signed, 64 bits.
    Int64 = 7, 64, "int64";
    /// Byte strings of any length.
    String = 8, 0, "string";
    /// One byte, 0 or 1.
    Bool = 9, 8, "bool";
    /// IEEE 754 half precision.
    Float16 = 10, 16, "float16";
    /// IEEE 754 double precision.
    Double = 11, 64, "double";
    /// Unsigned, 32 bits.
    Uint32 = 12, 32, "uint32";
    /// Unsigned, 64 bits.
    Uint64 = 13, 64, "uint64";
    /// Two floats.
    Complex64 = 14, 64, "complex64";
    /// Two doubles.
    Complex128 = 15, 128, "complex128";
    /// The upper half of a float.
    Bfloat16 = 16, 16, "bfloat16";
    /// 4 bits of exponent, 3 of mantissa, no infinity.
    Float8E4M3FN = 17, 8, "float8e4m3fn";
    /// As above without negative zero.
    Float8E4M3FNUZ = 18, 8, "float8e4m3fnuz";
    /// 5 bits of exponent, 2 of mantissa.
    Float8E5M2 = 19, 8, "float8e5m2";
    /// As above without infinity and negative zero.
    Float8E5M2FNUZ = 20, 8, "float8e5m2fnuz";
    /// Unsigned, two to a byte, the first in the low bits.
    Uint4 = 21, 4, "uint4";
    /// Signed, two to a byte, the first in the low bits.
    Int4 = 22, 4, "int4";
    /// 2 bits of exponent, 1 of mantissa, two to a byte, the first in the low bits.
    Float4E2M1 = 23, 4, "float4e2m1";
    /// A power of two: 8 bits of exponent.
    Float8E8M0 = 24, 8, "float8e8m0";
    /// Unsigned, four to a byte, the first in the low bits.
    Uint2 = 25, 2, "uint2";
    /// Signed, four to a byte, the first in the low bits.
    Int2 = 26, 2, "int2";
    /// 2 bits of exponent, 3 of mantissa, four in three bytes, the first in the low bits.
    Float6E2M3 = 27, 6, "float6e2m3";
    /// 3 bits of exponent, 2 of mantissa, four in three bytes, the first in the low bits.
    Float6E3M2 = 28, 6, "float6e3m2";
}

impl ElemType {
    /// The ONNX number.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Bytes of `count` elements packed together; `None` when that overflows.
    pub fn byte_len(self, count: usize) -> Option<usize> {
        let bits = count.checked_mul(self.bits())?;
        Some(bits.div_ceil(8))
    }
}

impl std::fmt::Display for ElemType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
