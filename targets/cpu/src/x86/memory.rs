//! Loads, stores and values moving between general, vector and mask registers.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_kernels::{BufferRef, Expr, Index, affine};
use regalloc2::VReg;

use super::address::r64;
use super::machine::{Base, Body, Form, Mem, Operand, Plain, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};

impl Lower<'_> {
    /// A register operand of the context's width.
    pub fn lane(&self, v: VReg, context: &Context) -> Operand {
        Operand::Reg(v, context.size)
    }

    /// A new vector register defined by an instruction with further operands.
    pub fn vec_def(&mut self, op: M, size: Size, mut operands: Vec<Operand>) -> VReg {
        let reg = self.f.vec();
        operands.insert(0, Operand::Reg(reg, size));
        self.def(op, operands);
        reg
    }

    /// An instruction under a mask that zeroes the other lanes.
    fn masked_def(&mut self, op: M, size: Size, mask: VReg, mut operands: Vec<Operand>) -> VReg {
        let reg = self.f.vec();
        operands.insert(0, Operand::Reg(reg, size));
        let plain = Plain { op, operands, form: Form::Def, mask: Some(mask), zeroing: true, broadcast: false };
        self.push(Body::Plain(plain));
        reg
    }

    /// The width of half a vector.
    fn half(size: Size) -> Size {
        match size {
            Size::Z => Size::Y,
            _ => Size::X,
        }
    }

    /// Loads the lanes of an element index that is contiguous along the axis (or the one element, in scalar code).
    pub fn load_lanes(&mut self, dtype: DType, mem: Mem, context: &Context) -> Lowered<Value> {
        let size = context.size;
        let memory = Operand::Mem(mem);
        if dtype.size() == 4 {
            return Ok(match (context.tail, self.f.evex) {
                (None, _) => Value::Mem(mem, false),
                (Some(mask), true) => Value::Vec(self.masked_def(M::Vmovups, size, mask, vec![memory])),
                (Some(mask), false) => {
                    let mask = Operand::Reg(mask, size);
                    Value::Vec(self.vec_def(M::Vmaskmovps, size, vec![mask, memory]))
                }
            });
        }
        if context.lanes == 1 {
            let int = self.load_int(dtype, mem)?;
            let lanes = self.vec_def(M::Vmovd, Size::X, vec![Operand::Reg(int, Size::R32)]);
            return self.lanes_to_value(dtype, lanes, context);
        }
        let op = match dtype {
            DType::U8 | DType::Bool => M::Vpmovzxbd,
            DType::I8 => M::Vpmovsxbd,
            DType::U16 | DType::F16 | DType::BF16 => M::Vpmovzxwd,
            DType::I16 => M::Vpmovsxwd,
            _ => return Err(Stop::Unsupported(Reason::Lanes64)),
        };
        let lanes = match context.tail {
            None => self.vec_def(op, size, vec![memory]),
            Some(mask) => self.masked_def(op, size, mask, vec![memory]),
        };
        self.lanes_to_value(dtype, lanes, context)
    }

    /// Bool lanes of 0 and 1 become a mask; everything else stays.
    pub fn lanes_to_value(&mut self, dtype: DType, lanes: VReg, context: &Context) -> Lowered<Value> {
        if dtype != DType::Bool {
            return Ok(Value::Vec(lanes));
        }
        let lane = self.lane(lanes, context);
        if self.f.evex {
            let mask = self.f.kreg();
            self.def(M::Vptestmd, vec![Operand::Reg(mask, Size::K), lane, lane]);
            return Ok(Value::Mask(mask));
        }
        let zero = self.splat_bits(0, context)?;
        let zero = self.lane(zero, context);
        Ok(Value::Mask(self.vec_def(M::Vpcmpgtd, context.size, vec![lane, zero])))
    }

    /// Loads `f16` lanes as `f32`.
    pub fn load_half_as_f32(&mut self, mem: Mem, context: &Context) -> Lowered<VReg> {
        if context.lanes == 1 {
            let int = self.load_int(DType::F16, mem)?;
            let lanes = self.vec_def(M::Vmovd, Size::X, vec![Operand::Reg(int, Size::R32)]);
            return Ok(self.vec_def(M::Vcvtph2ps, Size::X, vec![Operand::Reg(lanes, Size::X)]));
        }
        Ok(match context.tail {
            None => self.vec_def(M::Vcvtph2ps, context.size, vec![Operand::Mem(mem)]),
            Some(mask) => self.masked_def(M::Vcvtph2ps, context.size, mask, vec![Operand::Mem(mem)]),
        })
    }

    /// Loads an integer, extended to 64 bits by its type.
    pub fn load_int(&mut self, dtype: DType, mem: Mem) -> Lowered<VReg> {
        let reg = self.f.int();
        let (op, size) = match dtype {
            DType::Bool | DType::U8 | DType::I8 => {
                // The widths of a byte or word in memory cannot be told from the operands, only from the mnemonic:
                // load the byte into a register first.
                let byte = self.f.int();
                self.def(M::Mov, vec![Operand::Reg(byte, Size::R8), Operand::Mem(mem)]);
                return Ok(self.extend(byte, dtype));
            }
            DType::U16 | DType::F16 | DType::BF16 | DType::I16 => {
                let lanes = self.vec_zero();
                let word = self.vec_def(
                    M::Vpinsrw,
                    Size::X,
                    vec![Operand::Reg(lanes, Size::X), Operand::Mem(mem), Operand::Imm(0)],
                );
                let int = self.f.int();
                self.def(M::Vmovd, vec![Operand::Reg(int, Size::R32), Operand::Reg(word, Size::X)]);
                return Ok(self.extend(int, dtype));
            }
            DType::U32 => (M::Mov, Size::R32),
            DType::I32 => (M::Movsxd, Size::R64),
            DType::U64 | DType::I64 => (M::Mov, Size::R64),
            DType::F32 | DType::F64 => return Err(Stop::Unsupported(Reason::F64)),
        };
        self.def(op, vec![Operand::Reg(reg, size), Operand::Mem(mem)]);
        Ok(reg)
    }

    fn vec_zero(&mut self) -> VReg {
        let mem = self.f.constant(&[0]);
        self.vec_def(M::Vmovss, Size::X, vec![Operand::Mem(mem)])
    }

    /// The low bits of a register extended to 64 by a type.
    pub fn extend(&mut self, reg: VReg, dtype: DType) -> VReg {
        let (op, to, from) = match dtype {
            DType::Bool | DType::U8 => (M::Movzx, Size::R32, Size::R8),
            DType::I8 => (M::Movsx, Size::R64, Size::R8),
            DType::U32 => (M::Mov, Size::R32, Size::R32),
            DType::I32 => (M::Movsxd, Size::R64, Size::R32),
            DType::U16 | DType::F16 | DType::BF16 => return self.int_op(M::And, reg, Operand::Imm(0xFFFF)),
            DType::I16 => {
                let up = self.int_op(M::Shl, reg, Operand::Imm(48));
                return self.int_op(M::Sar, up, Operand::Imm(48));
            }
            DType::U64 | DType::I64 | DType::F32 | DType::F64 => return reg,
        };
        let result = self.f.int();
        self.def(op, vec![Operand::Reg(result, to), Operand::Reg(reg, from)]);
        result
    }

    /// A scalar value in a general register.
    pub fn int_reg(&mut self, value: Value) -> Lowered<VReg> {
        match value {
            Value::Int(reg) => Ok(reg),
            Value::Imm(value) => Ok(self.imm_reg(value)),
            _ => Err(Stop::fault("lanes where a scalar integer is needed")),
        }
    }

    /// A constant in a register of its own, in every lane.
    pub fn splat_bits(&mut self, bits: u32, context: &Context) -> Lowered<VReg> {
        if bits == 0 {
            let mem = self.f.constant(&[0]);
            // `vmovss` clears the rest of the register whatever its width, and needs no defined input.
            return Ok(self.vec_def(M::Vmovss, Size::X, vec![Operand::Mem(mem)]));
        }
        let mem = self.f.constant(&[bits]);
        Ok(self.vec_def(M::Vbroadcastss, context.size, vec![Operand::Mem(mem)]))
    }

    /// A constant in a register shared by everything inside the outermost scope that allows it.
    pub fn constant_reg(&mut self, words: &[u32], context: &Context) -> Lowered<VReg> {
        let floor = self.scopes.iter().rposition(|s| s.barrier).unwrap_or(0);
        let key = (words.to_vec(), context.size);
        for scope in &self.scopes[floor..] {
            if let Some(&reg) = scope.constants.get(&key) {
                return Ok(reg);
            }
        }
        let context = *context;
        let size = context.size;
        let reg = match words {
            [bits] => self.within(floor, |lower| lower.splat_bits(*bits, &context))?,
            _ => {
                let mem = self.f.constant(words);
                self.within(floor, |lower| Ok(lower.vec_def(M::Vmovups, size, vec![Operand::Mem(mem)])))?
            }
        };
        self.scopes[floor].constants.insert(key, reg);
        Ok(reg)
    }

    /// A value of 32-bit lanes in a register.
    pub fn vec_reg(&mut self, value: Value, context: &Context) -> Lowered<VReg> {
        match value {
            Value::Vec(reg) => Ok(reg),
            Value::Bits(bits) => self.constant_reg(&[bits], context),
            Value::Mem(mem, true) => Ok(self.vec_def(M::Vbroadcastss, context.size, vec![Operand::Mem(mem)])),
            Value::Mem(mem, false) => {
                let op = if context.lanes == 1 { M::Vmovss } else { M::Vmovups };
                Ok(self.vec_def(op, context.size, vec![Operand::Mem(mem)]))
            }
            Value::Int(reg) => Ok(self.splat_int(reg, context)),
            Value::Imm(value) => self.constant_reg(&[value as u32], context),
            Value::Mask(_) => Err(Stop::fault("bool lanes where numbers are needed")),
        }
    }

    /// The low 32 bits of a general register in every lane.
    pub fn splat_int(&mut self, reg: VReg, context: &Context) -> VReg {
        if context.lanes == 1 {
            return self.vec_def(M::Vmovd, Size::X, vec![Operand::Reg(reg, Size::R32)]);
        }
        if self.f.evex {
            return self.vec_def(M::Vpbroadcastd, context.size, vec![Operand::Reg(reg, Size::R32)]);
        }
        let low = self.vec_def(M::Vmovd, Size::X, vec![Operand::Reg(reg, Size::R32)]);
        self.vec_def(M::Vpbroadcastd, context.size, vec![Operand::Reg(low, Size::X)])
    }

    /// A scalar bool as a mask of all lanes.
    pub fn mask_of_int(&mut self, reg: VReg, context: &Context) -> VReg {
        let all = self.f.int();
        self.tied(M::Neg, reg, vec![r64(all)]);
        if self.f.evex {
            let mask = self.f.kreg();
            self.def(M::Kmovw, vec![Operand::Reg(mask, Size::K), Operand::Reg(all, Size::R32)]);
            return mask;
        }
        self.splat_int(all, context)
    }

    /// Lane 0 of a mask as 0 or 1.
    pub fn int_of_mask(&mut self, mask: VReg) -> VReg {
        let reg = self.f.int();
        if self.f.evex {
            self.def(M::Kmovw, vec![Operand::Reg(reg, Size::R32), Operand::Reg(mask, Size::K)]);
        } else {
            self.def(M::Vmovd, vec![Operand::Reg(reg, Size::R32), Operand::Reg(mask, Size::X)]);
        }
        self.int_op(M::And, reg, Operand::Imm(1))
    }

    /// Elements between lanes of an index.
    pub fn lane_stride(&self, index: &Index, context: &Context) -> Lowered<i64> {
        let Some(axis) = context.axis else { return Ok(0) };
        let (coefficient, _) = affine::split(&self.expand(index), axis).ok_or(Stop::Unsupported(Reason::Gather))?;
        self.resolve(&coefficient).as_const().ok_or(Stop::Unsupported(Reason::RunTimeStride))
    }

    /// Loads along the axis.
    pub fn vector_load(&mut self, buffer: BufferRef, index: &Index, context: &Context) -> Lowered<Value> {
        let dtype = self.kernel.buffers[buffer.0 as usize].dtype;
        let stride = self.lane_stride(index, context)?;
        let resolved = self.resolve(index);
        let mem = self.address(buffer, &resolved, dtype.size())?;
        if stride == 1 || context.lanes == 1 {
            return self.load_lanes(dtype, mem, context);
        }
        if dtype.size() != 4 {
            return Err(Stop::Unsupported(Reason::NarrowGather));
        }
        self.gather(buffer, &resolved, stride, context)
    }

    fn gather(&mut self, buffer: BufferRef, index: &Index, stride: i64, context: &Context) -> Lowered<Value> {
        let stride = i32::try_from(stride).map_err(|_| Stop::Unsupported(Reason::Gather))?;
        let offsets: Vec<u32> = (0..context.lanes as i32).map(|i| i.wrapping_mul(stride) as u32).collect();
        let offsets = self.constant_reg(&offsets, context)?;
        // Gathers take one base register: the lanes' offsets are the index.
        let mem = self.address(buffer, index, 4)?;
        let base = self.f.int();
        self.def(M::Lea, vec![r64(base), Operand::Mem(mem)]);
        let zero = self.splat_bits(0, context)?;
        let mask_in = match (context.tail, self.f.evex) {
            (Some(mask), _) => mask,
            (None, true) => {
                let ones = self.imm_reg(0xFFFF);
                let mask = self.f.kreg();
                self.def(M::Kmovw, vec![Operand::Reg(mask, Size::K), Operand::Reg(ones, Size::R32)]);
                mask
            }
            (None, false) => self.splat_bits(u32::MAX, context)?,
        };
        let mask_out = self.f.vreg(mask_in.class());
        let result = self.f.vec();
        let (index, size) = (offsets, context.size);
        self.push(Body::Gather { result, zero, index, base, disp: 0, mask: (mask_in, mask_out), size });
        Ok(Value::Vec(result))
    }

    /// Stores a value at an element.
    pub fn store(&mut self, buffer: BufferRef, index: &Index, expr: &Expr, context: &Context) -> Lowered<()> {
        let dtype = self.kernel.buffers[buffer.0 as usize].dtype;
        if context.axis.is_none() {
            return self.scalar_store(buffer, index, expr, dtype);
        }
        if context.lanes > 1 && !self.lane_stride(index, context).is_ok_and(|s| s == 1) {
            return self.scatter(buffer, index, expr, context);
        }
        // f32 to f16 converts on the way to memory.
        if let (Expr::Convert(DType::F16, x), DType::F16) = (expr, dtype)
            && self.dtype(x) == DType::F32
            && context.lanes > 1
        {
            let value = self.vector_value(x, context)?;
            let value = self.vec_reg(value, context)?;
            let mem = Operand::Mem(self.element(buffer, index, dtype)?);
            let operands = vec![mem, self.lane(value, context), Operand::Imm(0)];
            self.masked_effect(M::Vcvtps2ph, operands, context.tail);
            return Ok(());
        }
        let value = self.vector_value(expr, context)?;
        let value = match value {
            Value::Mask(mask) => self.blend_bits(mask, 1, 0, context)?,
            other => self.vec_reg(other, context)?,
        };
        let mem = self.element(buffer, index, dtype)?;
        self.store_lanes(dtype, mem, value, context)
    }

    /// Stores lanes one after the other. Lanes past the end store the last one's value again.
    fn scatter(&mut self, buffer: BufferRef, index: &Index, expr: &Expr, context: &Context) -> Lowered<()> {
        let dtype = self.kernel.buffers[buffer.0 as usize].dtype;
        let Some(axis) = context.axis else { return Err(Stop::fault("lanes without an axis")) };
        let value = match self.vector_value(expr, context)? {
            Value::Mask(mask) => self.blend_bits(mask, 1, 0, context)?,
            other => self.vec_reg(other, context)?,
        };
        let slot = self.f.frame(context.size.bytes(), 64);
        self.effect(M::Vmovups, vec![Operand::Mem(Mem::frame(slot)), Operand::Reg(value, context.size)]);
        let base = self.replaced.get(&axis).cloned();
        let first = base.clone().unwrap_or_else(|| axis.index());
        let last = self.last.clone().filter(|_| context.tail.is_some());
        for lane in 0..context.lanes {
            let (mut at, mut from) = (&first + lane as i64, Index::from(lane));
            if let Some(last) = &last {
                at = at.min(last);
                from = from.min(&(last - &first));
            }
            let source = match from.as_const() {
                Some(lane) => Mem::frame(slot + 4 * lane as i32),
                None => {
                    let lane = self.index_reg(&from)?;
                    Mem { base: Base::Frame, index: Some((lane, 4)), disp: slot }
                }
            };
            let bits = self.f.int();
            self.def(M::Mov, vec![Operand::Reg(bits, Size::R32), Operand::Mem(source)]);
            self.replaced.insert(axis, at);
            let mem = self.element(buffer, index, dtype)?;
            self.store_int(dtype, mem, bits)?;
        }
        match base {
            Some(base) => self.replaced.insert(axis, base),
            None => self.replaced.remove(&axis),
        };
        Ok(())
    }

    fn element(&mut self, buffer: BufferRef, index: &Index, dtype: DType) -> Lowered<Mem> {
        let resolved = self.resolve(index);
        self.address(buffer, &resolved, dtype.size())
    }

    fn masked_effect(&mut self, op: M, operands: Vec<Operand>, mask: Option<VReg>) {
        let plain = Plain { op, operands, form: Form::Use, mask, zeroing: false, broadcast: false };
        self.push(Body::Plain(plain));
    }

    fn store_lanes(&mut self, dtype: DType, mem: Mem, value: VReg, context: &Context) -> Lowered<()> {
        let size = context.size;
        let lane = self.lane(value, context);
        let memory = Operand::Mem(mem);
        if context.lanes == 1 {
            let int = self.f.int();
            if dtype.size() == 4 {
                self.effect(M::Vmovss, vec![memory, Operand::Reg(value, Size::X)]);
                return Ok(());
            }
            self.def(M::Vmovd, vec![Operand::Reg(int, Size::R32), Operand::Reg(value, Size::X)]);
            return self.store_int(dtype, mem, int);
        }
        match (dtype.size(), self.f.evex) {
            (4, true) => self.masked_effect(M::Vmovups, vec![memory, lane], context.tail),
            (4, false) => match context.tail {
                None => self.effect(M::Vmovups, vec![memory, lane]),
                Some(mask) => self.effect(M::Vmaskmovps, vec![memory, Operand::Reg(mask, size), lane]),
            },
            (1, true) => self.masked_effect(M::Vpmovdb, vec![memory, lane], context.tail),
            (2, true) => self.masked_effect(M::Vpmovdw, vec![memory, lane], context.tail),
            (bytes @ (1 | 2), false) if context.tail.is_none() => {
                let words = self.pack_words(value, dtype);
                if bytes == 2 {
                    self.effect(M::Vmovups, vec![memory, Operand::Reg(words, Size::X)]);
                } else {
                    let op = if dtype == DType::I8 { M::Vpacksswb } else { M::Vpackuswb };
                    let x = Operand::Reg(words, Size::X);
                    let bytes = self.vec_def(op, Size::X, vec![x, x]);
                    self.effect(M::Vmovlps, vec![memory, Operand::Reg(bytes, Size::X)]);
                }
            }
            _ => return Err(Stop::Unsupported(Reason::Lanes64)),
        }
        Ok(())
    }

    /// Eight 32-bit lanes as words (AVX2); the values fit their type.
    pub fn pack_words(&mut self, value: VReg, dtype: DType) -> VReg {
        let high = self.vec_def(M::Vextracti128, Size::X, vec![Operand::Reg(value, Size::Y), Operand::Imm(1)]);
        let op = if matches!(dtype, DType::U16 | DType::F16 | DType::BF16) { M::Vpackusdw } else { M::Vpackssdw };
        self.vec_def(op, Size::X, vec![Operand::Reg(value, Size::X), Operand::Reg(high, Size::X)])
    }

    fn scalar_store(&mut self, buffer: BufferRef, index: &Index, expr: &Expr, dtype: DType) -> Lowered<()> {
        let context = self.scalar();
        let value = self.scalar_value(expr)?;
        if dtype == DType::F32 {
            let value = self.vec_reg(value, &context)?;
            let mem = self.element(buffer, index, dtype)?;
            self.effect(M::Vmovss, vec![Operand::Mem(mem), Operand::Reg(value, Size::X)]);
            return Ok(());
        }
        if dtype == DType::F64 {
            let value = self.vec_reg(value, &context)?;
            let mem = self.element(buffer, index, dtype)?;
            self.effect(M::Vmovsd, vec![Operand::Mem(mem), Operand::Reg(value, Size::X)]);
            return Ok(());
        }
        let value = self.int_reg(value)?;
        let mem = self.element(buffer, index, dtype)?;
        self.store_int(dtype, mem, value)
    }

    fn store_int(&mut self, dtype: DType, mem: Mem, value: VReg) -> Lowered<()> {
        let memory = Operand::Mem(mem);
        match dtype.size() {
            1 => self.effect(M::Mov, vec![memory, Operand::Reg(value, Size::R8)]),
            4 => self.effect(M::Mov, vec![memory, Operand::Reg(value, Size::R32)]),
            8 => self.effect(M::Mov, vec![memory, Operand::Reg(value, Size::R64)]),
            _ => {
                let lanes = self.vec_def(M::Vmovd, Size::X, vec![Operand::Reg(value, Size::R32)]);
                self.effect(M::Vpextrw, vec![memory, Operand::Reg(lanes, Size::X), Operand::Imm(0)]);
            }
        }
        Ok(())
    }

    /// The width that holds half as many bits per lane.
    pub fn half_of(&self, context: &Context) -> Size {
        Self::half(context.size)
    }
}
