//! Options whose value is one of a few names.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A parser for an option that takes one of a few values. Each row of `table` is a value, its name on the command line
/// and its line in the help text.
///
/// It gives a library's own type, so that the library does not have to depend on clap.
///
/// # Panics
/// On first use, if two rows have the same name: clap then refuses the option.
pub fn choices<T: Clone + Send + Sync + 'static>(
    table: &'static [(T, &'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let values = table.iter().map(|(_, name, help)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(|typed| {
        let row = table.iter().find(|(_, name, _)| *name == typed);
        row.map(|(value, ..)| value.clone()).ok_or("not one of the possible values")
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    const SIZES: [(u32, &str, &str); 2] = [(1, "small", "One"), (9, "large", "Nine")];

    #[test]
    fn a_name_becomes_its_value_and_other_names_are_refused() {
        let command = || Command::new("test").arg(Arg::new("size").value_parser(choices(&SIZES)));
        let matches = command().try_get_matches_from(["test", "large"]).unwrap();
        assert_eq!(matches.get_one::<u32>("size"), Some(&9));
        let refused = command().try_get_matches_from(["test", "huge"]).unwrap_err().to_string();
        assert!(refused.contains("[possible values: small, large]"), "{refused}");
    }
}
