//! CoNLL: a word and its tag per line, with the word's other columns between them; a blank line after each record. Of several models,
//! a column of tags for each.

use anyhow::Result;
use hyperloader_core::corpus::{OffsetUnit, Offsets};

use super::common_words::rows;
use super::writer::Writer;
use crate::entry::Entry;

/// Writes CoNLL. Records that have no words, or could not be tagged, are comments.
pub(super) struct Conll {
    /// Tasks of the models, which have a column each.
    pub(super) tasks: Vec<String>,
}

impl Writer for Conll {
    fn begin(&self) -> String {
        match &self.tasks[..] {
            [] | [_] => String::new(),
            tasks => format!("# tags: {}\n", one_line(&tasks.join(" "))),
        }
    }

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
            Ok(models) => {
                let rows = rows(models);
                if rows.is_empty() {
                    out.push_str("# no words\n");
                }
                let text = models.first().map(|tagged| tagged.text.as_str()).unwrap_or_default();
                let bytes = Offsets::new(text, OffsetUnit::Bytes);
                let has_columns = entry.columns.len() == rows.len();
                for (at, ((start, end), tags)) in rows.into_iter().enumerate() {
                    let word = text.get(bytes.of_character(start)..bytes.of_character(end));
                    match entry.columns.get(at).filter(|_| has_columns) {
                        Some(columns) => columns.iter().for_each(|column| {
                            out.push_str(&one_line(column));
                            out.push('\t');
                        }),
                        None => out.push_str(&format!("{}\t", word.unwrap_or_default())),
                    }
                    out.push_str(&format!("{}\n", tags.join("\t")));
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
    use super::super::examples::{alarm, entries, entry, of_two_models, two_tasks, written};
    use super::*;

    fn conll() -> Conll {
        Conll { tasks: vec!["one".to_owned()] }
    }

    #[test]
    fn several_models_have_a_column_each_and_a_heading() {
        insta::assert_snapshot!(written(Conll { tasks: two_tasks() }, &of_two_models()), @r#"
        # tags: alarms places
        set	O	O
        a	O	O
        "café"	B-name	B-place
        alarm	O	I-place
        for	O	O
        7	B-date_time	O
        am	I-date_time	O

        😀	O	O
        a	O	O
        <b>	B-x/y	O
        &	O	O
        "c"	O	O

        # no words

        # error: argument 4: task `places`: the line is bad
        "#);
        let mut entry = of_two_models().remove(0);
        entry.columns = (1..=7).map(|k| vec![format!("word{k}"), "X".into()]).collect();
        let out = written(Conll { tasks: two_tasks() }, &[entry]);
        assert!(out.starts_with("# tags: alarms places\nword1\tX\tO\tO\n"), "{out}");
    }

    #[test]
    fn each_record_is_a_block_and_errors_are_comments() {
        insta::assert_snapshot!(written(conll(), &entries()), @r#"
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
        insta::assert_snapshot!(written(conll(), &[entry]), @r#"
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
