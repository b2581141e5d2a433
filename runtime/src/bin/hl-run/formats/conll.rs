//! CoNLL: a word and its tag per line, with the word's other columns between them; a blank line after each record.

use anyhow::Result;

use super::writer::Writer;
use crate::entry::{Entry, surfaces};

/// Writes CoNLL. Records that have no words, or could not be tagged, are comments.
pub(super) struct Conll;

impl Writer for Conll {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let mut out = String::new();
        for comment in &entry.comments {
            out.push_str(comment);
            // A document begins with a sentence of its own.
            out.push_str(if comment.starts_with('#') { "\n" } else { "\n\n" });
        }
        match &entry.result {
            Err(failure) => {
                let message = one_line(&failure.message);
                out.push_str(&format!("# error: {}: {message}\n", one_line(&entry.place.to_string())));
            }
            Ok(tagged) if tagged.words.is_empty() => out.push_str("# no words\n"),
            Ok(tagged) if entry.columns.len() == tagged.tags.len() => {
                for (columns, tag) in entry.columns.iter().zip(&tagged.tags) {
                    for column in columns {
                        out.push_str(&one_line(column));
                        out.push('\t');
                    }
                    out.push_str(&format!("{tag}\n"));
                }
            }
            Ok(tagged) => {
                for (word, tag) in surfaces(tagged).into_iter().zip(&tagged.tags) {
                    out.push_str(&format!("{word}\t{tag}\n"));
                }
            }
        }
        out.push('\n');
        Ok(out)
    }
}

/// Text without what would begin another line or column.
fn one_line(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::examples::{alarm, entries, entry, written};
    use super::*;

    #[test]
    fn each_record_is_a_block_and_errors_are_comments() {
        insta::assert_snapshot!(written(Conll, &entries()), @r#"
        set	O
        a	O
        "café"	B-name
        alarm	O
        for	O
        7	B-date_time
        am	I-date_time

        😀	O
        a	O
        <b>	B-x/y
        &	O
        "c"	O

        # no words

        # error: argument 4: the line is bad
        "#);
    }

    #[test]
    fn columns_and_comments_of_the_input_stay() {
        let mut entry = entry(1, Ok(alarm()));
        entry.comments = vec!["-DOCSTART- -X- O".into(), "# id 7".into()];
        entry.columns = (1..=7).map(|k| vec![k.to_string(), format!("word{k}"), "a b".into()]).collect();
        insta::assert_snapshot!(written(Conll, &[entry]), @r#"
        -DOCSTART- -X- O

        # id 7
        1	word1	a b	O
        2	word2	a b	O
        3	word3	a b	B-name
        4	word4	a b	O
        5	word5	a b	O
        6	word6	a b	B-date_time
        7	word7	a b	I-date_time
        "#);
    }
}
