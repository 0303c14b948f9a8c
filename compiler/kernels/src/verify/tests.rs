//! One kernel or program per rule that breaks it.
