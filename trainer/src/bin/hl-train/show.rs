//! `hl-train corpora --show N`: sentences as they are read.

use anyhow::Result;
use hyperloader_cli::{Console, Exit, OutputFormat, Records};
use hyperloader_core::corpus::{CorpusSpec, Sentence, Split, Splits};
use serde::Serialize;

/// A sentence of a corpus.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    corpus: &'a str,
    split: Split,
    #[serde(flatten)]
    sentence: &'a Sentence,
}

/// Prints the first `count` sentences of each split of each corpus.
pub(crate) fn show(
    corpora: &[(String, CorpusSpec)],
    count: usize,
    format: OutputFormat,
    console: &Console,
) -> Result<()> {
    let mut records = Records::new(console, format);
    for (corpus, spec) in corpora {
        let Splits { train, valid, test } = match spec.load() {
            Ok(splits) => splits,
            Err(error) => {
                console.error_at(&format!("corpus `{corpus}`"), &error, Exit::UserError);
                continue;
            }
        };
        for (split, sentences) in [(Split::Train, train), (Split::Valid, valid), (Split::Test, test)] {
            for sentence in sentences.iter().take(count) {
                let shown = Shown { corpus, split, sentence };
                records.write(&shown, || text(&shown))?;
            }
        }
    }
    records.finish()
}

/// The place of a sentence, its text if the file has one, and its words, each with its tag.
fn text(Shown { corpus, split, sentence }: &Shown<'_>) -> String {
    let split = match split {
        Split::Train => "train",
        Split::Valid => "valid",
        Split::Test => "test",
    };
    let words = sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| match tag.as_str() {
        "O" => word.clone(),
        tag => format!("{word}/{tag}"),
    });
    let text = sentence.text.iter().map(|text| format!("\n  text   {}", text.escape_debug()));
    format!(
        "{corpus}, {split}, line {}{}\n  words  {}",
        sentence.line,
        text.collect::<String>(),
        words.collect::<Vec<_>>().join(" ")
    )
}
