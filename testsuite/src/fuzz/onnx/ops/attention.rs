//! Attention and the rotation of its operands.

use nnc_ir::{DType, Dim, Tensor};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[row(&["Attention"], 23, attention), row(&["RotaryEmbedding"], 23, rotary)];

const SMALL: Range = Range::rounded(-2.0, 2.0);

/// Queries, keys and values with heads apart or merged; keys may be shared, some of them past.
fn attention(g: &mut Gen, op: &str) -> Option<()> {
    let (batch, queries, keys) = (g.dim(), g.dim(), g.dim());
    g.at_least(&keys, 1)?;
    let shared = g.random.within(1, 2);
    let heads = shared * g.random.within(1, 2);
    let (size, width) = (*g.random.of(&[2i64, 4, 8]), *g.random.of(&[2i64, 4, 8]));
    let merged = g.random.percent(40);
    let tensor = |g: &mut Gen, heads: i64, steps: &Dim, size: i64, merged: bool| {
        let dims = match merged {
            true => vec![batch.clone(), steps.clone(), Dim::from(heads * size)],
            false => vec![batch.clone(), Dim::from(heads), steps.clone(), Dim::from(size)],
        };
        g.fresh(DType::F32, dims, SMALL)
    };
    let q = tensor(g, heads, &queries, size, merged);
    let k = tensor(g, shared, &keys, size, merged);
    let v = tensor(g, shared, &keys, width, merged);
    let mut names = vec![q.name, k.name, v.name];
    let past = g.random.percent(25).then(|| g.dim());
    let total = past.as_ref().map_or(keys.clone(), |past| past + &keys);
    names.push(match g.random.below(3) {
        0 => g.fresh(DType::F32, vec![queries.clone(), total.clone()], SMALL).name,
        1 => allowed(g, &queries, &total)?,
        _ => String::new(),
    });
    if let Some(past) = &past {
        names.push(tensor(g, shared, past, size, false).name);
        names.push(tensor(g, shared, past, width, false).name);
    }
    // ONNX Runtime lets a single query after past keys attend to all new ones.
    let causal = g.random.percent(40) && (past.is_none() || queries == keys);
    let mut attributes = vec![("is_causal", Attr::Int(i64::from(causal)))];
    if merged {
        attributes.extend([("q_num_heads", Attr::Int(heads)), ("kv_num_heads", Attr::Int(shared))]);
    }
    if g.random.percent(30) {
        attributes.push(("scale", Attr::Float(0.25)));
    }
    if g.random.percent(20) {
        attributes.push(("softcap", Attr::Float(3.0)));
    }
    let dims = match merged {
        true => vec![batch.clone(), queries.clone(), Dim::from(heads * width)],
        false => vec![batch.clone(), Dim::from(heads), queries.clone(), Dim::from(width)],
    };
    let mut results = vec![(DType::F32, dims, SMALL)];
    if past.is_some() {
        for size in [size, width] {
            results.push((DType::F32, vec![batch.clone(), Dim::from(shared), total.clone(), Dim::from(size)], SMALL));
        }
    }
    g.emit_named(op, names, attributes, results).map(drop)
}

/// A mask that allows every query the first key: what becomes of a query without one differs.
fn allowed(g: &mut Gen, queries: &Dim, keys: &Dim) -> Option<String> {
    let (rows, columns) = (queries.as_const()? as usize, keys.as_const()? as usize);
    let values: Vec<f64> =
        (0..rows * columns).map(|i| f64::from(u8::from(i % columns == 0 || g.random.percent(50)))).collect();
    Some(g.constant(Tensor::from_f64s(DType::Bool, &[rows, columns], &values)).name)
}

fn rotary(g: &mut Gen, op: &str) -> Option<()> {
    let (batch, steps) = (g.dim(), g.dim());
    let heads = g.random.within(1, 3);
    let size = *g.random.of(&[2i64, 4, 8]);
    let turned = if g.random.percent(30) { 2 } else { size };
    let merged = g.random.percent(40);
    let dims = match merged {
        true => vec![batch.clone(), steps.clone(), Dim::from(heads * size)],
        false => vec![batch.clone(), Dim::from(heads), steps.clone(), Dim::from(size)],
    };
    let x = g.fresh(DType::F32, dims.clone(), SMALL);
    let half = Dim::from(turned / 2);
    let positions = g.random.percent(50);
    let most = Dim::from(g.random.within(1, 9));
    let cache = if positions { vec![most.clone(), half] } else { vec![batch.clone(), steps.clone(), half] };
    let caches: Vec<Var> = (0..2).map(|_| g.fresh(DType::F32, cache.clone(), Range::rounded(-1.0, 1.0))).collect();
    let mut inputs = vec![&x, &caches[0], &caches[1]];
    let index = if positions { Some(g.indices(DType::I64, vec![batch, steps], &most, false)?) } else { None };
    inputs.extend(&index);
    let mut attributes = vec![("interleaved", Attr::Int(g.random.below(2) as i64))];
    if merged {
        attributes.push(("num_heads", Attr::Int(heads)));
    }
    if turned != size {
        attributes.push(("rotary_embedding_dim", Attr::Int(turned)));
    }
    g.one(op, &inputs, attributes, DType::F32, dims, Range::rounded(-4.0, 4.0))
}
