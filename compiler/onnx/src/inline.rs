//! Calls of model-local functions, replaced by their bodies.
pub fn inline_functions(_model: &mut crate::Model) -> Result<(), crate::ImportError> {
    Ok(())
}
