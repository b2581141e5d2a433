//! Measures how reliable the scores of a run's taggers are, and what `hl-run --max-error` and `--max-span-error` would have
//! done, on sentences with gold tags. Prints two tables in Markdown.
//!
//! ```text
//! $ mkdir models && cd models && hl-export --run ../runs/hyperloader-1 --all && cd ..
//! $ cargo run --release --package hyperloader-runtime --example selection -- --config hyperloader.toml --models models
//! ```
//!
//! The sentences are split again and again: a share is the calibration data, half of which chooses thresholds and half of
//! which tests them. A split violates the guarantee if the error rate among the answered sentences, or among the spans that
//! are given out, exceeds the limit: among all sentences, which calibration data is drawn from, or among the rest. Plain
//! thresholding takes what has a score of at least 1 minus the limit.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use hyperloader_core::calibration::Outcome;
use hyperloader_core::calibration::reliability::Reliability;
use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::calibration::spans::{SpanTable, highest};
use hyperloader_core::corpus::{self, CorpusSpec, Sentence};
use hyperloader_core::text::spans::{SpanMode, bio_to_spans};
use hyperloader_runtime::{BackendOptions, Guarantee, Split, Tagged, Tagger, TaggerOptions, Unit};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// Measure scores and the guarantees of `hl-run --max-error` and `--max-span-error`
#[derive(Debug, Parser)]
struct Args {
    /// Configuration of the training, which names the corpora of the tasks
    #[arg(long, value_name = "FILE", default_value = "hyperloader.toml")]
    config: PathBuf,

    /// Folder of the taggers, `TASK.onnx` each
    #[arg(long, value_name = "DIR", default_value = ".")]
    models: PathBuf,

    /// Tasks to measure [default: all of the configuration]
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    tasks: Vec<String>,

    /// Splits of the corpora whose sentences are measured; calibration was fitted on `valid`
    #[arg(long, value_name = "SPLIT", value_delimiter = ',', default_value = "test", value_parser = split)]
    from: Vec<corpus::Split>,

    /// Maximum number of sentences of each split
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

/// The part of a training's configuration that is read.
#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(rename = "task")]
    tasks: BTreeMap<String, CorpusSpec>,
}

fn split(name: &str) -> Result<corpus::Split, String> {
    match name {
        "train" => Ok(corpus::Split::Train),
        "valid" => Ok(corpus::Split::Valid),
        "test" => Ok(corpus::Split::Test),
        _ => Err("expected `train`, `valid` or `test`".to_owned()),
    }
}

/// What is measured of a task.
#[derive(Debug, Default)]
struct Measured {
    temperature: f64,
    tags: Reliability,
    spans: Reliability,
    /// One outcome for each sentence.
    sentences: Vec<Vec<Outcome>>,
    /// The outcomes of the spans of each sentence.
    of_spans: Vec<Vec<Outcome>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut tasks = tasks(&args)?;
    if let Some(unknown) = args.tasks.iter().find(|name| !tasks.contains_key(*name)) {
        bail!("`{}` has no task `{unknown}`", args.config.display());
    }
    tasks.retain(|name, _| args.tasks.is_empty() || args.tasks.contains(name));
    let mut measured = BTreeMap::new();
    for (name, spec) in &tasks {
        measured.insert(name, task(&args, name, spec)?);
    }
    println!(
        "| task | temperature | tags | ECE | spans | ECE | sentences | ECE |\n|---|---|---|---|---|---|---|---|"
    );
    for (name, Measured { temperature, tags, spans, sentences, .. }) in &measured {
        let of_sentences: Reliability =
            sentences.iter().flatten().map(|outcome| [outcome.judged()]).collect();
        print!("| {name} | {temperature:.3} ");
        for reliability in [tags, spans, &of_sentences] {
            print!("| {} | {:.4} ", reliability.count(), reliability.error());
        }
        println!("|");
    }
    println!(
        "\n| task | of | number | wrong | limit | threshold found | violated (all) | violated (rest) | answered | plain: violated \
         | plain: answered |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, task) in &measured {
        for (of, outcomes) in [(Unit::Sentences, &task.sentences), (Unit::Spans, &task.of_spans)] {
            let count: usize = outcomes.iter().map(Vec::len).sum();
            for &max_error in &args.max_error {
                let wrong = rate(outcomes, Rule::ALL).1;
                let guarantee = Guarantee { of, max_error, confidence: args.confidence };
                println!("| {name} | {of} | {count} | {wrong:.3} | {}", resplit(&args, outcomes, guarantee));
            }
        }
    }
    Ok(())
}

/// The corpora of the configuration, whose paths are relative to its folder.
fn tasks(args: &Args) -> Result<BTreeMap<String, CorpusSpec>> {
    let read = || format!("cannot read `{}`", args.config.display());
    let text = std::fs::read_to_string(&args.config).with_context(read)?;
    let Configuration { mut tasks } = toml::from_str(&text).with_context(read)?;
    let folder = args.config.parent().unwrap_or(Path::new(""));
    for spec in tasks.values_mut() {
        let paths = [Some(&mut spec.train), spec.valid.as_mut(), spec.test.as_mut()];
        paths.into_iter().flatten().for_each(|path| *path = folder.join(&*path));
    }
    Ok(tasks)
}

/// Tags the sentences of a task.
fn task(args: &Args, name: &str, spec: &CorpusSpec) -> Result<Measured> {
    let options = TaggerOptions {
        backend: BackendOptions { threads: Some(args.threads), ..BackendOptions::default() },
        scores: true,
        // Sentences that are too long are not in the calibration data either.
        split: Split::Never,
        ..TaggerOptions::default()
    };
    let tagger = Tagger::open(args.models.join(format!("{name}.onnx")), &options)?;
    let temperature = tagger.metadata().calibration.as_ref().map_or(1.0, |c| c.temperature);
    let mut measured = Measured { temperature, ..Measured::default() };
    for &from in &args.from {
        let mut sentences = spec.load_split(from)?;
        sentences.truncate(args.limit.unwrap_or(usize::MAX));
        let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.words.clone()).collect();
        for (sentence, tagged) in sentences.iter().zip(tagger.tag_words(&words)?) {
            let Ok(tagged) = tagged else { continue };
            measured.add(sentence, &tagged).context("the tagger gives scores")?;
        }
    }
    Ok(measured)
}

impl Measured {
    /// Counts a sentence.
    fn add(&mut self, sentence: &Sentence, tagged: &Tagged) -> Option<()> {
        let scores = tagged.scores.as_ref()?;
        let correct = tagged.tags.iter().zip(&sentence.tags).map(|(tag, gold)| tag == gold);
        self.tags.add(scores.tags.iter().map(|score| score.score).zip(correct));
        let gold = bio_to_spans(&sentence.tags, SpanMode::Default);
        let found = bio_to_spans(&tagged.tags, SpanMode::Default);
        let outcome = |(span, tagged): (_, &hyperloader_runtime::TaggedSpan)| {
            Some(Outcome { score: tagged.score?.score, is_wrong: !gold.contains(span) })
        };
        let spans = found.iter().zip(&tagged.spans).map(outcome).collect::<Option<Vec<_>>>()?;
        self.spans.add(spans.iter().copied().map(Outcome::judged));
        self.of_spans.push(spans);
        self.sentences.push(vec![Outcome { score: scores.score, is_wrong: tagged.tags != sentence.tags }]);
        Some(())
    }
}

/// Which outcomes of a sentence are given out: at most `most`, with a score of at least `score`.
#[derive(Debug, Clone, Copy)]
struct Rule {
    score: f64,
    most: usize,
}

impl Rule {
    const ALL: Self = Self { score: 0.0, most: usize::MAX };

    /// The rule that gives the guarantee.
    fn new(guarantee: Guarantee, choose_by: &[Vec<Outcome>], test_on: &[Vec<Outcome>]) -> Option<Self> {
        match guarantee.of {
            Unit::Sentences => {
                let table = SelectionTable::new(&choose_by.concat(), &test_on.concat());
                Some(Self { score: table.threshold(guarantee)?.score, most: 1 })
            }
            Unit::Spans => {
                let table = SpanTable::new(choose_by, test_on);
                Some(Self { score: table.threshold(guarantee)?.score, most: table.most.get() })
            }
        }
    }
}

/// The share of outcomes that are given out, and the share of these that are wrong.
fn rate(sentences: &[Vec<Outcome>], rule: Rule) -> (f64, f64) {
    let (mut all, mut given, mut wrong) = (0, 0, 0);
    for outcomes in sentences {
        all += outcomes.len();
        let scores: Vec<f64> = outcomes.iter().map(|outcome| outcome.score).collect();
        for at in highest(&scores, rule.most).into_iter().filter(|at| scores[*at] >= rule.score) {
            given += 1;
            wrong += usize::from(outcomes[at].is_wrong);
        }
    }
    (f64::from(given) / all.max(1) as f64, wrong as f64 / f64::from(given.max(1)))
}

/// The end of a line of the table: shares of the splits, and mean shares of what is answered.
fn resplit(args: &Args, sentences: &[Vec<Outcome>], guarantee: Guarantee) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    let mut order = sentences.to_vec();
    let size = (args.share * order.len() as f64) as usize;
    let limit = guarantee.max_error;
    let [mut found, mut of_all, mut of_rest, mut answered, mut plain, mut plain_answered] = [0.0; 6];
    for _ in 0..args.splits {
        order.shuffle(&mut random);
        let (calibration, rest) = order.split_at(size);
        let (choose_by, test_on) = calibration.split_at(size / 2);
        let naive = rate(rest, Rule { score: 1.0 - limit, ..Rule::ALL });
        plain += f64::from(naive.1 > limit);
        plain_answered += naive.0;
        if let Some(rule) = Rule::new(guarantee, choose_by, test_on) {
            let (share, error) = rate(rest, rule);
            found += 1.0;
            answered += share;
            of_rest += f64::from(error > limit);
            of_all += f64::from(rate(sentences, rule).1 > limit);
        }
    }
    let mean = [found, of_all, of_rest, answered, plain, plain_answered].map(|sum| sum / args.splits as f64);
    let shares: Vec<String> = mean.iter().map(|share| format!("{share:.3}")).collect();
    format!("{limit} | {} |", shares.join(" | "))
}
