//! Whether a model can write the labels of a task at all, checked before it is trained.

use super::labels::LabelSet;
use super::sentt::{SentT, SentTError};

/// Labels that cannot be learned.
#[derive(Debug, thiserror::Error)]
pub enum WritableError {
    /// The set of labels is empty.
    #[error("there is no label to learn: no training or validation sentence has a span")]
    NoLabels,
    /// The vocabulary cannot write some labels as they are.
    #[error("the backbone's vocabulary cannot write these labels: {}\nhint: rename them in the corpus, for T5 in Latin letters and digits", list(.0))]
    Unwritable(Vec<Unwritable>),
    /// The tokenizer failed.
    #[error(transparent)]
    SentT(#[from] SentTError),
}

/// A label, and what comes out when its ids are read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// Label as the corpus spells it.
    pub label: String,
    /// What its ids stand for: the label without unknown characters, or in Unicode's compatibility form.
    pub written: String,
}

fn list(labels: &[Unwritable]) -> String {
    let show = |Unwritable { label, written }: &Unwritable| match written.as_str() {
        "" => format!("`{label}` (no character is known)"),
        _ => format!("`{label}` (would be written as `{written}`)"),
    };
    labels.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// Refuses an empty set of labels.
///
/// # Errors
/// If there is no label.
pub fn some_labels(labels: &LabelSet) -> Result<(), WritableError> {
    if labels.is_empty() { Err(WritableError::NoLabels) } else { Ok(()) }
}

/// Refuses labels that do not come back from their ids as they were. Such labels never equal gold, and two of them may have the same
/// ids. Labels whose ids come back have ids of their own.
///
/// # Errors
/// Names all such labels. If there is no label at all.
pub fn labels_writable(codec: &SentT, labels: &LabelSet) -> Result<(), WritableError> {
    some_labels(labels)?;
    let mut unwritable = Vec::new();
    for label in labels.iter() {
        let tags = codec.decode_words(&codec.word(&label)?)?;
        if tags != [label] {
            unwritable.push(Unwritable { label: label.to_owned(), written: tags.join(" ") });
        }
    }
    if unwritable.is_empty() { Ok(()) } else { Err(WritableError::Unwritable(unwritable)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[&str]) -> Result<(), String> {
        let codec = SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        let labels = LabelSet::new(labels.iter().copied(), "test").unwrap();
        labels_writable(&codec, &labels).map_err(|error| error.to_string().lines().next().unwrap().to_owned())
    }

    #[test]
    fn labels_that_do_not_come_back_are_all_named() {
        let message = "the backbone's vocabulary cannot write these labels: ";
        for (labels, list) in [
            (vec!["a{b}", "fine"], "`a{b}` (would be written as `ab`)"),
            (
                vec!["\u{4eba}\u{540d}", "\u{5730}\u{540d}"],
                "`\u{4eba}\u{540d}` (no character is known), `\u{5730}\u{540d}` (no character is known)",
            ),
            (vec!["x~y", "x^y"], "`x~y` (would be written as `xy`), `x^y` (would be written as `xy`)"),
            (vec!["m\u{b2}"], "`m\u{b2}` (would be written as `m2`)"),
            (vec!["\u{2116}1"], "`\u{2116}1` (would be written as `No1`)"),
            (
                vec!["<extra_id_3>", "a</s>"],
                "`<extra_id_3>` (no character is known), `a</s>` (would be written as `a`)",
            ),
            (vec!["\u{200b}"], "`\u{200b}` (no character is known)"),
        ] {
            assert_eq!(check(&labels), Err(format!("{message}{list}")));
        }
        let none = check(&[]).unwrap_err();
        assert_eq!(none, "there is no label to learn: no training or validation sentence has a span");
    }

    #[test]
    fn usual_labels_are_writable() {
        let labels =
            ["PER", "art-film", "toloc.city_name", "sl:date_time", "Character_Name", "Stra\u{df}e", "A/B"];
        assert_eq!(check(&labels), Ok(()));
        assert_eq!(check(&["reminder/todo", "B", "x"]), Ok(()));
    }
}
