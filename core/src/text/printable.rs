//! Text for terminals and comments.

/// `text` with control characters escaped: a terminal would obey them, and a line feed would end a comment.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().collect(),
        false => String::from(c),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31m\tb\n\u{9b}"), r"a\u{1b}[31m\tb\n\u{9b}");
        assert_eq!(printable("it's \"å\" \\ \u{200d}"), "it's \"å\" \\ \u{200d}");
    }
}
