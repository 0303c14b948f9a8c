//! The text of constants, and the tensors that stand in text by their hash.

use super::{ParseError, Parser};
use crate::attributes::Attribute;
use crate::graph::Graph;
use crate::op::Op;
use crate::print::short_hash;
use crate::{DType, Data, Tensor};
use rustc_hash::FxHashMap;

/// Elements that text may ask for.
const MAX_ELEMENTS: usize = 1 << 26;

/// Tensors by the hash that stands for them in text.
#[derive(Clone, Debug, Default)]
pub struct Constants(FxHashMap<String, Tensor>);

impl Constants {
    /// The constants of a graph and its subgraphs.
    pub fn of(graph: &Graph) -> Constants {
        let mut constants = Constants::default();
        constants.add_graph(graph);
        constants
    }

    /// Adds one.
    pub fn add(&mut self, tensor: Tensor) {
        self.0.insert(short_hash(&tensor), tensor);
    }

    /// The tensor of this type and shape that a hash stands for; `None` when it was not added.
    pub fn find(&self, hash: &str, dtype: DType, shape: &[usize]) -> Option<&Tensor> {
        self.0.get(hash).filter(|tensor| tensor.dtype == dtype && tensor.shape == shape)
    }

    fn add_graph(&mut self, graph: &Graph) {
        for node in &graph.nodes {
            match node.op {
                Op::Constant(id) if id.index() < graph.consts.len() => self.add(graph.consts.get(id).clone()),
                _ => node.op.subgraphs().into_iter().for_each(|inner| self.add_graph(inner)),
            }
        }
    }
}

impl Parser<'_> {
    /// `f32[2] [1.0, 2.0]`, or `splat=`, `random=`, `hash=` after the type.
    pub(super) fn constant(&mut self) -> Result<Tensor, ParseError> {
        let dtype = DType::read(self)?;
        let shape: Vec<usize> = Attribute::read(self)?;
        let count = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).filter(|&n| n <= MAX_ELEMENTS);
        let count = count.ok_or_else(|| self.error("the constant is too large".into()))?;
        let mut bytes = vec![];
        if self.eat("[") {
            self.list("]", |p| p.element(dtype, &mut bytes))?;
        } else if self.keyword("splat") {
            self.expect("=")?;
            self.element(dtype, &mut bytes)?;
            bytes = bytes.repeat(count);
        } else if self.keyword("random") {
            self.expect("=")?;
            bytes = random(dtype, count, u64::read(self)?);
        } else if self.keyword("hash") {
            self.expect("=")?;
            let hash = self.word("a hash")?;
            let known = self.constants.find(hash, dtype, &shape);
            return known.cloned().ok_or_else(|| self.error(format!("no constant with hash {hash} is given")));
        } else {
            return Err(self.expected("`[`, `splat=`, `random=` or `hash=`"));
        }
        let given = bytes.len() / dtype.size();
        let tensor = Tensor::new(dtype, shape, Data::new(bytes));
        tensor.ok_or_else(|| self.error(format!("{given} elements where {count} belong")))
    }

    fn element(&mut self, dtype: DType, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let token = self.number()?;
        push_element(dtype, token, bytes).ok_or_else(|| self.error(format!("`{token}` is not of type {dtype}")))
    }
}

fn push_element(dtype: DType, token: &str, bytes: &mut Vec<u8>) -> Option<()> {
    if let Some(bits) = token.strip_prefix("nan:") {
        let bits = u64::from_str_radix(bits, 16).ok().filter(|_| dtype.is_float())?;
        bytes.extend(bits.to_le_bytes().get(..dtype.size())?);
        return Some(());
    }
    match dtype {
        DType::Bool => bytes.push(u8::from(token.parse::<bool>().ok()?)),
        DType::U8 => bytes.push(token.parse().ok()?),
        DType::I8 => bytes.extend(token.parse::<i8>().ok()?.to_le_bytes()),
        DType::U16 => bytes.extend(token.parse::<u16>().ok()?.to_le_bytes()),
        DType::I16 => bytes.extend(token.parse::<i16>().ok()?.to_le_bytes()),
        DType::U32 => bytes.extend(token.parse::<u32>().ok()?.to_le_bytes()),
        DType::I32 => bytes.extend(token.parse::<i32>().ok()?.to_le_bytes()),
        DType::U64 => bytes.extend(token.parse::<u64>().ok()?.to_le_bytes()),
        DType::I64 => bytes.extend(token.parse::<i64>().ok()?.to_le_bytes()),
        DType::F16 => bytes.extend(half::f16::from_f32(token.parse().ok()?).to_le_bytes()),
        DType::BF16 => bytes.extend(half::bf16::from_f32(token.parse().ok()?).to_le_bytes()),
        DType::F32 => bytes.extend(token.parse::<f32>().ok()?.to_le_bytes()),
        DType::F64 => bytes.extend(token.parse::<f64>().ok()?.to_le_bytes()),
    }
    Some(())
}

/// Floats in [-1, 1) with few digits, integers of 4 bits; the same on every machine.
///
/// Source: Sebastiano Vigna, "SplitMix64" (2015), prng.di.unimi.it/splitmix64.c.
fn random(dtype: DType, count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let values: Vec<f64> = (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bits = (z ^ (z >> 31)) >> 57;
            match dtype {
                DType::Bool => (bits & 1) as f64,
                _ if dtype.is_float() => bits as f64 / 64.0 - 1.0,
                _ if dtype.is_signed() => (bits & 15) as f64 - 8.0,
                _ => (bits & 15) as f64,
            }
        })
        .collect();
    Tensor::from_f64s(dtype, &[count], &values).data.bytes().to_vec()
}
