//! Panics: defects of nnc that are still reported in one line.

use std::sync::{Mutex, PoisonError};

static LAST: Mutex<String> = Mutex::new(String::new());

/// Keeps panics from printing; [`last`] tells what they said.
pub fn remember() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or_else(String::new, |l| format!(" at {l}"));
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = format!("panic{place}: {text}");
    }));
}

/// Where and why the last panic happened.
pub fn last() -> String {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
