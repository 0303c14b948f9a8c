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
mod tests;
