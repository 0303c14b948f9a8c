//! What an operation mentions besides its operands: dimensions, symbols it defines, graphs it contains.

use super::Op;
use crate::graph::Graph;
use crate::{Dim, Symbol};

impl Op {
    /// The symbols this operation defines from data.
    pub fn defined_symbols(&self) -> Vec<Symbol> {
        let mut found = vec![];
        self.attributes(&mut |_, attribute| attribute.symbols(&mut found));
        found
    }

    /// The dimensions among its attributes; the symbols it defines are not among them.
    pub fn dims(&self) -> Vec<&Dim> {
        let mut found = vec![];
        self.attributes(&mut |_, attribute| attribute.dims(&mut found));
        found
    }

    /// [`Op::dims`] for rewriting.
    pub fn dims_mut(&mut self) -> Vec<&mut Dim> {
        let mut found = vec![];
        self.attributes_mut(&mut |attribute| attribute.dims_mut(&mut found));
        found
    }

    /// The graphs it contains.
    pub fn subgraphs(&self) -> Vec<&Graph> {
        let mut found = vec![];
        self.attributes(&mut |_, attribute| attribute.graphs(&mut found));
        found
    }

    /// [`Op::subgraphs`] for rewriting.
    pub fn subgraphs_mut(&mut self) -> Vec<&mut Graph> {
        let mut found = vec![];
        self.attributes_mut(&mut |attribute| attribute.graphs_mut(&mut found));
        found
    }

    /// Whether it is there for what it does rather than for results: it defines symbols or states what must hold.
    pub fn has_effect(&self) -> bool {
        matches!(self, Op::BindDims { .. } | Op::Require { .. })
    }
}
