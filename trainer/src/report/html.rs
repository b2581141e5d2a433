//! The page: one HTML file that contains its style and charts. It has no script and loads nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use hyperloader_core::evaluate::Details;
use hyperloader_core::evaluate::html::{STYLE, confusion, document, labels, number, worst};
use hyperloader_core::run::Manifest;
use indicatif::FormattedDuration;
use maud::{Markup, PreEscaped, html};

use super::error::ReportError;
use super::facts::{Facts, SplitScores};
use super::plots::{Axis, Chart, Curve, PlotError};
use super::reliability;
use crate::evaluate::Evaluation;

/// The whole page.
pub(super) fn page(facts: &Facts) -> Result<String, ReportError> {
    let title = format!("Run {}", facts.run.manifest.name);
    let tasks = facts.tasks().enumerate();
    let sections = tasks.map(|(color, task)| section(facts, color, task)).collect::<Result<Vec<_>, _>>()?;
    let body = html! {
        h1 { (title) }
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
    };
    Ok(document(&title, "en", STYLE).page(&body))
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
            @if let Some((data, details)) = details {
                (labels(data, &details.per_label))
                (confusion(data, &details.confusion))
                (worst(data, &details.worst))
            }
        }
    })
}

/// The details of the task's test split, or of its validation split if there is no test split.
fn details<'a>(facts: &'a Facts, task: &str) -> Option<(&'static str, &'a Details)> {
    let outcome = facts.outcome.as_ref()?;
    let splits = [("test data", &outcome.test), ("validation data", &outcome.validation)];
    splits.into_iter().find_map(|(name, split)| Some((name, split.get(task)?.details.as_ref()?)))
}
