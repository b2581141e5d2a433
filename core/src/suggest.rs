//! "Did you mean ...?" for a mistyped name.

/// `"\nhint: did you mean `X`?"` for the known name that is nearest to `typed`, or nothing if none is near.
pub fn hint<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("\nhint: did you mean `{name}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(hint("learning_rat", ["steps", "learning_rate"]), "\nhint: did you mean `learning_rate`?");
        assert_eq!(hint("zebra", ["steps", "learning_rate"]), "");
    }
}
