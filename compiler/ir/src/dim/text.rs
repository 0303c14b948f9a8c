//! The text form of dimensions, both ways: `past + 1`, `4*batch*seq`, `floor(seq/2)`, `max(a, b)`.
//!
//! Grammar: sums of products of atoms; `/` and `//` divide rounding down; functions `floor`, `ceil` (of one quotient),
//! `mod`, `min`, `max`, `eq`, `lt`, `select`. A name that is not an identifier is written in double quotes.
//! Parsing the text of a dimension gives the dimension back.

use super::{Atom, Dim, DimOp, DimTable, Symbol, SymbolInfo};
use std::fmt;

/// What is wrong with a dimension's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimParseError {
    /// A name that the table does not have.
    #[error("unknown dimension `{0}`")]
    UnknownSymbol(String),
    /// The grammar is violated.
    #[error("expected {expected} at `{found}`")]
    Syntax {
        /// What would be right.
        expected: &'static str,
        /// The text from there on, shortened.
        found: String,
    },
    /// Parentheses are nested too deep.
    #[error("dimension expression is nested too deeply")]
    TooDeep,
}

/// Prints a [`Dim`] with the names of a table.
#[derive(Clone, Copy, Debug)]
pub struct DisplayDim<'a> {
    dim: &'a Dim,
    table: Option<&'a DimTable>,
}

impl fmt::Display for DisplayDim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dim(f, self.dim, self.table)
    }
}

impl fmt::Display for Dim {
    /// With symbols as `s3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dim(f, self, None)
    }
}

impl DimTable {
    /// The expression with the names of this table.
    pub fn display<'a>(&'a self, dim: &'a Dim) -> DisplayDim<'a> {
        DisplayDim { dim, table: Some(self) }
    }

    /// Reads an expression over the symbols of this table.
    ///
    /// # Errors
    /// When the syntax is wrong or a name is unknown.
    pub fn parse(&self, text: &str) -> Result<Dim, DimParseError> {
        parse_with(text, &mut |name| self.find(name))
    }

    /// Reads the expression that text begins with; returns what follows it. `%` is no part of it: in the text of graphs it
    /// begins a value.
    ///
    /// # Errors
    /// When no expression stands there or a name is unknown.
    pub fn parse_prefix<'t>(&self, text: &'t str) -> Result<(Dim, &'t str), DimParseError> {
        let mut symbol = |name: &str| self.find(name);
        let mut parser = Parser { rest: text, nesting: 0, percent: false, symbol: &mut symbol };
        let dim = parser.sum()?;
        Ok((dim, parser.rest))
    }

    /// Reads an expression; unknown names become input symbols when `create_missing`.
    ///
    /// # Errors
    /// When the syntax is wrong or, without `create_missing`, a name is unknown.
    pub fn parse_with(&mut self, text: &str, create_missing: bool) -> Result<Dim, DimParseError> {
        // Names are created only when the whole text is sound.
        let mut missing: Vec<String> = vec![];
        let base = self.len();
        let dim = parse_with(text, &mut |name| {
            if let Some(symbol) = self.find(name) {
                return Some(symbol);
            }
            if !create_missing {
                return None;
            }
            let at = missing.iter().position(|m| m == name).unwrap_or_else(|| {
                missing.push(name.to_owned());
                missing.len() - 1
            });
            Some(Symbol((base + at) as u32))
        })?;
        for name in missing {
            self.new_symbol(SymbolInfo::input(name));
        }
        Ok(dim)
    }
}

/// Whether a name is written without quotes.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(is_first) && chars.all(is_rest)
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_rest(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

fn write_symbol(f: &mut fmt::Formatter<'_>, symbol: Symbol, table: Option<&DimTable>) -> fmt::Result {
    match table.and_then(|t| t.lookup(symbol)) {
        Some(info) if is_identifier(&info.name) => f.write_str(&info.name),
        Some(info) => write!(f, "{:?}", info.name),
        None => write!(f, "{symbol}"),
    }
}

fn write_dim(f: &mut fmt::Formatter<'_>, dim: &Dim, table: Option<&DimTable>) -> fmt::Result {
    let mut first = true;
    for term in dim.terms() {
        f.write_str(match (first, term.coef < 0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        })?;
        first = false;
        if term.coef.unsigned_abs() != 1 {
            write!(f, "{}*", term.coef.unsigned_abs())?;
        }
        for (i, atom) in term.mono.0.iter().enumerate() {
            if i > 0 {
                f.write_str("*")?;
            }
            write_atom(f, atom, table)?;
        }
    }
    match dim.constant() {
        value if first => write!(f, "{value}"),
        0 => Ok(()),
        value if value < 0 => write!(f, " - {}", value.unsigned_abs()),
        value => write!(f, " + {value}"),
    }
}

fn write_atom(f: &mut fmt::Formatter<'_>, atom: &Atom, table: Option<&DimTable>) -> fmt::Result {
    let (op, operands) = match atom {
        Atom::Sym(symbol) => return write_symbol(f, *symbol, table),
        Atom::Op(op, operands) => (*op, operands),
    };
    if let (DimOp::FloorDiv, [a, b]) = (op, operands.as_slice()) {
        f.write_str("floor(")?;
        write_factor(f, a, table)?;
        f.write_str("/")?;
        write_factor(f, b, table)?;
        return f.write_str(")");
    }
    f.write_str(match op {
        DimOp::FloorDiv => "floor",
        DimOp::Mod => "mod",
        DimOp::Min => "min",
        DimOp::Max => "max",
        DimOp::Eq => "eq",
        DimOp::Lt => "lt",
        DimOp::Select => "select",
    })?;
    for (i, operand) in operands.iter().enumerate() {
        f.write_str(if i == 0 { "(" } else { ", " })?;
        write_dim(f, operand, table)?;
    }
    f.write_str(")")
}

fn write_factor(f: &mut fmt::Formatter<'_>, dim: &Dim, table: Option<&DimTable>) -> fmt::Result {
    if dim.as_atom().is_some() || dim.as_const().is_some_and(|v| v >= 0) {
        return write_dim(f, dim, table);
    }
    f.write_str("(")?;
    write_dim(f, dim, table)?;
    f.write_str(")")
}

const MAX_NESTING: u32 = 200;

struct Parser<'a, 'f> {
    rest: &'a str,
    nesting: u32,
    /// Whether `%` is the remainder; in the text of graphs it begins a value.
    percent: bool,
    symbol: &'f mut dyn FnMut(&str) -> Option<Symbol>,
}

fn parse_with(text: &str, symbol: &mut dyn FnMut(&str) -> Option<Symbol>) -> Result<Dim, DimParseError> {
    let mut parser = Parser { rest: text, nesting: 0, percent: true, symbol };
    let dim = parser.sum()?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(dim) } else { Err(parser.error("an operator or the end")) }
}

impl Parser<'_, '_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn error(&self, expected: &'static str) -> DimParseError {
        DimParseError::Syntax { expected, found: self.rest.chars().take(24).collect() }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), DimParseError> {
        if self.eat(token) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn sum(&mut self) -> Result<Dim, DimParseError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(DimParseError::TooDeep);
        }
        let mut total = if self.eat("-") { self.product(true)? } else { self.product(false)? };
        loop {
            if self.eat("+") {
                total = total + self.product(false)?;
            } else if self.eat("-") {
                total = total + self.product(true)?;
            } else {
                self.nesting -= 1;
                return Ok(total);
            }
        }
    }

    fn product(&mut self, negative: bool) -> Result<Dim, DimParseError> {
        let mut value = self.factor(negative)?;
        loop {
            if self.eat("*") {
                value = value * self.factor(false)?;
            } else if self.eat("//") || self.eat("/") {
                value = value.floor_div(&self.factor(false)?);
            } else if self.percent && self.eat("%") {
                value = value.rem(&self.factor(false)?);
            } else {
                return Ok(value);
            }
        }
    }

    /// One factor, negated if asked: the sign belongs to the first factor so that `-9223372036854775808` is a number.
    fn factor(&mut self, negative: bool) -> Result<Dim, DimParseError> {
        let sign = |d: Dim| if negative { -d } else { d };
        self.skip_space();
        if self.eat("(") {
            let inner = self.sum()?;
            self.expect(")", "`)`")?;
            return Ok(sign(inner));
        }
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let (number, rest) = self.rest.split_at(digits);
            let text = if negative { format!("-{number}") } else { number.to_owned() };
            let value = text.parse::<i64>().map_err(|_| self.error("a number of at most 64 bits"))?;
            self.rest = rest;
            return Ok(Dim::from(value));
        }
        if self.rest.starts_with('"') {
            let name = self.quoted()?;
            return Ok(sign(self.name(&name)?));
        }
        let length = self.rest.find(|c| !is_rest(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        if !is_identifier(name) {
            return Err(self.error("a number, a name or `(`"));
        }
        self.rest = rest;
        Ok(sign(if self.eat("(") { self.call(name)? } else { self.name(name)? }))
    }

    fn name(&mut self, name: &str) -> Result<Dim, DimParseError> {
        (self.symbol)(name).map(Dim::sym).ok_or_else(|| DimParseError::UnknownSymbol(name.to_owned()))
    }

    fn quoted(&mut self) -> Result<String, DimParseError> {
        match unquote(self.rest) {
            Some((name, rest)) => {
                self.rest = rest;
                Ok(name)
            }
            None => Err(self.error("a closing quote")),
        }
    }

    /// A function's arguments, after its parenthesis.
    fn call(&mut self, name: &str) -> Result<Dim, DimParseError> {
        let name = name.to_ascii_lowercase();
        if name == "ceil" {
            return self.ceil();
        }
        let mut operands = vec![self.sum()?];
        while self.eat(",") {
            operands.push(self.sum()?);
        }
        self.expect(")", "`,` or `)`")?;
        let op = match (name.as_str(), operands.len()) {
            // Division already rounds down.
            ("floor", 1) => return Ok(operands.swap_remove(0)),
            ("mod", 2) => DimOp::Mod,
            ("min", _) => DimOp::Min,
            ("max", _) => DimOp::Max,
            ("eq", 2) => DimOp::Eq,
            ("lt", 2) => DimOp::Lt,
            ("select", 3) => DimOp::Select,
            _ => return Err(self.error("floor, ceil, mod, min, max, eq, lt or select with its operands before")),
        };
        Ok(Dim::apply(op, &operands))
    }

    fn ceil(&mut self) -> Result<Dim, DimParseError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(DimParseError::TooDeep);
        }
        let negative = self.eat("-");
        let mut numerator = self.factor(negative)?;
        while self.eat("*") {
            numerator = numerator * self.factor(false)?;
        }
        let value = if self.eat("//") || self.eat("/") { numerator.ceil_div(&self.factor(false)?) } else { numerator };
        self.expect(")", "one quotient and `)`")?;
        self.nesting -= 1;
        Ok(value)
    }
}

/// Reads a string literal as Rust's `{:?}` writes it; returns it and what follows. `None` when there is none.
pub fn unquote(text: &str) -> Option<(String, &str)> {
    let mut result = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    let body = &text[1..];
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((result, &body[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => result.push('\n'),
                't' => result.push('\t'),
                'r' => result.push('\r'),
                '0' => result.push('\0'),
                'u' => {
                    let mut code = 0u32;
                    (chars.next()?.1 == '{').then_some(())?;
                    loop {
                        match chars.next()?.1 {
                            '}' => break,
                            digit => code = code.checked_mul(16)?.checked_add(digit.to_digit(16)?)?,
                        }
                    }
                    result.push(char::from_u32(code)?);
                }
                other => result.push(other),
            },
            other => result.push(other),
        }
    }
    None
}
