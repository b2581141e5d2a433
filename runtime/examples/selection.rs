//! Measures how reliable a tagger's scores are, and what `hl-run --max-error` would have done, on sentences with gold tags.
//!
//! ```text
//! $ cargo run --release --package hyperloader-runtime --example selection -- --model mtop.onnx --layout mtop \
//!     --corpus eval.txt --corpus test.txt
//! ```
//!
//! The sentences are split again and again: a share is the calibration data, half of which chooses thresholds and half of
//! which tests them. A split violates the guarantee if the error rate among the answered sentences exceeds the limit: among
//! all sentences, which calibration data is drawn from, or among the rest. Plain thresholding answers a sentence if its score
//! is at least 1 minus the limit.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use hyperloader_core::calibration::Outcome;
use hyperloader_core::calibration::reliability::Reliability;
use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::corpus::{CorpusSpec, LabelPreset, Labels, Layout, Sentence, Split};
use hyperloader_core::text::spans::{SpanMode, bio_to_spans};
use hyperloader_runtime::{BackendOptions, Guarantee, Tagged, Tagger, TaggerOptions};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Measure scores and the guarantee of `hl-run --max-error`
#[derive(Debug, Parser)]
struct Args {
    /// The tagger
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// Files with sentences that the tagger was not trained on
    #[arg(long, value_name = "FILE", required = true)]
    corpus: Vec<PathBuf>,

    /// Their layout
    #[arg(long)]
    layout: Layout,

    /// How many sentences of each file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Number of random splits
    #[arg(long, default_value = "500", value_name = "N")]
    splits: usize,

    /// Share of the sentences that is calibration data
    #[arg(long, default_value = "0.2", value_name = "X")]
    share: f64,

    /// Limits of the error rate
    #[arg(long, default_value = "0.05,0.1", value_delimiter = ',', value_name = "X,...")]
    max_error: Vec<f64>,

    /// Confidence of the guarantee
    #[arg(long, default_value = "0.9", value_name = "X")]
    confidence: f64,

    /// Seed of the splits
    #[arg(long, default_value = "0", value_name = "N")]
    seed: u64,

    /// Threads of one operation
    #[arg(long, default_value = "2", value_name = "N")]
    threads: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let options = TaggerOptions {
        backend: BackendOptions { threads: Some(args.threads), ..BackendOptions::default() },
        scores: true,
        ..TaggerOptions::default()
    };
    let tagger = Tagger::open(&args.model, &options)?;
    let temperature = tagger.metadata().calibration.as_ref().map_or(1.0, |c| c.temperature);
    let (mut tags, mut spans, mut outcomes) = (Reliability::default(), Reliability::default(), vec![]);
    for file in &args.corpus {
        let labels = Labels::Preset(LabelPreset::Plain);
        let corpus = CorpusSpec { labels, ..CorpusSpec::new(args.layout, file, None, file) };
        let mut sentences = corpus.load_split(Split::Test)?;
        sentences.truncate(args.limit.unwrap_or(usize::MAX));
        let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.words.clone()).collect();
        for (sentence, tagged) in sentences.iter().zip(tagger.tag_words(&words)?) {
            // Sentences that are too long are not in the calibration data either.
            let Ok(tagged) = tagged else { continue };
            count(sentence, &tagged, &mut tags, &mut spans).context("the tagger gives scores")?;
            let score = tagged.scores.map_or(0.0, |scores| scores.score);
            outcomes.push(Outcome { score, is_wrong: tagged.tags != sentence.tags });
        }
    }
    println!("model {} temperature {temperature:.4}", args.model.display());
    println!(
        "tags {} ECE {:.4}, spans {} ECE {:.4}",
        tags.count(),
        tags.error(),
        spans.count(),
        spans.error()
    );
    println!("sentences {} wrong {:.4}", outcomes.len(), rate(&outcomes, 0.0).1);
    println!(
        "max_error | found | violated (all) | violated (rest) | answered | plain: violated | plain: answered"
    );
    for &max_error in &args.max_error {
        println!("{}", measure(&args, &outcomes, Guarantee { max_error, confidence: args.confidence }));
    }
    Ok(())
}

/// Counts the tags and the spans of a sentence.
fn count(
    sentence: &Sentence,
    tagged: &Tagged,
    tags: &mut Reliability,
    spans: &mut Reliability,
) -> Option<()> {
    let scores = tagged.scores.as_ref()?;
    let correct = tagged.tags.iter().zip(&sentence.tags).map(|(tag, gold)| tag == gold);
    tags.extend(scores.tags.iter().map(|score| score.score).zip(correct));
    let gold = bio_to_spans(&sentence.tags, SpanMode::Default);
    let found = bio_to_spans(&tagged.tags, SpanMode::Default);
    for (span, tagged) in found.iter().zip(&tagged.spans) {
        spans.add(tagged.score?.score, gold.contains(span));
    }
    Some(())
}

/// The share of sentences that a threshold answers, and the share of these with a wrong tag.
fn rate(outcomes: &[Outcome], threshold: f64) -> (f64, f64) {
    let answered: Vec<_> = outcomes.iter().filter(|sentence| sentence.score >= threshold).collect();
    let wrong = answered.iter().filter(|sentence| sentence.is_wrong).count();
    (answered.len() as f64 / outcomes.len().max(1) as f64, wrong as f64 / answered.len().max(1) as f64)
}

/// A line of the table: shares of the splits, and mean shares of sentences.
fn measure(args: &Args, outcomes: &[Outcome], guarantee: Guarantee) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    let mut order = outcomes.to_vec();
    let size = (args.share * order.len() as f64) as usize;
    let limit = guarantee.max_error;
    let [mut found, mut of_all, mut of_rest, mut answered, mut plain, mut plain_answered] = [0.0; 6];
    for _ in 0..args.splits {
        order.shuffle(&mut random);
        let (calibration, rest) = order.split_at(size);
        let (choose_by, test_on) = calibration.split_at(size / 2);
        let naive = rate(rest, 1.0 - limit);
        plain += f64::from(naive.1 > limit);
        plain_answered += naive.0;
        if let Some(threshold) = SelectionTable::new(choose_by, test_on).threshold(guarantee) {
            let (share, error) = rate(rest, threshold.score);
            found += 1.0;
            answered += share;
            of_rest += f64::from(error > limit);
            of_all += f64::from(rate(outcomes, threshold.score).1 > limit);
        }
    }
    let mean = [found, of_all, of_rest, answered, plain, plain_answered].map(|sum| sum / args.splits as f64);
    let [found, of_all, of_rest, answered, plain, plain_answered] = mean;
    format!(
        "{limit} | {found:.3} | {of_all:.3} | {of_rest:.3} | {answered:.3} | {plain:.3} | {plain_answered:.3}"
    )
}
