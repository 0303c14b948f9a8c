//! The state of a generator: the model so far, what its values may be, and the sizes it is thought with.

use std::collections::BTreeMap;

use nnc_ir::{DType, Dim, Symbol, Tensor};

use super::net::{Attr, Fill, Net, Node, Var};
use super::range::Range;
use crate::fuzz::random::Random;

/// The most elements of one value, with the sizes that the model is thought with.
const MOST_ELEMENTS: i64 = 6000;

/// The state of a generator. Operators append to it; what no output needs goes at the end.
pub struct Gen {
    /// The choices.
    pub random: Random,
    /// The model so far.
    pub net: Net,
    /// The values that operators may read.
    pub pool: Vec<Var>,
    /// The sizes of symbols that the model is thought with.
    pub sizes: Vec<i64>,
    /// The float type that most values have.
    pub float: DType,
    /// Chance in 100 that a new dimension is a symbol.
    symbolic: usize,
    /// Symbols that inputs may have; the others are results of nodes.
    inputs: usize,
}

impl Gen {
    /// An empty model of an opset.
    pub fn new(mut random: Random, opset: i64) -> Gen {
        let count = if random.percent(35) { 0 } else { 1 + random.below(3) };
        let names = ["batch", "n", "width"];
        let sizes = (0..count).map(|_| *random.of(&[1, 2, 3, 4, 5, 7])).collect();
        let net = Net {
            opset,
            symbols: names.iter().take(count).map(|s| (*s).to_owned()).collect(),
            constraints: vec![],
            inputs: vec![],
            constants: vec![],
            nodes: vec![],
            outputs: vec![],
            values: BTreeMap::new(),
        };
        let float = match random.below(20) {
            0..=1 => DType::F64,
            2 => DType::F16,
            3 => DType::BF16,
            _ => DType::F32,
        };
        Gen { random, net, pool: vec![], sizes, float, symbolic: 40, inputs: count }
    }

    /// The size of a dimension, with the sizes that the model is thought with.
    pub fn size(&self, dim: &Dim) -> i64 {
        dim.eval(&|s: Symbol| self.sizes.get(s.0 as usize).copied()).unwrap_or(1)
    }

    /// Demands that a dimension be at least so large; `None` when it is not even now, or not where data decides for nothing.
    pub fn at_least(&mut self, dim: &Dim, least: i64) -> Option<()> {
        let empty =
            |s: Symbol| if s.0 as usize >= self.inputs { Some(0) } else { self.sizes.get(s.0 as usize).copied() };
        if self.size(dim) < least || self.depends_on_data(dim) && dim.eval(&empty).unwrap_or(0) < least {
            return None;
        }
        if dim.as_const().is_none() {
            self.net.constraints.push((dim.clone(), least));
        }
        Some(())
    }

    /// A new symbol that a node defines, thought to be at most `upper`.
    pub fn unknown(&mut self, upper: i64) -> Dim {
        let symbol = Symbol(self.sizes.len() as u32);
        self.sizes.push(upper);
        Dim::sym(symbol)
    }

    /// Whether a dimension depends on data.
    pub fn depends_on_data(&self, dim: &Dim) -> bool {
        dim.symbols().iter().any(|s| s.0 as usize >= self.inputs)
    }

    /// A dimension for an input.
    pub fn dim(&mut self) -> Dim {
        if self.inputs > 0 && self.random.percent(self.symbolic) {
            return Dim::sym(Symbol(self.random.below(self.inputs) as u32));
        }
        Dim::from(*self.random.of(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 3, 2, 4]))
    }

    /// A shape for an input.
    pub fn shape(&mut self, rank: usize) -> Vec<Dim> {
        loop {
            let mut dims: Vec<Dim> = (0..rank).map(|_| self.dim()).collect();
            if rank > 0 && self.random.percent(2) {
                let at = self.random.below(rank);
                dims[at] = Dim::ZERO;
            }
            if dims.iter().map(|d| self.size(d)).product::<i64>() <= MOST_ELEMENTS / 4 {
                return dims;
            }
        }
    }

    /// A rank, small ones more often.
    pub fn rank(&mut self, least: usize, most: usize) -> usize {
        least + self.random.below(most - least + 1).min(self.random.below(most - least + 2))
    }

    /// A range for new values of a type.
    pub fn range(&mut self, dtype: DType) -> Range {
        let exact = self.random.percent(60);
        match dtype {
            DType::Bool => Range::exact(0.0, 1.0, 0),
            DType::F16 | DType::BF16 if exact => Range::exact(-2.0, 2.0, 2),
            d if d.is_float() && exact => Range::exact(-4.0, 4.0, 3),
            d if d.is_float() => Range::rounded(-2.0, 2.0),
            d => match self.random.below(4) {
                0 if d.size() < 8 => Range::all(d),
                1 => Range::exact(0.0, 3.0, 0),
                _ => Range { low: if Range::all(d).low < 0.0 { -20.0 } else { 0.0 }, high: 20.0, bits: Some(0) },
            },
        }
    }

    fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.net.values.len())
    }

    fn register(&mut self, prefix: &str, dtype: DType, dims: Vec<Dim>, range: Range) -> Var {
        let var = Var { name: self.name(prefix), dtype, dims, range };
        self.net.values.insert(var.name.clone(), var.clone());
        var
    }

    /// A new input.
    pub fn input(&mut self, dtype: DType, dims: Vec<Dim>, range: Range) -> Var {
        let var = self.register("x", dtype, dims, range);
        self.net.inputs.push((var.clone(), Fill::Range));
        self.pool.push(var.clone());
        var
    }

    /// A new input of indices into an axis. Not in the pool: only its operator knows what it is good for.
    pub fn indices(&mut self, dtype: DType, dims: Vec<Dim>, axis: &Dim, negative: bool) -> Option<Var> {
        let fixed: Option<Vec<usize>> = dims.iter().map(|d| d.as_const().map(|d| d as usize)).collect();
        if let (Some(shape), Some(n)) = (fixed, axis.as_const())
            && n > 0
            && self.random.percent(40)
        {
            let low = if negative { -n } else { 0 };
            let count = shape.iter().product();
            let values: Vec<f64> = (0..count).map(|_| self.random.within(low, n - 1) as f64).collect();
            return Some(self.constant(Tensor::from_f64s(dtype, &shape, &values)));
        }
        self.at_least(axis, 1)?;
        let var = self.register("i", dtype, dims, Range::all(dtype));
        self.net.inputs.push((var.clone(), Fill::Indices(axis.clone(), negative)));
        Some(var)
    }

    /// Lengths of sequences: from 1 to the size of an axis.
    pub fn lengths(&mut self, dtype: DType, count: Dim, axis: &Dim) -> Option<Var> {
        self.at_least(axis, 1)?;
        let var = self.register("i", dtype, vec![count], Range::all(dtype));
        self.net.inputs.push((var.clone(), Fill::Lengths(axis.clone())));
        Some(var)
    }

    /// A new constant; not in the pool.
    pub fn constant(&mut self, tensor: Tensor) -> Var {
        let dims = tensor.shape.iter().map(|&d| Dim::from(d)).collect();
        let values = tensor.to_f64s();
        let low = values.iter().copied().fold(f64::MAX, f64::min).min(1e30);
        let high = values.iter().copied().fold(f64::MIN, f64::max).max(-1e30);
        let bits = if tensor.dtype.is_float() {
            (0..8).find(|b| values.iter().all(|v| (v * f64::from(1 << b)).fract() == 0.0))
        } else {
            Some(0)
        };
        let var = self.register("c", tensor.dtype, dims, Range { low, high: high.max(low), bits });
        self.net.constants.push((var.name.clone(), tensor));
        var
    }

    /// A vector of integers, as operators take shapes and axes.
    pub fn vector(&mut self, values: &[i64]) -> Var {
        self.constant(Tensor::from_slice(&[values.len()], values))
    }

    /// A scalar.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> Var {
        self.constant(Tensor::scalar_of(dtype, value))
    }

    /// Random elements of a range.
    pub fn tensor(&mut self, dtype: DType, shape: &[usize], range: Range) -> Tensor {
        fill(&mut self.random, dtype, shape, range)
    }

    /// A new value: an input, or now and then a constant.
    pub fn fresh(&mut self, dtype: DType, dims: Vec<Dim>, range: Range) -> Var {
        let fixed: Option<Vec<usize>> = dims.iter().map(|d| d.as_const().map(|d| d as usize)).collect();
        match fixed {
            Some(shape) if self.random.percent(45) => {
                let tensor = match self.random.percent(15) && range.within(-1e6, 1e6) {
                    // One value everywhere, one that rules look for if possible.
                    true => {
                        let special = *self.random.of(&[0.0, 1.0, 2.0, -1.0]);
                        let value = if Range::exact(special, special, 0).within(range.low, range.high) {
                            special
                        } else {
                            range.low.ceil().min(range.high)
                        };
                        Tensor::from_f64s(dtype, &shape, &vec![value; shape.iter().product()])
                    }
                    false => self.tensor(dtype, &shape, range),
                };
                self.constant(tensor)
            }
            _ => self.input(dtype, dims, range),
        }
    }

    /// A weight: a constant, or rarely an input.
    pub fn weight(&mut self, dtype: DType, shape: &[usize], range: Range) -> Var {
        let tensor = self.tensor(dtype, shape, range);
        self.constant(tensor)
    }

    /// A value of the pool, late ones more often.
    pub fn pick(&mut self, fits: impl Fn(&Var) -> bool) -> Option<Var> {
        let all: Vec<&Var> = self.pool.iter().filter(|v| fits(v)).collect();
        if all.is_empty() {
            return None;
        }
        let back = self.random.below(all.len()).min(self.random.below(all.len() + 1));
        Some(all[all.len() - 1 - back].clone())
    }

    /// A value of one of these types, ranks and ranges: of the pool, else new.
    pub fn get(&mut self, dtypes: &[DType], ranks: (usize, usize), fits: impl Fn(&Var) -> bool) -> Var {
        let wanted = |v: &Var| dtypes.contains(&v.dtype) && (ranks.0..=ranks.1).contains(&v.rank());
        if self.random.percent(85)
            && let Some(var) = self.pick(|v| wanted(v) && fits(v))
        {
            return var;
        }
        let dtype =
            if dtypes.contains(&self.float) && self.random.percent(70) { self.float } else { *self.random.of(dtypes) };
        let rank = self.rank(ranks.0, ranks.1);
        let dims = self.shape(rank);
        let range = self.range(dtype);
        self.input(dtype, dims, range)
    }

    /// A value whose elements lie in bounds, of the pool or new.
    pub fn bounded(&mut self, dtypes: &[DType], low: f64, high: f64, exact: bool) -> Var {
        let fits = |v: &Var| v.range.within(low, high) && (!exact || v.range.bits.is_some());
        let var = self.get(dtypes, (0, 5), fits);
        if fits(&var) {
            return var;
        }
        let range = if exact { Range::exact(low.ceil(), high.floor(), 2) } else { Range::rounded(low, high) };
        self.input(var.dtype, var.dims, range)
    }

    /// A float value, of a rank.
    pub fn float(&mut self, low_rank: usize, high_rank: usize) -> Var {
        self.get(&[self.float], (low_rank, high_rank), |v| v.range.magnitude() < 1e4)
    }

    /// Any value.
    pub fn any(&mut self, low_rank: usize, high_rank: usize) -> Var {
        let dtypes = self.any_dtypes();
        self.get(&dtypes, (low_rank, high_rank), |_| true)
    }

    /// The types that values of every kind have.
    pub fn any_dtypes(&self) -> Vec<DType> {
        vec![self.float, self.float, self.float, DType::I64, DType::I32, DType::Bool, DType::U8, DType::I8]
    }

    /// A value that broadcasts with another and has its type.
    pub fn partner(&mut self, other: &Var, range: impl Fn(&mut Gen) -> Range) -> Var {
        let fits = |v: &Var| v.dtype == other.dtype && broadcast(&v.dims, &other.dims).is_some();
        let wanted = range(self);
        if self.random.percent(65)
            && let Some(var) = self.pick(|v| fits(v) && v.range.within(wanted.low, wanted.high))
        {
            return var;
        }
        let mut dims = other.dims.clone();
        if self.random.percent(40) {
            dims.drain(..self.random.below(other.rank() + 1));
        }
        for dim in &mut dims {
            if self.random.percent(25) || self.depends_on_data(dim) {
                *dim = Dim::ONE;
            }
        }
        self.fresh(other.dtype, dims, wanted)
    }

    /// Whether a value of this shape is small enough.
    pub fn small(&self, dims: &[Dim]) -> bool {
        let product = dims.iter().map(|d| self.size(d)).try_fold(1i64, |a, b| a.checked_mul(b.max(0)));
        product.is_some_and(|n| n <= MOST_ELEMENTS) && dims.len() <= 6
    }

    /// Appends a node; its results are named and of these types. `None` when one is too large or may overflow.
    pub fn emit(
        &mut self,
        op: &str,
        inputs: &[&Var],
        attributes: Vec<(&'static str, Attr)>,
        results: Vec<(DType, Vec<Dim>, Range)>,
    ) -> Option<Vec<Var>> {
        let names = inputs.iter().map(|v| v.name.clone()).collect();
        self.emit_named(op, names, attributes, results)
    }

    /// As [`Self::emit`], with operands by name: an empty name is one left out.
    pub fn emit_named(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<(&'static str, Attr)>,
        results: Vec<(DType, Vec<Dim>, Range)>,
    ) -> Option<Vec<Var>> {
        let fitted: Option<Vec<Range>> = results.iter().map(|(dtype, _, range)| range.fit(*dtype)).collect();
        if !results.iter().all(|(_, dims, _)| self.small(dims)) {
            return None;
        }
        let mut vars = vec![];
        for ((dtype, dims, _), range) in results.into_iter().zip(fitted?) {
            let var = self.register("v", dtype, dims, range);
            self.pool.push(var.clone());
            vars.push(var);
        }
        let outputs = vars.iter().map(|v| v.name.clone()).collect();
        self.net.nodes.push(Node { op: op.to_owned(), inputs, outputs, attributes });
        Some(vars)
    }

    /// As [`Self::emit`] for one result.
    pub fn one(
        &mut self,
        op: &str,
        inputs: &[&Var],
        attributes: Vec<(&'static str, Attr)>,
        dtype: DType,
        dims: Vec<Dim>,
        range: Range,
    ) -> Option<()> {
        self.emit(op, inputs, attributes, vec![(dtype, dims, range)]).map(drop)
    }
}

/// The shape that two shapes broadcast to, if they do whatever the sizes of symbols are.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[Dim], i: usize| (i + dims.len()).checked_sub(rank).map_or(Dim::ONE, |i| dims[i].clone());
    let both = |i| {
        let (x, y) = (dim(a, i), dim(b, i));
        if x == y || y.is_const(1) { Some(x) } else { x.is_const(1).then_some(y) }
    };
    (0..rank).map(both).collect()
}

/// Random elements of a range.
pub fn fill(random: &mut Random, dtype: DType, shape: &[usize], range: Range) -> Tensor {
    let count: usize = shape.iter().product();
    let Range { low, high, bits } = range;
    let values: Vec<f64> = (0..count)
        .map(|_| match bits {
            Some(bits) => {
                let unit = 2f64.powi(bits as i32);
                let steps = ((high - low) * unit).min(1e15);
                low + (random.unit() * (steps + 1.0)).floor().min(steps) / unit
            }
            None => low + random.unit() * (high - low),
        })
        .collect();
    Tensor::from_f64s(dtype, shape, &values)
}
