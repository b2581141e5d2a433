//! Formats of the results. Each gives the text of a record, and what comes before the first and after the last.
//!
//! - [`text`]: words above tags; [`pretty`]: the text with colored spans
//! - [`json`]: JSON and JSON Lines
//! - [`conll`] and [`tsv`]: tables
//! - [`html`]: a page
//! - [`parquet`]: a table of columns
//! - [`brat`]: standoff files, one pair for each input
//! - [`mod@writer`]: what all but the last two have in common; [`marks`]: a text cut at its spans; [`common_words`]: a text cut at the
//!   words of several models
//!
//! With one model, the output does not name the task. With several, each result has the name of its task.

pub(crate) mod brat;
mod common_words;
mod conll;
#[cfg(test)]
mod examples;
mod html;
mod json;
mod marks;
pub(crate) mod parquet;
mod pretty;
#[cfg(test)]
mod round_trips;
mod text;
mod tsv;
mod writer;

use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::TaggerMetadata;

pub(crate) use self::writer::Writer;
use crate::values::Format;

/// The writer of a format; `None` for [`Format::Brat`], which has several files, and [`Format::Parquet`], which is no text.
pub(crate) fn writer(
    format: Format,
    offsets: OffsetUnit,
    models: &[&TaggerMetadata],
) -> Option<Box<dyn Writer>> {
    let tasks = models.iter().map(|model| model.task.clone()).collect();
    Some(match format {
        Format::Text => Box::new(text::Text { offsets, tasks }),
        Format::Pretty => Box::new(pretty::Pretty::new(models)),
        Format::Json => Box::new(json::Json { offsets, tasks, array: true, first: true }),
        Format::Jsonl => Box::new(json::Json { offsets, tasks, array: false, first: true }),
        Format::Conll => Box::new(conll::Conll { tasks }),
        Format::Tsv => Box::new(tsv::Tsv { offsets, tasks }),
        Format::Html => Box::new(html::Html::new(models)),
        Format::Brat | Format::Parquet => return None,
    })
}
