//! A table with tabs: one row per span, or per record that could not be tagged.

use anyhow::Result;
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::TaggedSpan;

use super::writer::Writer;
use crate::entry::Entry;

/// Writes the table. Tabs, line ends and backslashes of texts are written `\t`, `\n`, `\r` and `\\`.
pub(super) struct Tsv {
    pub(super) offsets: OffsetUnit,
    /// Tasks of the models. If there are several, they are a column.
    pub(super) tasks: Vec<String>,
}

impl Tsv {
    /// The cell of a task, with its tab.
    fn task(&self, task: &str) -> String {
        if self.tasks.len() > 1 { format!("{}\t", escaped(task)) } else { String::new() }
    }
}

impl Writer for Tsv {
    fn begin(&self) -> String {
        format!("record\t{}start\tend\tlabel\ttext\terror\n", self.task("task"))
    }

    fn record(&mut self, entry: &Entry) -> Result<String> {
        let number = entry.number;
        Ok(match &entry.result {
            Ok(models) => {
                let mut rows = String::new();
                for (tagged, task) in models.iter().zip(&self.tasks) {
                    let task = self.task(task);
                    for TaggedSpan { start, end, label, text, .. } in tagged.spans_in(self.offsets).iter() {
                        let (label, text) = (escaped(label), escaped(text));
                        rows.push_str(&format!("{number}\t{task}{start}\t{end}\t{label}\t{text}\t\n"));
                    }
                }
                rows
            }
            Err(failure) => {
                let error = format!("{}: {}", entry.place, failure.message);
                format!("{number}\t{}\t\t\t\t{}\n", self.task(""), escaped(&error))
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
    use super::super::examples::{entries, entry, of_two_models, tagged, two_tasks, written};
    use super::*;

    fn tsv(offsets: OffsetUnit) -> Tsv {
        Tsv { offsets, tasks: vec!["one".to_owned()] }
    }

    #[test]
    fn several_models_have_a_column_with_their_tasks() {
        let table = written(Tsv { offsets: OffsetUnit::Chars, tasks: two_tasks() }, &of_two_models());
        insta::assert_snapshot!(table, @r#"
        record	task	start	end	label	text	error
        1	alarms	6	12	name	"café"	
        1	alarms	23	27	date_time	7 am	
        1	places	6	18	place	"café" alarm	
        2	alarms	4	7	x/y	<b>	
        4						argument 4: task `places`: the line\tis bad
        "#);
        assert!(table.lines().all(|line| line.matches('\t').count() == 6));
    }

    #[test]
    fn each_span_is_a_row_and_so_is_an_error() {
        let table = written(tsv(OffsetUnit::Bytes), &entries());
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
        let table = written(tsv(OffsetUnit::Chars), &[entry(1, Ok(odd))]);
        assert_eq!(table.lines().nth(1), Some("1\t0\t6\tx\ta\\tb\\n\\\\c\t"));
    }
}
