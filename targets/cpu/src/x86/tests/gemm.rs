//! GEMM kernels of all tile shapes against a plain sum in `f64`.

use nnc_desc::Target;
use nnc_desc::tiles::Tile;
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use nnc_kernels::contraction::{Extents, Fetch, LeftOperand, RightLayout, RightOperand, Tap};
use nnc_kernels::kernel::Access;
use nnc_kernels::{Contraction, Expr, Index, Kernel, Stmt};

use super::host::{Function, targets};
use crate::x86::{assembler, compile, encode, select};

/// What happens to a sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epilogue {
    /// Stored as it is.
    Plain,
    /// Bias per column, then the larger of 0.
    BiasRelu,
    /// Bias per column, the old value of the result, then x * sigmoid(x).
    ResidualSilu,
}

/// A GEMM with `m` by `n` results.
#[derive(Clone, Debug)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub taps: Vec<(usize, usize)>,
    pub rows: usize,
    pub width: usize,
    /// Right operand unpacked, with rows this far apart.
    pub row_stride: Option<usize>,
    /// Sizes become parameters.
    pub dynamic: bool,
    pub epilogue: Epilogue,
    pub fetch: Fetch,
}

impl Shape {
    pub fn new(m: usize, n: usize, k: usize, rows: usize, width: usize) -> Shape {
        let epilogue = Epilogue::Plain;
        Shape { m, n, k, taps: vec![], rows, width, row_stride: None, dynamic: false, epilogue, fetch: Fetch::Nothing }
    }

    /// Elements between rows of `a`.
    pub fn a_stride(&self) -> usize {
        self.k + 3
    }

    fn all_taps(&self) -> usize {
        self.taps.iter().map(|t| t.0).product()
    }

    /// Elements of (a, b, bias, c).
    pub fn elements(&self) -> [usize; 4] {
        let reach: usize = self.taps.iter().map(|(count, step)| (count - 1) * step).sum();
        let a = (self.m - 1) * self.a_stride() + reach + self.k;
        let b = match self.row_stride {
            None => self.all_taps() * self.k * self.width,
            Some(stride) => (self.k - 1) * stride + self.n,
        };
        [a, b, self.n, self.m * self.n]
    }

    pub fn kernel(&self) -> (Kernel, Vec<i64>) {
        let mut kernel = Kernel::new("gemm");
        let a = kernel.add_buffer("a", DType::F32, Access::Read);
        let b = kernel.add_buffer("b", DType::F32, Access::Read);
        let bias = kernel.add_buffer("bias", DType::F32, Access::Read);
        let c = kernel.add_buffer("c", DType::F32, Access::Write);
        let row = kernel.add_var("row", DType::I64, 0, 1 << 40);
        let col = kernel.add_var("col", DType::I64, 0, 1 << 40);
        let acc = kernel.add_var("acc", DType::F32, 0, 0);
        let mut params = vec![];
        let mut size = |kernel: &mut Kernel, value: usize| {
            if !self.dynamic {
                return Index::from(value);
            }
            let var = kernel.add_var("s", DType::I64, 0, 1 << 40);
            kernel.params.push(var);
            params.push(value as i64);
            var.index()
        };
        let m = size(&mut kernel, self.m);
        let n_value = size(&mut kernel, self.n);
        let n = if self.row_stride.is_some() { n_value.clone() } else { Index::from(self.n) };
        let k = size(&mut kernel, self.k);
        let row_stride = size(&mut kernel, self.a_stride());
        let taps =
            self.taps.iter().map(|(count, step)| Tap { count: *count, stride: size(&mut kernel, *step) }).collect();
        let layout = match self.row_stride {
            None => RightLayout::Panel,
            Some(stride) => RightLayout::Rows { row_stride: size(&mut kernel, stride) },
        };
        let at = &row.index() * &n_value + col.index();
        let sum = Expr::Var(acc);
        let biased = Expr::binary(BinaryOp::Add, sum.clone(), Expr::Load(bias, col.index()));
        let mut epilogue = vec![];
        let value = match self.epilogue {
            Epilogue::Plain => sum,
            Epilogue::BiasRelu => Expr::binary(BinaryOp::Max, biased, Expr::constant(DType::F32, 0.0)),
            Epilogue::ResidualSilu => {
                let x = kernel.add_var("x", DType::F32, 0, 0);
                let value = Expr::binary(BinaryOp::Add, biased, Expr::Load(c, at.clone()));
                epilogue.push(Stmt::Let(x, value));
                let sigmoid = Expr::unary(nnc_ir::op::UnaryOp::Sigmoid, Expr::Var(x));
                Expr::binary(BinaryOp::Mul, Expr::Var(x), sigmoid)
            }
        };
        epilogue.push(Stmt::Store(c, at, value));
        kernel.body.push(Stmt::Contract(Box::new(Contraction {
            extents: Extents { m, n, k },
            left: LeftOperand { buffer: a, offset: Index::ZERO, row_stride },
            right: RightOperand {
                buffer: b,
                offset: Index::ZERO,
                layout,
                fetch: self.fetch.clone(),
                less: 0,
                grid: None,
            },
            taps,
            tile: Tile { rows: self.rows, width: self.width },
            accumulator: DType::F32,
            epilogue: nnc_kernels::contraction::Epilogue { row, column: col, sum: acc, body: epilogue },
        })));
        (kernel, params)
    }

    fn expected(&self, a: &[f32], b: &[f32], bias: &[f32], c: &[f32]) -> Vec<f64> {
        let mut out = vec![];
        let mut offsets = vec![0];
        for (count, step) in &self.taps {
            offsets = offsets.iter().flat_map(|o| (0..*count).map(move |i| o + i * step)).collect();
        }
        let width = self.row_stride.unwrap_or(self.width);
        for r in 0..self.m {
            for col in 0..self.n {
                let mut sum = 0f64;
                for (t, offset) in offsets.iter().enumerate() {
                    for k in 0..self.k {
                        let x = a[r * self.a_stride() + offset + k];
                        sum += f64::from(x) * f64::from(b[(t * self.k + k) * width + col]);
                    }
                }
                let biased = sum + f64::from(bias[col]);
                out.push(match self.epilogue {
                    Epilogue::Plain => sum,
                    Epilogue::BiasRelu => biased.max(0.0),
                    Epilogue::ResidualSilu => {
                        let x = biased + f64::from(c[r * self.n + col]);
                        x / (1.0 + (-x).exp())
                    }
                });
            }
        }
        out
    }

    fn check(&self, target: &Target) {
        let (kernel, params) = self.kernel();
        let code = compile(&nnc_kernels::math::expand(&kernel), target)
            .unwrap()
            .unwrap_or_else(|reason| panic!("{self:?} refused: {reason}"));
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        };
        let data = self.elements().map(|n| (0..n).map(|_| next()).collect::<Vec<f32>>());
        let mut data = data;
        if self.row_stride.is_none() {
            // Panels are padded with zeros.
            for (i, x) in data[1].iter_mut().enumerate() {
                if i % self.width >= self.n {
                    *x = 0.0;
                }
            }
        }
        let mut buffers: Vec<Vec<u8>> = data.iter().map(|d| d.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let status = Function::new(&code).run(&kernel, &mut buffers, &params, 0, 1);
        assert_eq!(status, 0);
        let expected = self.expected(&data[0], &data[1], &data[2], &data[3]);
        for (i, (bytes, want)) in buffers[3].chunks_exact(4).zip(&expected).enumerate() {
            let got = f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            assert!((got - want).abs() < 1e-4, "{}: {self:?}: element {i} is {got}, not {want}", target.name);
        }
    }
}

/// Tiles that the target table has for a target.
pub fn tiles(target: &Target) -> &'static [(usize, usize)] {
    match target.vector_bytes() {
        64 => &[(14, 2), (9, 3), (7, 4), (28, 1)],
        _ => &[(6, 2), (4, 3), (12, 1)],
    }
}

#[test]
fn every_tile_shape_and_row_count() {
    for target in targets() {
        let lanes = target.vector_bytes() / 4;
        for &(rows, vectors) in tiles(&target) {
            for m in 1..=40 {
                let width = vectors * lanes;
                let n = width - [0, 1, lanes - 1][m % 3];
                let shape = Shape::new(m, n, 1 + m % 11, rows, width);
                // An epilogue that reads what it overwrites finds rows that run twice.
                let free = Shape { dynamic: true, epilogue: Epilogue::ResidualSilu, ..shape.clone() };
                shape.check(&target);
                free.check(&target);
            }
        }
    }
}

#[test]
fn every_depth_and_width() {
    for target in targets() {
        let lanes = target.vector_bytes() / 4;
        for &(rows, vectors) in tiles(&target) {
            let width = vectors * lanes;
            for k in 1..=70 {
                let n = 1 + (k * 7) % width;
                let m = 1 + k % (rows + 3);
                for epilogue in [Epilogue::Plain, Epilogue::BiasRelu] {
                    Shape { epilogue, ..Shape::new(m, n, k, rows, width) }.check(&target);
                }
            }
            for n in 1..=width {
                Shape { epilogue: Epilogue::ResidualSilu, ..Shape::new(rows, n, 5, rows, width) }.check(&target);
                Shape { row_stride: Some(n + 5), ..Shape::new(rows, n, 5, rows, width) }.check(&target);
            }
        }
    }
}

#[test]
fn taps_and_sizes_known_at_run_time() {
    for target in targets() {
        let lanes = target.vector_bytes() / 4;
        for &(rows, vectors) in tiles(&target) {
            let width = vectors * lanes;
            for m in [1, 2, rows - 1, rows, rows + 1, 3 * rows + 5] {
                for dynamic in [false, true] {
                    for taps in [vec![], vec![(3, 40)], vec![(3, 50), (2, 9)], vec![(2, 70), (3, 20), (3, 4)]] {
                        for k in [1, 4, 9] {
                            let shape =
                                Shape { taps: taps.clone(), dynamic, ..Shape::new(m, width - 1, k, rows, width) };
                            shape.check(&target);
                        }
                    }
                    for k in [1, 17] {
                        let row_stride = Some(width + 1);
                        let epilogue = Epilogue::ResidualSilu;
                        let base = Shape::new(m, width - 3, k, rows, width);
                        Shape { row_stride, dynamic, epilogue, ..base }.check(&target);
                    }
                }
            }
        }
    }
}

#[test]
fn full_tiles_do_not_spill() {
    for target in targets() {
        let lanes = target.vector_bytes() / 4;
        for &(rows, vectors) in tiles(&target) {
            let shape = Shape {
                epilogue: Epilogue::BiasRelu,
                ..Shape::new(rows * 4, vectors * lanes, 64, rows, vectors * lanes)
            };
            let (kernel, _) = shape.kernel();
            let (function, _) = select::lower(&kernel, &target).unwrap();
            let encoded = encode::encode(&function).unwrap();
            let slot = target.vector_bytes() / 8;
            assert!(encoded.spill_slots < slot, "{} {rows}x{vectors}: {} slots", target.name, encoded.spill_slots);
        }
    }
}

/// The addresses of a tile's rows have the same quotients of sizes known at run time; each is divided once.
#[test]
fn rows_share_what_their_addresses_divide() {
    let text =
        "kernel @k(a: read f32 align 4, b: read f32 align 4, c: write f32 align 4; n: i64 [0..=512]) parallel p in \
                0..floor((n + 15)/16)*floor((n + 55)/56) {
  let q: i64 [0..=31] = index(floor(p/floor((n + 15)/16)))
  let r: i64 [0..=31] = index(p - q*floor((n + 15)/16))
  contract f32 tile 28 x 16 m [min(56, n - 56*q)] n [min(16, n - 16*r)] k [64] a a[3584*q] stride [64] b b[16*r] \
                rows [n] -> (row [0..=55], col [0..=15], sum) {
    store c[56*n*q + n*row + 16*r + col] = sum
  }
}
";
    let kernel = nnc_kernels::parse::kernel(text).unwrap();
    let code = compile(&kernel, &Target::parse("x86_64-avx512").unwrap()).unwrap().unwrap();
    let divisions = super::listing::listing(&code.bytes).lines().filter(|line| line.starts_with("idiv")).count();
    assert!((1..=6).contains(&divisions), "{divisions} divisions");
}

/// Rates of tiles whose operands lie in cache, beside a loop of register multiply-adds. Not a check: prints.
#[test]
#[ignore = "a measurement: run alone, with --release --nocapture"]
fn rates() {
    for target in targets() {
        let lanes = target.vector_bytes() / 4;
        let peak = peak(&target);
        println!("{}: registers only {peak:.1} GFLOP/s", target.name);
        let cases =
            [(196, 64, 64), (196, 32, 256), (784, 64, 128), (128, 64, 768), (49, 64, 512), (1, 64, 768), (8, 64, 768)];
        for (m, _, k) in cases {
            for &(rows, vectors) in tiles(&target) {
                for epilogue in [Epilogue::Plain, Epilogue::BiasRelu] {
                    let shape = Shape { epilogue, ..Shape::new(m, vectors * lanes, k, rows, vectors * lanes) };
                    let (kernel, params) = shape.kernel();
                    let code = compile(&nnc_kernels::math::expand(&kernel), &target).unwrap().unwrap();
                    let function = Function::new(&code);
                    let mut data = shape.elements().map(|n| vec![0.25f32; n + 16]);
                    // Weights and activations are aligned in compiled models.
                    let aligned = |d: &mut Vec<f32>| {
                        let skip = d.as_ptr().align_offset(64);
                        d[skip..].as_mut_ptr().cast()
                    };
                    let pointers: Vec<*mut u8> = data.iter_mut().map(aligned).collect();
                    let flops = 2.0 * (m * vectors * lanes * k) as f64;
                    let rate = flops
                        / best_seconds(|| {
                            function.call(&pointers, &params, 0, 1);
                        })
                        / 1e9;
                    println!(
                        "  {m:4} x {:3} x {k:4} tile {rows}x{vectors} {epilogue:?}: {rate:6.1} GFLOP/s, {:.0}%",
                        vectors * lanes,
                        100.0 * rate / peak
                    );
                }
            }
        }
    }
}

/// Shortest time of a run.
pub fn best_seconds(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let repeats = 8;
        let start = std::time::Instant::now();
        for _ in 0..repeats {
            run();
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(repeats));
    }
    best
}

/// GFLOP/s of multiply-adds on registers alone.
pub fn peak(target: &Target) -> f64 {
    use assembler::{Arg, Assembler};
    use iced_x86::{Mnemonic as M, Register};
    let wide = target.vector_bytes() == 64;
    let (first, registers) = if wide { (Register::ZMM0, 30) } else { (Register::YMM0, 14) };
    let mut asm = Assembler::new(wide);
    let rounds = 5_000i64;
    for i in 0..registers + 2 {
        let r = Arg::Reg(first + i);
        asm.op(if wide { M::Vpxord } else { M::Vpxor }, &[r, r, r]).unwrap();
    }
    asm.op(M::Mov, &[Arg::Reg(Register::RAX), Arg::Imm(rounds)]).unwrap();
    let head = asm.label();
    asm.bind(head);
    for i in 0..registers {
        let args = [first + i, first + registers, first + registers + 1].map(Arg::Reg);
        asm.op(M::Vfmadd231ps, &args).unwrap();
    }
    asm.op(M::Sub, &[Arg::Reg(Register::RAX), Arg::Imm(1)]).unwrap();
    asm.op(M::Jne, &[Arg::To(head)]).unwrap();
    asm.op(M::Vzeroupper, &[]).unwrap();
    asm.op(M::Ret, &[]).unwrap();
    let bytes = asm.finish(&[]).unwrap();
    let function = Function::new(&crate::x86::MachineCode { bytes, align: 64, scalar_loops: vec![] });
    let lanes = target.vector_bytes() / 4;
    let flops = 2.0 * (lanes * registers as usize) as f64 * rounds as f64;
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let start = std::time::Instant::now();
        function.call(&[], &[], 0, 1);
        best = best.min(start.elapsed().as_secs_f64());
    }
    flops / best / 1e9
}
