//! The machine IR of the wide x86 generator: basic blocks of x86 instructions over virtual registers, in SSA form.
//!
//! An instruction is an iced [`Mnemonic`] with operands; which encoding it gets (VEX or EVEX, which widths) is found
//! in `encode` from the operands. There is no second table of instructions here.
//!
//! Invariants:
//! - every virtual register is defined once, by an instruction or as a block parameter;
//! - a block ends with exactly one [`Body::Jump`], [`Body::Branch`] or [`Body::Return`], and no edge is critical
//!   ([`Function::branch`] makes edge blocks; those that stay empty vanish when code is laid out);
//! - a [`Body::Branch`] reads the flags of the instruction right before it (moves that the allocator inserts between
//!   them leave flags alone).
//!
//! Classes: `Int` general registers, `Float` vector registers of any width, `Vector` AVX-512 mask registers k1..k7
//! (regalloc2 offers exactly three classes and names them for other machines).

use iced_x86::{ConditionCode, Mnemonic};
use regalloc2::{RegClass, VReg};

use super::micro::MicroKernel;

/// Which part of a register an operand means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Low byte of a general register.
    R8,
    /// Low half of a general register.
    R32,
    /// A general register.
    R64,
    /// 128 bits.
    X,
    /// 256 bits.
    Y,
    /// 512 bits.
    Z,
    /// A mask.
    K,
}

impl Size {
    /// Bytes of the register part.
    pub fn bytes(self) -> i32 {
        match self {
            Size::R8 => 1,
            Size::R32 => 4,
            Size::R64 | Size::K => 8,
            Size::X => 16,
            Size::Y => 32,
            Size::Z => 64,
        }
    }
}

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// A register.
    Reg(VReg),
    /// The frame area handed out by [`Function::frame`].
    Frame,
    /// The constant pool: bytes from its start are in the displacement.
    Pool,
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mem {
    /// Start.
    pub base: Base,
    /// Register and factor (1, 2, 4 or 8) added.
    pub index: Option<(VReg, u8)>,
    /// Bytes added.
    pub disp: i32,
}

impl Mem {
    /// The address in a register plus bytes.
    pub fn at(base: VReg, disp: i32) -> Mem {
        Mem { base: Base::Reg(base), index: None, disp }
    }

    /// Bytes of the frame area.
    pub fn frame(offset: i32) -> Mem {
        Mem { base: Base::Frame, index: None, disp: offset }
    }
}

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A register.
    Reg(VReg, Size),
    /// Memory.
    Mem(Mem),
    /// A constant.
    Imm(i64),
}

/// What the first operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Only written.
    Def,
    /// Written in the register that holds this value: `add`, `vfmadd231ps`, merging masks.
    Tied(VReg),
    /// Read, as all others: stores, compares.
    Use,
}

/// A plain instruction.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The mnemonic.
    pub op: Mnemonic,
    /// Operands in Intel order.
    pub operands: Vec<Operand>,
    /// Role of the first.
    pub form: Form,
    /// EVEX write mask.
    pub mask: Option<VReg>,
    /// Masked elements become zero rather than keep the old value.
    pub zeroing: bool,
    /// The memory operand is one element for all lanes.
    pub broadcast: bool,
}

/// An instruction or terminator.
#[derive(Clone, Debug)]
pub enum Body {
    /// One x86 instruction.
    Plain(Plain),
    /// Function entry: the four arguments.
    Arguments([VReg; 4]),
    /// Signed 64-bit division of `dividend` by `divisor`, which is neither 0 nor -1.
    Divide {
        /// Result.
        quotient: VReg,
        /// Result, with the dividend's sign.
        remainder: VReg,
        /// Operand.
        dividend: VReg,
        /// Operand.
        divisor: VReg,
    },
    /// Gathers 32-bit elements at `base + index * 4` for every lane (or every lane of `mask`; others become 0).
    Gather {
        /// Result.
        result: VReg,
        /// Zeroes, in whose register the result lies.
        zero: VReg,
        /// Element offsets, 32 bits each.
        index: VReg,
        /// Base address.
        base: VReg,
        /// Bytes added.
        disp: i32,
        /// All-ones lanes (AVX2) or mask register (AVX-512) to load, and its remains.
        mask: (VReg, VReg),
        /// Width.
        size: Size,
    },
    /// The inner loops of a GEMM tile, whose registers are placed by construction.
    Micro(Box<MicroKernel>),
    /// To a block with arguments.
    Jump(BlockId, Vec<VReg>),
    /// To `then` when the condition holds, else to `otherwise`; neither takes arguments.
    Branch(ConditionCode, BlockId, BlockId),
    /// Returns the `i32` constant.
    Return(i32),
}

/// A block of [`Function`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// A basic block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Parameters.
    pub params: Vec<VReg>,
    /// Instructions, the last being the terminator once the block is done.
    pub insts: Vec<Body>,
}

/// A function under construction.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Blocks; 0 is the entry.
    pub blocks: Vec<Block>,
    /// Order of blocks in memory.
    pub layout: Vec<BlockId>,
    /// Number of virtual registers.
    pub vregs: usize,
    /// Bytes of frame handed out.
    pub frame_bytes: i32,
    /// Constants, 4-byte words.
    pub pool: Vec<u32>,
    /// Code for AVX-512 (32 registers, EVEX) rather than AVX2.
    pub evex: bool,
}

impl Function {
    /// A new virtual register.
    pub fn vreg(&mut self, class: RegClass) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs - 1, class)
    }

    /// A general register.
    pub fn int(&mut self) -> VReg {
        self.vreg(RegClass::Int)
    }

    /// A vector register.
    pub fn vec(&mut self) -> VReg {
        self.vreg(RegClass::Float)
    }

    /// A mask register.
    pub fn kreg(&mut self) -> VReg {
        self.vreg(RegClass::Vector)
    }

    /// A block that is not yet placed.
    pub fn block(&mut self) -> BlockId {
        self.blocks.push(Block::default());
        BlockId(self.blocks.len() as u32 - 1)
    }

    /// Puts a block after those placed so far.
    pub fn place(&mut self, block: BlockId) {
        self.layout.push(block);
    }

    /// Appends an instruction.
    pub fn push(&mut self, block: BlockId, body: Body) {
        self.blocks[block.0 as usize].insts.push(body);
    }

    /// Ends `from` with a conditional branch; edge blocks carry the arguments.
    pub fn branch(
        &mut self,
        from: BlockId,
        condition: ConditionCode,
        then: (BlockId, Vec<VReg>),
        otherwise: (BlockId, Vec<VReg>),
    ) {
        let edge = |f: &mut Function, (target, arguments): (BlockId, Vec<VReg>)| {
            let block = f.block();
            f.place(block);
            f.push(block, Body::Jump(target, arguments));
            block
        };
        let otherwise = edge(self, otherwise);
        let then = edge(self, then);
        self.push(from, Body::Branch(condition, then, otherwise));
    }

    /// Ends `from` with a jump.
    pub fn jump(&mut self, from: BlockId, target: BlockId, arguments: Vec<VReg>) {
        self.push(from, Body::Jump(target, arguments));
    }

    /// Reserves frame bytes; `align` is at most 64.
    pub fn frame(&mut self, bytes: i32, align: i32) -> i32 {
        let start = (self.frame_bytes + align - 1) / align * align;
        self.frame_bytes = start + bytes;
        start
    }

    /// The address of a constant of some words, shared with equal ones.
    pub fn constant(&mut self, words: &[u32]) -> Mem {
        let found = self.pool.windows(words.len()).position(|w| w == words);
        let start = found.unwrap_or_else(|| {
            self.pool.extend_from_slice(words);
            self.pool.len() - words.len()
        });
        Mem { base: Base::Pool, index: None, disp: start as i32 * 4 }
    }
}
