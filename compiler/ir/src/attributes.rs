//! What there is to every type of attribute: its text, both ways, and the dimensions, symbols and graphs in it.
//!
//! The table of operations ([`crate::op`]) says which operation has which. In the text form an attribute is ` key=value`.

use crate::graph::Graph;
use crate::op::{Activation, CellKind, Distribution, PadMode, Recurrent, ReduceOp, Relation, ScatterOp, Window};
use crate::parse::{ParseError, Parser};
use crate::print::Printer;
use crate::{DType, Dim, Symbol};

/// A type of attributes.
pub(crate) trait Attribute {
    fn write(&self, p: &mut Printer<'_>);

    fn read(p: &mut Parser<'_>) -> Result<Self, ParseError>
    where
        Self: Sized;

    /// Adds the dimensions in it.
    fn dims<'a>(&'a self, _found: &mut Vec<&'a Dim>) {}

    /// [`Attribute::dims`] for rewriting.
    fn dims_mut<'a>(&'a mut self, _found: &mut Vec<&'a mut Dim>) {}

    /// Adds the symbols in it.
    fn symbols(&self, _found: &mut Vec<Symbol>) {}

    /// Adds the graphs in it.
    fn graphs<'a>(&'a self, _found: &mut Vec<&'a Graph>) {}

    /// [`Attribute::graphs`] for rewriting.
    fn graphs_mut<'a>(&'a mut self, _found: &mut Vec<&'a mut Graph>) {}
}

macro_rules! structs {
    ($($ty:ident { $($field:ident),* })*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                p.text("{");
                $(p.attribute(stringify!($field), &self.$field);)*
                p.text(" }");
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                p.expect("{")?;
                $(let $field = p.attribute(stringify!($field))?;)*
                p.expect("}")?;
                Ok($ty { $($field),* })
            }
        }
    )* };
}
structs! {
    Window { size, strides, dilations, pad_low, pad_high }
    Recurrent { kind, reverse, activations, clip, input_forget, peepholes, sequence_lengths }
}

macro_rules! named {
    ($($ty:ty: $what:literal),*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                p.text(self.name());
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                let word = p.word($what)?;
                <$ty>::from_name(word).ok_or_else(|| p.error(format!("`{word}` is not {}", $what)))
            }
        }
    )* };
}
named!(DType: "an element type", ReduceOp: "a reduction", PadMode: "a padding mode", ScatterOp: "a scatter function",
    Relation: "a relation");

macro_rules! numbers {
    ($($ty:ty: $what:literal),*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                // `Debug` of floats is the shortest text that reads back as the same value.
                p.text(&format!("{self:?}"));
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                let token = p.number()?;
                token.parse().map_err(|_| p.error(format!("`{token}` is not {}", $what)))
            }
        }
    )* };
}
numbers!(usize: "a count", i64: "an integer", u64: "an unsigned integer", f32: "a number", f64: "a number",
    bool: "true or false");

impl<T: Attribute> Attribute for Vec<T> {
    fn dims<'a>(&'a self, found: &mut Vec<&'a Dim>) {
        self.iter().for_each(|item| item.dims(found));
    }
    fn dims_mut<'a>(&'a mut self, found: &mut Vec<&'a mut Dim>) {
        self.iter_mut().for_each(|item| item.dims_mut(found));
    }
    fn symbols(&self, found: &mut Vec<Symbol>) {
        self.iter().for_each(|item| item.symbols(found));
    }
    fn graphs<'a>(&'a self, found: &mut Vec<&'a Graph>) {
        self.iter().for_each(|item| item.graphs(found));
    }
    fn graphs_mut<'a>(&'a mut self, found: &mut Vec<&'a mut Graph>) {
        self.iter_mut().for_each(|item| item.graphs_mut(found));
    }
    fn write(&self, p: &mut Printer<'_>) {
        p.text("[");
        for (i, item) in self.iter().enumerate() {
            p.text(if i == 0 { "" } else { ", " });
            item.write(p);
        }
        p.text("]");
    }
    fn read(p: &mut Parser<'_>) -> Result<Vec<T>, ParseError> {
        p.expect("[")?;
        p.list("]", T::read)
    }
}

impl Attribute for (usize, usize) {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(&format!("({}, {})", self.0, self.1));
    }
    fn read(p: &mut Parser<'_>) -> Result<(usize, usize), ParseError> {
        p.expect("(")?;
        let first = usize::read(p)?;
        p.expect(",")?;
        let second = usize::read(p)?;
        p.expect(")")?;
        Ok((first, second))
    }
}

impl Attribute for Dim {
    fn dims<'a>(&'a self, found: &mut Vec<&'a Dim>) {
        found.push(self);
    }
    fn dims_mut<'a>(&'a mut self, found: &mut Vec<&'a mut Dim>) {
        found.push(self);
    }
    fn write(&self, p: &mut Printer<'_>) {
        p.dim(self);
    }
    fn read(p: &mut Parser<'_>) -> Result<Dim, ParseError> {
        p.dim()
    }
}

impl Attribute for String {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(&format!("{self:?}"));
    }
    fn read(p: &mut Parser<'_>) -> Result<String, ParseError> {
        p.name()
    }
}

impl Attribute for Symbol {
    fn symbols(&self, found: &mut Vec<Symbol>) {
        found.push(*self);
    }
    fn write(&self, p: &mut Printer<'_>) {
        p.dim(&Dim::sym(*self));
    }
    fn read(p: &mut Parser<'_>) -> Result<Symbol, ParseError> {
        let dim = p.dim()?;
        dim.as_symbol().ok_or_else(|| p.error("expected the name of a dimension".into()))
    }
}

impl Attribute for Box<Graph> {
    fn graphs<'a>(&'a self, found: &mut Vec<&'a Graph>) {
        found.push(self);
    }
    fn graphs_mut<'a>(&'a mut self, found: &mut Vec<&'a mut Graph>) {
        found.push(self);
    }
    fn write(&self, p: &mut Printer<'_>) {
        p.graph(self);
    }
    fn read(p: &mut Parser<'_>) -> Result<Box<Graph>, ParseError> {
        p.graph().map(Box::new)
    }
}

impl Attribute for Option<f32> {
    fn write(&self, p: &mut Printer<'_>) {
        match self {
            Some(value) => value.write(p),
            None => p.text("none"),
        }
    }
    fn read(p: &mut Parser<'_>) -> Result<Option<f32>, ParseError> {
        if p.eat("none") { Ok(None) } else { f32::read(p).map(Some) }
    }
}

impl Attribute for CellKind {
    fn write(&self, p: &mut Printer<'_>) {
        p.text(match self {
            CellKind::Lstm => "lstm",
            CellKind::Gru { linear_before_reset: false } => "gru",
            CellKind::Gru { linear_before_reset: true } => "gru_linear_before_reset",
            CellKind::Rnn => "rnn",
        });
    }
    fn read(p: &mut Parser<'_>) -> Result<CellKind, ParseError> {
        Ok(match p.word("a cell")? {
            "lstm" => CellKind::Lstm,
            "gru" => CellKind::Gru { linear_before_reset: false },
            "gru_linear_before_reset" => CellKind::Gru { linear_before_reset: true },
            "rnn" => CellKind::Rnn,
            word => return Err(p.error(format!("`{word}` is not a cell"))),
        })
    }
}

macro_rules! calls {
    ($($ty:ty: $what:literal),*) => { $(
        impl Attribute for $ty {
            fn write(&self, p: &mut Printer<'_>) {
                let (name, numbers) = self.call();
                p.text(name);
                for (i, number) in numbers.iter().enumerate() {
                    p.text(if i == 0 { "(" } else { ", " });
                    number.write(p);
                }
                p.text(if numbers.is_empty() { "" } else { ")" });
            }
            fn read(p: &mut Parser<'_>) -> Result<$ty, ParseError> {
                let word = p.word($what)?;
                let numbers = if p.eat("(") { p.list(")", Attribute::read)? } else { vec![] };
                let count = numbers.len();
                let error = || p.error(format!("`{word}` with {count} numbers is not {}", $what));
                <$ty>::from_call(word, &numbers).ok_or_else(error)
            }
        }
    )* };
}
calls!(Activation: "an activation", Distribution: "a distribution");
