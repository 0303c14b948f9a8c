//! The attributes of tree ensembles, which come in two arrangements: lists of nodes named by tree and number (versions 1
//! and 3), and lists that name nodes by their place (version 5).

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::forest::{Child, Forest, Question, Split};
use rustc_hash::FxHashMap;

/// Trees and what their leaves weigh.
#[derive(Debug)]
pub(crate) struct Ensemble {
    pub forest: Forest,
    /// For each leaf its weights: target and weight.
    pub weights: Vec<Vec<(usize, f64)>>,
    /// What is added to each score.
    pub base: Vec<f64>,
}

impl Ensemble {
    /// The weights of a leaf, also of one after all that have some.
    pub fn of_leaf(&self, leaf: usize) -> &[(usize, f64)] {
        self.weights.get(leaf).map_or(&[], Vec::as_slice)
    }
}

/// A list of numbers, which is an attribute of floats or a tensor beside it.
fn numbers(ctx: &mut Context, name: &str) -> Result<Option<Vec<f64>>> {
    if let Some(tensor) = ctx.tensor(&format!("{name}_as_tensor"))?.filter(|tensor| !tensor.is_empty()) {
        return Ok(Some(tensor.to_f64s()));
    }
    Ok(ctx.floats(name)?.map(|list| list.iter().map(|&value| value.into()).collect()))
}

/// A list of integers that are places or numbers of things.
fn places(ctx: &mut Context, name: &str) -> Result<Vec<usize>> {
    let list = ctx.ints(name)?.unwrap_or_default();
    let place = |&n: &i64| usize::try_from(n).map_err(|_| invalid(format!("{name} has {n}, which is negative")));
    list.iter().map(place).collect()
}

/// Lists that go together must be as long.
fn as_long(lists: &[(&str, usize)], expected: usize) -> Result<()> {
    match lists.iter().find(|(_, length)| *length != expected) {
        Some((name, length)) => Err(invalid(format!("{name} has {length} entries where {expected} are expected"))),
        None => Ok(()),
    }
}

/// For each node whether a feature that is NaN counts as yes.
fn missing_is_yes(ctx: &mut Context, count: usize) -> Result<Vec<bool>> {
    let name = "nodes_missing_value_tracks_true";
    let flags = places(ctx, name)?;
    if flags.is_empty() {
        return Ok(vec![false; count]);
    }
    as_long(&[(name, flags.len())], count)?;
    Ok(flags.into_iter().map(|flag| flag != 0).collect())
}

fn question(mode: &str) -> Result<Question> {
    Ok(match mode {
        "BRANCH_LEQ" => Question::AtMost,
        "BRANCH_LT" => Question::Less,
        "BRANCH_GTE" => Question::AtLeast,
        "BRANCH_GT" => Question::Greater,
        "BRANCH_EQ" => Question::Equal,
        "BRANCH_NEQ" => Question::NotEqual,
        other => return Err(invalid(format!("nodes_modes has `{other}`, which is no mode"))),
    })
}

/// Versions 1 and 3; `kind` is `target` or `class`.
///
/// # Errors
/// When lists do not go together, or branches lead nowhere.
pub(crate) fn classic(ctx: &mut Context, kind: &str) -> Result<Ensemble> {
    ctx.no_effect("nodes_hitrates");
    ctx.no_effect("nodes_hitrates_as_tensor");
    let (trees, ids) = (places(ctx, "nodes_treeids")?, places(ctx, "nodes_nodeids")?);
    let modes = ctx.strings("nodes_modes")?.unwrap_or_default();
    let features = places(ctx, "nodes_featureids")?;
    let values = numbers(ctx, "nodes_values")?.unwrap_or_default();
    let (yes, no) = (places(ctx, "nodes_truenodeids")?, places(ctx, "nodes_falsenodeids")?);
    let count = ids.len();
    let missing = missing_is_yes(ctx, count)?;
    let lists = [
        ("nodes_treeids", trees.len()),
        ("nodes_modes", modes.len()),
        ("nodes_featureids", features.len()),
        ("nodes_values", values.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
    ];
    as_long(&lists, count)?;
    // Leaves and nodes that ask are numbered apart.
    let mut children: FxHashMap<(usize, usize), Child> = FxHashMap::default();
    let (mut leaves, mut asking) = (0, 0);
    for (at, mode) in modes.iter().enumerate() {
        let next = if mode == "LEAF" { &mut leaves } else { &mut asking };
        let child = if mode == "LEAF" { Child::Leaf(*next) } else { Child::Node(*next) };
        *next += 1;
        if children.insert((trees[at], ids[at]), child).is_some() {
            return Err(invalid(format!("tree {} has two nodes {}", trees[at], ids[at])));
        }
    }
    let mut forest = Forest::default();
    for (at, mode) in modes.iter().enumerate() {
        if at == 0 || trees[at] != trees[at - 1] {
            forest.roots.push(children[&(trees[at], ids[at])]);
        }
        if mode == "LEAF" {
            continue;
        }
        let child = |id: usize| {
            let found = children.get(&(trees[at], id)).copied();
            found.ok_or_else(|| invalid(format!("node {} of tree {} leads to {id}, which is none", ids[at], trees[at])))
        };
        forest.splits.push(Split {
            feature: features[at],
            question: question(mode)?,
            value: values[at],
            yes: child(yes[at])?,
            no: child(no[at])?,
            missing_is_yes: missing[at],
        });
    }
    let mut weights = vec![vec![]; leaves];
    let [of_trees, of_nodes, targets] =
        ["treeids", "nodeids", "ids"].map(|list| places(ctx, &format!("{kind}_{list}")));
    let (of_trees, of_nodes, targets) = (of_trees?, of_nodes?, targets?);
    let each = numbers(ctx, &format!("{kind}_weights"))?.unwrap_or_default();
    for (list, length) in [("treeids", of_trees.len()), ("nodeids", of_nodes.len()), ("weights", each.len())] {
        as_long(&[(&format!("{kind}_{list}"), length)], targets.len())?;
    }
    for (at, &target) in targets.iter().enumerate() {
        let (tree, id) = (of_trees[at], of_nodes[at]);
        match children.get(&(tree, id)) {
            Some(&Child::Leaf(leaf)) => weights[leaf].push((target, each[at])),
            _ => return Err(invalid(format!("node {id} of tree {tree} has a weight, and is no leaf"))),
        }
    }
    let base = numbers(ctx, "base_values")?.unwrap_or_default();
    Ok(Ensemble { forest, weights, base })
}

/// Version 5.
///
/// # Errors
/// When lists do not go together, or branches lead nowhere.
pub(crate) fn general(ctx: &mut Context) -> Result<Ensemble> {
    ctx.no_effect("nodes_hitrates");
    let tensor =
        |ctx: &mut Context, name: &str| Ok(ctx.tensor(name)?.map(|tensor| tensor.to_f64s()).unwrap_or_default());
    let (modes, values) = (tensor(ctx, "nodes_modes")?, tensor(ctx, "nodes_splits")?);
    let features = places(ctx, "nodes_featureids")?;
    let (yes, no) = (places(ctx, "nodes_truenodeids")?, places(ctx, "nodes_falsenodeids")?);
    let (yes_leaf, no_leaf) = (places(ctx, "nodes_trueleafs")?, places(ctx, "nodes_falseleafs")?);
    let count = modes.len();
    let missing = missing_is_yes(ctx, count)?;
    let lists = [
        ("nodes_splits", values.len()),
        ("nodes_featureids", features.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_trueleafs", yes_leaf.len()),
        ("nodes_falseleafs", no_leaf.len()),
    ];
    as_long(&lists, count)?;
    let targets = places(ctx, "leaf_targetids")?;
    let each = tensor(ctx, "leaf_weights")?;
    as_long(&[("leaf_weights", each.len())], targets.len())?;
    let mut sets = members(ctx)?.into_iter();
    let mut forest = Forest::default();
    // Members after the first of a set are asked for by nodes after all others.
    let mut further = vec![];
    for at in 0..count {
        let child = |place: usize, leaf: usize| match leaf {
            0 if place < count => Ok(Child::Node(place)),
            0 => Err(invalid(format!("node {at} leads to {place}; there are {count} nodes"))),
            _ if place < targets.len() => Ok(Child::Leaf(place)),
            _ => Err(invalid(format!("node {at} leads to leaf {place}; there are {}", targets.len()))),
        };
        let split = |question, value, no| -> Result<Split> {
            let yes = child(yes[at], yes_leaf[at])?;
            Ok(Split { feature: features[at], question, value, yes, no, missing_is_yes: missing[at] })
        };
        let no = child(no[at], no_leaf[at])?;
        let question = match modes[at] as i64 {
            0 => Question::AtMost,
            1 => Question::Less,
            2 => Question::AtLeast,
            3 => Question::Greater,
            4 => Question::Equal,
            5 => Question::NotEqual,
            6 => {
                let set = sets.next().filter(|set| !set.is_empty());
                let set = set.ok_or_else(|| invalid("membership_values has fewer sets than nodes that ask for one"))?;
                let mut otherwise = no;
                for &value in set[1..].iter().rev() {
                    further.push(split(Question::Equal, value, otherwise)?);
                    otherwise = Child::Node(count + further.len() - 1);
                }
                forest.splits.push(split(Question::Equal, set[0], otherwise)?);
                continue;
            }
            other => return Err(invalid(format!("nodes_modes has {other}; modes are 0 to 6"))),
        };
        forest.splits.push(split(question, values[at], no)?);
    }
    forest.splits.extend(further);
    for root in places(ctx, "tree_roots")? {
        // A root whose branches lead to one leaf is that leaf.
        let same = |split: &Split| split.yes == split.no;
        let split = forest
            .splits
            .get(root)
            .ok_or_else(|| invalid(format!("tree_roots has {root}; there are {count} nodes")))?;
        forest.roots.push(if same(split) { split.yes } else { Child::Node(root) });
    }
    let weights = targets.into_iter().zip(each).map(|weight| vec![weight]).collect();
    Ok(Ensemble { forest, weights, base: vec![] })
}

/// The sets that nodes ask for, each ended by NaN.
fn members(ctx: &mut Context) -> Result<Vec<Vec<f64>>> {
    let values = ctx.tensor("membership_values")?.map(|tensor| tensor.to_f64s()).unwrap_or_default();
    let mut sets: Vec<Vec<f64>> = values.split(|value| value.is_nan()).map(<[f64]>::to_vec).collect();
    if sets.last().is_some_and(Vec::is_empty) {
        sets.pop();
    }
    Ok(sets)
}
