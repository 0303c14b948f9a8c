//! Names that come from a model's file, shown to people.

/// Whether a character can be shown as it is: no control character, and none that changes the order, direction or
/// visibility of the text around it, so that what a person reads is what is there.
///
/// Source: Unicode Standard Annex 9, "Unicode Bidirectional Algorithm", and Technical Standard 39, "Unicode Security
/// Mechanisms".
pub const fn is_plain(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        // Soft hyphen, joiners, marks and overrides of direction, fillers, separators of lines.
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        // Musical formatting, tags, variation selectors.
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn letters_are_plain_and_what_steers_them_is_not() {
        assert!("aé漢字 עברית 🙂 _-/:.".chars().all(is_plain));
        assert!("\n\r\t\0\u{1b}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}".chars().all(|c| !is_plain(c)));
    }
}
