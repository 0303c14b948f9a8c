//! From bytes to instructions: everything that can be reached from the entry, each byte read in one way only.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

use super::{Defect, Relocation};

/// Marks of bytes: unread, inside an instruction, or one more than the number of the instruction that starts here.
const UNREAD: u32 = 0;
const INSIDE: u32 = u32::MAX;

/// The instructions of a function that can be reached.
pub(crate) struct Decoded {
    /// In the order in which they were found.
    pub(crate) instructions: Vec<Instruction>,
    marks: Vec<u32>,
}

impl Decoded {
    /// Follows all paths from the first byte.
    ///
    /// # Errors
    /// When a path leaves the function, or reads bytes in two ways, or when bytes between instructions are neither
    /// instructions nor padding.
    pub(crate) fn new(bytes: &[u8], relocations: &[Relocation]) -> Result<Decoded, Defect> {
        let mut this = Decoded { instructions: Vec::with_capacity(bytes.len() / 5), marks: vec![UNREAD; bytes.len()] };
        let mut intel = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
        let mut amd = Decoder::with_ip(64, bytes, 0, DecoderOptions::AMD);
        let mut places = Places { relocations, used: 0 };
        let mut data = vec![];
        let mut paths = vec![(0, 0)];
        while let Some((from, start)) = paths.pop() {
            let mut at: usize = start;
            loop {
                match this.marks.get(at) {
                    None => return Defect::at(from, "a path leaves the function"),
                    Some(&INSIDE) => return Defect::at(from, format!("a branch into the instruction at {at:#x}")),
                    Some(&UNREAD) => {}
                    Some(_) => break,
                }
                let (inst, other) = (read(&mut intel, at), read(&mut amd, at));
                if inst.is_invalid() {
                    return Defect::at(at, "no instruction");
                }
                if inst.code() != other.code() || inst.len() != other.len() {
                    return Defect::at(at, format!("{:?} for Intel, {:?} for AMD", inst.code(), other.code()));
                }
                let end = at + inst.len();
                if this.marks[at..end].iter().any(|m| *m != UNREAD) {
                    return Defect::at(at, "an instruction that overlaps another");
                }
                this.marks[at..end].fill(INSIDE);
                this.marks[at] = this.instructions.len() as u32 + 1;
                this.instructions.push(inst);
                let filled = places.inside(at, end, &intel, &inst)?;
                if inst.is_ip_rel_memory_operand() && !filled {
                    data.push((at, inst));
                }
                match inst.flow_control() {
                    FlowControl::Next => {}
                    FlowControl::Call if !filled => return Defect::at(at, "a call to nowhere"),
                    FlowControl::Call | FlowControl::IndirectCall => {}
                    FlowControl::Return => break,
                    FlowControl::Exception if inst.code() == Code::Ud2 => break,
                    FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch if filled => {
                        return Defect::at(at, "a jump to another function");
                    }
                    FlowControl::UnconditionalBranch => {
                        paths.push((at, target(&inst)));
                        break;
                    }
                    FlowControl::ConditionalBranch => paths.push((at, target(&inst))),
                    FlowControl::IndirectBranch
                    | FlowControl::Interrupt
                    | FlowControl::XbeginXabortXend
                    | FlowControl::Exception => {
                        return Defect::at(at, format!("{:?} instead of a return", inst.code()));
                    }
                }
                at = end;
            }
        }
        if places.used != relocations.len() {
            return Defect::at(0, "a relocation that no instruction uses");
        }
        this.gaps(bytes)?;
        this.constants(&data)?;
        Ok(this)
    }

    /// The number of the instruction at an offset.
    pub(crate) fn index(&self, offset: u64) -> Option<usize> {
        match usize::try_from(offset).ok().and_then(|o| self.marks.get(o)) {
            None | Some(&UNREAD | &INSIDE) => None,
            Some(mark) => Some(*mark as usize - 1),
        }
    }

    /// Up to the last instruction there are instructions and padding only.
    fn gaps(&self, bytes: &[u8]) -> Result<(), Defect> {
        let last = self.marks.iter().rposition(|m| *m != UNREAD).unwrap_or(0);
        let gap = |i: &usize| self.marks[*i] == UNREAD && !matches!(bytes[*i], 0x90 | 0xCC);
        match (0..last).find(gap) {
            Some(at) => Defect::at(at, "bytes between instructions that nothing reaches"),
            None => Ok(()),
        }
    }

    /// Constants lie inside the function and outside its instructions, and are not written.
    fn constants(&self, uses: &[(usize, Instruction)]) -> Result<(), Defect> {
        for (at, inst) in uses {
            let size = inst.memory_size().size().max(1) as u64;
            let start = inst.ip_rel_memory_address();
            let end = start.checked_add(size).filter(|end| *end <= self.marks.len() as u64);
            let Some(end) = end else {
                return Defect::at(*at, "a constant outside the function");
            };
            if self.marks[start as usize..end as usize].iter().any(|m| *m != UNREAD) {
                return Defect::at(*at, "an instruction used as a constant");
            }
        }
        Ok(())
    }
}

fn read(decoder: &mut Decoder<'_>, at: usize) -> Instruction {
    // A position inside the bytes is always taken; otherwise the decoder would answer no instruction.
    let _ = decoder.set_position(at);
    decoder.set_ip(at as u64);
    decoder.decode()
}

/// Where a branch goes; what lies outside the address space is outside the function too.
fn target(inst: &Instruction) -> usize {
    usize::try_from(inst.near_branch_target()).unwrap_or(usize::MAX)
}

/// Relocations, in the order of their offsets, each to be found inside one operand.
struct Places<'a> {
    relocations: &'a [Relocation],
    used: usize,
}

impl Places<'_> {
    /// Whether the linker fills an operand of this instruction.
    fn inside(&mut self, at: usize, end: usize, decoder: &Decoder<'_>, inst: &Instruction) -> Result<bool, Defect> {
        let first = self.relocations.partition_point(|r| r.offset + r.bytes <= at);
        let Some(r) = self.relocations.get(first).filter(|r| r.offset < end) else { return Ok(false) };
        let offsets = decoder.get_constant_offsets(inst);
        let displacement = (at + offsets.displacement_offset(), offsets.displacement_size());
        let immediate = (at + offsets.immediate_offset(), offsets.immediate_size());
        if (r.offset, r.bytes) != displacement && (r.offset, r.bytes) != immediate {
            return Defect::at(at, "a relocation that is not an operand");
        }
        self.used += 1;
        Ok(true)
    }
}
