//! Parquet: a row per record. Records that could not be tagged have no tokens, tags and spans, and an error.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_core::files::{AtomicFile, FileError};
use hyperloader_core::parquet::{SpanCell, TableWriter, TaggedRow};
use hyperloader_core::text::scores::rounded;
use hyperloader_runtime::{TagScore, Tagged, TaggedSpan};

use crate::entry::Entry;

const PROGRAM: &str = concat!("hl-run version ", env!("CARGO_PKG_VERSION"));

/// Columns that a record's own fields do not repeat, and those that only a tagged record has.
const OURS: [&str; 4] = ["text", "error", "abstained", "withheld"];
const OURS_IF_TAGGED: [&str; 2] = ["spans", "tags"];

/// Writes a file that appears when it is complete.
pub(crate) struct Table {
    writer: TableWriter<AtomicFile>,
    path: PathBuf,
    offsets: OffsetUnit,
}

impl Table {
    /// Begins the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn new(file: AtomicFile, path: &Path, offsets: OffsetUnit) -> Result<Self> {
        let writer = TableWriter::new(file, PROGRAM).map_err(|error| FileError::new("write", path, error))?;
        Ok(Self { writer, path: path.to_owned(), offsets })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<()> {
        let row = row(entry, self.offsets)?;
        Ok(self.writer.add(row).map_err(|error| FileError::new("write", &self.path, error))?)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// As [`Table::record`].
    pub(crate) fn finish(self) -> Result<()> {
        let file = self.writer.finish().map_err(|error| FileError::new("write", &self.path, error))?;
        Ok(file.commit()?)
    }
}

fn row(entry: &Entry, offsets: OffsetUnit) -> Result<TaggedRow> {
    let fields = others(entry)?;
    Ok(match &entry.result {
        // The command line allows one model.
        Ok(models) => match models.first() {
            Some(tagged) => TaggedRow { fields, ..tagged_row(tagged, offsets) },
            None => TaggedRow { text: entry.text.clone(), fields, ..TaggedRow::default() },
        },
        Err(failure) => TaggedRow {
            text: entry.text.clone(),
            error: Some(failure.message.clone()),
            fields,
            ..TaggedRow::default()
        },
    })
}

fn tagged_row(tagged: &Tagged, offsets: OffsetUnit) -> TaggedRow {
    let span = |span: &TaggedSpan| SpanCell {
        start: span.start,
        end: span.end,
        label: span.label.clone(),
        text: span.text.clone(),
        score: span.score.as_ref().map(|TagScore { score, .. }| rounded(*score)),
        unknown: span.unknown,
    };
    TaggedRow {
        text: Some(tagged.text.clone()),
        tokens: Some(tagged.surfaces().into_iter().map(str::to_owned).collect()),
        tags: Some(tagged.tags.clone()),
        spans: Some(tagged.spans_in(offsets).iter().map(span).collect()),
        score: tagged.scores.as_ref().map(|scores| rounded(scores.score)),
        error: None,
        abstained: tagged.abstained,
        withheld: tagged.withheld,
        fields: None,
    }
}

/// The record's other fields and comments as a JSON object, if it has any.
fn others(entry: &Entry) -> Result<Option<String>> {
    let mut ours: Vec<&str> = OURS.into();
    if entry.result.is_ok() {
        ours.extend(OURS_IF_TAGGED);
        // The column `tokens` has the words that were tagged.
        ours.extend(entry.tokens_field().filter(|_| entry.has_words || entry.words_unfit));
    }
    let other_fields = || -> serde_json::Result<Vec<String>> {
        let mut fields = entry.other_fields(&ours)?;
        if !entry.comments.is_empty() && !entry.fields.contains_key("comments") {
            fields.push(format!("\"comments\":{}", serde_json::to_string(&entry.comments)?));
        }
        Ok(fields)
    };
    let fields = other_fields().context("cannot write the record's fields as JSON")?;
    Ok((!fields.is_empty()).then(|| format!("{{{}}}", fields.join(","))))
}

#[cfg(test)]
mod tests {
    use hyperloader_runtime::SentenceScores;
    use serde_json::json;

    use super::super::examples::{alarm, entries, entry};
    use super::*;

    #[test]
    fn a_row_has_what_a_line_of_json_has_in_columns() {
        let rows: Vec<TaggedRow> =
            entries().iter().map(|entry| row(entry, OffsetUnit::Utf16).unwrap()).collect();
        let spans: Vec<(usize, usize, &str, &str)> = rows[1]
            .spans
            .iter()
            .flatten()
            .map(|span| (span.start, span.end, &*span.label, &*span.text))
            .collect();
        assert_eq!(spans, [(5, 8, "x/y", "<b>")]);
        assert_eq!(rows[1].tokens.as_ref().unwrap().len(), rows[1].tags.as_ref().unwrap().len());
        assert_eq!((rows[2].text.as_deref(), rows[2].tokens.as_deref()), (Some(""), Some(&[][..])));
        let failed = TaggedRow {
            text: Some("bad\nline".into()),
            error: Some("the line\tis bad".into()),
            ..TaggedRow::default()
        };
        assert_eq!(rows[3], failed);
    }

    #[test]
    fn other_fields_and_comments_are_one_column_and_ours_are_not_repeated() {
        let mut entry = entry(1, Ok(alarm()));
        entry.has_words = true;
        entry.comments = vec!["# one".into()];
        entry.fields =
            json!({"id": 7, "tokens": ["x"], "tags": ["O"], "text": "x"}).as_object().cloned().unwrap();
        let found = row(&entry, OffsetUnit::Chars).unwrap();
        assert_eq!(found.fields.as_deref(), Some(r##"{"id":7,"comments":["# one"]}"##));
    }

    #[test]
    fn other_fields_keep_numbers_as_written_and_failed_records_keep_their_tags() {
        let mut failed = entries().remove(3);
        failed.fields = json!({"n": 0, "tags": ["O"], "words": 12}).as_object().cloned().unwrap();
        failed.exact.insert("n".to_owned(), "1e400".to_owned());
        let found = row(&failed, OffsetUnit::Chars).unwrap();
        assert_eq!(found.fields.as_deref(), Some(r#"{"n":1e400,"tags":["O"],"words":12}"#));

        let mut tagged = entry(1, Ok(alarm()));
        tagged.has_words = true;
        tagged.fields = json!({"tokens": ["x"], "words": 12}).as_object().cloned().unwrap();
        let found = row(&tagged, OffsetUnit::Chars).unwrap();
        assert_eq!(
            found.fields.as_deref(),
            Some(r#"{"words":12}"#),
            "only the field that was read is replaced"
        );
    }

    #[test]
    fn scores_have_columns() {
        let mut scored = alarm();
        let score = TagScore { score: 0.25, margin: 1.0 };
        scored.scores = Some(SentenceScores { score: 0.123_456_78, tags: vec![score; 7] });
        scored.spans[0].score = Some(score);
        let found = row(&entry(1, Ok(scored)), OffsetUnit::Chars).unwrap();
        let spans = found.spans.unwrap();
        assert_eq!((found.score, spans[0].score, spans[1].score), (Some(0.123_457), Some(0.25), None));
    }
}
