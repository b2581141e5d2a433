//! Formats of the results. Each gives the text of a record, and what comes before the first and after the last.
//!
//! - [`text`]: words above tags; [`pretty`]: the text with colored spans
//! - [`json`]: JSON and JSON Lines
//! - [`conll`] and [`tsv`]: tables
//! - [`html`]: a page
//! - [`brat`]: standoff files, one pair for each input

pub(crate) mod brat;
mod conll;
mod html;
mod json;
mod marks;
mod pretty;
#[cfg(test)]
mod round_trips;
mod text;
mod tsv;

use anyhow::Result;
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::TaggerMetadata;

use crate::entry::Entry;
use crate::values::Format;

/// Writes records in one format.
pub(crate) trait Writer {
    /// The beginning of the file.
    fn begin(&self) -> String {
        String::new()
    }

    /// A record.
    ///
    /// # Errors
    /// If the record cannot be written in this format.
    fn record(&mut self, entry: &Entry) -> Result<String>;

    /// The end of the file.
    fn end(&self) -> String {
        String::new()
    }
}

/// The writer of a format; `None` for [`Format::Brat`], which has several files.
pub(crate) fn writer(
    format: Format,
    offsets: OffsetUnit,
    tagger: &TaggerMetadata,
) -> Option<Box<dyn Writer>> {
    Some(match format {
        Format::Text => Box::new(text::Text { offsets }),
        Format::Pretty => Box::new(pretty::Pretty::new(&tagger.labels)),
        Format::Json => Box::new(json::Json { offsets, array: true, first: true }),
        Format::Jsonl => Box::new(json::Json { offsets, array: false, first: true }),
        Format::Conll => Box::new(conll::Conll),
        Format::Tsv => Box::new(tsv::Tsv { offsets }),
        Format::Html => Box::new(html::Html::new(tagger)),
        Format::Brat => return None,
    })
}

#[cfg(test)]
pub(crate) mod examples {
    //! Entries for the tests of all formats.

    use hyperloader_core::text::words::split_whitespace;
    use hyperloader_runtime::{Tagged, TaggedSpan};

    use super::*;
    use crate::entry::Failure;
    use crate::inputs::Place;

    pub(crate) fn tagged(text: &str, tags: &[&str], spans: &[(usize, usize, &str)]) -> Tagged {
        let chars: Vec<char> = text.chars().collect();
        let span = |&(start, end, label): &(usize, usize, &str)| TaggedSpan {
            start,
            end,
            label: label.into(),
            text: chars[start..end].iter().collect(),
            score: None,
        };
        Tagged {
            text: text.into(),
            words: split_whitespace(text),
            tags: tags.iter().map(|&tag| tag.into()).collect(),
            spans: spans.iter().map(span).collect(),
            complete: true,
            ..Tagged::default()
        }
    }

    pub(crate) fn entry(number: usize, result: Result<Tagged, Failure>) -> Entry {
        Entry {
            number,
            place: Place { input: 0, origin: "argument".into(), number },
            result,
            text: None,
            has_words: false,
            words_unfit: false,
            fields: serde_json::Map::new(),
            comments: vec![],
            columns: vec![],
        }
    }

    pub(crate) fn alarm() -> Tagged {
        let tags = ["O", "O", "B-name", "O", "O", "B-date_time", "I-date_time"];
        tagged("set a \"caf\u{e9}\" alarm for 7 am", &tags, &[(6, 12, "name"), (23, 27, "date_time")])
    }

    /// A sentence, one with an emoji, a blank one, and one that could not be tagged.
    pub(crate) fn entries() -> Vec<Entry> {
        let emoji = tagged("\u{1F600} a <b> & \"c\"", &["O", "O", "B-x/y", "O", "O"], &[(4, 7, "x/y")]);
        let failure = Failure { message: "the line\tis bad".into(), hint: Some("repair <it>".into()) };
        let mut entries: Vec<Entry> = (1..)
            .zip([Ok(alarm()), Ok(emoji), Ok(tagged("", &[], &[])), Err(failure)])
            .map(|(number, result)| entry(number, result))
            .collect();
        entries[3].text = Some("bad\nline".into());
        entries
    }

    /// Text without colors.
    pub(crate) fn stripped(text: &str) -> String {
        let parts = text.split("\u{1b}[").enumerate();
        parts.map(|(at, part)| if at == 0 { part } else { part.split_once('m').unwrap().1 }).collect()
    }

    /// All of them in one format.
    pub(crate) fn written(mut writer: impl Writer, entries: &[Entry]) -> String {
        let records: String = entries.iter().map(|entry| writer.record(entry).unwrap()).collect();
        writer.begin() + &records + &writer.end()
    }
}
