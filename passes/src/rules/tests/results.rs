//! What the pipeline makes of small networks.

use super::{agree, inputs, parse};
use crate::pipeline::{PipelineOptions, optimize};
use nnc_desc::Target;
use nnc_ir::{Graph, Op};

/// Optimises a graph and checks that it computes the same.
pub(super) fn optimized(text: &str) -> Graph {
    let graph = parse(text);
    let target = Target::parse("x86_64-avx2").unwrap();
    let result = optimize(graph.clone(), &target, &PipelineOptions::default()).unwrap();
    let inputs = inputs(&graph, 5);
    let before = nnc_eval::run(&graph, &inputs).unwrap();
    let after = nnc_eval::run(&result, &inputs).unwrap();
    for (a, b) in before.iter().zip(&after) {
        agree(a, b).unwrap();
    }
    result
}

/// Transposes that move data.
fn transposes(graph: &Graph) -> usize {
    let moves = |op: &Op, x: nnc_ir::ValueId| match op {
        Op::Transpose { perm } => !crate::rules::cost::moves_units_only(graph.ty(x), perm),
        _ => false,
    };
    graph.nodes.iter().filter(|n| n.inputs.first().is_some_and(|&x| moves(&n.op, x))).count()
}

/// Text of a graph that applies channels-last operations between transposes, as import does.
#[derive(Default)]
struct Net {
    text: String,
    next: usize,
}

impl Net {
    fn line(&mut self, rest: &str) -> usize {
        self.next += 1;
        let id = self.next + 100;
        self.text.push_str(&format!("  %{id} = {rest}\n"));
        id
    }

    /// A convolution of `[1, c, s, s]` values in ONNX's layout, with `size` x `size` windows, and its bias.
    fn conv(&mut self, x: usize, c: usize, o: usize, s: usize, size: usize) -> usize {
        let pad = size / 2;
        let t = self.line(&format!("transpose %{x} perm=[0, 2, 3, 1] : f32[1, {s}, {s}, {c}]"));
        let w = self.line(&format!("constant f32[{size}, {size}, {c}, {o}] random={}", self.next));
        let y = self.line(&format!(
            "conv %{t}, %{w} window={{ size=[{size}, {size}] strides=[1, 1] dilations=[1, 1] pad_low=[{pad}, {pad}] pad_high=[{pad}, {pad}] }} groups=1 out=f32 : f32[1, {s}, {s}, {o}]"
        ));
        let y = self.line(&format!("transpose %{y} perm=[0, 3, 1, 2] : f32[1, {o}, {s}, {s}]"));
        let b = self.vector(o, s, None);
        self.line(&format!("add %{y}, %{b} : f32[1, {o}, {s}, {s}]"))
    }

    /// A vector per channel, spread over `[1, o, s, s]` as exporters write it.
    fn vector(&mut self, o: usize, s: usize, value: Option<f64>) -> usize {
        let data = value.map_or(format!("random={}", self.next), |v| format!("splat={v}"));
        let b = self.line(&format!("constant f32[{o}] {data}"));
        let b = self.line(&format!("reshape %{b} shape=[1, {o}, 1, 1] : f32[1, {o}, 1, 1]"));
        self.line(&format!("broadcast %{b} shape=[1, {o}, {s}, {s}] axes=[0, 1, 2, 3] : f32[1, {o}, {s}, {s}]"))
    }

    fn relu(&mut self, x: usize, o: usize, s: usize) -> usize {
        let zero = self.vector(o, s, Some(0.0));
        self.line(&format!("max %{x}, %{zero} : f32[1, {o}, {s}, {s}]"))
    }

    fn finish(&self, input: &str, y: usize) -> String {
        format!("graph @net(%0 x: {input}) -> (y: %{y}) {{\n{}}}\n", self.text)
    }
}

#[test]
fn residual_block() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 4, 5, 3);
    let x = net.relu(x, 4, 5);
    let y = net.conv(x, 4, 4, 5, 3);
    let y = net.relu(y, 4, 5);
    let y = net.conv(y, 4, 4, 5, 1);
    let sum = net.line(&format!("add %{y}, %{x} : f32[1, 4, 5, 5]"));
    let sum = net.relu(sum, 4, 5);
    let mean = net.line(&format!("reduce %{sum} op=sum axes=[2, 3] : f32[1, 4]"));
    let kept = net.line(&format!("reshape %{mean} shape=[1, 4, 1, 1] : f32[1, 4, 1, 1]"));
    let flat = net.line(&format!("reshape %{kept} shape=[1, 4] : f32[1, 4]"));
    let w = net.line("constant f32[4, 2] random=9");
    let y = net.line(&format!("contract %{flat}, %{w} batch=[] contract=[(1, 0)] out=f32 : f32[1, 2]"));
    let graph = optimized(&net.finish("f32[1, 3, 5, 5]", y));
    assert_eq!(transposes(&graph), 1, "{}", nnc_ir::print::graph(&graph));
}

#[test]
fn squeeze_and_excite() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 4, 5, 3);
    let mean = net.line(&format!("reduce %{x} op=sum axes=[2, 3] : f32[1, 4]"));
    let kept = net.line(&format!("reshape %{mean} shape=[1, 4, 1, 1] : f32[1, 4, 1, 1]"));
    let gate = net.conv(kept, 4, 4, 1, 1);
    let gate = net.line(&format!("sigmoid %{gate} : f32[1, 4, 1, 1]"));
    let gate = net.line(&format!("broadcast %{gate} shape=[1, 4, 5, 5] axes=[0, 1, 2, 3] : f32[1, 4, 5, 5]"));
    let x = net.line(&format!("mul %{x}, %{gate} : f32[1, 4, 5, 5]"));
    let y = net.conv(x, 4, 2, 5, 1);
    let y = net.line(&format!("reduce %{y} op=max axes=[2, 3] : f32[1, 2]"));
    let graph = optimized(&net.finish("f32[1, 3, 5, 5]", y));
    assert_eq!(transposes(&graph), 1, "{}", nnc_ir::print::graph(&graph));
}

#[test]
fn concatenation_and_pool() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 4, 6, 3);
    let a = net.conv(x, 4, 2, 6, 1);
    let b = net.conv(x, 4, 3, 6, 3);
    let joined = net.line(&format!("concat %{a}, %{b} axis=1 : f32[1, 5, 6, 6]"));
    let t = net.line(&format!("transpose %{joined} perm=[0, 2, 3, 1] : f32[1, 6, 6, 5]"));
    let p = net.line(&format!(
        "pool %{t} op=max window={{ size=[2, 2] strides=[2, 2] dilations=[1, 1] pad_low=[0, 0] pad_high=[0, 0] }} : f32[1, 3, 3, 5]"
    ));
    let p = net.line(&format!("transpose %{p} perm=[0, 3, 1, 2] : f32[1, 5, 3, 3]"));
    let y = net.conv(p, 5, 2, 3, 1);
    let y = net.line(&format!("reduce %{y} op=max axes=[2, 3] : f32[1, 2]"));
    let graph = optimized(&net.finish("f32[1, 3, 6, 6]", y));
    assert_eq!(transposes(&graph), 1, "{}", nnc_ir::print::graph(&graph));
}

/// A transposed convolution is a convolution whose channels are laid out in space: one transpose is its own.
#[test]
fn transposed_convolution() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 8, 4, 1);
    let t = net.line(&format!("transpose %{x} perm=[0, 2, 3, 1] : f32[1, 4, 4, 8]"));
    let split = net.line(&format!("reshape %{t} shape=[1, 4, 4, 2, 2, 2] : f32[1, 4, 4, 2, 2, 2]"));
    let moved = net.line(&format!("transpose %{split} perm=[0, 1, 3, 2, 4, 5] : f32[1, 4, 2, 4, 2, 2]"));
    let wide = net.line(&format!("reshape %{moved} shape=[1, 8, 8, 2] : f32[1, 8, 8, 2]"));
    let back = net.line(&format!("transpose %{wide} perm=[0, 3, 1, 2] : f32[1, 2, 8, 8]"));
    let b = net.vector(2, 8, None);
    let x = net.line(&format!("add %{back}, %{b} : f32[1, 2, 8, 8]"));
    let x = net.relu(x, 2, 8);
    let y = net.conv(x, 2, 2, 8, 3);
    let y = net.line(&format!("reduce %{y} op=max axes=[2, 3] : f32[1, 2]"));
    let graph = optimized(&net.finish("f32[1, 3, 4, 4]", y));
    assert_eq!(transposes(&graph), 2, "{}", nnc_ir::print::graph(&graph));
}

/// Batch normalisation behind a convolution leaves one addition.
#[test]
fn batch_norm_meets_conv() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 4, 5, 3);
    let mean = net.vector(4, 5, None);
    let x = net.line(&format!("sub %{x}, %{mean} : f32[1, 4, 5, 5]"));
    let scale = net.vector(4, 5, None);
    let x = net.line(&format!("mul %{x}, %{scale} : f32[1, 4, 5, 5]"));
    let shift = net.vector(4, 5, None);
    let x = net.line(&format!("add %{x}, %{shift} : f32[1, 4, 5, 5]"));
    let y = net.line(&format!("reduce %{x} op=max axes=[2, 3] : f32[1, 4]"));
    let graph = optimized(&net.finish("f32[1, 3, 5, 5]", y));
    let names: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).filter(|n| *n != "constant").collect();
    assert_eq!(names, ["transpose", "conv", "broadcast", "add", "reduce"], "{}", nnc_ir::print::graph(&graph));
}

/// Where something else reads the product before its scale, the product is computed once and scaled.
#[test]
fn products_that_are_read_twice_are_computed_once() {
    let mut net = Net::default();
    let x = net.conv(0, 3, 4, 5, 3);
    let scale = net.vector(4, 5, None);
    let scaled = net.line(&format!("mul %{x}, %{scale} : f32[1, 4, 5, 5]"));
    let scaled = net.relu(scaled, 4, 5);
    let other = net.line(&format!("tanh %{x} : f32[1, 4, 5, 5]"));
    let sum = net.line(&format!("add %{scaled}, %{other} : f32[1, 4, 5, 5]"));
    let y = net.line(&format!("reduce %{sum} op=max axes=[2, 3] : f32[1, 4]"));
    let graph = optimized(&net.finish("f32[1, 3, 5, 5]", y));
    let count = |name: &str| graph.nodes.iter().filter(|n| n.op.name() == name).count();
    assert_eq!((count("conv"), count("mul")), (1, 1), "{}", nnc_ir::print::graph(&graph));
}

/// All parts of a product are views of it; one part alone is a smaller product.
#[test]
fn parts_of_a_product() {
    let contracts = |parts: usize| {
        let mut net = Net::default();
        let w = net.line("constant f32[64, 96] random=3");
        let x = net.line(&format!("contract %0, %{w} batch=[] contract=[(1, 0)] out=f32 : f32[50, 96]"));
        let part = |net: &mut Net, i: usize| {
            let at = 32 * i;
            let part = net.line(&format!("slice %{x} starts=[0, {at}] sizes=[50, 32] steps=[1, 1] : f32[50, 32]"));
            net.line(&format!("exp %{part} : f32[50, 32]"))
        };
        let mut sum = part(&mut net, 0);
        for i in 1..parts {
            let next = part(&mut net, i);
            sum =
                net.line(&format!("contract %{sum}, %{next} batch=[(0, 0), (1, 1)] contract=[] out=f32 : f32[50, 32]"));
        }
        let graph = optimized(&net.finish("f32[50, 64]", sum));
        let first = |op: &Op| matches!(op, Op::Contract { contract, .. } if !contract.is_empty());
        let widths: Vec<Option<i64>> =
            graph.nodes.iter().filter(|n| first(&n.op)).map(|n| graph.shape(n.outputs[0])[1].as_const()).collect();
        widths
    };
    assert_eq!(contracts(1), [Some(32)]);
    assert_eq!(contracts(3), [Some(96)]);
}

/// The largest scaled score is sought among the scores only where nothing else needs the scaled ones.
#[test]
fn extremes_of_maps() {
    let body = "%1 = constant f32[40, 30] splat=0.3\n  %2 = mul %0, %1 : f32[40, 30]\n  %3 = reduce %2 op=max axes=[1] : f32[40]\n";
    let names = |text: String| -> Vec<&str> { optimized(&text).nodes.iter().map(|n| n.op.name()).collect() };
    let alone = names(format!("graph @g(%0 x: f32[40, 30]) -> (y: %3) {{\n  {body}}}\n"));
    let both = names(format!("graph @g(%0 x: f32[40, 30]) -> (y: %3, z: %2) {{\n  {body}}}\n"));
    let place = |list: &[&str], name: &str| list.iter().position(|n| *n == name);
    assert!(place(&alone, "reduce") < place(&alone, "mul"), "{alone:?}");
    assert_eq!(both.iter().filter(|n| **n == "mul").count(), 1, "{both:?}");
}

/// Queries that share a head of the keys read it as it is, wherever the transposes of the layer end up.
#[test]
fn shared_heads_are_not_repeated() {
    let graph = optimized(
        "graph @gqa(%0 x: f32[1, 20, 32], %1 k: f32[1, 20, 16], %2 v: f32[1, 20, 16]) -> (y: %25) {
  %3 = reshape %0 shape=[1, 20, 4, 8] : f32[1, 20, 4, 8]
  %4 = transpose %3 perm=[0, 2, 1, 3] : f32[1, 4, 20, 8]
  %5 = reshape %1 shape=[1, 20, 2, 8] : f32[1, 20, 2, 8]
  %6 = transpose %5 perm=[0, 2, 1, 3] : f32[1, 2, 20, 8]
  %7 = reshape %6 shape=[1, 2, 1, 20, 8] : f32[1, 2, 1, 20, 8]
  %8 = broadcast %7 shape=[1, 2, 2, 20, 8] axes=[0, 1, 2, 3, 4] : f32[1, 2, 2, 20, 8]
  %9 = reshape %8 shape=[1, 4, 20, 8] : f32[1, 4, 20, 8]
  %10 = reshape %2 shape=[1, 20, 2, 8] : f32[1, 20, 2, 8]
  %11 = transpose %10 perm=[0, 2, 1, 3] : f32[1, 2, 20, 8]
  %12 = reshape %11 shape=[1, 2, 1, 20, 8] : f32[1, 2, 1, 20, 8]
  %13 = broadcast %12 shape=[1, 2, 2, 20, 8] axes=[0, 1, 2, 3, 4] : f32[1, 2, 2, 20, 8]
  %14 = reshape %13 shape=[1, 4, 20, 8] : f32[1, 4, 20, 8]
  %15 = transpose %9 perm=[0, 1, 3, 2] : f32[1, 4, 8, 20]
  %16 = contract %4, %15 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[1, 4, 20, 20]
  %17 = reduce %16 op=max axes=[3] : f32[1, 4, 20]
  %18 = broadcast %17 shape=[1, 4, 20, 20] axes=[0, 1, 2] : f32[1, 4, 20, 20]
  %19 = sub %16, %18 : f32[1, 4, 20, 20]
  %20 = exp %19 : f32[1, 4, 20, 20]
  %21 = reduce %20 op=sum axes=[3] : f32[1, 4, 20]
  %22 = broadcast %21 shape=[1, 4, 20, 20] axes=[0, 1, 2] : f32[1, 4, 20, 20]
  %23 = div %20, %22 : f32[1, 4, 20, 20]
  %24 = contract %23, %14 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[1, 4, 20, 8]
  %26 = transpose %24 perm=[0, 2, 1, 3] : f32[1, 20, 4, 8]
  %27 = reshape %26 shape=[1, 20, 32] : f32[1, 20, 32]
  %28 = constant f32[32, 32] random=1
  %25 = contract %27, %28 batch=[] contract=[(2, 0)] out=f32 : f32[1, 20, 32]
}
",
    );
    let repeats = |n: &&nnc_ir::Node| {
        let heads = |v: &nnc_ir::ValueId| graph.shape(*v).last().is_some_and(|d| d.is_const(8));
        matches!(n.op, Op::Broadcast { .. }) && heads(&n.outputs[0])
    };
    assert_eq!(graph.nodes.iter().filter(repeats).count(), 0, "{}", nnc_ir::print::graph(&graph));
}
