//! TfIdfVectorizer (<https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html>), all opsets: how often n-grams occur.
//!
//! The n-grams of the pool are a tree. A token becomes its number among the pool's tokens, and a window of tokens walks
//! down from the root: where it is next is looked up among the pairs of node and token that the tree has.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, PadMode, ScatterOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};
use rustc_hash::FxHashMap;

/// The longest n-grams; each token of one is a lookup.
const LONGEST_GRAM: i64 = 64;
/// Most numbers of tokens to skip.
const MOST_SKIPS: i64 = 64;
/// Most elements of a row of the output.
const MOST_COLUMNS: i64 = 1 << 24;

/// The n-grams as a tree; node 0 is its root.
struct Tree {
    /// Which node each pair of node and token leads to.
    edges: FxHashMap<(i64, i64), i64>,
    /// For each node the column of the n-gram that ends there, if one does.
    columns: Vec<Option<i64>>,
}

/// What counts become.
enum Mode {
    Counts,
    Present,
    Weighted,
}

/// The attributes.
struct Grams {
    shortest: i64,
    longest: i64,
    skips: i64,
    tree: Tree,
    /// Size of a row of the output.
    width: i64,
    mode: Mode,
    weights: Option<Vec<f32>>,
}

/// Adds the n-grams of a pool of tokens; `starts` says where those of 1, 2, ... tokens begin.
fn tree(tokens: &[i64], starts: &[i64], columns: &[i64]) -> Result<Tree> {
    let mut tree = Tree { edges: FxHashMap::default(), columns: vec![None] };
    let mut gram = columns.iter();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(tokens.len() as i64);
        let span = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part = span.and_then(|(start, end)| tokens.get(start..end));
        let part = part.ok_or_else(|| invalid(format!("ngram_counts {starts:?} do not divide the pool")))?;
        if part.len() % (i + 1) != 0 {
            return Err(invalid(format!("the pool has {} tokens for n-grams of {}", part.len(), i + 1)));
        }
        for tokens in part.chunks_exact(i + 1) {
            let mut node = 0;
            for &token in tokens {
                let next = tree.columns.len() as i64;
                let to = *tree.edges.entry((node, token)).or_insert(next);
                if to == next {
                    tree.columns.push(None);
                }
                node = to;
            }
            let column = gram.next().ok_or_else(|| invalid("there are fewer ngram_indexes than n-grams"))?;
            if let Some(slot) = usize::try_from(node).ok().and_then(|node| tree.columns.get_mut(node)) {
                *slot = Some(*column);
            }
        }
    }
    Ok(tree)
}

fn attributes(ctx: &mut Context, tokens: &[i64]) -> Result<Grams> {
    let mut required = |name: &str| ctx.optional_int(name)?.ok_or_else(|| invalid(format!("`{name}` is missing")));
    let (shortest, longest) = (required("min_gram_length")?, required("max_gram_length")?);
    let skips = required("max_skip_count")?;
    if !(1..=LONGEST_GRAM).contains(&longest) || !(1..=longest).contains(&shortest) {
        return Err(invalid(format!("n-grams of {shortest} to {longest} tokens; 1 to {LONGEST_GRAM} are accepted")));
    }
    if !(0..=MOST_SKIPS).contains(&skips) {
        return Err(invalid(format!("max_skip_count is {skips}; 0 to {MOST_SKIPS} are accepted")));
    }
    let starts = ctx.ints("ngram_counts")?.unwrap_or_default();
    let columns = ctx.ints("ngram_indexes")?.unwrap_or_default();
    let tree = tree(tokens, starts, columns)?;
    let width = columns.iter().max().map_or(0, |&most| most.saturating_add(1));
    if columns.iter().any(|&column| column < 0) || width > MOST_COLUMNS {
        return Err(invalid(format!("ngram_indexes go up to {width}; 0 to {MOST_COLUMNS} are accepted")));
    }
    let mode = match ctx.string("mode", "TF")?.as_str() {
        "TF" => Mode::Counts,
        "IDF" => Mode::Present,
        "TFIDF" => Mode::Weighted,
        other => return Err(invalid(format!("mode is `{other}`, it must be TF, IDF or TFIDF"))),
    };
    let mut weights = None;
    if let Some(list) = ctx.floats("weights")? {
        if list.len() != columns.len() {
            return Err(invalid(format!("there are {} weights for {} n-grams", list.len(), columns.len())));
        }
        // Of the n-grams in the pool's order; here, of the columns.
        let mut of_columns = vec![0f32; usize::try_from(width).unwrap_or(0)];
        for (&column, &weight) in columns.iter().zip(list) {
            if let Some(slot) = usize::try_from(column).ok().and_then(|column| of_columns.get_mut(column)) {
                *slot = weight;
            }
        }
        weights = Some(of_columns);
    }
    Ok(Grams { shortest, longest, skips, tree, width, mode, weights })
}

/// The number of each element of the input among the distinct tokens of the pool, or their number; and the pool in such
/// numbers.
fn tokens(ctx: &mut Context) -> Result<(ValueId, Vec<i64>, i64)> {
    if let Some(pool) = ctx.strings("pool_strings")?.filter(|pool| !pool.is_empty()) {
        let mut numbers: FxHashMap<&str, i64> = FxHashMap::default();
        let mut distinct: Vec<&str> = vec![];
        let mut numbered = vec![];
        for token in &pool {
            numbered.push(*numbers.entry(token).or_insert_with(|| {
                distinct.push(token);
                distinct.len() as i64 - 1
            }));
        }
        let strings = ctx.strings_input(0)?;
        return Ok((ctx.find_strings(&strings, &distinct)?, numbered, distinct.len() as i64));
    }
    let pool = ctx.ints("pool_int64s")?.ok_or_else(|| invalid("pool_strings or pool_int64s is missing"))?;
    let mut distinct = pool.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let number = |token: &i64| distinct.binary_search(token).map_or(0, |at| at as i64);
    let numbered = pool.iter().map(number).collect();
    let x = ctx.input(0)?;
    let x = ctx.convert(x, DType::I64)?;
    if distinct.is_empty() {
        let shape = ctx.shape(x);
        return Ok((ctx.full(DType::I64, 0.0, &shape)?, numbered, 0));
    }
    let keys = ctx.ints_constant(&distinct);
    Ok((ctx.find_among(x, keys)?, numbered, distinct.len() as i64))
}

/// How often each n-gram of the pool occurs in each row, or what its mode makes of that.
pub fn tf_idf_vectorizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, pool, distinct) = tokens(ctx)?;
    let grams = attributes(ctx, &pool)?;
    let rank = ctx.rank(x);
    let x = match rank {
        1 => ctx.unsqueeze(x, &[0])?,
        2 => x,
        _ => return Err(invalid(format!("the input has {rank} axes, it must have 1 or 2"))),
    };
    let rows = ctx.dim(x, 0);
    // What is no n-gram counts in a column of its own.
    let shape = [rows.clone(), Dim::from(grams.width + 1)];
    let mut counts = ctx.full(DType::F32, 0.0, &shape)?;
    for length in grams.shortest..=grams.longest {
        let skips = if length == 1 { 0 } else { grams.skips };
        for step in 1..=skips + 1 {
            let columns = windows(ctx, x, &grams, (length, step), distinct + 1)?;
            let found = ctx.shape(columns);
            let ones = ctx.full(DType::F32, 1.0, &found)?;
            let add = Op::ScatterElements { axis: 1, op: ScatterOp::Add };
            counts = ctx.one(add, &[counts, columns, ones])?;
        }
    }
    let counts = ctx.slice_axis(counts, 1, Dim::ZERO, Dim::from(grams.width))?;
    let y = weighted(ctx, counts, &grams)?;
    Ok(vec![if rank == 1 { ctx.squeeze(y, &[0])? } else { y }])
}

/// For each window of `length` tokens, `step` apart, the column of the n-gram that it is.
fn windows(ctx: &mut Context, x: ValueId, grams: &Grams, (length, step): (i64, i64), tokens: i64) -> Result<ValueId> {
    let reach = (length - 1) * step;
    let count = (ctx.dim(x, 1) - reach).max(&Dim::ZERO);
    let tree = &grams.tree;
    let mut edges: Vec<(i64, i64)> = tree.edges.iter().map(|(&(from, t), &to)| (from * tokens + t, to)).collect();
    if edges.is_empty() {
        return ctx.full(DType::I64, grams.width as f64, &[ctx.dim(x, 0), count]);
    }
    edges.sort_unstable();
    let (pairs, mut nodes): (Vec<i64>, Vec<i64>) = edges.into_iter().unzip();
    // What is no pair leads to a node more, from where nothing leads on.
    nodes.push(tree.columns.len() as i64);
    let (pairs, nodes) = (ctx.ints_constant(&pairs), ctx.ints_constant(&nodes));
    // A row that is too short has no window, but is sliced as if it had.
    let (low, high) = (vec![Dim::ZERO; 2], vec![Dim::ZERO, Dim::from(reach)]);
    let x = ctx.pad(x, low, high, PadMode::Constant, 0.0)?;
    let mut node = ctx.int_scalar(0);
    for i in 0..length {
        let token = ctx.slice_axis(x, 1, Dim::from(i * step), count.clone())?;
        let base = ctx.binary_scalar(BinaryOp::Mul, node, tokens as f64)?;
        let pair = ctx.add(token, base)?;
        let place = ctx.find_among(pair, pairs)?;
        node = ctx.gather(nodes, place)?;
    }
    let columns: Vec<i64> = tree.columns.iter().map(|c| c.unwrap_or(grams.width)).chain([grams.width]).collect();
    let columns = ctx.ints_constant(&columns);
    ctx.gather(columns, node)
}

/// What the mode makes of counts.
fn weighted(ctx: &mut Context, counts: ValueId, grams: &Grams) -> Result<ValueId> {
    let y = match grams.mode {
        Mode::Counts => return Ok(counts),
        Mode::Weighted => counts,
        Mode::Present => {
            let present = ctx.binary_scalar(BinaryOp::Gt, counts, 0.0)?;
            ctx.convert(present, DType::F32)?
        }
    };
    match &grams.weights {
        Some(weights) => {
            let weights = ctx.constant(Tensor::from_slice(&[weights.len()], weights));
            ctx.mul(y, weights)
        }
        None => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    fn grams(x: Sketch, lengths: [i64; 2], skips: i64) -> Sketch {
        let x = x.node("TfIdfVectorizer", "x -> y").string("mode", "TF").output("y");
        let x = x.int("min_gram_length", lengths[0]).int("max_gram_length", lengths[1]).int("max_skip_count", skips);
        x.int_list("ngram_counts", &[0, 4]).int_list("ngram_indexes", &[0, 1, 2, 3, 4, 5, 6])
    }

    fn rows() -> Sketch {
        let x = sketch().given("x", &[2, 6], &[1i32, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8]);
        x.node("Identity", "x -> t")
    }

    #[test]
    fn counts() {
        let pool = [2i64, 3, 5, 4, 5, 6, 7, 8, 6, 7];
        let x = || grams(rows(), [2, 2], 0).int_list("pool_int64s", &pool);
        assert_eq!(x().run(), "f32[2, 7] 0 0 0 0 0 0 0 0 0 0 0 1 0 1");
        let both = grams(rows(), [1, 2], 5).int_list("pool_int64s", &pool);
        assert_eq!(both.run(), "f32[2, 7] 0 3 0 0 0 0 0 0 0 1 0 1 1 1");
        let weights = Attribute::Floats(vec![1.0, 0.5, 1.0, 1.0, 1.0, 4.0, 1.0]);
        let idf = grams(rows(), [1, 2], 5).int_list("pool_int64s", &pool).attribute("weights", weights);
        assert_eq!(idf.clone().string("mode", "IDF").run(), "f32[2, 7] 0 0.5 0 0 0 0 0 0 0 1 0 1 4 1");
        assert_eq!(idf.string("mode", "TFIDF").run(), "f32[2, 7] 0 1.5 0 0 0 0 0 0 0 1 0 1 4 1");
        assert!(x().int_list("ngram_counts", &[0, 5]).run().contains("5 tokens for n-grams of 2"));
        assert!(x().int_list("ngram_indexes", &[0]).run().contains("fewer ngram_indexes"));
    }

    #[test]
    fn strings_and_short_rows() {
        let words = ["a", "b", "c", "d", "a", "b", "b", "c", "c", "a"];
        let x =
            |row: &[&str]| grams(sketch().given_strings("x", "n", row), [1, 2], 0).string_list("pool_strings", &words);
        assert_eq!(x(&["a", "b", "x", "c", "a"]).run(), "f32[7] 2 1 1 0 1 0 1");
        assert_eq!(x(&["b"]).run(), "f32[7] 0 1 0 0 0 0 0");
        assert_eq!(x(&[]).run(), "f32[7] 0 0 0 0 0 0 0");
    }
}
