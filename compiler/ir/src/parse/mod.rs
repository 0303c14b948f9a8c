//! Reads the text form of graphs that [`crate::print`] writes and describes.
//!
//! The result is what the text says, right or wrong: run [`crate::verify`] on it. Besides what is printed, tests may
//! write `constant f32[64, 64] random=7` for reproducible pseudo-random elements, and lines that begin with `;`.
//! Nothing here panics, whatever the text is.

mod constant;
#[cfg(test)]
mod tests;

pub use constant::Constants;

use crate::attributes::Attribute;
use crate::dim::{self, DimParseError};
use crate::encoding::{Encoded, Encoding};
use crate::graph::{Graph, Node, TensorType, Value, ValueId};
use crate::op::{BinaryOp, Op, UnaryOp};
use crate::{DType, Dim, DimTable, SymbolInfo, SymbolOrigin};

/// Subgraphs within subgraphs.
const MAX_NESTING: usize = 32;
/// Value numbers, which are indices of a table.
const MAX_VALUE: u32 = 1 << 20;

/// Where and why text is not a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a graph whose constants are all written out.
///
/// # Errors
/// When the text is not a graph, or a constant stands there by its hash.
pub fn graph(text: &str) -> Result<Graph, ParseError> {
    graph_with(text, &Constants::default())
}

/// Reads a graph; constants written by hash are taken from `constants`.
///
/// # Errors
/// When the text is not a graph, or a hash is unknown.
pub fn graph_with(text: &str, constants: &Constants) -> Result<Graph, ParseError> {
    let mut parser = Parser { text, rest: text, table: DimTable::default(), constants, nesting: 0 };
    parser.skip_comments();
    while parser.keyword("dim") {
        parser.dim_line()?;
        parser.skip_comments();
    }
    let graph = parser.graph()?;
    parser.skip_comments();
    if parser.rest.is_empty() { Ok(graph) } else { Err(parser.expected("the end of the text")) }
}

/// A position in the text, and what has been read of it.
pub(crate) struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    table: DimTable,
    constants: &'a Constants,
    nesting: usize,
}

impl<'a> Parser<'a> {
    pub fn error(&self, message: String) -> ParseError {
        let read = &self.text[..self.text.len() - self.rest.len()];
        ParseError { line: read.matches('\n').count() + 1, message }
    }

    fn expected(&self, what: &str) -> ParseError {
        let found: String = self.rest.chars().take_while(|&c| c != '\n').take(24).collect();
        self.error(format!("expected {what}, found `{found}`"))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip_comments(&mut self) {
        self.skip_space();
        while self.rest.starts_with(';') {
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
            self.skip_space();
        }
    }

    pub fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub fn expect(&mut self, token: &str) -> Result<(), ParseError> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let (run, rest) = self.rest.split_at(self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        run
    }

    /// Letters, digits, `_` and `.`.
    pub fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        let before = self.rest;
        let word = self.run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        if word.is_empty() {
            self.rest = before;
            return Err(self.expected(what));
        }
        Ok(word)
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.rest;
        let found = self.word("").is_ok_and(|word| word == keyword);
        if !found {
            self.rest = before;
        }
        found
    }

    /// A number of any kind, or another word: what it is, its reader decides.
    pub fn number(&mut self) -> Result<&'a str, ParseError> {
        let number = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':'));
        if number.is_empty() { Err(self.expected("a value")) } else { Ok(number) }
    }

    pub fn name(&mut self) -> Result<String, ParseError> {
        self.skip_space();
        if !self.rest.starts_with('"') {
            return self.word("a name").map(str::to_owned);
        }
        let (name, rest) = dim::unquote(self.rest).ok_or_else(|| self.expected("a closing quote"))?;
        self.rest = rest;
        Ok(name)
    }

    pub fn attribute<T: Attribute>(&mut self, key: &str) -> Result<T, ParseError> {
        if !self.keyword(key) {
            return Err(self.expected(&format!("`{key}=`")));
        }
        self.expect("=")?;
        T::read(self)
    }

    /// Items between commas, up to `close`.
    pub fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = vec![];
        while !self.eat(close) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn dim(&mut self) -> Result<Dim, ParseError> {
        let (dim, rest) = self.table.parse_prefix(self.rest).map_err(|error: DimParseError| {
            let message = error.to_string();
            self.error(message)
        })?;
        self.rest = rest;
        Ok(dim)
    }

    fn dim_line(&mut self) -> Result<(), ParseError> {
        let name = self.name()?;
        if name.is_empty() || self.table.find(&name).is_some() {
            return Err(self.error(format!("the dimension `{name}` is declared twice or has no name")));
        }
        if !self.keyword("in") {
            return Err(self.expected("`in`"));
        }
        let min = self.bound()?.ok_or_else(|| self.expected("the least size"))?;
        self.expect("..")?;
        let max = self.bound()?.unwrap_or(i64::MAX);
        let upper = if self.eat("<=") { Some(self.dim()?) } else { None };
        let origin = match self.keyword("from") {
            true if self.keyword("node") => SymbolOrigin::Node,
            true if self.keyword("run") => SymbolOrigin::Run,
            true => return Err(self.expected("`node` or `run`")),
            false => SymbolOrigin::Input,
        };
        self.table.new_symbol(SymbolInfo { name, min, max, upper, origin });
        Ok(())
    }

    fn bound(&mut self) -> Result<Option<i64>, ParseError> {
        // An open bound ends its line, so only digits right here belong to it.
        self.rest = self.rest.trim_start_matches(' ');
        if !self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Ok(None);
        }
        let digits = self.run(|c| c.is_ascii_digit() || c == '-');
        digits.parse().map(Some).map_err(|_| self.error(format!("`{digits}` is not a bound")))
    }

    fn value(&mut self) -> Result<ValueId, ParseError> {
        self.expect("%")?;
        let digits = self.run(|c| c.is_ascii_digit());
        match digits.parse() {
            Ok(id) if id < MAX_VALUE => Ok(ValueId(id)),
            _ => Err(self.error(format!("`%{digits}` is not a value"))),
        }
    }

    fn defined(&mut self) -> Result<(ValueId, String), ParseError> {
        let value = self.value()?;
        self.skip_space();
        let named = self.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"'));
        Ok((value, if named { self.name()? } else { String::new() }))
    }

    fn ty(&mut self) -> Result<TensorType, ParseError> {
        Ok(TensorType::new(DType::read(self)?, Attribute::read(self)?))
    }

    pub fn graph(&mut self) -> Result<Graph, ParseError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.error("subgraphs are nested too deeply".into()));
        }
        if !self.keyword("graph") {
            return Err(self.expected("`graph`"));
        }
        self.expect("@")?;
        let mut graph = Graph { name: self.name()?, dims: self.table.clone(), ..Graph::default() };
        self.expect("(")?;
        let mut count = 0;
        graph.inputs = self.list(")", |p| {
            let (value, name) = p.defined()?;
            p.expect(":")?;
            let ty = p.ty()?;
            define(&mut graph, value, name, ty);
            if let Some(encoded) = p.encoded()? {
                graph.encodings.inputs.insert(count, encoded);
            }
            count += 1;
            Ok(value)
        })?;
        self.expect("->")?;
        self.expect("(")?;
        count = 0;
        graph.outputs = self.list(")", |p| {
            let output = p.name()?;
            p.expect(":")?;
            let output = (output, p.value()?);
            if let Some(encoded) = p.encoded()? {
                graph.encodings.outputs.insert(count, encoded);
            }
            count += 1;
            Ok(output)
        })?;
        self.expect("{")?;
        self.skip_comments();
        while !self.eat("}") {
            let node = self.node(&mut graph)?;
            graph.nodes.push(node);
            self.skip_comments();
        }
        self.nesting -= 1;
        Ok(graph)
    }

    /// What a parameter or result stands for, if it does.
    fn encoded(&mut self) -> Result<Option<Encoded>, ParseError> {
        if !self.keyword("as") {
            return Ok(None);
        }
        let word = self.word("an encoding")?;
        let encoding = Encoding::from_name(word);
        let encoding = encoding.ok_or_else(|| self.error(format!("`{word}` is not an encoding")))?;
        Ok(Some(Encoded { encoding, shape: Attribute::read(self)? }))
    }

    fn node(&mut self, graph: &mut Graph) -> Result<Node, ParseError> {
        let defined = if self.rest.starts_with('%') { self.list("=", Self::defined)? } else { vec![] };
        let name = self.word("an operation")?;
        let mut inputs = vec![];
        let (op, types) = if name == "constant" {
            let tensor = self.constant()?;
            let shape = tensor.shape.iter().map(|&d| Dim::from(d)).collect();
            let ty = TensorType::new(tensor.dtype, shape);
            (Op::Constant(graph.consts.add(tensor)), vec![ty])
        } else {
            self.skip_space();
            while self.rest.starts_with('%') {
                inputs.push(self.value()?);
                if !self.eat(",") {
                    break;
                }
                self.skip_space();
            }
            let op = self.operation(name)?;
            (op, if self.eat(":") { self.types()? } else { vec![] })
        };
        if types.len() != defined.len() {
            return Err(self.error(format!("{} results with {} types", defined.len(), types.len())));
        }
        let mut outputs = vec![];
        for ((value, name), ty) in defined.into_iter().zip(types) {
            define(graph, value, name, ty);
            outputs.push(value);
        }
        Ok(Node { op, inputs, outputs, origin: self.origin() })
    }

    fn operation(&mut self, name: &str) -> Result<Op, ParseError> {
        // `select` and other core operations come first: no elementwise function is called like one.
        if let Some(op) = Op::read(name, self)? {
            return Ok(op);
        }
        let unary = UnaryOp::from_name(name).map(Op::Unary);
        let op = unary.or_else(|| BinaryOp::from_name(name).map(Op::Binary));
        op.ok_or_else(|| self.error(format!("`{name}` is not an operation")))
    }

    fn types(&mut self) -> Result<Vec<TensorType>, ParseError> {
        let mut types = vec![self.ty()?];
        while self.eat(",") {
            types.push(self.ty()?);
        }
        Ok(types)
    }

    /// What follows `;` on the node's line.
    fn origin(&mut self) -> String {
        let line = self.rest.find('\n').unwrap_or(self.rest.len());
        let (tail, rest) = self.rest.split_at(line);
        match tail.trim_start().strip_prefix(';') {
            Some(origin) => {
                self.rest = rest;
                origin.trim().to_owned()
            }
            None => String::new(),
        }
    }
}

/// Gives a value its type and name; values of lower numbers that nothing defines become empty placeholders.
fn define(graph: &mut Graph, value: ValueId, name: String, ty: TensorType) {
    let placeholder = || Value { ty: TensorType::new(DType::F32, vec![]), name: String::new() };
    if graph.values.len() <= value.index() {
        graph.values.resize_with(value.index() + 1, placeholder);
    }
    graph.values[value.index()] = Value { ty, name };
}
