//! An evaluation as text.

use std::cmp::Reverse;
use std::fmt::Write as _;

use hyperloader_core::corpus::Sentence;
use hyperloader_core::evaluate::{Confusion, Mistake};
use hyperloader_core::text::metrics::Scores;
use hyperloader_core::text::printable::printable;
use hyperloader_runtime::{Difference, Evaluation};

use super::{Compared, Results};

/// The most confusions that are listed.
const CONFUSIONS: usize = 20;

/// The whole report; at most `shown` sentences in each list.
pub(super) fn report(results: &Results, shown: usize) -> String {
    let Results { model, task, gold, evaluation, comparison, sentences, .. } = results;
    let mut out = format!(
        "`{}` on `{}`: task `{task}`, {} sentences, {} words\n\n",
        model.display(),
        gold.display(),
        evaluation.sentences,
        evaluation.words
    );
    out.push_str(&scores(evaluation));
    out.push_str(&confusions(&evaluation.details.confusion));
    out.push_str(&worst(&evaluation.details.worst, sentences, shown));
    if let Some(compared) = comparison {
        out.push_str(&compare(compared, evaluation));
    }
    let _ = write!(out, "\n{}", speed(evaluation));
    out
}

/// The table of scores, as seqeval prints it, with the score by characters below.
fn scores(evaluation: &Evaluation) -> String {
    let report = &evaluation.scores;
    let mut rows: Vec<(String, Scores)> =
        report.per_label.iter().map(|(label, scores)| (printable(label), *scores)).collect();
    rows.push(("micro avg".into(), report.micro));
    rows.push(("macro avg".into(), report.macro_));
    rows.push(("weighted avg".into(), report.weighted));
    rows.extend(evaluation.exact.map(|scores| ("characters".into(), scores)));
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = format!("{:width$}  precision  recall      F1  gold spans\n", "");
    for (name, Scores { precision, recall, f1, support }) in rows {
        let _ = writeln!(out, "{name:width$}     {precision:.4}  {recall:.4}  {f1:.4}  {support:10}");
    }
    let counts = report.counts;
    let _ = writeln!(
        out,
        "\n{} of {} spans found, {} of {} predicted spans right, {:.2} % of the words' tags right",
        counts.correct,
        counts.gold,
        counts.correct,
        counts.predicted,
        100.0 * report.accuracy
    );
    if evaluation.exact.is_some() {
        out.push_str(
            "`characters` counts a span as found only if its first and last character are right, too\n",
        );
    }
    out
}

/// Wrong pairs of labels, the most frequent first.
fn confusions(cells: &[Confusion]) -> String {
    let mut wrong: Vec<&Confusion> = cells.iter().filter(|cell| cell.gold != cell.predicted).collect();
    if wrong.is_empty() {
        return String::new();
    }
    wrong.sort_by_key(|cell| Reverse(cell.count));
    let mut out = String::from("\nErrors, by gold and predicted label of the same words:\n");
    for Confusion { gold, predicted, count } in wrong.iter().take(CONFUSIONS) {
        let line = match (gold, predicted) {
            (Some(gold), Some(predicted)) => format!("{} as {}", printable(gold), printable(predicted)),
            (Some(gold), None) => format!("{} missed", printable(gold)),
            (None, predicted) => format!("{} spurious", printable(predicted.as_deref().unwrap_or_default())),
        };
        let _ = writeln!(out, "{count:6}  {line}");
    }
    if wrong.len() > CONFUSIONS {
        let _ = writeln!(out, "        and {} more kinds", wrong.len() - CONFUSIONS);
    }
    out
}

fn worst(mistakes: &[Mistake], sentences: &[Sentence], shown: usize) -> String {
    let mut out = String::new();
    for mistake in mistakes.iter().take(shown) {
        if out.is_empty() {
            out.push_str("\nSentences with the most wrong tags, wrong words with [gold -> predicted]:\n");
        }
        let Mistake { words, gold, predicted, wrong } = mistake;
        let _ = writeln!(
            out,
            "{:>8}  {wrong} wrong: {}",
            place(mistake, sentences),
            marked(words, &[gold, predicted])
        );
    }
    out
}

/// `line N`, where a sentence that is shown begins.
fn place(mistake: &Mistake, sentences: &[Sentence]) -> String {
    let same = |sentence: &&Sentence| sentence.words == mistake.words && sentence.tags == mistake.gold;
    sentences.iter().find(same).map(|sentence| format!("line {}", sentence.line)).unwrap_or_default()
}

/// Words, with their tags where these are not all equal, and with the one tag where it is not `O`.
fn marked(words: &[String], tags: &[&Vec<String>]) -> String {
    let word = |(at, word): (usize, &String)| {
        let of_word: Vec<String> = tags.iter().filter_map(|tags| Some(printable(tags.get(at)?))).collect();
        let word = printable(word);
        match of_word.split_first() {
            Some((first, rest)) if rest.iter().any(|tag| tag != first) => {
                format!("{word} [{}]", of_word.join(" -> "))
            }
            Some((tag, _)) if tag != "O" => format!("{word} [{tag}]"),
            _ => word,
        }
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

fn compare(compared: &Compared, first: &Evaluation) -> String {
    let Compared { model, comparison, evaluation } = compared;
    let [before, after] = comparison.f1;
    let p = match comparison.p {
        p if p * (comparison.draws as f64) < 1.0 => format!("p < 1/{}", comparison.draws),
        p => format!("p = {p:.3}"),
    };
    let mut out = format!(
        "\nCompared with `{}`: F1 {before:.4} -> {after:.4} ({:+.4}), {p} (paired bootstrap, {} draws)\n\
         {} of {} sentences are tagged differently\n",
        model.display(),
        comparison.difference,
        comparison.draws,
        comparison.differing,
        first.sentences,
    );
    if let (Some(before), Some(after)) = (first.exact, evaluation.exact) {
        let _ = writeln!(out, "F1 by characters: {:.4} -> {:.4}", before.f1, after.f1);
    }
    for Difference { line, words, gold, first, second } in &comparison.shown {
        let _ = writeln!(out, "{:>8}  {}", format!("line {line}"), marked(words, &[gold, first, second]));
    }
    if !comparison.shown.is_empty() {
        out.push_str("          words that differ have [gold -> first model -> second model]\n");
    }
    out
}

/// `300 sentences (310 parts) in 1.20 s: 250.0 per second`
pub(super) fn speed(evaluation: &Evaluation) -> String {
    let statistics = evaluation.statistics;
    let parts = if statistics.parts == statistics.sentences {
        String::new()
    } else {
        format!(" ({} parts)", statistics.parts)
    };
    format!(
        "{} sentences{parts} in {:.2} s: {:.1} per second\n",
        statistics.sentences,
        evaluation.seconds,
        statistics.sentences as f64 / evaluation.seconds.max(f64::MIN_POSITIVE)
    )
}
