//! Formats of the results. Each gives the text of a record, and what comes before the first and after the last.
//!
//! - [`text`]: words above tags; [`pretty`]: the text with colored spans
//! - [`json`]: JSON and JSON Lines
//! - [`conll`] and [`tsv`]: tables
//! - [`html`]: a page
//! - [`parquet`]: a table of columns
//! - [`brat`]: standoff files, one pair for each input
//! - [`mod@writer`]: what all but the last two have in common; [`marks`]: a text cut at its spans

pub(crate) mod brat;
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
        Format::Brat | Format::Parquet => return None,
    })
}
