//! An evaluation as one web page without scripts.

use hyperloader_core::evaluate::html::{STYLE, confusion, document, labels, number, worst};
use hyperloader_core::text::metrics::Scores;
use hyperloader_runtime::Difference;
use maud::{Markup, html};

use super::{Compared, Results, text};

/// The whole page; at most `shown` sentences in each list.
pub(super) fn page(results: &Results, shown: usize) -> String {
    let Results { model, task, gold, read, evaluation, comparison, .. } = results;
    let details = &evaluation.details;
    let data = gold.display().to_string();
    let scores = &evaluation.scores;
    let rows = [
        ("micro average over spans", Some(scores.micro)),
        ("macro average over labels", Some(scores.macro_)),
        ("average weighted by gold spans", Some(scores.weighted)),
        ("first and last character right, too", evaluation.exact),
    ];
    let title = format!("Evaluation of {}", model.display());
    let body = html! {
        h1 { (title) }
        dl {
            dt { "task" } dd { (task) }
            dt { "gold" } dd { (data) }
            dt { "sentences" } dd { (evaluation.sentences) }
            dt { "words" } dd { (evaluation.words) }
            dt { "speed" } dd { (text::speed(evaluation)) }
        }
        @for note in read.notes() { p.note { (note) } }
        @if !evaluation.unknown_labels.is_empty() {
            p.note { "The tagger does not have these labels: " (evaluation.unknown_labels.iter().cloned().collect::<Vec<_>>().join(", ")) }
        }
        @for sentence in &evaluation.untagged {
            p.note { "line " (sentence.line) ": " (sentence.error) }
        }
        section {
            h2 { "Scores" }
            table {
                thead { tr { th {} th { "precision" } th { "recall" } th { "F1" } th { "gold spans" } } }
                tbody { @for (name, scores) in rows { @if let Some(scores) = scores { (score_row(name, scores)) } } }
            }
            (labels(&data, &details.per_label))
            (confusion(&data, &details.confusion))
            (worst(&data, details.worst.get(..shown).unwrap_or(&details.worst)))
        }
        @if let Some(compared) = comparison { (compare(compared)) }
    };
    document(&title, "en", STYLE).page(&body)
}

fn score_row(name: &str, Scores { precision, recall, f1, support }: Scores) -> Markup {
    html! {
        tr { th { (name) } @for value in [precision, recall, f1] { td { (number(value)) } } td { (support) } }
    }
}

fn compare(Compared { model, comparison, .. }: &Compared) -> Markup {
    let [before, after] = comparison.f1;
    html! {
        section {
            h2 { "Compared with " (model.display()) }
            p {
                "F1 " (number(before)) " \u{2192} " (number(after)) ", difference " (format!("{:+.4}", comparison.difference))
                ", p = " (number(comparison.p)) " (paired bootstrap, " (comparison.draws) " draws). "
                (comparison.differing) " sentences are tagged differently."
            }
            @if !comparison.shown.is_empty() {
                p.note { "Each word is followed by its gold tag, the first model's tag and the second model's tag where they differ." }
            }
            @for Difference { line, words, gold, first, second } in &comparison.shown {
                p.sentence {
                    span.wrong-count { "line " (line) }
                    @for (at, word) in words.iter().enumerate() {
                        span.word {
                            b { (word) }
                            @if gold[at] != "O" || first[at] != second[at] { i { (gold[at]) } }
                            @if first[at] != second[at] { em { (first[at]) } em { (second[at]) } }
                        }
                    }
                }
            }
        }
    }
}
