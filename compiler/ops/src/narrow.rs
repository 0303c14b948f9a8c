//! Tensors of floats of 8 and 4 bits and of integers of 4 and 2 bits, which exist while a model is translated only.
//!
//! Such a tensor is one of its shape in the core, with an element to a byte: integers are widened to `i8` or `u8`, floats are
//! their codes in `u8`. So whatever moves elements moves bytes (`movement.rs`), a model hands 8-bit floats over as they
//! are, and only operators that compute with them make numbers of codes and codes of numbers, by tables
//! (`narrow_floats.rs`). The graph's parameters and results have 4- and 2-bit types packed (`nnc_ir::Encoding`).

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::narrow_floats::{self, Conversion};
use crate::scope::Compound;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Encoding, Op, Tensor, ValueId};

/// A tensor of a narrow type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrow {
    /// The elements, a byte each.
    pub value: ValueId,
    /// Their type.
    pub encoding: Encoding,
}

/// What elements are of, for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    /// A type of the core.
    Plain(DType),
    /// A type that the core does not know.
    Narrow(Encoding),
}

/// The type that holds the elements of a narrow type, a byte each.
pub(crate) fn carrier(encoding: Encoding) -> DType {
    if matches!(encoding, Encoding::I4 | Encoding::I2) { DType::I8 } else { DType::U8 }
}

/// Least and greatest number of a narrow type of integers.
pub(crate) fn range(encoding: Encoding) -> Option<(f64, f64)> {
    match encoding {
        Encoding::U4 => Some((0.0, 15.0)),
        Encoding::I4 => Some((-8.0, 7.0)),
        Encoding::U2 => Some((0.0, 3.0)),
        Encoding::I2 => Some((-2.0, 1.0)),
        _ => None,
    }
}

/// The packed elements of a tensor of `count` as bytes, the first of each byte in its low bits.
pub(crate) fn unpack(bytes: &[u8], encoding: Encoding, count: usize) -> Vec<u8> {
    let bits = encoding.bits().clamp(1, 8);
    let (per_byte, signed) = (8 / bits, carrier(encoding) == DType::I8);
    let at = |i: usize| {
        let high = bytes.get(i / per_byte).copied().unwrap_or(0) << (8 - bits - bits * (i % per_byte));
        if signed { (high as i8 >> (8 - bits)) as u8 } else { high >> (8 - bits) }
    };
    (0..count).map(at).collect()
}

impl Context<'_, '_> {
    /// Input `index` if it is a tensor of a narrow type.
    pub(crate) fn narrow_input(&mut self, index: usize) -> Result<Option<Narrow>> {
        if !self.has_input(index) {
            return Ok(None);
        }
        Ok(match self.compound_input(index)? {
            Some(Compound::Narrow(narrow)) => Some(narrow),
            _ => None,
        })
    }

    /// Makes output `index` a tensor of a narrow type.
    pub(crate) fn define_narrow(&mut self, index: usize, narrow: Narrow) {
        self.define_compound(index, Compound::Narrow(narrow));
    }

    /// Input `index`, which the operator requires, as numbers.
    pub(crate) fn number_input(&mut self, index: usize) -> Result<ValueId> {
        match self.narrow_input(index)? {
            Some(narrow) => self.decode(narrow),
            None => self.input(index),
        }
    }

    /// The type of input `index`, which the operator requires.
    pub(crate) fn input_element_type(&mut self, index: usize) -> Result<ElementType> {
        Ok(match self.narrow_input(index)? {
            Some(narrow) => ElementType::Narrow(narrow.encoding),
            None => {
                let input = self.input(index)?;
                ElementType::Plain(self.dtype(input))
            }
        })
    }

    /// The numbers of a tensor: integers as they are, floats in `f32`.
    pub(crate) fn decode(&mut self, narrow: Narrow) -> Result<ValueId> {
        let Some(format) = narrow_floats::format(narrow.encoding) else { return Ok(narrow.value) };
        let values = self.constant(format.values());
        let index = self.convert(narrow.value, DType::I64)?;
        self.gather(values, index)
    }

    /// Numbers in a narrow type. Integers that are out of range lose their high bits.
    pub(crate) fn encode(&mut self, x: ValueId, encoding: Encoding, conversion: Conversion) -> Result<Narrow> {
        if narrow_floats::format(encoding).is_some() {
            return self.encode_float(x, encoding, conversion);
        }
        // A float loses its fraction first, as it does on its way to wider integers.
        let whole = if self.dtype(x).is_float() { self.convert(x, DType::I32)? } else { x };
        let bytes = self.convert(whole, DType::U8)?;
        self.of_codes(bytes, encoding)
    }

    fn encode_float(&mut self, x: ValueId, encoding: Encoding, conversion: Conversion) -> Result<Narrow> {
        let Some(format) = narrow_floats::format(encoding) else {
            return Err(invalid(format!("{} is no type of floats", encoding.name())));
        };
        // Both hold every number of the type exactly, so that it is rounded once.
        let exact = match self.dtype(x) {
            DType::F64 | DType::I32 | DType::U32 | DType::I64 | DType::U64 => DType::F64,
            _ => DType::F32,
        };
        let x = self.convert(x, exact)?;
        let magnitude = self.unary(UnaryOp::Abs, x)?;
        let bounds = self.constant(format.bounds(exact, conversion));
        let code = self.one(Op::LowerBound, &[magnitude, bounds])?;
        let mut code = self.convert(code, DType::U8)?;
        let nan = self.scalar(DType::U8, format.nan.into());
        if let Some(least) = format.least().filter(|_| !conversion.saturate) {
            let small = self.binary_scalar(BinaryOp::Lt, magnitude, least)?;
            code = self.select(small, nan, code)?;
        }
        let is_nan = self.unary(UnaryOp::IsNan, x)?;
        code = self.select(is_nan, nan, code)?;
        if format.sign != 0 {
            let bits = if exact == DType::F64 { DType::I64 } else { DType::I32 };
            let seen = self.one(Op::Bitcast(bits), &[x])?;
            let mut negative = self.binary_scalar(BinaryOp::Lt, seen, 0.0)?;
            if !format.negative_zero {
                let some = self.binary_scalar(BinaryOp::Ne, code, 0.0)?;
                negative = self.binary(BinaryOp::And, negative, some)?;
            }
            let signed = self.binary_scalar(BinaryOp::Or, code, format.sign.into())?;
            code = self.select(negative, signed, code)?;
        }
        Ok(Narrow { value: code, encoding })
    }

    /// The bits of each element in a byte, `u8`.
    pub(crate) fn codes(&mut self, narrow: Narrow) -> Result<ValueId> {
        if carrier(narrow.encoding) == DType::U8 {
            return Ok(narrow.value);
        }
        // What is left fits both types: a conversion is done in lanes, a change of type of the bits is not.
        let low = self.low_bits(narrow.value, narrow.encoding.bits())?;
        self.convert(low, DType::U8)
    }

    /// The tensor whose elements have the low bits of these bytes.
    pub(crate) fn of_codes(&mut self, bytes: ValueId, encoding: Encoding) -> Result<Narrow> {
        let bits = encoding.bits();
        let mut value = self.low_bits(bytes, bits)?;
        if carrier(encoding) == DType::I8 {
            // The highest bit, added to a number that lacks it or taken off one that has it, carries into the others.
            let sign = f64::from(1u8 << (bits - 1));
            value = self.convert(value, DType::I8)?;
            value = self.binary_scalar(BinaryOp::Xor, value, sign)?;
            value = self.binary_scalar(BinaryOp::Sub, value, sign)?;
        }
        Ok(Narrow { value, encoding })
    }

    fn low_bits(&mut self, bytes: ValueId, bits: usize) -> Result<ValueId> {
        let mask = u8::MAX >> (8 - bits.clamp(1, 8));
        if mask == u8::MAX { Ok(bytes) } else { self.binary_scalar(BinaryOp::And, bytes, mask.into()) }
    }

    /// The tensor of this shape that bytes encode as [`Encoding::stored`] says.
    pub(crate) fn of_stored(&mut self, bytes: ValueId, encoding: Encoding, shape: &[Dim]) -> Result<Narrow> {
        let codes = self.unpacked(bytes, encoding.bits())?;
        let count = shape.iter().fold(Dim::ONE, |n, d| &n * d);
        let codes = if encoding.bits() < 8 { self.slice_axis(codes, 0, Dim::ZERO, count)? } else { codes };
        let codes = self.reshape(codes, shape)?;
        self.of_codes(codes, encoding)
    }

    /// The bytes that encode a tensor as [`Encoding::stored`] says.
    pub(crate) fn stored(&mut self, narrow: Narrow) -> Result<ValueId> {
        let codes = self.codes(narrow)?;
        let bits = narrow.encoding.bits();
        if bits == 8 {
            return Ok(codes);
        }
        let per_byte = 8 / bits.max(1);
        let (count, bytes) = (self.ty(codes).count(), narrow.encoding.stored(&self.shape(codes)).count());
        let codes = self.reshape(codes, std::slice::from_ref(&count))?;
        let missing = &bytes * &Dim::from(per_byte) - &count;
        let filled = self.pad(codes, vec![Dim::ZERO], vec![missing], nnc_ir::op::PadMode::Constant, 0.0)?;
        let mut packed = None;
        for place in 0..per_byte {
            let slice =
                Op::Slice { starts: vec![Dim::from(place)], sizes: vec![bytes.clone()], steps: vec![per_byte as i64] };
            let part = self.one(slice, &[filled])?;
            packed = Some(match packed {
                None => part,
                Some(low) => {
                    let high = self.binary_scalar(BinaryOp::Shl, part, (place * bits) as f64)?;
                    self.binary(BinaryOp::Or, low, high)?
                }
            });
        }
        packed.ok_or_else(|| invalid("nothing is packed into a byte"))
    }

    /// Numbers of some bits that fill bytes from the lowest bit on: the last axis is as much longer.
    pub(crate) fn unpacked(&mut self, bytes: ValueId, bits: usize) -> Result<ValueId> {
        if self.dtype(bytes) != DType::U8 {
            return Err(invalid(format!("packed numbers are {}, they must be bytes", self.show(bytes))));
        }
        let count = 8 / bits.max(1);
        if count <= 1 {
            return Ok(bytes);
        }
        let mut shape = self.shape(bytes);
        let rank = shape.len();
        let apart = self.unsqueeze(bytes, &[rank])?;
        let shifts: Vec<u8> = (0..count).map(|i| (i * bits) as u8).collect();
        let shifts = self.constant(Tensor::from_slice(&[shifts.len()], &shifts));
        let shifted = self.binary(BinaryOp::Shr, apart, shifts)?;
        let numbers = self.low_bits(shifted, bits)?;
        if let Some(last) = shape.last_mut() {
            *last = &*last * &Dim::from(count);
        }
        self.reshape(numbers, &shape)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{self, Float4E2M1, Float8E4M3FN, Float8E5M2, Float8E8M0, Int2, Int4, Uint2, Uint4};

    #[test]
    fn parameters_are_unpacked_and_packed() {
        for (elem, shape, bytes, expected) in [
            (Int4, "3", &[0x8f, 0x07][..], "i4[3] -1 -8 7"),
            (Uint4, "2 2", &[0x21, 0xf3], "u4[2, 2] 1 2 3 15"),
            (Int2, "5", &[0b1110_0100, 0b10], "i2[5] 0 1 -2 -1 -2"),
            (Uint2, "", &[0b10], "u2[] 2"),
            (Float4E2M1, "3", &[0x9f, 0x02], "f4e2m1[3] -6 -0.5 1"),
            (Float8E5M2, "2", &[0x3c, 0xfc], "f8e5m2[2] 1 -inf"),
        ] {
            let given = sketch().given_narrow("x", elem, shape, bytes);
            assert_eq!(given.clone().output("x").run(), expected);
            assert_eq!(given.node("Identity", "x -> y").output("y").run(), expected);
        }
        let empty = sketch().given_narrow("x", Int4, "0 3", &[]).node("Transpose", "x -> y").output("y");
        assert_eq!(empty.run(), "i4[3, 0]");
    }

    /// A size of which only the run knows whether it is even. The interpreter does not see it from packed elements.
    #[test]
    fn sizes_known_at_run_time() {
        for n in [0, 1, 4, 5] {
            let sketch = sketch().input("x", Int4, "n").input("k", Int4, "2 n").node("Concat", "x x -> y");
            let sketch = sketch.int("axis", 0).output("y");
            let graph = sketch.translate().unwrap();
            nnc_ir::verify::verify(&graph).unwrap();
            let bytes: Vec<u8> = [0x21, 0x43, 0x05].into_iter().take(usize::div_ceil(n, 2)).collect();
            let (x, k) =
                (nnc_ir::Tensor::from_slice(&[bytes.len()], &bytes), nnc_ir::Tensor::from_slice(&[n], &[1u8; 5][..n]));
            let found = nnc_eval::run(&graph, &[x, k]).unwrap();
            let expected: &[i64] = match n {
                0 => &[],
                1 => &[0x11],
                4 => &[0x21, 0x43, 0x21, 0x43],
                _ => &[0x21, 0x43, 0x15, 0x32, 0x54],
            };
            assert_eq!(found[0].to_i64s().unwrap(), expected, "{n}");
        }
    }

    #[test]
    fn constants() {
        let weights = || sketch().initializer("w", Int4, &[3], vec![0x21, 0x0f]);
        assert_eq!(weights().node("Cast", "w -> y").int("to", 1).output("y").run(), "f32[3] 1 2 -1");
        assert_eq!(weights().node("Identity", "w -> y").output("y").run(), "i4[3] 1 2 -1");
        let float = sketch().initializer("w", Float8E4M3FN, &[2], vec![0x38, 0xff]);
        assert_eq!(float.node("Cast", "w -> y").int("to", 1).output("y").run(), "f32[2] 1 NaN");
        let refused = weights().node("Relu", "w -> y").output("y").run();
        assert!(refused.contains("`w` is a tensor of i4, which is not supported here"), "{refused}");
    }

    fn cast(x: &[f32], elem: ElemType, attributes: &[(&str, i64)], mode: Option<&str>) -> String {
        let to = i64::from(elem.number());
        let mut sketch = sketch().opset(24).given("x", &[x.len()], x).node("Cast", "x -> y").int("to", to);
        for &(name, value) in attributes {
            sketch = sketch.int(name, value);
        }
        let sketch = mode.into_iter().fold(sketch, |sketch, mode| sketch.string("round_mode", mode));
        let text = sketch.output("y").run();
        text.split_once("] ").map_or(text.clone(), |(_, values)| values.to_owned())
    }

    /// The tables of ONNX's description of Cast; ties go to the even code.
    #[test]
    fn floats_are_rounded() {
        let x = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e6, 17.0, 19.0, 464.0, -464.1, 1e-9];
        let exact = |elem| cast(&x, elem, &[], None);
        let open = |elem| cast(&x, elem, &[("saturate", 0)], None);
        assert_eq!(exact(Float8E4M3FN), "0 -0 NaN 448 -448 448 16 20 448 -448 0");
        assert_eq!(open(Float8E4M3FN), "0 -0 NaN NaN NaN NaN 16 20 448 NaN 0");
        assert_eq!(exact(ElemType::Float8E4M3FNUZ), "0 0 NaN 240 -240 240 16 20 240 -240 0");
        assert_eq!(open(ElemType::Float8E4M3FNUZ), "0 0 NaN NaN NaN NaN 16 20 NaN NaN 0");
        assert_eq!(exact(Float8E5M2), "0 -0 NaN 57344 -57344 57344 16 20 448 -448 0");
        assert_eq!(open(Float8E5M2), "0 -0 NaN inf -inf inf 16 20 448 -448 0");
        assert_eq!(open(ElemType::Float8E5M2FNUZ), "0 0 NaN NaN NaN NaN 16 20 448 -448 0");
        for saturate in [0, 1] {
            let found = cast(&x, Float4E2M1, &[("saturate", saturate)], None);
            assert_eq!(found, "0 -0 -0 6 -6 6 6 6 6 -6 0");
        }
    }

    #[test]
    fn powers_of_two() {
        let x = [0.0, f32::NAN, f32::INFINITY, 2.0, 2.9, 3.0, 3.1, f32::MAX, 0.7];
        for (mode, saturated, open) in [
            (None, "0 NaN * 2 4 4 4 * 1", "NaN NaN NaN 2 4 4 4 NaN 1"),
            (Some("down"), "0 NaN * 2 2 2 2 * 0.5", "NaN NaN NaN 2 2 2 2 * 0.5"),
            (Some("nearest"), "0 NaN * 2 2 4 4 * 0.5", "NaN NaN NaN 2 2 4 4 NaN 0.5"),
        ] {
            let short = |text: String| text.replace("170141183460469231731687303715884105728", "*");
            assert_eq!(short(cast(&x, Float8E8M0, &[], mode)), saturated, "{mode:?}");
            assert_eq!(short(cast(&x, Float8E8M0, &[("saturate", 0)], mode)), open, "{mode:?}");
        }
    }

    /// What is computed in `f64` is rounded once: to `f32` first, the tie would go down.
    #[test]
    fn doubles_are_rounded_once() {
        let sketch = sketch().given("x", &[1], &[17.0 + 1e-12]).node("Cast", "x -> y");
        assert_eq!(sketch.int("to", 17).output("y").run(), "f8e4m3fn[1] 18");
        let whole = self::sketch().given("x", &[2], &[(1i64 << 24) + 1, -3]).node("Cast", "x -> y");
        assert_eq!(whole.int("to", 24).output("y").run(), "f8e8m0[2] 33554432 4");
    }

    #[test]
    fn integers_lose_high_bits() {
        let of = |elem: ElemType| {
            let sketch = sketch().given("x", &[5], &[200i16, -9, 7, -1, 5]).node("Cast", "x -> y");
            sketch.int("to", elem.number().into()).output("y").run()
        };
        assert_eq!(of(Int4), "i4[5] -8 7 7 -1 5");
        assert_eq!(of(Uint2), "u2[5] 0 3 3 3 1");
        assert_eq!(of(Int2), "i2[5] 0 -1 -1 -1 1");
        assert_eq!(cast(&[-1.7, 2.9, 9.0, 0.5], Int4, &[], None), "-1 2 -7 0");
    }

    #[test]
    fn bits() {
        let of = |from: ElemType, bytes: &[u8], to: ElemType| {
            let sketch = sketch().opset(26).given_narrow("x", from, "2", bytes).node("BitCast", "x -> y");
            sketch.int("to", to.number().into()).output("y").run()
        };
        assert_eq!(of(Int4, &[0xf1], Uint4), "u4[2] 1 15");
        assert_eq!(of(Float4E2M1, &[0xf1], Int4), "i4[2] 1 -1");
        assert_eq!(of(Float8E5M2, &[0x3c, 0xff], ElemType::Int8), "i8[2] 60 -1");
        assert!(of(Int4, &[0xf1], Int2).contains("elements of 4 bits cannot be seen as some of 2"));
        let float = sketch().opset(26).given("x", &[1], &[0x38u8]).node("BitCast", "x -> y").int("to", 17).output("y");
        assert_eq!(float.run(), "f8e4m3fn[1] 1");
    }

    #[test]
    fn elements_move() {
        let x = || sketch().given_narrow("x", Int4, "2 2", &[0x21, 0xf3]);
        for (node, expected) in
            [("Transpose", "i4[2, 2] 1 3 2 -1"), ("Flatten", "i4[2, 2] 1 2 3 -1"), ("Shape", "i64[2] 2 2")]
        {
            assert_eq!(x().node(node, "x -> y").output("y").run(), expected, "{node}");
        }
        let padded = x().ints("p", &[4], &[0, 1, 0, 0]).node("Pad", "x p -> y").output("y");
        assert_eq!(padded.run(), "i4[2, 3] 0 1 2 0 3 -1");
        let like = x().given("f", &[1], &[2.5f32]).node("CastLike", "f x -> y").output("y");
        assert_eq!(like.run(), "i4[1] 2");
        let mixed = x().given_narrow("z", Uint4, "2 2", &[0, 0]).node("Concat", "x z -> y").int("axis", 0).output("y");
        assert!(mixed.run().contains("its inputs are of i4 and u4"));
        let nan = sketch().given_narrow("x", Float8E5M2, "2", &[0x7e, 0x7c]);
        assert_eq!(nan.clone().node("IsNaN", "x -> y").output("y").run(), "bool[2] 1 0");
        assert_eq!(nan.node("IsInf", "x -> y").output("y").run(), "bool[2] 0 1");
        let dropout = sketch().given_narrow("x", Float8E5M2, "1", &[0x3c]).node("Dropout", "x -> y m");
        assert_eq!(dropout.clone().output("y").run(), "f8e5m2[1] 1");
        assert_eq!(dropout.output("m").run(), "bool[1] 1");
    }

    #[test]
    fn quantised() {
        let x = sketch().given_narrow("x", Int4, "2 2", &[0x21, 0xf3]).given("s", &[2], &[0.5f32, 2.0]);
        let x = x.given_narrow("z", Int4, "2", &[0x01]).node("DequantizeLinear", "x s z -> y").output("y");
        assert_eq!(x.run(), "f32[2, 2] 0 4 1 -2");
        let y = sketch().given("x", &[4], &[0.3f32, 9.0, -9.0, 0.25]).given("s", &[], &[0.5f32]);
        let y = y.node("QuantizeLinear", "x s -> y").int("output_dtype", 26).output("y");
        assert_eq!(y.run(), "i2[4] 1 1 -2 0");
    }
}
