//! Words above their tags and a line for each span, for people.

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_core::text::printable::printable;
use hyperloader_runtime::{Tagged, TaggedSpan, Word};

use super::writer::Writer;
use crate::entry::Entry;

/// Columns that the table of words and tags takes at most.
const WIDTH: usize = 100;

/// Writes sentences with their words above their tags; of several models, only the spans.
pub(super) struct Text {
    pub(super) offsets: OffsetUnit,
    /// Tasks of the models.
    pub(super) tasks: Vec<String>,
}

impl Writer for Text {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let blank = if entry.number > 1 { "\n" } else { "" };
        Ok(match &entry.result {
            Ok(models) => match &models[..] {
                [tagged] => format!("{blank}{}", text(tagged, self.offsets)),
                models => format!("{blank}{}", spans_by_task(models, &self.tasks, self.offsets)),
            },
            Err(failure) => {
                let text = entry.text.iter().map(|text| printable(text) + "\n").collect::<String>();
                let (place, message) = (printable(&entry.place.to_string()), printable(&failure.message));
                let style = AnsiColor::Red.on_default();
                format!("{blank}{text}  {style}error:{style:#} {place}: {message}\n")
            }
        })
    }
}

/// The sentence, its words with their tags below them, and its spans, one a line; ends in a line feed. Colors add to what is
/// readable without.
fn text(tagged: &Tagged, offsets: OffsetUnit) -> String {
    let mut out = format!("{}\n", printable(&tagged.text));
    for columns in wrap(columns(tagged)) {
        out.push_str(&format!("  {}\n  {}\n", row(&columns, |c| &c.word), row(&columns, |c| &c.tag)));
    }
    out.push_str(&found(tagged, offsets));
    out
}

fn found(tagged: &Tagged, offsets: OffsetUnit) -> String {
    match tagged.abstained {
        true => "  abstained: the guarantee does not hold\n".to_owned(),
        false => span_lines(&tagged.spans_in(offsets)) + &withheld(tagged.withheld),
    }
}

/// The line on spans that are withheld; empty if there are none.
fn withheld(spans: usize) -> String {
    match spans {
        0 => String::new(),
        spans => format!("  withheld: {spans} spans, for which the guarantee does not hold\n"),
    }
}

/// The sentence and the spans of each model, one a line with the task before it.
fn spans_by_task(models: &[Tagged], tasks: &[String], offsets: OffsetUnit) -> String {
    let mut out = models.first().map(|tagged| printable(&tagged.text) + "\n").unwrap_or_default();
    let tasks: Vec<String> = tasks.iter().map(|task| printable(task)).collect();
    let longest = tasks.iter().map(|task| width(task)).max().unwrap_or(0);
    for (tagged, task) in models.iter().zip(&tasks) {
        let gap = " ".repeat(longest - width(task));
        for line in found(tagged, offsets).lines() {
            out.push_str(&format!("  {}{gap}{line}\n", styled(task, AnsiColor::Cyan.on_default())));
        }
    }
    out
}

/// A word above its tag.
struct Column {
    word: String,
    tag: String,
    width: usize,
}

fn columns(tagged: &Tagged) -> Vec<Column> {
    let column = |(word, tag): (&Word, &String)| {
        let (word, tag) = (printable(&word.text), printable(tag));
        let width = width(&word).max(width(&tag));
        Column { word, tag, width }
    };
    tagged.words.iter().zip(&tagged.tags).map(column).collect()
}

/// Columns by lines of at most [`WIDTH`].
fn wrap(columns: Vec<Column>) -> Vec<Vec<Column>> {
    let mut lines: Vec<Vec<Column>> = vec![];
    let mut used = 0;
    for column in columns {
        used += column.width + 2;
        match lines.last_mut() {
            Some(line) if used <= WIDTH => line.push(column),
            _ => {
                used = column.width + 2;
                lines.push(vec![column]);
            }
        }
    }
    lines
}

fn span_lines(spans: &[TaggedSpan]) -> String {
    if spans.is_empty() {
        return "  no spans\n".into();
    }
    let place = |span: &TaggedSpan| format!("{}..{}", span.start, span.end);
    let places = spans.iter().map(|span| width(&place(span))).max().unwrap_or(0);
    let labels = spans.iter().map(|span| width(&printable(&span.label))).max().unwrap_or(0);
    let line = |span: &TaggedSpan| {
        let name = printable(&span.label);
        let gap = " ".repeat(labels - width(&name));
        let score = span.score.map(|score| format!("  {:.4}", score.score)).unwrap_or_default();
        format!("  {:>places$}  {}{gap}  {}{score}\n", place(span), label(&name), printable(&span.text))
    };
    spans.iter().map(line).collect()
}

/// One row of the table: `part` of each column, words in spans and their tags in color.
fn row(columns: &[Column], part: impl Fn(&Column) -> &String) -> String {
    let cell = |column: &Column| {
        let text = part(column);
        let style = if column.tag == "O" { Style::new().dimmed() } else { AnsiColor::Green.on_default() };
        format!("{}{}", styled(text, style), " ".repeat(column.width - width(text)))
    };
    columns.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn label(text: &str) -> String {
    styled(text, AnsiColor::Green.on_default().bold())
}

fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns that a terminal gives to `text`.
fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

#[cfg(test)]
mod tests {
    use super::super::examples::{
        alarm, entries, entry, of_two_models, stripped, tagged, two_tasks, written,
    };
    use super::*;

    fn lines(offsets: OffsetUnit) -> Text {
        Text { offsets, tasks: vec!["one".to_owned()] }
    }

    #[test]
    fn spans_of_several_models_have_their_tasks_before_them() {
        let writer = Text { offsets: OffsetUnit::Chars, tasks: two_tasks() };
        insta::assert_snapshot!(stripped(&written(writer, &of_two_models())), @r#"
        set a "café" alarm for 7 am
          alarms   6..12  name       "café"
          alarms  23..27  date_time  7 am
          places  6..18  place  "café" alarm

        😀 a <b> & "c"
          alarms  4..7  x/y  <b>
          places  no spans


          alarms  no spans
          places  no spans

        bad\nline
          error: argument 4: task `places`: the line\tis bad
        "#);
    }

    fn plain(tagged: &Tagged) -> String {
        stripped(&text(tagged, OffsetUnit::Chars))
    }

    #[test]
    fn people_get_words_above_tags_and_a_line_for_each_span() {
        insta::assert_snapshot!(plain(&alarm()), @r#"
        set a "café" alarm for 7 am
          set  a  "café"  alarm  for  7            am
          O    O  B-name  O      O    B-date_time  I-date_time
           6..12  name       "café"
          23..27  date_time  7 am
        "#);
        insta::assert_snapshot!(plain(&tagged("good\u{1b}[31m morning", &["O", "O"], &[])), @r#"
        good\u{1b}[31m morning
          good\u{1b}[31m  morning
          O               O
          no spans
        "#);
    }

    #[test]
    fn wide_characters_stay_aligned_and_long_sentences_are_wrapped() {
        let words = ["\u{660e}\u{5929}", "e\u{301}t\u{e9}", "rain"].repeat(9).join(" ");
        let tags = ["B-day", "I-day", "O"].repeat(9);
        let out = plain(&tagged(&words, &tags, &[]));
        insta::assert_snapshot!(out, @r#"
        明天 été rain 明天 été rain 明天 été rain 明天 été rain 明天 été rain 明天 été rain 明天 été rain 明天 été rain 明天 été rain
          明天   été    rain  明天   été    rain  明天   été    rain  明天   été    rain  明天   été    rain
          B-day  I-day  O     B-day  I-day  O     B-day  I-day  O     B-day  I-day  O     B-day  I-day  O
          明天   été    rain  明天   été    rain  明天   été    rain  明天   été    rain
          B-day  I-day  O     B-day  I-day  O     B-day  I-day  O     B-day  I-day  O
          no spans
        "#);
        assert!(out.lines().skip(1).all(|line| width(line) <= WIDTH + 2), "{out}");
    }

    #[test]
    fn a_label_that_the_tagger_does_not_list_is_marked() {
        let mut unlisted = tagged(
            "call rosa or lima",
            &["O", "B-plase", "O", "B-name"],
            &[(5, 9, "plase"), (13, 17, "name")],
        );
        unlisted.spans[0].unknown = true;
        let marked = entry(1, Ok(unlisted)).with_marks().unwrap();
        insta::assert_snapshot!(stripped(&written(lines(OffsetUnit::Chars), &[marked])), @r#"
        call rosa or lima
          call  rosa      or  lima
          O     B-plase?  O   B-name
            5..9  plase?  rosa
          13..17  name    lima
        "#);
        assert!(entry(1, Ok(alarm())).with_marks().is_none());
    }

    #[test]
    fn records_have_a_blank_line_between_them_and_errors_a_line() {
        let out = stripped(&written(lines(OffsetUnit::Utf16), &entries()));
        insta::assert_snapshot!(out, @r#"
        set a "café" alarm for 7 am
          set  a  "café"  alarm  for  7            am
          O    O  B-name  O      O    B-date_time  I-date_time
           6..12  name       "café"
          23..27  date_time  7 am

        😀 a <b> & "c"
          😀  a  <b>    &  "c"
          O   O  B-x/y  O  O
          5..8  x/y  <b>


          no spans

        bad\nline
          error: argument 4: the line\tis bad
        "#);
    }
}
