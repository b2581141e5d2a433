//! Tagged texts as a Parquet file.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::levels::Leaf;
use super::schema::schema;
use super::tagged::{SpanCell, TaggedRow};

/// A row group is written when its rows take about so many bytes of memory, or are so many.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_ROWS: usize = 1 << 16;

/// Writes rows to a file, a row group at a time. The file can be read only when it is finished.
pub struct TableWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Columns,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> fmt::Debug for TableWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a file; `program` is named in it.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn new(out: W, program: &str) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_created_by(program.to_owned())
            .set_compression(Compression::SNAPPY)
            .build();
        let writer = schema().and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties)));
        let writer = writer.map_err(io::Error::other)?;
        Ok(Self { writer, columns: Columns::default(), rows: 0, bytes: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If the output fails.
    pub fn add(&mut self, row: TaggedRow) -> io::Result<()> {
        self.bytes += weight(&row);
        self.rows += 1;
        self.columns.add(row);
        if self.bytes >= GROUP_BYTES || self.rows >= GROUP_ROWS {
            self.write_group().map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Ends the file, and gives back the output.
    ///
    /// # Errors
    /// If the output fails.
    pub fn finish(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.write_group().map_err(io::Error::other)?;
        }
        self.writer.into_inner().map_err(io::Error::other)
    }

    fn write_group(&mut self) -> Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let columns = std::mem::take(&mut self.columns);
        let mut group = self.writer.next_row_group()?;
        // In the order of the schema.
        columns.text.write(&mut group)?;
        columns.tokens.write(&mut group)?;
        columns.tags.write(&mut group)?;
        columns.starts.write(&mut group)?;
        columns.ends.write(&mut group)?;
        columns.labels.write(&mut group)?;
        columns.texts.write(&mut group)?;
        columns.span_scores.write(&mut group)?;
        columns.unknown.write(&mut group)?;
        columns.score.write(&mut group)?;
        columns.error.write(&mut group)?;
        columns.abstained.write(&mut group)?;
        columns.withheld.write(&mut group)?;
        columns.fields.write(&mut group)?;
        group.close().map(drop)
    }
}

/// The rows of a row group by column.
#[derive(Default)]
struct Columns {
    text: Leaf<ByteArrayType>,
    tokens: Leaf<ByteArrayType>,
    tags: Leaf<ByteArrayType>,
    starts: Leaf<Int64Type>,
    ends: Leaf<Int64Type>,
    labels: Leaf<ByteArrayType>,
    texts: Leaf<ByteArrayType>,
    span_scores: Leaf<DoubleType>,
    unknown: Leaf<BoolType>,
    score: Leaf<DoubleType>,
    error: Leaf<ByteArrayType>,
    abstained: Leaf<BoolType>,
    withheld: Leaf<Int64Type>,
    fields: Leaf<ByteArrayType>,
}

impl Columns {
    fn add(&mut self, row: TaggedRow) {
        let TaggedRow { text, tokens, tags, spans, score, error, abstained, withheld, fields } = row;
        self.text.optional(text.map(bytes));
        self.tokens.list(tokens.map(|tokens| tokens.into_iter().map(bytes)));
        self.tags.list(tags.map(|tags| tags.into_iter().map(bytes)));
        self.add_spans(spans);
        self.score.optional(score);
        self.error.optional(error.map(bytes));
        self.abstained.required(abstained);
        self.withheld.required(withheld as i64);
        self.fields.optional(fields.map(bytes));
    }

    fn add_spans(&mut self, spans: Option<Vec<SpanCell>>) {
        let spans = spans.as_deref();
        let each = || spans.map(<[SpanCell]>::iter);
        self.starts.list(each().map(|spans| spans.map(|span| span.start as i64)));
        self.ends.list(each().map(|spans| spans.map(|span| span.end as i64)));
        self.labels.list(each().map(|spans| spans.map(|span| bytes(span.label.clone()))));
        self.texts.list(each().map(|spans| spans.map(|span| bytes(span.text.clone()))));
        self.span_scores.list_of_optional(each().map(|spans| spans.map(|span| span.score)));
        self.unknown.list(each().map(|spans| spans.map(|span| span.unknown)));
    }
}

fn bytes(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}

/// About the bytes that a row takes.
fn weight(row: &TaggedRow) -> usize {
    let texts = [&row.text, &row.error, &row.fields].into_iter().flatten();
    let words = row.tokens.iter().chain(&row.tags).flatten();
    let spans = row.spans.iter().flatten();
    let spans: usize = spans.map(|span| 128 + span.label.len() + span.text.len()).sum();
    128 + texts.map(String::len).sum::<usize>() + words.map(|word| 48 + word.len()).sum::<usize>() + spans
}
