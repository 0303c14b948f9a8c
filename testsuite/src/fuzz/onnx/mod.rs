//! Family `onnx`: random valid ONNX models.
//!
//! A model grows node by node ([`gen_state`]), each made by its operator's row ([`ops`]). Shapes are expressions of symbols, and
//! what an operator demands of them becomes a constraint, so that the model can afterwards be run with any sizes that the
//! constraints allow, 0 and 1 among them. Ranges ([`range`]) keep values clear of what implementations may differ in.

pub mod gen_state;
pub mod net;
pub mod ops;
pub mod range;
mod reduction;

use nnc::errors::Result;
use nnc_ir::{DType, Dim, Symbol, Tensor};

use self::gen_state::{Gen, fill};
use self::net::{Attr, Fill, Net, Node};
use super::case::{Case, Source};
use super::check::Verdict;
use super::random::Random;
use super::session::{Outcome, Session, some_configs};
use super::shrink::shrink;
use super::special::{self, Special};

/// Sizes that symbols take in runs.
const SIZES: &[i64] = &[0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33];
/// The most elements that a run may have in one value.
const MOST_ELEMENTS: i64 = 60_000;

/// A model and the sizes of its runs.
#[derive(Clone, Debug)]
pub struct Specimen {
    /// The model.
    pub net: Net,
    /// The sizes of the symbols in each run.
    pub runs: Vec<Vec<i64>>,
    /// Seed of the inputs' elements.
    pub data: u64,
    /// What else is among them.
    pub special: &'static [Special],
}

/// Makes and checks the case of a seed.
///
/// # Errors
/// When a helper process cannot be started.
pub fn run(session: &mut Session, seed: u64) -> Result<Outcome> {
    let mut random = Random::new(seed);
    let specimen = specimen(random.fork());
    let count = 2 + random.below(3);
    let configs = some_configs(&mut random, count);
    let case = specimen.case();
    session.differential(&format!("onnx-{seed}"), &case, &configs, |session, verdict, configs| {
        let Verdict::Wrong { fault, .. } = verdict else { return Ok(specimen.case()) };
        let small = shrink(specimen.clone(), |s: &Specimen| session.shows(&s.case(), configs, fault))?;
        Ok(small.case())
    })
}

/// A random model with the sizes of its runs.
pub fn specimen(mut random: Random) -> Specimen {
    let opset = *random.of(&[17, 18, 19, 20, 21, 21, 22, 23, 23, 26]);
    let mut g = Gen::new(random.fork(), opset);
    let rows: Vec<(&str, ops::Make)> = ops::rows()
        .filter(|row| row.since <= opset)
        .flat_map(|row| row.names.iter().map(|name| (*name, row.make)))
        .collect();
    let wanted = 1 + random.below(12);
    for _ in 0..10 * wanted {
        let (name, make) = *g.random.of(&rows);
        let _ = make(&mut g, name);
        if g.net.nodes.len() >= wanted {
            break;
        }
    }
    choose_outputs(&mut g);
    let constraints = g.net.constraints.clone();
    let (sizes, mut net) = (g.sizes, g.net);
    net.prune();
    let free = net.free_symbols();
    let mut runs = vec![sizes.clone()];
    for _ in 0..20 {
        if runs.len() == 4 || free.is_empty() {
            break;
        }
        let mut sizes = sizes.clone();
        for symbol in &free {
            sizes[symbol.0 as usize] = *random.of(SIZES);
        }
        if allowed(&net, &constraints, &sizes) {
            runs.push(sizes);
        }
    }
    let data = random.bits();
    let special = special::draw(&mut random);
    // Interpolating along an axis multiplies elements by 0 where its scale turns out to be 1; an axis that is known to keep
    // its size is left alone.
    let nearest = |node: &Node| node.attributes.iter().any(|(_, value)| matches!(value, Attr::Text("nearest")));
    let interpolates = |node: &Node| node.op == "Resize" && !nearest(node);
    let special = if net.nodes.iter().any(interpolates) { &[] } else { special };
    Specimen { net, runs, data, special }
}

/// Values that no node reads, and some others.
fn choose_outputs(g: &mut Gen) {
    let reads: std::collections::BTreeSet<String> = g.net.nodes.iter().flat_map(net::Node::reads).collect();
    let made: Vec<String> = g.net.nodes.iter().flat_map(|n| n.outputs.clone()).collect();
    let mut outputs: Vec<String> =
        made.iter().filter(|name| !reads.contains(*name) || g.random.percent(15)).cloned().collect();
    // An output must be something: a model without nodes has none.
    outputs.dedup();
    g.net.outputs = outputs.iter().filter_map(|name| g.net.values.get(name).cloned()).collect();
}

/// Whether a run of these sizes is valid and small.
fn allowed(net: &Net, constraints: &[(Dim, i64)], sizes: &[i64]) -> bool {
    let size = |dim: &Dim| dim.eval(&|s: Symbol| sizes.get(s.0 as usize).copied());
    let valid = constraints.iter().all(|(dim, least)| size(dim).is_some_and(|n| n >= *least));
    let small = |dims: &[Dim]| {
        let product = dims.iter().try_fold(1i64, |n, d| n.checked_mul(size(d)?.max(0)));
        product.is_some_and(|n| n <= MOST_ELEMENTS)
    };
    valid && net.values.values().all(|v| small(&v.dims))
}

impl Specimen {
    /// The case: the model's bytes and the elements of its inputs.
    pub fn case(&self) -> Case {
        let sets = self.runs.iter().enumerate().map(|(i, sizes)| self.inputs(i as u64, sizes)).collect();
        Case { source: Source::Model(self.net.bytes()), sets, lone: !self.special.is_empty() }
    }

    /// The inputs of a run. An input's elements depend on its name alone, so that they stay when others go.
    fn inputs(&self, run: u64, sizes: &[i64]) -> Vec<Tensor> {
        let size = |dim: &Dim| dim.eval(&|s: Symbol| sizes.get(s.0 as usize).copied()).unwrap_or(0).max(0);
        let input = |(var, how): &(net::Var, Fill)| {
            let name = var.name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            let mut random = Random::new(self.data ^ name.rotate_left(20) ^ run);
            let shape: Vec<usize> = var.dims.iter().map(|d| size(d) as usize).collect();
            let count = shape.iter().product();
            let integers = |low: i64, high: i64, random: &mut Random| {
                let values: Vec<f64> = (0..count).map(|_| random.within(low, high) as f64).collect();
                Tensor::from_f64s(var.dtype, &shape, &values)
            };
            match how {
                Fill::Range if var.dtype == DType::Bool => integers(0, 1, &mut random),
                Fill::Range => {
                    let tensor = fill(&mut random, var.dtype, &shape, var.range);
                    special::sprinkle(tensor, self.special, &mut random)
                }
                Fill::Indices(axis, negative) => {
                    let n = size(axis);
                    integers(if *negative { -n } else { 0 }, n - 1, &mut random)
                }
                Fill::Lengths(axis) => integers(1, size(axis), &mut random),
            }
        };
        self.net.inputs.iter().map(input).collect()
    }
}
