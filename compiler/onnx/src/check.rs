//! The order of nodes and the definition of names.
pub fn check(_model: &mut crate::Model) -> Result<(), crate::ImportError> {
    Ok(())
}
