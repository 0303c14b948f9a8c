//! Hand-computed cases, one file per family of operations.
