//! Moving values between one lane and several.
//!
//! In registers, four lanes hold `f32` as itself and everything else as `i32`: narrow integers extended by their own
//! signedness, `f16` and `bf16` as their bits, `Bool` as a mask of all ones. Two lanes hold `f64`, `i64`, and masks.

use super::kernel::{Lower, MEMORY, scalar_type};
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use nnc_ir::DType;

/// For casts between vector types; both targets are little-endian.
pub(super) const LITTLE: MemFlagsData = MemFlagsData::new().with_endianness(Endianness::Little);

/// The type holding values of a type in this many lanes.
pub(super) fn lane_type(dtype: DType, lanes: u32) -> Type {
    match (lanes, dtype) {
        (1, _) => scalar_type(dtype),
        (2, DType::F64) => types::F64X2,
        (2, _) => types::I64X2,
        (_, DType::F32) => types::F32X4,
        _ => types::I32X4,
    }
}

impl Lower<'_, '_> {
    /// A scalar of a lane's width: what a lane register holds of a value.
    fn widen(&mut self, value: Value, dtype: DType, lanes: u32) -> Value {
        let int = if lanes == 2 { types::I64 } else { types::I32 };
        match dtype {
            DType::Bool => {
                let wide = self.b.ins().uextend(int, value);
                self.b.ins().ineg(wide)
            }
            DType::U8 | DType::U16 | DType::F16 | DType::BF16 => self.b.ins().uextend(int, value),
            DType::I8 | DType::I16 => self.b.ins().sextend(int, value),
            _ => value,
        }
    }

    /// One value for all lanes.
    pub(super) fn splat(&mut self, value: Value, dtype: DType, lanes: u32) -> Value {
        if lanes == 1 {
            return value;
        }
        let wide = self.widen(value, dtype, lanes);
        self.b.ins().splat(lane_type(dtype, lanes), wide)
    }

    /// A lane's value.
    pub(super) fn extract(&mut self, vector: Value, dtype: DType, lane: u32) -> Value {
        let element = self.b.ins().extractlane(vector, lane as u8);
        match dtype {
            DType::Bool => {
                let byte = self.b.ins().ireduce(types::I8, element);
                let one = self.b.ins().iconst(types::I8, 1);
                self.b.ins().band(byte, one)
            }
            _ if dtype.size() < 4 => self.b.ins().ireduce(scalar_type(dtype), element),
            _ => element,
        }
    }

    /// A vector of these values, one per lane.
    pub(super) fn gather(&mut self, values: &[Value], dtype: DType) -> Value {
        let lanes = values.len() as u32;
        let mut vector = None;
        for (lane, value) in values.iter().enumerate() {
            let wide = self.widen(*value, dtype, lanes);
            vector = Some(match vector {
                None => self.b.ins().splat(lane_type(dtype, lanes), wide),
                Some(v) => self.b.ins().insertlane(v, wide, lane as u8),
            });
        }
        match vector {
            Some(v) => v,
            None => self.i64(0),
        }
    }

    /// Computes lane by lane what has no vector form: `operands` with their types, and the result's.
    pub(super) fn by_lane(
        &mut self,
        operands: &[(Value, DType)],
        result: DType,
        lanes: u32,
        mut compute: impl FnMut(&mut Self, &[Value]) -> Result<Value, CodegenError>,
    ) -> Result<Value, CodegenError> {
        let mut results = vec![];
        for lane in 0..lanes {
            let scalars: Vec<Value> = operands.iter().map(|(v, t)| self.extract(*v, *t, lane)).collect();
            results.push(compute(self, &scalars)?);
        }
        Ok(self.gather(&results, result))
    }

    /// Loads neighbouring elements, or one.
    pub(super) fn load(&mut self, dtype: DType, address: Value, offset: i32, lanes: u32) -> Value {
        if lanes == 1 {
            return self.b.ins().load(scalar_type(dtype), MEMORY, address, offset);
        }
        match (dtype.size(), lanes) {
            // What a comparison takes is then a conversion, which stays an instruction of its own.
            (4, 4) | (8, 2) if dtype.is_float() && self.abilities.comparison_faults => {
                let bits = if lanes == 4 { types::I32X4 } else { types::I64X2 };
                let bits = self.b.ins().load(bits, MEMORY, address, offset);
                self.b.ins().bitcast(lane_type(dtype, lanes), LITTLE, bits)
            }
            (4, 4) | (8, 2) => self.b.ins().load(lane_type(dtype, lanes), MEMORY, address, offset),
            (2, 4) => {
                let packed = self.b.ins().load(types::I64, MEMORY, address, offset);
                let vector = self.b.ins().scalar_to_vector(types::I64X2, packed);
                let halves = self.b.ins().bitcast(types::I16X8, LITTLE, vector);
                if dtype == DType::I16 { self.b.ins().swiden_low(halves) } else { self.b.ins().uwiden_low(halves) }
            }
            (1, 4) => {
                let packed = self.b.ins().load(types::I32, MEMORY, address, offset);
                let vector = self.b.ins().scalar_to_vector(types::I32X4, packed);
                let bytes = self.b.ins().bitcast(types::I8X16, LITTLE, vector);
                if dtype == DType::I8 {
                    let halves = self.b.ins().swiden_low(bytes);
                    return self.b.ins().swiden_low(halves);
                }
                let halves = self.b.ins().uwiden_low(bytes);
                let words = self.b.ins().uwiden_low(halves);
                if dtype == DType::Bool { self.mask(words) } else { words }
            }
            // Bools beside elements of 64 bits.
            _ => {
                let values: Vec<Value> = (0..lanes)
                    .map(|lane| {
                        let at = offset + (lane as usize * dtype.size()) as i32;
                        self.b.ins().load(scalar_type(dtype), MEMORY, address, at)
                    })
                    .collect();
                self.gather(&values, dtype)
            }
        }
    }

    /// All ones where a lane is not zero.
    pub(super) fn mask(&mut self, vector: Value) -> Value {
        let ty = self.b.func.dfg.value_type(vector);
        let zero = self.b.ins().iconst(ty.lane_type(), 0);
        let zero = self.b.ins().splat(ty, zero);
        self.b.ins().icmp(IntCC::NotEqual, vector, zero)
    }

    /// Bits of a vector seen as another type.
    pub(super) fn recast(&mut self, vector: Value, to: Type) -> Value {
        if self.b.func.dfg.value_type(vector) == to { vector } else { self.b.ins().bitcast(to, LITTLE, vector) }
    }
}
