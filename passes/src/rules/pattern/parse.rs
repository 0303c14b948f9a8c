//! Reads patterns.

use super::guards::GUARDS;
use super::{Check, Function, Left, Pattern, Right};
use nnc_ir::op::{BinaryOp, UnaryOp};

/// The operations with attributes that patterns may name, and `select`.
const NAMED: &[&str] = &[
    "select",
    "convert",
    "bitcast",
    "broadcast",
    "reshape",
    "transpose",
    "slice",
    "pad",
    "concat",
    "reduce",
    "contract",
    "conv",
    "gather",
    "cumulative",
    "iota",
];

fn function(name: &str) -> Result<Function, String> {
    let named = || NAMED.iter().find(|n| **n == name).map(|n| Function::Named(n));
    let binary = || BinaryOp::from_name(name).map(Function::Binary).or_else(named);
    UnaryOp::from_name(name).map(Function::Unary).or_else(binary).ok_or_else(|| format!("no operation {name:?}"))
}

impl Pattern {
    /// Reads the two sides of a rule.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(left: &str, right: &str) -> Result<Pattern, String> {
        let (term, guards) = left.split_once(" if ").unwrap_or((left, ""));
        let mut names = Names { classes: vec!["root".to_owned()], attributes: vec![], open: true };
        let mut tokens = Tokens::new(term);
        let left = names.left(&mut tokens)?;
        tokens.end()?;
        if !matches!(left, Left::Term { .. }) {
            return Err("the left side is no operation".to_owned());
        }
        names.open = false;
        let mut tokens = Tokens::new(right);
        let right = names.right(&mut tokens)?;
        tokens.end()?;
        let mut tokens = Tokens::new(guards);
        let guards = names.guards(&mut tokens)?;
        Ok(Pattern { left, right, guards, classes: names.classes, attributes: names.attributes })
    }
}

/// Words, and the signs between them.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(rest: &'a str) -> Tokens<'a> {
        Tokens { rest: rest.trim() }
    }

    fn peek(&self) -> &'a str {
        let signs = "()?@:|,";
        let length = match self.rest.find(|c: char| signs.contains(c) || c.is_whitespace()) {
            Some(0) => 1,
            Some(at) => at,
            None => self.rest.len(),
        };
        &self.rest[..length]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = self.rest[token.len()..].trim_start();
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.peek() == sign;
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) { Ok(()) } else { Err(format!("expected {sign:?} before {:?}", self.rest)) }
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match self.next() {
            name if !name.is_empty() && name.chars().all(plain) => Ok(name),
            other => Err(format!("{other:?} is no name")),
        }
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("{:?} is too much", self.rest)) }
    }
}

/// The names of a rule.
struct Names {
    classes: Vec<String>,
    attributes: Vec<String>,
    /// Whether a name may be new.
    open: bool,
}

/// The number of a name.
fn number_of(names: &mut Vec<String>, name: &str, open: bool) -> Result<usize, String> {
    match names.iter().position(|n| n == name) {
        Some(at) => Ok(at),
        None if open => {
            names.push(name.to_owned());
            Ok(names.len() - 1)
        }
        None => Err(format!("{name:?} is not on the left side")),
    }
}

impl Names {
    fn left(&mut self, tokens: &mut Tokens) -> Result<Left, String> {
        if tokens.take("?") {
            let class = number_of(&mut self.classes, tokens.name()?, true)?;
            return Ok(if tokens.take("@") {
                Left::Named(class, Box::new(self.left(tokens)?))
            } else {
                Left::Any(class)
            });
        }
        if !tokens.take("(") {
            let word = tokens.next();
            return word.parse().map(Left::Number).map_err(|_| format!("{word:?} is no number"));
        }
        let mut functions = vec![function(tokens.name()?)?];
        while tokens.take("|") {
            functions.push(function(tokens.name()?)?);
        }
        let attributes = self.attributes(tokens)?;
        let mut operands = vec![];
        while !tokens.take(")") {
            operands.push(self.left(tokens)?);
        }
        for function in &functions {
            check_count(*function, operands.len())?;
        }
        Ok(Left::Term { functions, attributes, operands })
    }

    fn right(&mut self, tokens: &mut Tokens) -> Result<Right, String> {
        if tokens.take("?") {
            return Ok(Right::Class(number_of(&mut self.classes, tokens.name()?, false)?));
        }
        if !tokens.take("(") {
            let word = tokens.next();
            return word.parse().map(Right::Number).map_err(|_| format!("{word:?} is no number"));
        }
        let function = function(tokens.name()?)?;
        let attributes = self.attributes(tokens)?;
        let free = matches!(function, Function::Unary(_) | Function::Binary(_) | Function::Named("select"));
        let implied = matches!(function, Function::Named("reshape" | "convert"));
        if attributes.is_none() && !free && !implied || attributes.is_some() && free {
            return Err("attributes are missing, or there are none".to_owned());
        }
        let mut operands = vec![];
        while !tokens.take(")") {
            operands.push(self.right(tokens)?);
        }
        check_count(function, operands.len())?;
        Ok(Right::Term { function, attributes, operands })
    }

    fn attributes(&mut self, tokens: &mut Tokens) -> Result<Option<usize>, String> {
        let open = self.open;
        let mut of = |name| number_of(&mut self.attributes, name, open);
        if tokens.take(":") { of(tokens.name()?).map(Some) } else { Ok(None) }
    }

    fn guards(&mut self, tokens: &mut Tokens) -> Result<Vec<Check>, String> {
        let mut found = vec![];
        while !tokens.rest.is_empty() {
            if !found.is_empty() {
                tokens.expect(",")?;
            }
            let first = tokens.name()?;
            let negated = first == "not";
            let name = if negated { tokens.name()? } else { first };
            let &(name, guard) = GUARDS.iter().find(|(n, _)| *n == name).ok_or_else(|| format!("no guard {name:?}"))?;
            tokens.expect("(")?;
            let (mut attributes, mut classes) = (vec![], vec![]);
            loop {
                let operand = tokens.name()?;
                match number_of(&mut self.attributes, operand, false) {
                    Ok(at) => attributes.push(at),
                    Err(_) => classes.push(number_of(&mut self.classes, operand, false)?),
                }
                if !tokens.take(",") {
                    break;
                }
            }
            tokens.expect(")")?;
            if guard.operands() != (attributes.len(), classes.len()) {
                return Err(format!("{name} takes other operands"));
            }
            found.push(Check { name, negated, guard, attributes, classes });
        }
        Ok(found)
    }
}

/// Operands of operations whose number is fixed.
fn check_count(function: Function, count: usize) -> Result<(), String> {
    let expected = match function {
        Function::Unary(_) => 1,
        Function::Binary(_) | Function::Named("contract" | "conv" | "gather" | "pad") => 2,
        Function::Named("select") => 3,
        Function::Named("concat") => return Ok(()),
        Function::Named("iota") => 0,
        Function::Named(_) => 1,
    };
    if expected == count { Ok(()) } else { Err(format!("{function:?} has {expected} operands, not {count}")) }
}
