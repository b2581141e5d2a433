//! Span F1 of a test split's sentences, alone and joined to documents, and prints JSON.
//!
//! ```text
//! $ cargo run --release --package hyperloader-runtime --example long_text -- --model mtop.onnx --layout mtop --corpus test.txt
//! {"documents_of_words":5000,"f1":{"sentences":0.71,"paragraphs":0.71,"lines":0.71,...},"parts":{...},"seconds":{...}}
//! ```

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use hyperloader_core::corpus::{CorpusSpec, Layout, Sentence};
use hyperloader_core::text::metrics::evaluate;
use hyperloader_core::text::spans::SpanMode;
use hyperloader_runtime::{BackendKind, BackendOptions, Tagger, TaggerOptions, Words};
use serde_json::json;

#[path = "../../bench/peak_memory.rs"]
mod peak_memory;

/// Compare the F1 of single sentences with that of documents of them
#[derive(Debug, Parser)]
struct Args {
    /// The tagger
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// The test split
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Its layout
    #[arg(long)]
    layout: Layout,

    /// How many of its sentences [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Words of a document, about
    #[arg(long, default_value = "5000", value_name = "N")]
    words: usize,

    /// Runtime that runs the graph
    #[arg(long, default_value_t)]
    backend: BackendKind,
}

/// What is written between two sentences. `stops` are full stops after them, which are not scored.
const JOINS: [(&str, &str); 4] = [("paragraphs", "\n\n"), ("lines", "\n"), ("stops", " . "), ("blanks", " ")];

fn main() -> Result<()> {
    let args = Args::parse();
    let corpus = CorpusSpec::new(args.layout, "", None, "");
    let (mut sentences, _) = corpus.read_file(&args.corpus)?;
    sentences.truncate(args.limit.unwrap_or(usize::MAX));
    let gold: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.tags.clone()).collect();
    let (mut f1, mut parts, mut seconds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut measure = |name, tag: &dyn Fn(&Tagger) -> Result<Vec<Vec<String>>>| {
        let backend = BackendOptions { kind: args.backend, ..BackendOptions::default() };
        let options = TaggerOptions { backend, words: Words::PreTokenized, ..TaggerOptions::default() };
        let tagger = Tagger::open(&args.model, &options)?;
        let began = Instant::now();
        let tags = tag(&tagger)?;
        seconds.insert(name, began.elapsed().as_secs_f64());
        f1.insert(name, evaluate(&gold, &tags, SpanMode::Default)?.micro.f1);
        parts.insert(name, tagger.statistics().parts);
        anyhow::Ok(())
    };
    measure("sentences", &|tagger| {
        let words: Vec<&Vec<String>> = sentences.iter().map(|sentence| &sentence.words).collect();
        words
            .into_iter()
            .map(|words| Ok(tagger.tag_words(std::slice::from_ref(words))?.remove(0)?.tags))
            .collect()
    })?;
    for (name, separator) in JOINS {
        measure(name, &|tagger| as_documents(tagger, &sentences, separator, args.words))?;
    }
    println!(
        "{}",
        json!({
            "sentences": sentences.len(), "document_words": args.words, "f1": f1, "parts": parts, "seconds": seconds,
            "peak_kib": peak_memory::kib()?,
        })
    );
    Ok(())
}

/// The tags of each sentence if documents of about `size` words are tagged.
fn as_documents(
    tagger: &Tagger,
    sentences: &[Sentence],
    separator: &str,
    size: usize,
) -> Result<Vec<Vec<String>>> {
    let mark = usize::from(!separator.trim().is_empty());
    let mut tags = Vec::with_capacity(sentences.len());
    let mut rest = sentences;
    while !rest.is_empty() {
        let mut words = 0;
        let fits = |sentence: &&Sentence| {
            words += sentence.words.len();
            words <= size
        };
        let (document, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = others;
        let text: Vec<String> = document.iter().map(|sentence| sentence.words.join(" ")).collect();
        let tagged = tagger.tag(&[text.join(separator)])?.remove(0)?;
        let mut of_words = tagged.tags.into_iter();
        for sentence in document {
            tags.push(of_words.by_ref().take(sentence.words.len()).collect());
            of_words.by_ref().take(mark).for_each(drop);
        }
    }
    Ok(tags)
}
