//! Tagged sentences as text for people and as JSON lines for programs.

use anstyle::{AnsiColor, Style};
use hyperloader_runtime::{SentenceScores, TagScore, Tagged, TaggedSpan, Word};
use serde::Serialize;

/// Columns that the table of words and tags takes at most.
const WIDTH: usize = 100;

/// `{"text": ..., "spans": [{"start", "end", "label", "text"}]}` on one line, without the line feed. Offsets count
/// characters (Unicode scalar values) and exclude the end. With scores, spans have `score` and `margin`, and the object has
/// `score` and `tags`. `abstained` is there if it is true.
pub(crate) fn json(tagged: &Tagged) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        text: &'a str,
        spans: &'a [TaggedSpan],
        #[serde(skip_serializing_if = "Option::is_none")]
        score: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tags: Option<Vec<ScoredTag<'a>>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        abstained: bool,
    }
    let tags = |scores: &SentenceScores| {
        let pairs = tagged.tags.iter().zip(&scores.tags);
        pairs.map(|(tag, score)| ScoredTag { tag, score: *score }).collect()
    };
    let line = Line {
        text: &tagged.text,
        spans: &tagged.spans,
        score: tagged.scores.as_ref().map(|scores| (scores.score * 1e6).round() / 1e6),
        tags: tagged.scores.as_ref().filter(|_| !tagged.abstained).map(tags),
        abstained: tagged.abstained,
    };
    // Strings and numbers in a derived shape cannot fail.
    serde_json::to_string(&line).unwrap_or_default()
}

/// A tag with its score.
#[derive(Serialize)]
struct ScoredTag<'a> {
    tag: &'a str,
    #[serde(flatten)]
    score: TagScore,
}

/// The sentence, its words with their tags below them, and its spans, one a line; ends in a line feed. `colour` adds
/// to what is readable without.
pub(crate) fn text(tagged: &Tagged, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = format!("{}\n", printable(&tagged.text));
    for columns in wrap(columns(tagged)) {
        out.push_str(&format!(
            "  {}\n  {}\n",
            paint.row(&columns, |c| &c.word),
            paint.row(&columns, |c| &c.tag)
        ));
    }
    out.push_str(&match tagged.abstained {
        true => "  abstained: the score is too low\n".to_owned(),
        false => span_lines(&tagged.spans, paint),
    });
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

fn span_lines(spans: &[TaggedSpan], paint: Paint) -> String {
    if spans.is_empty() {
        return "  no spans\n".into();
    }
    let place = |span: &TaggedSpan| format!("{}..{}", span.start, span.end);
    let places = spans.iter().map(|span| width(&place(span))).max().unwrap_or(0);
    let labels = spans.iter().map(|span| width(&printable(&span.label))).max().unwrap_or(0);
    let line = |span: &TaggedSpan| {
        let label = printable(&span.label);
        let gap = " ".repeat(labels - width(&label));
        let score = span.score.map(|score| format!("  {:.4}", score.score)).unwrap_or_default();
        format!(
            "  {:>places$}  {}{gap}  {}{score}\n",
            place(span),
            paint.label(&label),
            printable(&span.text)
        )
    };
    spans.iter().map(line).collect()
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    /// One row of the table: `part` of each column, words in spans and their tags in colour.
    fn row(self, columns: &[Column], part: impl Fn(&Column) -> &String) -> String {
        let cell = |column: &Column| {
            let text = part(column);
            let style = if column.tag == "O" { Style::new().dimmed() } else { AnsiColor::Green.on_default() };
            format!("{}{}", self.styled(text, style), " ".repeat(column.width - width(text)))
        };
        columns.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }

    fn label(self, text: &str) -> String {
        self.styled(text, AnsiColor::Green.on_default().bold())
    }

    fn styled(self, text: &str, style: Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Columns that a terminal gives to `text`.
fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// `text` with control characters escaped, which could otherwise rule the terminal.
fn printable(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().collect(),
        false => String::from(c),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::words::split_whitespace;

    use super::*;

    fn tagged(text: &str, tags: &[&str], spans: &[(usize, usize, &str)]) -> Tagged {
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
            scores: None,
            abstained: false,
        }
    }

    fn alarm() -> Tagged {
        let tags = ["O", "O", "B-name", "O", "O", "B-date_time", "I-date_time"];
        tagged("set a \"caf\u{e9}\" alarm for 7 am", &tags, &[(6, 12, "name"), (23, 27, "date_time")])
    }

    #[test]
    fn programs_get_one_object_a_line() {
        insta::assert_snapshot!(json(&alarm()), @r#"{"text":"set a \"café\" alarm for 7 am","spans":[{"start":6,"end":12,"label":"name","text":"\"café\""},{"start":23,"end":27,"label":"date_time","text":"7 am"}]}"#);
        insta::assert_snapshot!(json(&tagged("a\tb\u{1}", &["O", "O"], &[])), @r#"{"text":"a\tb\u0001","spans":[]}"#);
    }

    #[test]
    fn people_get_words_above_tags_and_a_line_for_each_span() {
        insta::assert_snapshot!(text(&alarm(), false), @r#"
        set a "café" alarm for 7 am
          set  a  "café"  alarm  for  7            am
          O    O  B-name  O      O    B-date_time  I-date_time
           6..12  name       "café"
          23..27  date_time  7 am
        "#);
        insta::assert_snapshot!(text(&tagged("good\u{1b}[31m morning", &["O", "O"], &[]), false), @r#"
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
        let out = text(&tagged(&words, &tags, &[]), false);
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
    fn colour_only_adds_escapes() {
        let plain = text(&alarm(), false);
        let coloured = text(&alarm(), true);
        assert_ne!(plain, coloured);
        let mut stripped = String::new();
        for (index, part) in coloured.split("\u{1b}[").enumerate() {
            let rest = if index == 0 { part } else { part.split_once('m').unwrap().1 };
            stripped.push_str(rest);
        }
        assert_eq!(stripped, plain);
    }
}
