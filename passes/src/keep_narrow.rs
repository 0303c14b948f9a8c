//! Weights that a file holds in fewer bits stay in them: what `convert`, less a zero point, times a scale is read by products
//! and convolutions alone becomes a constant that is widened where it is read ([`nnc_ir::widened`]).
//!
//! Invariant: the constant's elements are, bit for bit, what the operations yield.

use crate::fold_constants::evaluate_op;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Data, Graph, Node, NodeId, Spread, Tensor, ValueId, Widened};

/// Fewer elements are worth no attention, and are folded.
const LEAST_ELEMENTS: usize = 1024;
/// Operations that are looked through.
const MOST_DEPTH: usize = 24;
/// Most elements of what is computed besides the numbers themselves, for each of theirs.
const MOST_GROWTH: usize = 4;

/// Does it for every weight of a graph.
pub fn keep_narrow(mut graph: Graph) -> Graph {
    let (definitions, uses) = (graph.definitions(), graph.uses());
    let output: Vec<ValueId> = graph.outputs.iter().map(|(_, value)| *value).collect();
    let of_product = |id: &NodeId, value: ValueId| {
        let node = &graph.nodes[id.index()];
        matches!(node.op, Op::Contract { .. } | Op::Conv { .. })
            && node.inputs.get(1) == Some(&value)
            && node.inputs.first() != Some(&value)
    };
    let mut found = vec![];
    for (position, node) in graph.nodes.iter().enumerate() {
        let &[value] = node.outputs.as_slice() else { continue };
        let weight = !matches!(node.op, Op::Constant(_))
            && !uses[value.index()].is_empty()
            && uses[value.index()].iter().all(|id| of_product(id, value))
            && !output.contains(&value);
        if let Some(tensor) =
            weight.then(|| Finder { graph: &graph, definitions: &definitions }.constant(value)).flatten()
        {
            found.push((position, tensor));
        }
    }
    for (position, tensor) in found {
        graph.nodes[position].op = Op::Constant(graph.consts.add(tensor));
        graph.nodes[position].inputs.clear();
    }
    graph
}

/// Numbers on the way to be widened.
struct Form {
    numbers: Tensor,
    zeros: Option<Spread>,
    scales: Option<Spread>,
}

struct Finder<'a> {
    graph: &'a Graph,
    definitions: &'a [Option<NodeId>],
}

impl<'a> Finder<'a> {
    fn constant(&self, value: ValueId) -> Option<Tensor> {
        let shape = self.graph.ty(value).static_shape()?;
        let Form { numbers, zeros, scales } = self.form(value, MOST_DEPTH)?;
        if numbers.len() < LEAST_ELEMENTS {
            return None;
        }
        Tensor::new(DType::F32, shape, Data::widened(Widened::new(numbers, zeros, scales)?))
    }

    fn node(&self, value: ValueId) -> Option<&'a Node> {
        self.definitions[value.index()].map(|id| &self.graph.nodes[id.index()])
    }

    fn shape(&self, value: ValueId) -> Option<Vec<usize>> {
        self.graph.ty(value).static_shape()
    }

    /// A value of `f32` as numbers, zero points and scales.
    fn form(&self, value: ValueId, depth: usize) -> Option<Form> {
        let (node, depth) = (self.node(value)?, depth.checked_sub(1)?);
        let shape = self.shape(value)?;
        if self.graph.ty(value).dtype != DType::F32 {
            return None;
        }
        match (&node.op, node.inputs.as_slice()) {
            (Op::Convert(DType::F32), &[x]) => {
                let narrow = matches!(self.graph.ty(x).dtype, DType::F16 | DType::BF16 | DType::I8 | DType::U8);
                let numbers = if narrow { self.data(x, depth, usize::MAX)? } else { return None };
                Some(Form { numbers, zeros: None, scales: None })
            }
            (Op::Binary(BinaryOp::Sub), &[x, y]) => {
                let form = self.form(x, depth).filter(|form| form.zeros.is_none() && form.scales.is_none())?;
                Some(Form { zeros: Some(self.spread(y, depth, &form)?), ..form })
            }
            (Op::Binary(BinaryOp::Mul), &[x, y]) => {
                let (form, other) = match self.form(x, depth) {
                    Some(form) => (form, y),
                    None => (self.form(y, depth)?, x),
                };
                let scales = self.spread(other, depth, &form).filter(|_| form.scales.is_none())?;
                Some(Form { scales: Some(scales), ..form })
            }
            // The order of the elements stays.
            (Op::Reshape { .. }, &[x]) => self.form(x, depth),
            (Op::Transpose { perm }, &[x]) => {
                let (form, from) = (self.form(x, depth)?, self.shape(x)?);
                let source = Tensor { shape: from.clone(), ..form.numbers };
                let numbers = evaluate_op(&node.op, &[source], &self.graph.consts).filter(|t| t.shape == shape)?;
                let moved = |spread: Option<Spread>| match spread {
                    None => Some(None),
                    Some(spread) => transposed(spread, &from, perm).map(Some),
                };
                Some(Form { numbers, zeros: moved(form.zeros)?, scales: moved(form.scales)? })
            }
            _ => None,
        }
    }

    /// A zero point or scale for each element of the numbers.
    fn spread(&self, value: ValueId, depth: usize, form: &Form) -> Option<Spread> {
        let spread = self.spread_of(value, depth, form.numbers.len())?;
        let few = spread.values.len() <= form.numbers.len() / 2;
        few.then_some(spread)
    }

    fn spread_of(&self, value: ValueId, depth: usize, most: usize) -> Option<Spread> {
        let (node, depth) = (self.node(value)?, depth.checked_sub(1)?);
        let shape = self.shape(value)?;
        match (&node.op, node.inputs.as_slice()) {
            (Op::Broadcast { axes, .. }, &[x]) => {
                let (spread, from) = (self.spread_of(x, depth, most)?, self.shape(x)?);
                let groups = by_axes(&spread.factors, &from)?;
                let factors = shape.iter().enumerate().flat_map(|(axis, &size)| {
                    match axes.iter().position(|&a| a == axis).filter(|&a| from[a] == size) {
                        Some(a) => groups[a].clone(),
                        None => vec![(size, 0)],
                    }
                });
                Some(Spread { factors: factors.collect(), ..spread })
            }
            (Op::Reshape { .. }, &[x]) => self.spread_of(x, depth, most),
            (Op::Transpose { perm }, &[x]) => transposed(self.spread_of(x, depth, most)?, &self.shape(x)?, perm),
            _ => {
                let values = self.data(value, depth, most).filter(|t| t.dtype == DType::F32)?;
                Some(compressed(&values))
            }
        }
    }

    /// What an expression of constants yields, of at most so many elements.
    fn data(&self, value: ValueId, depth: usize, most: usize) -> Option<Tensor> {
        let (node, depth) = (self.node(value)?, depth.checked_sub(1)?);
        if let Op::Constant(id) = node.op {
            return Some(self.graph.consts.get(id).clone()).filter(|t| t.len() <= most);
        }
        let count = self.shape(value)?.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= most)?;
        if node.op.has_effect() || !node.op.subgraphs().is_empty() || node.outputs.len() != 1 || node.inputs.is_empty()
        {
            return None;
        }
        // A broadcast is not larger than what it is for.
        let most = count.checked_mul(MOST_GROWTH)?;
        let moves = matches!(
            node.op,
            Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Broadcast { .. }
                | Op::Slice { .. }
                | Op::Convert(_)
                | Op::Binary(_)
        );
        let operands: Option<Vec<Tensor>> =
            node.inputs.iter().map(|&x| if moves { self.data(x, depth, most) } else { None }).collect();
        let tensor = evaluate_op(&node.op, &operands?, &self.graph.consts)?;
        let ty = self.graph.ty(value);
        (tensor.dtype == ty.dtype && ty.static_shape()? == tensor.shape).then_some(tensor)
    }
}

/// A tensor of which blocks along its axes, as long as they can be, are stored once: import may have repeated them already.
fn compressed(tensor: &Tensor) -> Spread {
    let (bytes, size) = (tensor.data.bytes(), tensor.dtype.size());
    let mut inner = tensor.len();
    let mut blocks = vec![];
    for &count in &tensor.shape {
        let whole = inner * size;
        inner /= count.max(1);
        let one = inner * size;
        // Where a slice along the axis differs from the one before it, a block begins.
        let same =
            |at: usize| bytes.chunks_exact(whole.max(1)).all(|c| c[at * one..][..one] == c[(at - 1) * one..][..one]);
        let block = (1..count).filter(|&at| !same(at)).fold(count, gcd).max(1);
        blocks.push((count / block, block, inner));
    }
    let mut step = blocks.iter().map(|b| b.0).product::<usize>();
    let mut factors = vec![];
    let mut starts = vec![0];
    for &(count, block, stride) in &blocks {
        step /= count.max(1);
        factors.extend([(count, step), (block, 0)]);
        starts = starts.iter().flat_map(|from| (0..count).map(move |i| from + i * block * stride)).collect();
    }
    let values: Vec<u8> = starts.iter().flat_map(|&at| &bytes[at * size..][..size]).copied().collect();
    Spread { values: Tensor { dtype: tensor.dtype, shape: vec![starts.len()], data: Data::new(values) }, factors }
}

pub(crate) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The factors of each axis of a shape; `None` where one goes across two axes.
fn by_axes(factors: &[(usize, usize)], shape: &[usize]) -> Option<Vec<Vec<(usize, usize)>>> {
    let mut left: Vec<(usize, usize)> = factors.iter().rev().copied().filter(|f| f.0 != 1).collect();
    let group = |&size: &usize| {
        let (mut rest, mut group) = (size, vec![]);
        while rest > 1 {
            let (count, step) = left.pop()?;
            if count != 0 && rest % count == 0 {
                group.push((count, step));
                rest /= count;
            } else if count % rest == 0 {
                let inner = count / rest;
                group.push((rest, step.checked_mul(inner)?));
                left.push((inner, step));
                rest = 1;
            } else {
                return None;
            }
        }
        Some(group)
    };
    shape.iter().map(group).collect()
}

/// The values of a transposed tensor that had such a shape.
fn transposed(spread: Spread, from: &[usize], perm: &[usize]) -> Option<Spread> {
    let groups = by_axes(&spread.factors, from)?;
    let factors = perm.iter().map(|&axis| groups.get(axis).cloned()).collect::<Option<Vec<_>>>()?;
    Some(Spread { factors: factors.concat(), ..spread })
}

#[cfg(test)]
mod tests {
    use super::{Finder, by_axes, compressed, keep_narrow};
    use nnc_ir::op::Op;
    use nnc_ir::{Graph, Tensor};

    /// The weight of the only product, before and after.
    fn kept(text: &str) -> (Option<Tensor>, Tensor) {
        let graph = nnc_ir::parse::graph(text).unwrap();
        let weight = |graph: &Graph| {
            let product = graph.nodes.iter().find(|node| matches!(node.op, Op::Contract { .. })).unwrap();
            let definition = graph.definitions()[product.inputs[1].index()].unwrap();
            match graph.nodes[definition.index()].op {
                Op::Constant(id) => Some(graph.consts.get(id).clone()),
                _ => None,
            }
        };
        let narrow = weight(&keep_narrow(graph.clone())).filter(|t| t.data.as_widened().is_some());
        let finder = Finder { graph: &graph, definitions: &graph.definitions() };
        let product = graph.nodes.iter().find(|node| matches!(node.op, Op::Contract { .. })).unwrap();
        (narrow, finder.data(product.inputs[1], 24, usize::MAX).unwrap())
    }

    /// Transposed blocks of 32 along the sum.
    const BLOCKS: &str = "graph @g(%0 x: f32[2, 64]) -> (y: %11) {
  %1 = constant u8[48, 64] random=1
  %2 = convert %1 to=f32 : f32[48, 64]
  %3 = constant f32[48, 2] random=2
  %4 = broadcast %3 shape=[48, 2, 32] axes=[0, 1] : f32[48, 2, 32]
  %5 = reshape %4 shape=[48, 64] : f32[48, 64]
  %6 = constant f32[48] random=3
  %7 = broadcast %6 shape=[48, 64] axes=[0] : f32[48, 64]
  %8 = sub %2, %7 : f32[48, 64]
  %9 = mul %5, %8 : f32[48, 64]
  %10 = transpose %9 perm=[1, 0] : f32[64, 48]
  %11 = contract %0, %10 batch=[] contract=[(1, 0)] out=f32 : f32[2, 48]
}
";

    #[test]
    fn blocks_are_kept_bit_for_bit() {
        let (narrow, folded) = kept(BLOCKS);
        let narrow = narrow.unwrap();
        assert_eq!(narrow.data.as_widened().unwrap().numbers.data.len(), 64 * 48);
        assert!(narrow == folded);
    }

    #[test]
    fn what_others_read_or_is_scaled_twice_is_not() {
        let twice = BLOCKS.replace("transpose %9", "transpose %12").replace(
            "  %10 =",
            "  %12 = mul %9, %7 : f32[48, 64]
  %10 =",
        );
        assert!(kept(&twice).0.is_none());
        assert!(kept(&BLOCKS.replace("(y: %11)", "(y: %11, z: %10)")).0.is_none());
    }

    #[test]
    fn repeated_values_are_found() {
        let tensor = Tensor::from_slice(
            &[2, 4, 2],
            &[1f32, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0, 4.0],
        );
        let spread = compressed(&tensor);
        assert_eq!(spread.values.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert!((0..16).all(|at| f64::from(spread.get(at)) == tensor.get_f64(at)));
        assert_eq!(compressed(&Tensor::from_slice(&[4], &[1f32, 1.0, 1.0, 2.0])).values.len(), 4);
        assert_eq!(compressed(&Tensor::from_slice(&[], &[5f32])).values.len(), 1);
    }

    #[test]
    fn factors_of_axes() {
        let factors = [(6, 4), (1, 9), (4, 1)];
        assert_eq!(by_axes(&factors, &[2, 3, 4]), Some(vec![vec![(2, 12)], vec![(3, 4)], vec![(4, 1)]]));
        assert_eq!(by_axes(&factors, &[24]), Some(vec![vec![(6, 4), (4, 1)]]));
        assert_eq!(by_axes(&factors, &[4, 6]), None);
    }
}
