//! All that is refused of a model, not just the first: translation goes on after a refused node.
//!
//! What a refused node would have yielded has the type that the file states for it, and nothing else is known of it; where
//! the file states none, the nodes that read it are not looked at. Operators that are missing are refused without a word:
//! they are listed by name, not by node. What translation makes on the way is of no use otherwise.

use crate::context::{Translator, label};
use crate::error::{Error, Result, TranslateError};
use crate::tensors;
use crate::translate::{MOST_OPERATIONS, Options, declared_shape};
use nnc_ir::{Dim, TensorType};
use nnc_onnx::{Model, Node, TypeInfo};

/// Most refusals that are kept: more tell nothing new.
const MOST_REFUSALS: usize = 256;

/// What is refused of a model.
#[derive(Debug, Default)]
pub struct Survey {
    /// The refusals, in the order of the nodes.
    pub refused: Vec<TranslateError>,
    /// Nodes that read what a refused one would have yielded, and were not looked at.
    pub unknown: Vec<String>,
}

/// Refusals while they are collected.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    refused: Vec<Error>,
    unknown: Vec<String>,
}

/// Finds all that translation refuses, but for operators that are missing.
pub fn survey(model: &Model, options: &Options) -> Survey {
    let mut translator = Translator::new(options);
    translator.refusals = Some(Refusals::default());
    let outcome = translator.model(model);
    let Refusals { mut refused, unknown } = translator.refusals.take().unwrap_or_default();
    refused.extend(outcome.err().filter(|error| !error.told));
    let refused = refused.into_iter().map(|error| error.in_file(model)).collect();
    Survey { refused, unknown }
}

impl<'m> Translator<'m> {
    /// What becomes of a refused node: the end of the translation, or a note where all refusals are wanted.
    pub(crate) fn refuse_node(&mut self, node: &'m Node, mut error: Error) -> Result<()> {
        error.place.get_or_insert_with(|| label(node));
        let missing = self.refusals.is_some() && crate::registry::operator(node).is_none();
        if let Some(refusals) = self.refusals.as_mut().filter(|_| error.told && !missing) {
            let place = label(node);
            if !refusals.unknown.contains(&place) && refusals.unknown.len() < MOST_REFUSALS {
                refusals.unknown.push(place);
            }
        }
        error.told |= missing;
        self.refuse(error)?;
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            self.define_refused(name);
        }
        Ok(())
    }

    /// Notes an error where all refusals are wanted, or hands it back.
    pub(crate) fn refuse(&mut self, error: Error) -> Result<()> {
        let made = self.frames.last().map_or(0, |frame| frame.graph.nodes.len());
        let Some(refusals) = &mut self.refusals else { return Err(error) };
        // Beyond a limit of the whole model every node would be refused for the same.
        if self.nodes_left == 0 || made > MOST_OPERATIONS || refusals.refused.len() >= MOST_REFUSALS {
            return Err(error);
        }
        // A loop that is unrolled comes to the same node many times.
        let same = |other: &Error| other.place == error.place && other.message == error.message;
        if !error.told && !refusals.refused.iter().any(same) {
            refusals.refused.push(error);
        }
        Ok(())
    }

    /// Makes a name stand for a value of the type that the file states, or for nothing that is known.
    pub(crate) fn define_refused(&mut self, name: &'m str) {
        let Some(frame) = self.frames.last_mut() else { return };
        let stated = frame.stated.get(name).copied().and_then(|ty| {
            let TypeInfo::Tensor { elem_type, .. } = ty else { return None };
            let dtype = tensors::dtype(*elem_type).filter(|_| elem_type.bits() >= 8)?;
            Some((dtype, declared_shape(ty, &frame.graph.dims)?))
        });
        let Some((dtype, sizes)) = stated else {
            frame.refused.insert(name);
            return;
        };
        let dims = &mut frame.graph.dims;
        let sizes =
            sizes.into_iter().map(|size| size.unwrap_or_else(|| Dim::sym(dims.fresh("unknown", 0, i64::MAX, None))));
        let ty = TensorType::new(dtype, sizes.collect());
        let value = frame.graph.add_value(ty, name);
        frame.names.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::ElemType::{Complex64, Float};
    use nnc_onnx::{DimInfo, ElemType};

    fn found(sketch: &Sketch) -> (Vec<String>, Vec<String>) {
        let Survey { refused, unknown } = survey(&sketch.model, &Options::default());
        (refused.iter().map(ToString::to_string).collect(), unknown)
    }

    fn stated(sketch: &mut Sketch, name: &str, sizes: &[u64]) {
        let shape = Some(sizes.iter().map(|&n| DimInfo::Size(n)).collect());
        let ty = TypeInfo::Tensor { elem_type: ElemType::Float, shape };
        sketch.model.graph.value_info.insert(name.to_owned(), ty);
    }

    #[test]
    fn nothing_is_refused_of_what_translates() {
        let sketch = sketch().input("x", Float, "2").node("Relu", "x -> y").output("y");
        assert_eq!(found(&sketch), (vec![], vec![]));
    }

    #[test]
    fn goes_on_where_the_file_states_types() {
        let sketch = || {
            sketch()
                .input("x", Float, "2 3")
                .node("Transpose", "x -> a")
                .int_list("perm", &[0, 0])
                .node("Frobnicate", "a -> b")
                .node("Relu", "b -> c")
                .node("MatMul", "c c -> y")
                .output("y")
        };
        // Of what the first node yields nothing is known, nor of all that comes of it.
        let (refused, unknown) = found(&sketch());
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("Transpose \"n0\": perm"), "{refused:?}");
        assert_eq!(unknown, ["Relu \"n2\"", "MatMul \"n3\""]);
        // With a type behind the missing operator the last node is found to be wrong too.
        let mut typed = sketch();
        stated(&mut typed, "b", &[2, 3]);
        let (refused, unknown) = found(&typed);
        assert_eq!((refused.len(), unknown.len()), (2, 0), "{refused:?} {unknown:?}");
        assert!(refused[1].contains("MatMul \"n3\""), "{refused:?}");
    }

    #[test]
    fn inputs_and_subgraphs_are_looked_at() {
        let body = sketch().node("Transpose", "x -> t").int_list("perm", &[5]).output("t");
        let other = sketch().node("Relu", "x -> u").output("u");
        let sketch = sketch()
            .input("waves", Complex64, "1")
            .input("x", Float, "2")
            .input("c", ElemType::Bool, "")
            .node("If", "c -> y")
            .graph("then_branch", body)
            .graph("else_branch", other)
            .node("Identity", "waves -> z")
            .node("Relu", "y -> r")
            .output("r");
        let (refused, unknown) = found(&sketch);
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[0].contains("input `waves`") && refused[1].contains("axis 5"), "{refused:?}");
        assert_eq!(unknown.len(), 3, "{unknown:?}");
    }
}
