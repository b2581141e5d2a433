//! A table with tabs: one row per span, or per record that could not be tagged.

use anyhow::Result;
use hyperloader_core::corpus::OffsetUnit;

use super::writer::Writer;
use crate::entry::{Entry, spans_in};

/// Writes the table. Tabs, line ends and backslashes of texts are written `\t`, `\n`, `\r` and `\\`.
pub(super) struct Tsv {
    pub(super) offsets: OffsetUnit,
}

impl Writer for Tsv {
    fn begin(&self) -> String {
        "record\tstart\tend\tlabel\ttext\terror\n".to_owned()
    }

    fn record(&mut self, entry: &Entry) -> Result<String> {
        let number = entry.number;
        Ok(match &entry.result {
            Ok(tagged) => {
                let spans = spans_in(tagged, self.offsets);
                let row = |span: &hyperloader_runtime::TaggedSpan| {
                    let (start, end) = (span.start, span.end);
                    format!("{number}\t{start}\t{end}\t{}\t{}\t\n", escaped(&span.label), escaped(&span.text))
                };
                spans.iter().map(row).collect()
            }
            Err(failure) => {
                let error = format!("{}: {}", entry.place, failure.message);
                format!("{number}\t\t\t\t\t{}\n", escaped(&error))
            }
        })
    }
}

/// Text in one cell.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::super::examples::{entries, entry, tagged, written};
    use super::*;

    #[test]
    fn each_span_is_a_row_and_so_is_an_error() {
        let table = written(Tsv { offsets: OffsetUnit::Bytes }, &entries());
        insta::assert_snapshot!(table, @r#"
        record	start	end	label	text	error
        1	6	13	name	"café"	
        1	24	28	date_time	7 am	
        2	7	10	x/y	<b>	
        4					argument 4: the line\tis bad
        "#);
        assert!(table.lines().all(|line| line.matches('\t').count() == 5));
    }

    #[test]
    fn a_cell_keeps_its_row() {
        let odd = tagged("a\tb\n\\c", &["B-x", "I-x", "I-x"], &[(0, 6, "x")]);
        let table = written(Tsv { offsets: OffsetUnit::Chars }, &[entry(1, Ok(odd))]);
        assert_eq!(table.lines().nth(1), Some("1\t0\t6\tx\ta\\tb\\n\\\\c\t"));
    }
}
