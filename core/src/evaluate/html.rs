//! HTML pages, and the parts of them that show [`super::Details`]. They have no script and load nothing.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::details::{Confusion, Mistake};
use crate::text::metrics::Scores;

/// The style of pages with these parts.
pub const STYLE: &str = include_str!("style.css");
/// The most labels in a table of confusions. Labels with more errors come first.
const SHOWN_LABELS: usize = 30;

/// The text of a page before and after its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Ends with the start tag of `body`.
    pub begin: String,
    /// Begins with the end tag of `body`.
    pub end: String,
}

impl Document {
    /// The page with these contents.
    pub fn page(&self, body: &Markup) -> String {
        format!("{}{}{}", self.begin, body.0, self.end)
    }
}

/// The frame of a page with this title and style sheet. `language` is a BCP 47 tag, `und` if the text may have any language.
pub fn document(title: &str, language: &str, style: &str) -> Document {
    let head = html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        title { (title) }
        style { (PreEscaped(style)) }
    };
    let (doctype, language, head) =
        (DOCTYPE.into_string(), html! { (language) }.into_string(), head.into_string());
    Document {
        begin: format!("{doctype}\n<html lang=\"{language}\">\n<head>{head}</head>\n<body>\n"),
        end: "\n</body>\n</html>\n".to_owned(),
    }
}

/// The scores of each label; `data` names the data.
pub fn labels(data: &str, labels: &BTreeMap<String, Scores>) -> Markup {
    let mut by_support: Vec<_> = labels.iter().collect();
    by_support.sort_by_key(|(_, scores)| std::cmp::Reverse(scores.support));
    html! {
        h3 { "Labels on " (data) }
        table.labels {
            thead { tr { th { "label" } th { "gold spans" } th { "F1" } th { "precision" } th { "recall" } th {} } }
            tbody {
                @for (label, Scores { precision, recall, f1, support }) in by_support {
                    tr {
                        th { (label) }
                        td { (support) }
                        @for value in [f1, precision, recall] { td { (number(*value)) } }
                        td.bar { span style=(format!("width: {:.0}px", 160.0 * f1)) {} }
                    }
                }
            }
        }
    }
}

/// The table of confusions.
pub fn confusion(data: &str, cells: &[Confusion]) -> Markup {
    let shown = shown_labels(cells);
    let all = cells.iter().flat_map(labels_of).collect::<BTreeSet<_>>().len();
    let counts: BTreeMap<(Option<&str>, Option<&str>), usize> =
        cells.iter().map(|c| ((c.gold.as_deref(), c.predicted.as_deref()), c.count)).collect();
    // Missed and spurious spans come last.
    let sides: Vec<Option<&str>> = shown.iter().copied().map(Some).chain([None]).collect();
    let totals: BTreeMap<Option<&str>, usize> =
        counts.iter().fold(BTreeMap::new(), |mut totals, (key, n)| {
            *totals.entry(key.0).or_default() += n;
            totals
        });
    html! {
        h3 { "Confusion of labels on " (data) }
        p.note {
            "Rows are gold labels, columns are predicted labels of spans with identical boundaries."
            @if all > shown.len() { " The table shows the " (shown.len()) " of " (all) " labels with most errors." }
        }
        div.scroll {
            table.confusion {
                thead {
                    tr {
                        th {}
                        @for label in &sides { th.column { span { (label.unwrap_or("missed")) } } }
                    }
                }
                tbody {
                    @for gold in &sides {
                        tr {
                            th { (gold.unwrap_or("spurious")) }
                            @for predicted in &sides {
                                @let count = counts.get(&(*gold, *predicted)).copied().unwrap_or(0);
                                @let total = totals.get(gold).copied().unwrap_or(0);
                                (confusion_cell(count, total, gold == predicted))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn confusion_cell(count: usize, total: usize, right: bool) -> Markup {
    if count == 0 {
        return html! { td {} };
    }
    let color = if right { "0, 158, 115" } else { "213, 94, 0" };
    let share = (count as f64 / total as f64).sqrt();
    html! { td style=(format!("background: rgba({color}, {:.2})", 0.1 + 0.7 * share)) { (count) } }
}

/// The gold and predicted labels of a cell.
fn labels_of(cell: &Confusion) -> impl Iterator<Item = &str> {
    cell.gold.as_deref().into_iter().chain(cell.predicted.as_deref())
}

/// The labels with the most errors, sorted by name.
fn shown_labels(cells: &[Confusion]) -> Vec<&str> {
    let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in cells {
        for label in labels_of(cell) {
            *errors.entry(label).or_default() += if cell.gold == cell.predicted { 0 } else { cell.count };
        }
    }
    let mut ranked: Vec<(&str, usize)> = errors.into_iter().collect();
    ranked.sort_by_key(|(_, errors)| std::cmp::Reverse(*errors));
    let mut shown: Vec<&str> = ranked.into_iter().take(SHOWN_LABELS).map(|(label, _)| label).collect();
    shown.sort_unstable();
    shown
}

/// The worst sentences.
pub fn worst(data: &str, mistakes: &[Mistake]) -> Markup {
    html! {
        h3 { "Worst errors on " (data) }
        @if mistakes.is_empty() {
            p { "Every tag is correct." }
        } @else {
            p.note { "Each word is followed by its gold tag and, if it differs, by the predicted tag. Words that are correctly tagged O have no tag here." }
        }
        @for Mistake { words, gold, predicted, wrong } in mistakes {
            p.sentence {
                span.wrong-count { (wrong) " wrong" }
                @for ((word, gold), predicted) in words.iter().zip(gold).zip(predicted) {
                    span.word {
                        b { (word) }
                        @if gold != "O" || predicted != "O" { i { (gold) } }
                        @if gold != predicted { em { (predicted) } }
                    }
                }
            }
        }
    }
}

/// A score with four decimals.
pub fn number(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(gold: Option<&str>, predicted: Option<&str>, count: usize) -> Confusion {
        Confusion { gold: gold.map(Into::into), predicted: predicted.map(Into::into), count }
    }

    #[test]
    fn only_the_labels_with_most_errors_are_shown() {
        let names: Vec<String> = (0..SHOWN_LABELS + 9).map(|n| format!("label-{n:02}")).collect();
        let mut cells: Vec<Confusion> = names.iter().map(|name| cell(Some(name), Some(name), 99)).collect();
        let wrong = names.iter().enumerate().map(|(errors, name)| cell(Some(name), None, errors));
        cells.extend(wrong.skip(1));
        assert_eq!(shown_labels(&cells), names[9..]);
        let text = confusion("test data", &cells).into_string();
        assert!(text.contains("The table shows the 30 of 39 labels with most errors."), "{text}");
    }

    #[test]
    fn a_page_is_one_document_whose_title_is_text() {
        let page = document("a < b", "en", "p { color: red; }").page(&html! { p { "1 < 2" } });
        let expected = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>a &lt; b</title>\
            <style>p { color: red; }</style></head>\n<body>\n<p>1 &lt; 2</p>\n</body>\n</html>\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn text_of_data_cannot_become_markup() {
        let words = || vec!["<script>alert(\"1\")</script>".to_owned()];
        let mistake =
            Mistake { words: words(), gold: vec!["B-<b>".into()], predicted: vec!["O&O".into()], wrong: 1 };
        let text = worst("test data", &[mistake]).into_string()
            + &confusion("test data", &[cell(Some("<b>"), Some("a&b"), 1)]).into_string()
            + &labels("test data", &BTreeMap::from([("<i>".to_owned(), Scores::default())])).into_string();
        assert!(!text.contains("<script") && !text.contains("<b>a") && text.contains("a&amp;b"), "{text}");
        assert!(text.contains("&lt;script&gt;") && text.contains("&lt;i&gt;"), "{text}");
    }
}
