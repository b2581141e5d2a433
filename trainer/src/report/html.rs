//! The page: one HTML file that contains its style and charts. It has no script and loads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyperloader_core::run::Manifest;
use hyperloader_core::text::metrics::Scores;
use indicatif::FormattedDuration;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::error::ReportError;
use super::facts::{Facts, SplitScores};
use super::plots::{Axis, Chart, Curve, PlotError};
use super::reliability;
use crate::evaluate::Evaluation;
use crate::evaluate::details::{Confusion, Details, Mistake};

const STYLE: &str = include_str!("style.css");
/// The most labels in a table of confusions. Labels with more errors come first.
const SHOWN_LABELS: usize = 30;

/// The whole page.
pub(super) fn page(facts: &Facts) -> Result<String, ReportError> {
    let name = &facts.run.manifest.name;
    let tasks = facts.tasks().enumerate();
    let sections = tasks.map(|(color, task)| section(facts, color, task)).collect::<Result<Vec<_>, _>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Run " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Run " (name) }
                (header(facts))
                (summary(facts))
                section {
                    h2 { "Curves" }
                    div.charts {
                        (figure(&facts.overview(Axis::Loss))?)
                        (figure(&facts.overview(Axis::F1))?)
                    }
                }
                @for section in &sections { (section) }
                section {
                    h2 { "Configuration" }
                    pre { (facts.config) }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn figure(chart: &Chart) -> Result<Markup, PlotError> {
    // plotters escapes the text in its SVG.
    Ok(html! { figure { (PreEscaped(chart.svg()?)) } })
}

fn header(facts: &Facts) -> Markup {
    let Manifest { program, method, backbone, seed, .. } = &facts.run.manifest;
    let last = facts.history.last();
    html! {
        dl {
            dt { "method" } dd { (method.method().name()) }
            dt { "backbone" } dd { (backbone.path.display()) }
            dt { "seed" } dd { (seed) }
            @if let Some(last) = last {
                dt { "updates" } dd { (last.step) }
                dt { "training time" } dd { (FormattedDuration(Duration::from_secs_f64(last.seconds.max(0.0).round()))) }
            }
            dt { "smoothing floor" } dd { (number(facts.history.floor())) " nats per token" }
            dt { "made by" } dd { (program) }
        }
        @if facts.outcome.is_none() {
            p.note { "This run is not finished: it has no final evaluation and no test scores." }
        }
    }
}

fn summary(facts: &Facts) -> Markup {
    let (step, scores) = facts.scores();
    let means = [0, 1].map(|split| mean_f1(scores.values().filter_map(|splits| splits[split])));
    html! {
        section {
            h2 { "Scores" @if let Some(step) = step { " after " (step) " updates" } }
            table {
                thead {
                    tr {
                        th rowspan="2" { "task" }
                        th colspan="5" { "validation" }
                        th colspan="5" { "test" }
                    }
                    tr {
                        @for _ in 0..2 {
                            th { "sentences" } th { "loss" } th { "F1" } th { "precision" } th { "recall" }
                        }
                    }
                }
                tbody {
                    @for (task, splits) in &scores {
                        tr {
                            th { (task) }
                            @for evaluation in splits { (score_cells(*evaluation)) }
                        }
                    }
                }
                tfoot {
                    tr {
                        th { "mean" }
                        @for mean in means {
                            td {} td {} td { (mean.map(number).unwrap_or_default()) } td {} td {}
                        }
                    }
                }
            }
            p.note { "The loss is in nats per target token and includes label smoothing. F1, precision and recall are micro-averaged over spans." }
            (by_character(&scores))
        }
    }
}

/// Scores by character of the tasks whose corpora mark spans of text; nothing if there is none.
fn by_character(scores: &BTreeMap<&str, SplitScores<'_>>) -> Markup {
    let exact = |evaluation: &Option<&Evaluation>| evaluation.and_then(|evaluation| evaluation.exact);
    let rows: Vec<_> = scores
        .iter()
        .map(|(task, splits)| (task, [exact(&splits[0]), exact(&splits[1])]))
        .filter(|(_, splits)| splits.iter().any(Option::is_some))
        .collect();
    html! {
        @if !rows.is_empty() {
            h3 { "By character" }
            table {
                thead {
                    tr { th rowspan="2" { "task" } th colspan="3" { "validation" } th colspan="3" { "test" } }
                    tr { @for _ in 0..2 { th { "F1" } th { "precision" } th { "recall" } } }
                }
                tbody {
                    @for (task, splits) in rows {
                        tr {
                            th { (task) }
                            @for scores in splits {
                                @match scores {
                                    Some(scores) => {
                                        @for value in [scores.f1, scores.precision, scores.recall] { td { (number(value)) } }
                                    }
                                    None => { @for _ in 0..3 { td { "\u{2013}" } } }
                                }
                            }
                        }
                    }
                }
            }
            p.note { "These corpora mark spans of text. A span is right here if its first and last character agree with the file; a marked span that begins or ends inside a word is missed." }
        }
    }
}

fn score_cells(evaluation: Option<&Evaluation>) -> Markup {
    html! {
        @match evaluation {
            Some(Evaluation { sentences, loss, f1, precision, recall, .. }) => {
                td { (sentences) }
                @for value in [loss, f1, precision, recall] { td { (number(*value)) } }
            }
            None => { @for _ in 0..5 { td { "\u{2013}" } } }
        }
    }
}

/// The unweighted mean of F1 over tasks.
fn mean_f1<'a>(evaluations: impl Iterator<Item = &'a Evaluation>) -> Option<f64> {
    let f1: Vec<f64> = evaluations.map(|evaluation| evaluation.f1).collect();
    (!f1.is_empty()).then(|| f1.iter().sum::<f64>() / f1.len() as f64)
}

fn section(facts: &Facts, color: usize, task: &str) -> Result<Markup, ReportError> {
    let history = &facts.history;
    let curve = |name: &str, shift, points| Curve { name: name.to_owned(), color: color + shift, points };
    let loss = Chart {
        title: "loss above the smoothing floor",
        axis: Axis::Loss,
        curves: vec![
            curve("training", 0, history.training_loss(task)),
            curve("validation", 1, history.validation_loss(task)),
        ],
    };
    let f1 = Chart {
        title: "validation F1",
        axis: Axis::F1,
        curves: vec![curve("validation", 0, history.validation_f1(task))],
    };
    let details = details(facts, task);
    let scores = facts.calibration.get(task).map(reliability::section).transpose()?;
    Ok(html! {
        section {
            h2 { "Task " (task) }
            div.charts { (figure(&loss)?) (figure(&f1)?) }
            @if let Some(scores) = scores { (scores) }
            @if let Some((split, details)) = details {
                (labels(split, &details.per_label))
                (confusion(split, &details.confusion))
                (worst(split, &details.worst))
            }
        }
    })
}

/// The details of the task's test split, or of its validation split if there is no test split.
fn details<'a>(facts: &'a Facts, task: &str) -> Option<(&'static str, &'a Details)> {
    let outcome = facts.outcome.as_ref()?;
    let splits = [("test", &outcome.test), ("validation", &outcome.validation)];
    splits.into_iter().find_map(|(name, split)| Some((name, split.get(task)?.details.as_ref()?)))
}

fn labels(split: &str, labels: &BTreeMap<String, Scores>) -> Markup {
    let mut by_support: Vec<_> = labels.iter().collect();
    by_support.sort_by_key(|(_, scores)| std::cmp::Reverse(scores.support));
    html! {
        h3 { "Labels on " (split) " data" }
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

fn confusion(split: &str, cells: &[Confusion]) -> Markup {
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
        h3 { "Confusion of labels on " (split) " data" }
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

fn worst(split: &str, mistakes: &[Mistake]) -> Markup {
    html! {
        h3 { "Worst errors on " (split) " data" }
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

fn number(value: f64) -> String {
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
        let text = confusion("test", &cells).into_string();
        assert!(text.contains("The table shows the 30 of 39 labels with most errors."), "{text}");
    }

    #[test]
    fn text_of_data_cannot_become_markup() {
        let words = || vec!["<script>alert(\"1\")</script>".to_owned()];
        let mistake =
            Mistake { words: words(), gold: vec!["B-<b>".into()], predicted: vec!["O&O".into()], wrong: 1 };
        let text = worst("test", &[mistake]).into_string()
            + &confusion("test", &[cell(Some("<b>"), Some("a&b"), 1)]).into_string()
            + &labels("test", &BTreeMap::from([("<i>".to_owned(), Scores::default())])).into_string();
        assert!(!text.contains("<script") && !text.contains("<b>a") && text.contains("a&amp;b"), "{text}");
        assert!(text.contains("&lt;script&gt;") && text.contains("&lt;i&gt;"), "{text}");
    }
}
