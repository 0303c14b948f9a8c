//! Names of passes: all, those that may be left out, and those that serve speed alone.

use super::PASSES;

/// The names of the passes, in order.
pub fn names() -> Vec<&'static str> {
    PASSES.iter().map(|pass| pass.name).collect()
}

/// The names of the passes that may be left out.
pub(super) fn optional() -> Vec<&'static str> {
    PASSES.iter().filter(|pass| pass.is_optional()).map(|pass| pass.name).collect()
}

/// The passes that serve speed alone: without them every operation is computed by itself. What is left folds constants,
/// which lowering needs where a weight is computed from others, and drops what nobody reads.
pub fn for_speed() -> Vec<&'static str> {
    const NEEDED: [&str; 5] = ["remove_dead", "fold_constants", "fold_weights", "sweep", "hand_in_constants"];
    optional().into_iter().filter(|name| !NEEDED.contains(name)).collect()
}
