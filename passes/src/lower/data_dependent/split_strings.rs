//! Strings in pieces: one walk over the bytes of each string, which writes the pieces as it finds them.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::strings::{Span, int};
use super::{Lowered, UNBOUNDED, binary, boolean};
use crate::layout::Storage;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Node, Symbol, ValueId};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt, Var};
use nnc_kernels::plan::Argument;

/// The longest delimiter that is compared.
const LONGEST_DELIMITER: usize = 64;

/// The pieces being written.
struct Pieces<'a> {
    bytes: ValueId,
    /// How many bytes there are.
    size: Index,
    delimiter: &'a [u8],
    most: i64,
    target: BufferRef,
    spans: Storage,
    /// Pieces so far, and those of the string at hand.
    found: Var,
    of_string: Var,
    /// How many there is memory for, where that is not known to be enough.
    capacity: Option<Dim>,
}

impl Lowering<'_> {
    pub(super) fn lower_split_strings(&mut self, node: &Node, delimiter: &[u8], most: i64, count: Symbol) -> Lowered {
        let (offsets, bytes) = (node.inputs[0], node.inputs[1]);
        if delimiter.len() > LONGEST_DELIMITER {
            return Err(self.error(format!("a delimiter of more than {LONGEST_DELIMITER} bytes is not supported")));
        }
        let (spans, first) = (self.storage(node.outputs[0])?, self.storage(node.outputs[1])?);
        let (marks, size) = (self.graph.shape(offsets)[0].clone(), self.graph.shape(bytes)[0].clone());
        let strings = &marks - 1;
        let capacity = self.capacity(count, &(&strings + &size))?;
        let cell = self.cell("pieces", DType::I64)?;

        let mut b = KernelBuilder::new(self, "split_strings");
        let (strings, size) = (b.import(&strings), b.import(&size));
        let target = b.buffer(spans.buffer, &spans.offset, true);
        let firsts = b.buffer(first.buffer, &first.offset, true);
        let (found, of_string) = (b.counter("found", Index::ZERO), b.counter("of_string", Index::ZERO));
        let pieces = Pieces { bytes, size, delimiter, most, target, spans, found, of_string, capacity };
        b.each(&strings, AxisKind::Serial, |b, number| {
            let element = b.element(&first.strides, std::slice::from_ref(number));
            b.push(Stmt::Store(firsts, element, Expr::Var(found)));
            b.assign(of_string, int(0));
            let string = b.span(offsets, number, &pieces.size)?;
            if delimiter.is_empty() { pieces.words(b, &string) } else { pieces.parts(b, &string) }
        })?;
        let element = b.element(&first.strides, std::slice::from_ref(&strings));
        b.push(Stmt::Store(firsts, element, Expr::Var(found)));
        b.store_cell(cell, Expr::Var(found));
        b.finish()?;
        self.bind(count, Argument { buffer: cell, offset: Dim::ZERO });
        Ok(())
    }
}

impl Pieces<'_> {
    /// Writes a piece.
    fn write(&self, b: &mut KernelBuilder<'_, '_>, begin: Expr, end: Expr) {
        b.check_capacity(self.found, self.capacity.as_ref());
        for (axis, mark) in [begin, end].into_iter().enumerate() {
            let element = b.element(&self.spans.strides, &[self.found.index(), Index::from(axis as i64)]);
            b.push(Stmt::Store(self.target, element, mark));
        }
        b.increment(self.found);
        b.increment(self.of_string);
    }

    /// Whether the string at hand may be split once more.
    fn may_split(&self) -> Expr {
        binary(BinaryOp::Lt, Expr::Var(self.of_string), int(self.most.min(UNBOUNDED)))
    }

    /// What is between white space.
    fn words(&self, b: &mut KernelBuilder<'_, '_>, string: &Span) -> Lowered {
        let inside = b.mutable("inside", boolean(false));
        let begin = b.counter("word", Index::ZERO);
        b.each(&string.length, AxisKind::Serial, |b, i| {
            let at = &string.begin + i;
            let byte = b.byte(self.bytes, at.clone())?;
            let byte = Expr::Var(b.define_here("byte", byte));
            let control = binary(
                BinaryOp::And,
                binary(BinaryOp::Ge, byte.clone(), int(9)),
                binary(BinaryOp::Le, byte.clone(), int(13)),
            );
            let space = binary(BinaryOp::Or, binary(BinaryOp::Eq, byte, int(i64::from(b' '))), control);
            let space = Expr::Var(b.define_here("space", space));
            b.choose(
                Expr::Var(inside),
                |b| {
                    b.when(binary(BinaryOp::And, space.clone(), self.may_split()), |b| {
                        self.write(b, Expr::Var(begin), Expr::Index(at.clone()));
                        b.assign(inside, boolean(false));
                        Ok(())
                    })
                },
                |b| {
                    b.choose(
                        space.clone(),
                        |_| Ok(()),
                        |b| {
                            b.assign(begin, Expr::Index(at.clone()));
                            b.assign(inside, boolean(true));
                            Ok(())
                        },
                    )
                },
            )
        })?;
        b.when(Expr::Var(inside), |b| {
            self.write(b, Expr::Var(begin), Expr::Index(&string.begin + &string.length));
            Ok(())
        })
    }

    /// What is between delimiters.
    fn parts(&self, b: &mut KernelBuilder<'_, '_>, string: &Span) -> Lowered {
        let length = self.delimiter.len() as i64;
        let (begin, at) = (b.counter("part", string.begin.clone()), b.counter("at", string.begin.clone()));
        let end = &string.begin + &string.length;
        let fits = binary(BinaryOp::Le, Expr::Index(at.index() + length), Expr::Index(end.clone()));
        b.repeat(binary(BinaryOp::And, fits, self.may_split()), |b| {
            let here = b.freeze("here", Expr::Var(at), &self.size);
            let same = self.delimiter_at(b, &here)?;
            b.choose(
                same,
                |b| {
                    self.write(b, Expr::Var(begin), Expr::Index(here.clone()));
                    b.assign(at, Expr::Index(&here + length));
                    b.assign(begin, Expr::Index(&here + length));
                    Ok(())
                },
                |b| {
                    b.increment(at);
                    Ok(())
                },
            )
        })?;
        self.write(b, Expr::Var(begin), Expr::Index(end));
        Ok(())
    }

    /// Whether the delimiter is here, where it fits.
    fn delimiter_at(&self, b: &mut KernelBuilder<'_, '_>, here: &Index) -> Result<Expr, LowerError> {
        let mut same = boolean(true);
        for (i, &wanted) in self.delimiter.iter().enumerate() {
            let byte = b.byte(self.bytes, here + i as i64)?;
            same = binary(BinaryOp::And, same, binary(BinaryOp::Eq, byte, int(wanted.into())));
        }
        Ok(same)
    }
}
