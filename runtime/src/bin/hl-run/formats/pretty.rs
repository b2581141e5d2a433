//! The text with its spans marked `[7 am](date_time)` and colored by label, and a legend.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use super::marks::pieces;
use super::text::printable;
use super::writer::Writer;
use crate::entry::Entry;

const COLORS: [AnsiColor; 6] = [
    AnsiColor::Green,
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// Writes marked text. Colors add to what is readable without.
pub(super) struct Pretty {
    /// All labels of the task: they fix the colors.
    labels: Vec<String>,
    /// Spans of each label.
    counts: BTreeMap<String, usize>,
    errors: usize,
}

impl Pretty {
    pub(super) fn new(labels: &[String]) -> Self {
        Self { labels: labels.to_vec(), counts: BTreeMap::new(), errors: 0 }
    }

    fn style(&self, label: &str) -> Style {
        let place = self.labels.iter().position(|known| known == label).unwrap_or(0);
        COLORS[place % COLORS.len()].on_default()
    }
}

impl Writer for Pretty {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let tagged = match &entry.result {
            Ok(tagged) => tagged,
            Err(failure) => {
                self.errors += 1;
                let red = AnsiColor::Red.on_default();
                let message = lines(&failure.message);
                return Ok(format!("{red}error:{red:#} {}: {message}\n", lines(&entry.place.to_string())));
            }
        };
        let mut out = String::new();
        for (text, span) in pieces(tagged) {
            let text = lines(text);
            let Some(span) = span else {
                out.push_str(&text);
                continue;
            };
            let (style, label) = (self.style(&span.label), lines(&span.label));
            let bold = style.bold();
            out.push_str(&format!("{style}[{style:#}{bold}{text}{bold:#}{style}]({label}){style:#}"));
            *self.counts.entry(span.label.clone()).or_default() += 1;
        }
        Ok(out + "\n")
    }

    fn end(&self) -> String {
        let label = |(label, count): (&String, &usize)| {
            let style = self.style(label);
            format!("{style}{}{style:#} {count}", lines(label))
        };
        let mut legend: Vec<String> = self.counts.iter().map(label).collect();
        if legend.is_empty() {
            legend.push("no spans".to_owned());
        }
        if self.errors > 0 {
            legend.push(format!("errors {}", self.errors));
        }
        format!("\nlegend: {}\n", legend.join(", "))
    }
}

/// Text whose control characters are escaped, but for line ends and tabs.
fn lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.strip_suffix(['\n', '\t']) {
            Some(rest) => printable(rest) + &part[rest.len()..],
            None => printable(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::examples::{alarm, entries, entry, stripped, tagged, written};
    use super::*;

    fn pretty() -> Pretty {
        Pretty::new(&["date_time".to_owned(), "name".to_owned()])
    }

    #[test]
    fn spans_are_marked_without_colors_too() {
        insta::assert_snapshot!(stripped(&written(pretty(), &entries())), @r#"
        set a ["café"](name) alarm for [7 am](date_time)
        😀 a [<b>](x/y) & "c"

        error: argument 4: the line	is bad

        legend: date_time 1, name 1, x/y 1, errors 1
        "#);
        assert_eq!(stripped(&written(pretty(), &[])), "\nlegend: no spans\n");
    }

    #[test]
    fn labels_have_colors_of_their_own_and_texts_cannot_bring_any() {
        let out = written(pretty(), &[entry(1, Ok(alarm()))]);
        assert!(out.contains("\u{1b}[32m](date_time)") && out.contains("\u{1b}[36m](name)"), "{out:?}");
        let out = written(pretty(), &[entry(1, Ok(tagged("good\u{1b}[31m\n\tday", &["O", "O"], &[])))]);
        assert!(out.starts_with("good\\u{1b}[31m\n\tday\n"), "{out:?}");
    }
}
