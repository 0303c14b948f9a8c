//! What a finished kernel costs: its statements, counted and priced by the target's model.
//!
//! The run time decides by it whether to share a step out. Sizes that are not known are taken as [`choose::MANY`]; the
//! estimate grows with those around the statement that costs most.

use crate::choose;
use nnc_desc::{Rates, Target, Work, operations};
use nnc_ir::Dim;
use nnc_kernels::Contraction;
use nnc_kernels::affine::coefficient;
use nnc_kernels::kernel::{AxisKind, Expr, Index, Kernel, Stmt, Var};

/// Where statements stand.
#[derive(Clone)]
struct Around {
    /// How often they run; a vector of lanes counts as once.
    times: u64,
    /// The sizes of loops that are known at run time only.
    unknown: Vec<Index>,
    /// The loop that runs in lanes.
    lanes: Option<Var>,
}

struct Counter<'a> {
    kernel: &'a Kernel,
    target: &'a Target,
    total: u64,
    /// The costliest statement: its cost and the unknown sizes around it.
    most: (u64, Vec<Index>),
}

/// Nanoseconds that all iterations of a kernel take on one core; `dim_of` is the size that a parameter stands for.
pub(super) fn of_kernel(kernel: &Kernel, target: &Target, dim_of: &impl Fn(Var) -> Dim) -> Dim {
    let mut counter = Counter { kernel, target, total: 0, most: (0, vec![]) };
    let around = Around { times: 1, unknown: vec![], lanes: None };
    let around = counter.within(&around, &kernel.parallel.1, None);
    counter.add(&around, &Work { iterations: 1, ..Work::default() });
    counter.block(&kernel.body, &around);
    let unknown = counter.most.1.iter().fold(Index::ONE, |volume, extent| &volume * extent);
    choose::nanoseconds(counter.total, counter.size(&unknown), &unknown.export(dim_of))
}

impl Counter<'_> {
    fn rates(&self) -> &'static Rates {
        self.target.rates
    }

    /// A size in numbers: parameters are [`choose::MANY`] within their bounds, other variables the least they can be.
    fn size(&self, extent: &Index) -> u64 {
        let value = |v: Var| {
            let info = &self.kernel.vars[v.0 as usize];
            let assumed = if self.kernel.params.contains(&v) { choose::MANY as i64 } else { info.min };
            Some(assumed.min(info.max).max(info.min))
        };
        extent.eval(&value).map_or(choose::MANY, |n| n.max(0).unsigned_abs())
    }

    /// Inside a loop of `extent` iterations; those of a loop in lanes run a vector at a time.
    fn within(&self, around: &Around, extent: &Index, lanes: Option<Var>) -> Around {
        let mut inside = around.clone();
        let size = self.size(extent);
        let rounds = if lanes.is_some() { size.div_ceil(self.lane_count()) } else { size };
        inside.times = inside.times.saturating_mul(rounds);
        inside.lanes = lanes.or(around.lanes);
        let vars = extent.vars();
        if !vars.is_empty() && vars.iter().all(|v| self.kernel.params.contains(v)) {
            inside.unknown.push(extent.clone());
        }
        inside
    }

    fn lane_count(&self) -> u64 {
        (self.target.vector_bytes().max(16) / 4) as u64
    }

    fn add(&mut self, around: &Around, work: &Work) {
        let cost = self.rates().cost(work).saturating_mul(around.times);
        self.total = self.total.saturating_add(cost);
        if cost > self.most.0 {
            self.most = (cost, around.unknown.clone());
        }
    }

    fn block(&mut self, statements: &[Stmt], around: &Around) {
        for statement in statements {
            match statement {
                Stmt::For(l, body) | Stmt::Reduce(l, body, _) => {
                    let inside = self.within(around, &l.extent, (l.axis == AxisKind::Vector).then_some(l.var));
                    self.block(body, &inside);
                }
                Stmt::Contract(c) => self.contraction(c, around),
                Stmt::If(condition, then, otherwise) => {
                    self.add(around, &self.expression(condition, around));
                    self.block(then, around);
                    self.block(otherwise, around);
                }
                Stmt::While(condition, body) => {
                    // As often as many: how often depends on data.
                    let inside = Around { times: around.times.saturating_mul(choose::MANY), ..around.clone() };
                    self.add(&inside, &self.expression(condition, &inside));
                    self.block(body, &inside);
                }
                Stmt::Let(_, x) | Stmt::Mutable(_, x) | Stmt::Assign(_, x) => {
                    self.add(around, &self.expression(x, around));
                }
                Stmt::Store(_, index, x) => {
                    let work = self.expression(x, around) + self.access(index, around);
                    self.add(around, &work);
                }
                Stmt::Fail(_) => {}
            }
        }
    }

    /// Register tiles of a block of rows and one panel, and the epilogue.
    fn contraction(&mut self, c: &Contraction, around: &Around) {
        let Some(product) = self.target.product(c.accumulator, c.accumulator, c.accumulator) else { return };
        let mut inside = self.within(around, &c.extents.k, None);
        let taps = c.taps.iter().fold(1u64, |n, tap| n.saturating_mul(tap.count as u64));
        let rows = self.size(&c.extents.m);
        let vectors = self.size(&c.extents.n).div_ceil(product.lanes() as u64).max(1);
        let high = (c.tile.rows as u64).max(1);
        inside.times = inside.times.saturating_mul(taps).saturating_mul(rows.div_ceil(high));
        self.add(&inside, &product.step(rows.min(high), vectors));
        let of_element = self.within(&self.within(around, &c.extents.m, None), &c.extents.n, Some(c.epilogue.column));
        self.block(&c.epilogue.body, &of_element);
    }

    /// A load or a store: a vector's from or to the second level, or each lane's by itself.
    fn access(&self, index: &Index, around: &Around) -> Work {
        let Some(lanes) = around.lanes else { return instructions(1) };
        match coefficient(index, lanes).and_then(|c| c.as_const()) {
            Some(0) => instructions(1),
            Some(1) => Work { l2_bytes: self.lane_count() * 4, ..instructions(1) },
            _ => Work { l2_bytes: self.lane_count() * 4, ..instructions(2 * self.lane_count()) },
        }
    }

    fn expression(&self, x: &Expr, around: &Around) -> Work {
        let own = match x {
            Expr::Const(_) | Expr::Var(_) | Expr::Index(_) | Expr::Bitcast(..) => Work::default(),
            Expr::Load(_, index) | Expr::LoadIf { index, .. } => self.access(index, around),
            Expr::Unary(f, _) => instructions(operations::unary(*f)),
            Expr::Binary(f, ..) => instructions(operations::binary(*f)),
            Expr::MulAdd(..) | Expr::Select(..) | Expr::Convert(..) => instructions(1),
        };
        x.operands().fold(own, |sum, operand| sum + self.expression(operand, around))
    }
}

/// Simple instructions, two of which begin in a cycle.
fn instructions(count: u64) -> Work {
    Work { millicycles: count * 500, ..Work::default() }
}

#[cfg(test)]
mod tests {
    use super::of_kernel;
    use nnc_desc::Target;
    use nnc_ir::{Dim, DimTable};
    use nnc_kernels::parse;

    /// Nanoseconds of a kernel on AVX2 at a size of `n`.
    fn nanoseconds(text: &str, n: i64) -> i64 {
        let kernel = parse::kernel(text).unwrap_or_else(|e| panic!("{e}"));
        let mut dims = DimTable::default();
        let symbol = dims.fresh("n", 0, i64::MAX, None);
        let work = of_kernel(&kernel, &Target::parse("x86_64-avx2").unwrap(), &|_| Dim::sym(symbol));
        work.eval(&|_| Some(n)).unwrap()
    }

    fn map(header: &str, extent: &str, value: &str) -> String {
        let text = "kernel @k(x: read f32 align 4, y: write f32 align 4HEADER) parallel p in 0..64 {
  for vector i in 0..EXTENT { store y[4096*p + i] = VALUE }
}";
        text.replace("HEADER", header).replace("EXTENT", extent).replace("VALUE", value)
    }

    #[test]
    fn functions_cost_more_than_moves() {
        let of = |value: &str| nanoseconds(&map("", "4096", value), 1);
        let (copied, negated) = (of("load x[4096*p + i]"), of("neg(load x[4096*p + i])"));
        let (computed, gathered) = (of("exp(load x[4096*p + i])"), of("load x[4096*i + p]"));
        assert!(0 < copied && copied <= negated && negated < computed, "{copied} {negated} {computed}");
        assert!(gathered > 2 * copied, "{gathered} {copied}");
    }

    #[test]
    fn vectors_are_cheaper_than_elements() {
        let vectors = map("", "4096", "neg(load x[4096*p + i])");
        let elements = vectors.replace("vector i", "i");
        assert!(nanoseconds(&elements, 1) > 2 * nanoseconds(&vectors, 1), "{elements}");
    }

    #[test]
    fn sizes_known_at_run_time_count_when_they_are_known() {
        let text = map("; n: i64 [0..=4096]", "n", "exp(load x[4096*p + i])");
        let (short, long) = (nanoseconds(&text, 64), nanoseconds(&text, 4096));
        let ratio = long as f64 / short as f64;
        assert!((48.0..80.0).contains(&ratio), "{short} {long}");
    }

    #[test]
    fn products_count_by_their_tiles() {
        let text = "kernel @k(a: read f32 align 4, b: read f32 align 4, y: write f32 align 4) parallel p in 0..1 {
  contract f32 tile 6 x 16 m [60] n [16] k [1000] a a[0] stride [1000] b b[0] panel -> (row, col, sum) {
    store y[16*row + col] = sum
  }
}";
        // 60 * 16 * 1000 multiply-adds, sixteen in a cycle of a third of a nanosecond.
        let expected = 60.0 * 16.0 * 1000.0 / 16.0 / 3.0;
        let ratio = nanoseconds(text, 1) as f64 / expected;
        assert!((0.9..1.2).contains(&ratio), "{ratio}");
    }
}
