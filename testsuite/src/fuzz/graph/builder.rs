//! The state of a graph generator.

use nnc_ir::{DType, Dim, Graph, Op, Symbol, SymbolInfo, SymbolOrigin, Tensor, TensorType, ValueId};

use crate::fuzz::onnx::range::Range;
use crate::fuzz::random::Random;

/// The most elements of one value, with the sizes that the graph is thought with.
const MOST_ELEMENTS: i64 = 5000;

/// The state of a graph generator.
pub(super) struct Builder {
    pub random: Random,
    pub graph: Graph,
    /// The range of each value.
    pub ranges: Vec<Range>,
    /// The size of each symbol that the graph is thought with; of those that nodes define, the greatest.
    pub sizes: Vec<i64>,
    /// How many graphs this one is inside of.
    pub depth: usize,
    /// The float type that steps get for `f32`.
    pub float: DType,
}

impl Builder {
    pub fn new(mut random: Random) -> Builder {
        let mut graph = Graph { name: "fuzz".to_owned(), ..Graph::default() };
        let mut sizes = vec![];
        for name in ["n", "m", "k"].into_iter().take(random.below(4)) {
            let min = *random.of(&[0, 0, 1, 2, 4]);
            let max = *random.of(&[i64::MAX, i64::MAX, 64, 40]);
            graph.dims.new_symbol(SymbolInfo { min, max, ..SymbolInfo::input(name) });
            sizes.push(min.max(*random.of(&[1, 2, 3, 4, 5, 7])));
        }
        let float = *random.of(&[&[DType::F32; 17][..], &[DType::F16, DType::BF16, DType::F64]].concat());
        let mut builder = Builder { random, graph, ranges: vec![], sizes, depth: 0, float };
        // Symbols take their values from inputs.
        for symbol in 0..builder.sizes.len() as u32 {
            builder.input(DType::F32, vec![Dim::sym(Symbol(symbol))], Range::exact(-4.0, 4.0, 3));
        }
        builder
    }

    pub fn size(&self, dim: &Dim) -> i64 {
        dim.eval(&|s: Symbol| self.sizes.get(s.0 as usize).copied()).unwrap_or(1)
    }

    pub fn at_least(&self, dim: &Dim, least: i64) -> Option<()> {
        dim.provably_ge(&Dim::from(least), &self.graph.dims).then_some(())
    }

    /// The symbols whose sizes are of one origin.
    fn symbols(&self, origin: SymbolOrigin) -> Vec<Symbol> {
        self.graph.dims.iter().filter(|(_, info)| info.origin == origin).map(|(symbol, _)| symbol).collect()
    }

    /// A dimension that an input may have.
    pub fn dim(&mut self) -> Dim {
        let symbols = self.symbols(SymbolOrigin::Input);
        if !symbols.is_empty() && self.random.percent(45) {
            return Dim::sym(*self.random.of(&symbols));
        }
        if self.random.percent(1) {
            return Dim::ZERO;
        }
        Dim::from(*self.random.of(&[1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 2, 3, 1]))
    }

    /// A shape that an input may have.
    pub fn shape(&mut self, rank: usize) -> Vec<Dim> {
        loop {
            let dims: Vec<Dim> = (0..rank).map(|_| self.dim()).collect();
            if dims.iter().map(|d| self.size(d)).product::<i64>() <= MOST_ELEMENTS / 4 {
                return dims;
            }
        }
    }

    /// A dimension of a node: a size found in data, now and then.
    pub fn any_dim(&mut self) -> Dim {
        let used: Vec<Dim> = self.graph.values.iter().flat_map(|v| v.ty.shape.iter().cloned()).collect();
        let found: Vec<Dim> = used.into_iter().filter(|d| !self.nameable(std::slice::from_ref(d))).collect();
        match found.is_empty() || self.random.percent(70) {
            true => self.dim(),
            false => self.random.of(&found).clone(),
        }
    }

    /// Whether an input may have these dimensions: constants and the symbols of inputs.
    pub fn nameable(&self, dims: &[Dim]) -> bool {
        dims.iter().all(|dim| match dim.as_symbol() {
            Some(symbol) => self.graph.dims.get(symbol).origin == SymbolOrigin::Input,
            None => dim.as_const().is_some(),
        })
    }

    /// A symbol that the next node defines, of this range and at most `upper` where that is known; the graph is thought
    /// with the greatest.
    pub fn unknown(&mut self, prefix: &str, (min, max): (i64, i64), upper: Option<Dim>, thought: i64) -> Symbol {
        self.sizes.push(upper.as_ref().map_or(thought, |upper| self.size(upper)));
        self.graph.dims.fresh(prefix, min, max, upper)
    }

    /// What [`Self::unknown`] gives for a number of elements.
    pub fn count(&mut self, of: &Dim) -> Symbol {
        let most = of.bounds(&self.graph.dims).1;
        self.unknown("count", (0, most), Some(of.clone()), 0)
    }

    pub fn range(&mut self, dtype: DType) -> Range {
        match dtype {
            DType::Bool => Range::exact(0.0, 1.0, 0),
            d if d.is_float() && self.random.percent(60) => Range::exact(-4.0, 4.0, if d.size() < 4 { 1 } else { 3 }),
            d if d.is_float() => Range::rounded(-2.0, 2.0),
            d if Range::all(d).low < 0.0 => Range::exact(-20.0, 20.0, 0),
            _ => Range::exact(0.0, 20.0, 0),
        }
    }

    pub fn input(&mut self, dtype: DType, shape: Vec<Dim>, range: Range) -> ValueId {
        let name = format!("x{}", self.graph.inputs.len());
        let value = self.graph.add_input(TensorType::new(dtype, shape), name);
        self.ranges.push(range);
        value
    }

    /// A constant; few elements, or one value everywhere, so that its text says all.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let values = tensor.to_f64s();
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        let high = values.iter().copied().fold(f64::MIN, f64::max);
        let exact = values.iter().all(|v| (v * 8.0).fract() == 0.0);
        let value = self.graph.push_const(tensor, "");
        self.ranges.push(Range { low: low.min(high), high: high.max(low.min(high)), bits: exact.then_some(3) });
        value
    }

    pub fn range_of(&self, value: ValueId) -> Range {
        self.ranges[value.index()]
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.graph.ty(value).dtype
    }

    pub fn dims(&self, value: ValueId) -> Vec<Dim> {
        self.graph.shape(value).to_vec()
    }

    /// A value that fits, late ones more often.
    pub fn pick(&mut self, fits: impl Fn(&Builder, ValueId) -> bool) -> Option<ValueId> {
        let all: Vec<ValueId> = (0..self.graph.values.len() as u32).map(ValueId).filter(|&v| fits(self, v)).collect();
        if all.is_empty() {
            return None;
        }
        let back = self.random.below(all.len()).min(self.random.below(all.len() + 1));
        Some(all[all.len() - 1 - back])
    }

    /// A value of one of these types and ranks: of the graph, or a new input. For `f32` stands the graph's float type.
    pub fn get(&mut self, dtypes: &[DType], ranks: (usize, usize)) -> ValueId {
        let dtypes: Vec<DType> = dtypes.iter().map(|&d| if d == DType::F32 { self.float } else { d }).collect();
        let fits = |b: &Builder, v| {
            dtypes.contains(&b.dtype(v))
                && (ranks.0..=ranks.1).contains(&b.dims(v).len())
                && b.range_of(v).magnitude() < 1e4
        };
        if self.random.percent(88)
            && let Some(value) = self.pick(fits)
        {
            return value;
        }
        let dtype = *self.random.of(&dtypes);
        let rank = ranks.0 + self.random.below(ranks.1 - ranks.0 + 1);
        let shape = self.shape(rank);
        let range = self.range(dtype);
        self.input(dtype, shape, range)
    }

    pub fn float(&mut self, low: usize, high: usize) -> ValueId {
        self.get(&[DType::F32], (low, high))
    }

    pub fn any(&mut self, low: usize, high: usize) -> ValueId {
        self.get(
            &[DType::F32, DType::F32, DType::F32, DType::I64, DType::I32, DType::F64, DType::U8, DType::Bool],
            (low, high),
        )
    }

    /// Appends a node whose results have this range; `None` when it does not fit, is too large or may overflow.
    pub fn push(&mut self, op: Op, args: &[ValueId], range: Range) -> Option<ValueId> {
        self.push_all(op, args, &[range])?.first().copied()
    }

    /// As [`Self::push`], with a range for each result; the last one is that of those left over. The symbols that the
    /// node defines are those that were made for it.
    pub fn push_all(&mut self, op: Op, args: &[ValueId], ranges: &[Range]) -> Option<Vec<ValueId>> {
        let before = self.graph.values.len();
        let results = self.graph.push(op, args, "").ok()?;
        let small = results.iter().all(|&v| {
            let dims = self.graph.shape(v);
            dims.len() <= 6 && dims.iter().map(|d| self.size(d)).product::<i64>() <= MOST_ELEMENTS
        });
        let range = |(i, &v): (usize, &ValueId)| ranges.get(i).or(ranges.last())?.fit(self.dtype(v));
        let fitted: Option<Vec<Range>> = results.iter().enumerate().map(range).collect();
        match fitted.filter(|_| small) {
            Some(ranges) => {
                self.ranges.extend(ranges);
                Some(results)
            }
            None => {
                self.graph.nodes.pop();
                self.graph.values.truncate(before);
                None
            }
        }
    }
}
