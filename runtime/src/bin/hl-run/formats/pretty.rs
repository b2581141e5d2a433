//! The text with its spans marked `[7 am](date_time)` and colored by label, and a legend.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use hyperloader_core::text::printable::printable;
use hyperloader_runtime::{Tagged, TaggerMetadata};

use super::marks::pieces;
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
    /// Tasks of the models.
    tasks: Vec<String>,
    /// All labels, with their tasks if there are several: they fix the colors.
    labels: Vec<String>,
    /// Spans of each label.
    counts: BTreeMap<String, usize>,
    errors: usize,
}

impl Pretty {
    pub(super) fn new(models: &[&TaggerMetadata]) -> Self {
        let tasks: Vec<String> = models.iter().map(|model| model.task.clone()).collect();
        let several = tasks.len() > 1;
        let named = |(task, label): (&String, &String)| full_name(several.then_some(task), label);
        let labels = models.iter().flat_map(|model| model.labels.iter().map(|label| (&model.task, label)));
        let labels = labels.map(named).collect();
        Self { tasks, labels, counts: BTreeMap::new(), errors: 0 }
    }

    fn style(&self, label: &str) -> Style {
        let place = self.labels.iter().position(|known| known == label).unwrap_or(0);
        COLORS[place % COLORS.len()].on_default()
    }

    /// The text with the spans of one model, which is named if there are several.
    fn marked(&mut self, tagged: &Tagged, task: Option<&String>) -> String {
        let mut out = String::new();
        for (text, span) in pieces(tagged) {
            let text = lines(text);
            let Some(span) = span else {
                out.push_str(&text);
                continue;
            };
            let name = full_name(task, &span.label);
            let (style, label) = (self.style(&name), lines(&span.label));
            let bold = style.bold();
            out.push_str(&format!("{style}[{style:#}{bold}{text}{bold:#}{style}]({label}){style:#}"));
            *self.counts.entry(name).or_default() += 1;
        }
        out + "\n"
    }
}

/// `task.label`, or the label alone.
fn full_name(task: Option<&String>, label: &str) -> String {
    task.map_or_else(|| label.to_owned(), |task| format!("{task}.{label}"))
}

impl Writer for Pretty {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let models = match &entry.result {
            Ok(models) => models,
            Err(failure) => {
                self.errors += 1;
                let red = AnsiColor::Red.on_default();
                let message = lines(&failure.message);
                return Ok(format!("{red}error:{red:#} {}: {message}\n", lines(&entry.place.to_string())));
            }
        };
        if let [tagged] = &models[..] {
            return Ok(self.marked(tagged, None));
        }
        let tasks = self.tasks.clone();
        let line = |(task, tagged): (&String, &Tagged)| {
            let marked = self.marked(tagged, Some(task));
            let gap = if marked == "\n" { "" } else { " " };
            format!("{}:{gap}{marked}", printable(task))
        };
        Ok(tasks.iter().zip(models).map(line).collect())
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
    use super::super::examples::{alarm, entries, entry, model, of_two_models, stripped, tagged, written};
    use super::*;

    fn pretty() -> Pretty {
        Pretty::new(&[&model("one", &["date_time", "name"])])
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

    #[test]
    fn each_of_several_models_has_a_line_and_labels_of_its_own() {
        let models = [model("alarms", &["date_time", "name"]), model("places", &["name", "place"])];
        let out = written(Pretty::new(&[&models[0], &models[1]]), &of_two_models());
        insta::assert_snapshot!(stripped(&out), @r#"
        alarms: set a ["café"](name) alarm for [7 am](date_time)
        places: set a ["café" alarm](place) for 7 am
        alarms: 😀 a [<b>](x/y) & "c"
        places: 😀 a <b> & "c"
        alarms:
        places:
        error: argument 4: task `places`: the line	is bad

        legend: alarms.date_time 1, alarms.name 1, alarms.x/y 1, places.place 1, errors 1
        "#);
        assert!(out.contains("\u{1b}[36m](name)") && out.contains("\u{1b}[35m](place)"), "{out:?}");
    }
}
