//! Graphs that a pattern applies to, for the tests of rules.

use super::{Function, Left, Pattern};
use nnc_ir::DType;

impl Pattern {
    /// Graphs that the left side describes, each as a signature and a body, in every element type and with every
    /// operation named; none when it has operations with attributes. Some may not be well formed.
    pub fn examples(&self) -> Vec<(String, String)> {
        use DType::*;
        const TYPES: [DType; 6] = [F32, F16, I8, U8, U64, Bool];
        let mut found = vec![];
        let types = TYPES.into_iter().flat_map(|dtype| TYPES.map(|inner| (dtype, inner)));
        for ((dtype, inner), choice) in types.flat_map(|types| (0..4).map(move |choice| (types, choice))) {
            let mut graph = Sketch { pattern: self, choice, inner, inputs: vec![], body: String::new(), next: 100 };
            if graph.value(&self.left, dtype).is_none() {
                continue;
            }
            let inputs = graph.inputs.iter().map(|(_, dtype)| format!("{dtype}[20]")).collect::<Vec<_>>();
            let sketch = (inputs.join(", "), graph.body.trim_end().to_owned());
            if !found.contains(&sketch) {
                found.push(sketch);
            }
        }
        found
    }
}

struct Sketch<'a> {
    pattern: &'a Pattern,
    /// Which of several operations is taken.
    choice: usize,
    /// The type of what is compared or converted.
    inner: DType,
    /// The classes that are inputs.
    inputs: Vec<(usize, DType)>,
    body: String,
    next: usize,
}

impl Sketch<'_> {
    fn line(&mut self, text: &str, dtype: DType) -> usize {
        self.body.push_str(&format!("%{} = {text} : {dtype}[20]\n", self.next));
        self.next += 1;
        self.next - 1
    }

    fn constant(&mut self, data: &str, dtype: DType) -> usize {
        self.body.push_str(&format!("%{} = constant {dtype}[20] {data}\n", self.next));
        self.next += 1;
        self.next - 1
    }

    /// The value of a part of the left side.
    fn value(&mut self, left: &Left, dtype: DType) -> Option<usize> {
        match left {
            Left::Any(at) => self.class(*at, dtype),
            Left::Number(value) if dtype == DType::Bool => {
                Some(self.constant(&format!("splat={}", *value != 0.0), dtype))
            }
            Left::Number(value) => Some(self.constant(&format!("splat={value}"), dtype)),
            Left::Named(_, inner) => self.value(inner, dtype),
            Left::Term { functions, attributes: None, operands } => {
                let function = *functions.get(self.choice % functions.len())?;
                let of = match function {
                    Function::Binary(f) if f.is_comparison() => self.inner,
                    Function::Named("convert") => self.inner,
                    _ => dtype,
                };
                let (name, fits) = match function {
                    Function::Unary(f) => (f.name(), f.accepts(of) && f.result(of) == dtype),
                    Function::Binary(f) => (f.name(), f.accepts(of) && f.result(of) == dtype),
                    Function::Named(name) => (name, name == "select" || name == "convert"),
                };
                if !fits {
                    return None;
                }
                let mut args = vec![];
                for (i, operand) in operands.iter().enumerate() {
                    let condition = i == 0 && name == "select";
                    args.push(format!("%{}", self.value(operand, if condition { DType::Bool } else { of })?));
                }
                if name == "convert" {
                    return Some(self.line(&format!("convert {} to={dtype}", args[0]), dtype));
                }
                Some(self.line(&format!("{name} {}", args.join(", ")), dtype))
            }
            Left::Term { .. } => None,
        }
    }

    /// An input, or a constant where a guard demands one.
    fn class(&mut self, at: usize, dtype: DType) -> Option<usize> {
        if let Some(known) = self.inputs.iter().position(|(class, _)| *class == at) {
            return Some(known);
        }
        let guards = self.pattern.guards.iter().filter(|check| check.classes.contains(&at) && !check.negated);
        let names: Vec<&str> = guards.map(|check| check.name).collect();
        if names.contains(&"bool") && dtype != DType::Bool {
            return None;
        }
        if names.contains(&"splat") {
            return Some(self.constant(&format!("splat={}", at + 1), dtype));
        }
        if names.contains(&"known") {
            let numbers: Vec<String> = (0..20).map(|i| format!("{}", 3 + (i * 7 + at) % 11)).collect();
            return Some(self.constant(&format!("[{}]", numbers.join(", ")), dtype));
        }
        self.inputs.push((at, dtype));
        Some(self.inputs.len() - 1)
    }
}
