//! Reads the text form of kernels and programs back; see [`crate::print`] for what it looks like.
//!
//! Invariants: nothing panics or recurses without limit, whatever the text; names are declared before they are used.
//! What is read is well-formed but not yet sound: [`crate::verify`] checks rules.

mod expr;
mod program;
mod statement;
#[cfg(test)]
mod tests;

pub use program::program;

use crate::index::Names;
use crate::kernel::{Access, BufferDecl, BufferRef, Index, Kernel, Var, VarInfo};
use crate::print::{FULL_RANGE, loop_range};
use nnc_ir::DType;
use nnc_ir::dim::unquote;

/// What is wrong with the text of a kernel or program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}, at `{found}`")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// The text from there on, shortened.
    pub found: String,
}

type Parsed<T> = Result<T, ParseError>;

/// Nesting of statements and expressions that is read: what the verifier accepts.
const MAX_DEPTH: u32 = crate::verify::MAX_DEPTH;

/// Reads one kernel.
///
/// # Errors
/// The first place where the text is not that of a kernel.
pub fn kernel(text: &str) -> Result<Kernel, ParseError> {
    let mut all = kernels(text)?;
    match (all.pop(), all.is_empty()) {
        (Some(kernel), true) => Ok(kernel),
        _ => Err(ParseError { line: 1, problem: "expected one kernel".to_owned(), found: String::new() }),
    }
}

/// Reads any number of kernels.
///
/// # Errors
/// The first place where the text is not that of a kernel.
pub fn kernels(text: &str) -> Result<Vec<Kernel>, ParseError> {
    let mut parser = Parser::new(text);
    let mut found = vec![];
    while !parser.at_end() {
        found.push(parser.next_kernel()?);
    }
    Ok(found)
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: u32,
    /// The variables declared so far, numbered as in the kernel.
    names: Names,
    kernel: Kernel,
}

/// A kernel of which nothing is known yet.
fn empty() -> Kernel {
    Kernel {
        name: String::new(),
        buffers: vec![],
        params: vec![],
        vars: vec![],
        parallel: (Var(0), Index::ONE),
        body: vec![],
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, rest: text, depth: 0, names: Names::default(), kernel: empty() }
    }

    /// Whether nothing but space and comments is left.
    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with(';') && self.at_line_start() {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        }
    }

    /// Whether only space precedes on this line: then `;` starts a comment.
    fn at_line_start(&self) -> bool {
        let before = &self.text[..self.text.len() - self.rest.len()];
        before.rsplit('\n').next().unwrap_or_default().trim().is_empty()
    }

    fn error(&self, problem: impl Into<String>) -> ParseError {
        let done = self.text.len() - self.rest.len();
        let line = self.text[..done].bytes().filter(|&b| b == b'\n').count() + 1;
        ParseError { line, problem: problem.into(), found: self.rest.chars().take(24).collect() }
    }

    /// The next word without taking it.
    fn peek(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        // A word is not the beginning of a longer word.
        if token.ends_with(is_word) && token.starts_with(|c: char| c.is_ascii_alphabetic()) && rest.starts_with(is_word)
        {
            return false;
        }
        self.rest = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(self.error(format!("expected `{token}`"))) }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// A name, plain or in quotes.
    fn name(&mut self) -> Parsed<String> {
        self.skip_space();
        if self.rest.starts_with('"') {
            let Some((name, rest)) = unquote(self.rest) else { return Err(self.error("a quote is not closed")) };
            self.rest = rest;
            return Ok(name);
        }
        let word = self.peek();
        if !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.error("expected a name"));
        }
        self.rest = &self.rest[word.len()..];
        Ok(word.to_owned())
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let word = self.peek();
        let Some(dtype) = DType::from_name(word) else { return Err(self.error("expected a type")) };
        self.rest = &self.rest[word.len()..];
        Ok(dtype)
    }

    fn integer(&mut self) -> Parsed<i64> {
        self.skip_space();
        let digits = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let sign = self.rest.len() - digits.len();
        let end = sign + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let Ok(value) = self.rest[..end].parse() else { return Err(self.error("expected an integer")) };
        self.rest = &self.rest[end..];
        Ok(value)
    }

    fn size(&mut self) -> Parsed<usize> {
        let value = self.integer()?;
        usize::try_from(value).map_err(|_| self.error("expected a size before"))
    }

    /// An index up to one of these tokens outside parentheses, which is not taken.
    fn index_until(&mut self, stops: &[&str]) -> Parsed<Index> {
        self.skip_space();
        let (mut nesting, mut end) = (0u32, self.rest.len());
        let mut quoted = false;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            if quoted {
                (quoted, escaped) = (escaped || c != '"', !escaped && c == '\\');
                continue;
            }
            if nesting == 0 && stops.iter().any(|s| self.rest[at..].starts_with(s)) {
                end = at;
                break;
            }
            match c {
                '"' => quoted = true,
                '(' => nesting += 1,
                ')' => nesting = nesting.saturating_sub(1),
                _ => {}
            }
        }
        let index = self.names.parse(self.rest[..end].trim()).map_err(|e| self.error(e.to_string()))?;
        self.rest = &self.rest[end..];
        Ok(index)
    }

    /// `[index]`.
    fn bracketed(&mut self) -> Parsed<Index> {
        self.expect("[")?;
        let index = self.index_until(&["]"])?;
        self.expect("]")?;
        Ok(index)
    }

    /// `name[index]`.
    fn element(&mut self) -> Parsed<(BufferRef, Index)> {
        let name = self.name()?;
        let Some(at) = self.kernel.buffers.iter().position(|b| b.name == name) else {
            return Err(self.error(format!("unknown buffer `{name}` before")));
        };
        Ok((BufferRef(at as u32), self.bracketed()?))
    }

    fn find(&self, name: &str) -> Parsed<Var> {
        self.names.find(name).ok_or_else(|| self.error(format!("unknown variable `{name}` before")))
    }

    fn declare(&mut self, name: String, dtype: DType, (min, max): (i64, i64)) -> Parsed<Var> {
        if self.names.find(&name).is_some() || name.is_empty() {
            return Err(self.error(format!("variable `{name}` is declared twice or has no name")));
        }
        let var = self.names.add(&name);
        self.kernel.vars.push(VarInfo { name, dtype, min, max });
        Ok(var)
    }

    /// ` [min..=max]`, if it is there.
    fn range(&mut self) -> Parsed<Option<(i64, i64)>> {
        if !self.eat("[") {
            return Ok(None);
        }
        let min = self.integer()?;
        self.expect("..=")?;
        let max = self.integer()?;
        self.expect("]")?;
        Ok(Some((min, max)))
    }

    /// `name: type [range]`.
    fn definition(&mut self) -> Parsed<Var> {
        let name = self.name()?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        let range = self.range()?.unwrap_or(FULL_RANGE);
        self.declare(name, dtype, range)
    }

    /// `name [range] in 0..extent` up to one of the tokens.
    fn counted(&mut self, stops: &[&str]) -> Parsed<(Var, Index)> {
        let name = self.name()?;
        let range = self.range()?;
        self.expect("in")?;
        self.expect("0..")?;
        let extent = self.index_until(stops)?;
        let range = range.unwrap_or_else(|| loop_range(&extent));
        Ok((self.declare(name, DType::I64, range)?, extent))
    }

    /// Reads a kernel; then the parser is ready for another.
    fn next_kernel(&mut self) -> Parsed<Kernel> {
        self.names = Names::default();
        self.kernel()?;
        Ok(std::mem::replace(&mut self.kernel, empty()))
    }

    fn kernel(&mut self) -> Parsed<()> {
        self.expect("kernel")?;
        self.expect("@")?;
        self.kernel.name = self.name()?;
        self.expect("(")?;
        while !matches!(self.rest.trim_start().chars().next(), Some(')' | ';')) {
            self.parameter_buffer()?;
            if !self.eat(",") {
                break;
            }
        }
        if self.eat(";") {
            loop {
                let param = self.definition()?;
                self.kernel.params.push(param);
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect(")")?;
        self.expect("parallel")?;
        self.kernel.parallel = self.counted(&["{"])?;
        self.expect("{")?;
        while self.eat("scratch") {
            self.scratch()?;
        }
        self.kernel.body = self.block()?;
        Ok(())
    }

    fn buffer_name(&mut self) -> Parsed<String> {
        let name = self.name()?;
        if self.kernel.buffers.iter().any(|b| b.name == name) {
            return Err(self.error(format!("buffer `{name}` is declared twice")));
        }
        self.expect(":")?;
        Ok(name)
    }

    fn align(&mut self) -> Parsed<u32> {
        self.expect("align")?;
        u32::try_from(self.size()?).map_err(|_| self.error("expected an alignment before"))
    }

    fn parameter_buffer(&mut self) -> Parsed<()> {
        let name = self.buffer_name()?;
        let access = if self.eat("write") {
            Access::Write
        } else {
            self.expect("read")?;
            Access::Read
        };
        let (dtype, align) = (self.dtype()?, self.align()?);
        self.kernel.buffers.push(BufferDecl { name, dtype, access, align });
        Ok(())
    }

    fn scratch(&mut self) -> Parsed<()> {
        let name = self.buffer_name()?;
        let dtype = self.dtype()?;
        self.expect("[")?;
        let elements = self.size()?;
        self.expect("]")?;
        let align = self.align()?;
        self.kernel.buffers.push(BufferDecl { name, dtype, access: Access::Scratch { elements }, align });
        Ok(())
    }
}
