//! Token classifier: one pass tags each token of the source. A word has the tag of its first sub-word.

use hyperloader_core::calibration::Calibration;
use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS, TaggerMetadata};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::scores::{IdScore, Score};
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans, fit_to_length, spans_to_bio};
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::wordpiece::WordPiece;

use crate::backend::{Backend, BackendError, Graph, Value};
use crate::error::{GraphFault, SentenceError};
use crate::halves::Halves;
use crate::model::{
    Architecture, FieldError, Lengths, Model, Output, Parts, Scores, Source, Tags, Worker, source_inputs,
};
use crate::options::TaggerOptions;
use crate::statistics::Statistics;

/// The architecture of token classifiers.
pub(super) struct Bert;

/// The codec of a file.
#[derive(Debug)]
struct BertModel {
    codec: WordPiece,
    /// BIO tags by their index in the graph's output.
    tags: Vec<String>,
}

/// The open graph.
#[derive(Debug)]
struct Classifier {
    /// Inputs `input_ids` and `attention_mask` `[batch, source_len]`, output `logits` `[batch, source_len, tags]`.
    graph: Box<dyn Graph>,
    pad: i64,
    /// Divides the logits of scores; absent if tags are not scored.
    temperature: Option<f32>,
    statistics: Statistics,
}

impl Architecture for Bert {
    fn inputs(&self) -> &'static [&'static str] {
        &[INPUT_IDS, ATTENTION_MASK]
    }

    fn check(&self, metadata: &TaggerMetadata, logits: usize) -> Result<(), FieldError> {
        if logits == bio_tags(&metadata.labels).len() {
            return Ok(());
        }
        Err(FieldError {
            field: "labels",
            value: format!("a list of {}", metadata.labels.len()),
            expected: format!("a list that fits {logits} logits: one for `O` and two for each label"),
        })
    }

    fn model(&self, metadata: &TaggerMetadata) -> Result<Box<dyn Model>, CodingError> {
        let codec = WordPiece::from_text(&metadata.tokenizer)?;
        Ok(Box::new(BertModel { codec, tags: bio_tags(&metadata.labels) }))
    }
}

impl Model for BertModel {
    fn pad_and_end(&self) -> [u32; 2] {
        [self.codec.pad(), self.codec.sep()]
    }

    fn source(&self, words: &[&str]) -> Result<Source, SentenceError> {
        let coded = self.codec.encode(words).map_err(CodingError::from)?;
        Ok(Source { ids: coded.ids, marks: coded.first })
    }

    fn max_words(&self) -> usize {
        usize::MAX
    }

    fn lengths(&self, words: &[&str]) -> Result<Lengths, CodingError> {
        let words =
            words.iter().map(|word| Ok(self.codec.word(word)?.len())).collect::<Result<_, CodingError>>()?;
        // `[CLS]` and `[SEP]`
        Ok(Lengths { words, other: 2 })
    }

    fn source_of_ids(&self, ids: &[u32]) -> Source {
        Source { ids: ids.to_vec(), marks: vec![] }
    }

    fn worker(
        &self,
        file: Parts<'_>,
        backend: &Backend,
        options: &TaggerOptions,
    ) -> Result<Box<dyn Worker>, GraphFault> {
        let graph = backend.open(file.model, file.weights);
        let graph = graph.map_err(|source| GraphFault::Backend { part: "classifier", source })?;
        let pad = file.metadata.pad_token_id;
        let calibration = file.metadata.calibration.as_ref();
        let temperature = options.needs_scores().then(|| calibration.map_or(1.0, Calibration::divisor));
        Ok(Box::new(Classifier { graph, pad, temperature, statistics: Statistics::default() }))
    }

    fn halves(&self, _: Parts<'_>) -> Result<Halves, GraphFault> {
        Err(GraphFault::OneGraph)
    }

    fn tags(
        &self,
        source: &Source,
        words: usize,
        output: &Output,
        _: Alignment,
    ) -> Result<Tags, CodingError> {
        let tag = |index: &u32| self.tags.get(*index as usize).map(String::as_str);
        let written =
            source.marks.iter().map(|&at| output.ids.get(at).and_then(tag).unwrap_or("O").to_owned());
        let score = |at: &usize| output.scores.get(*at..at + 1).map_or(Score::NOT_WRITTEN, Score::of);
        let scores = (!output.scores.is_empty()).then(|| {
            let mut scores: Vec<Score> = source.marks.iter().map(score).collect();
            scores.resize(words, Score::NOT_WRITTEN);
            Scores { sentence: Score::product(scores.iter().copied()), words: scores }
        });
        Ok(Tags { written: fit_to_length(written.collect(), words), complete: true, scores })
    }

    /// Tags that form no span are repaired: an `I` after another label begins a span. It keeps the score of the `I`.
    fn bio(&self, written: &[String]) -> Vec<String> {
        // Spans of one sequence lie within it and do not overlap, so this cannot fail.
        spans_to_bio(&bio_to_spans(written, SpanMode::Default), written.len()).unwrap_or_default()
    }

    fn tag_scores(&self, _: &[String], words: &[Score]) -> Vec<Score> {
        words.to_vec()
    }
}

impl Worker for Classifier {
    fn run(&mut self, sources: &[&Source]) -> Result<Vec<Output>, BackendError> {
        let [ids, mask] = source_inputs(sources, self.pad)?;
        let shape = ids.shape();
        let tokens: usize = shape.iter().product();
        if tokens == 0 {
            return Ok(vec![Output::default(); sources.len()]);
        }
        let outputs = self.graph.run(&[(INPUT_IDS, &ids), (ATTENTION_MASK, &mask)])?;
        let logits = outputs.first().map_or(Ok(&[][..]), Value::f32s)?;
        let width = logits.len() / tokens;
        if width == 0 || logits.len() != width * tokens {
            return Err(BackendError::Shape { shape, found: logits.len() });
        }
        self.statistics += Statistics {
            parts: sources.len(),
            passes: sources.len(),
            ids: sources.iter().map(|source| source.ids.len()).sum(),
            ..Statistics::default()
        };
        let rows = logits.chunks(width * tokens / sources.len()).zip(sources);
        let temperature = self.temperature;
        let output = |(row, source): (&[f32], &&Source)| {
            let tokens = || row.chunks(width).take(source.ids.len());
            let ids: Vec<u32> = tokens().map(argmax).collect();
            let scored = temperature.map(|t| tokens().zip(&ids).map(move |(row, tag)| score(row, *tag, t)));
            Output {
                scores: scored.into_iter().flatten().collect(),
                ids,
                is_faulty: tokens().flatten().any(|logit| !logit.is_finite()),
            }
        };
        Ok(rows.map(output).collect())
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

/// The index of the largest logit; the lowest index if several are equal.
fn argmax(logits: &[f32]) -> u32 {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, better) as u32
}

/// The score of `tag`, that of the largest logit.
fn score(logits: &[f32], tag: u32, temperature: f32) -> IdScore {
    let best = logits.get(tag as usize).copied().unwrap_or_default();
    let others = logits.iter().enumerate().filter(|(other, _)| *other != tag as usize);
    IdScore::of_logits(best, others.map(|(_, logit)| *logit), temperature)
}

#[cfg(test)]
mod tests {
    use hyperloader_core::format::tagger::TaggerKind;
    use hyperloader_core::text::words::WordSplitting;
    use serde_json::json;

    use super::*;

    fn model() -> Box<dyn Model> {
        let vocabulary: serde_json::Map<_, _> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "new", "york", "##s"]
            .iter()
            .enumerate()
            .map(|(id, token)| ((*token).to_owned(), id.into()))
            .collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary,
            },
        });
        let metadata = TaggerMetadata {
            format: 1,
            kind: TaggerKind::TokenClassifier,
            task: "t".into(),
            labels: vec!["city".into(), "food".into()],
            words: WordSplitting::default(),
            word_fit: None,
            sentence_words: None,
            max_source_len: 16,
            max_target_len: 0,
            pad_token_id: 0,
            eos_token_id: 3,
            decoder_start_token_id: 0,
            decoder_layers: 0,
            memory: vec![],
            source_prefix: String::new(),
            method: "unipelt-bert".into(),
            run: "r".into(),
            step: 1,
            checkpoint_sha256: String::new(),
            backbone_sha256: String::new(),
            program: String::new(),
            drafter: None,
            calibration: None,
            tokenizer: tokenizer.to_string(),
        };
        Bert.model(&metadata).unwrap()
    }

    #[test]
    fn a_word_has_the_tag_of_its_first_sub_word_and_tags_are_repaired() {
        let model = model();
        let source = model.source(&["news", "york", "new"]).unwrap();
        assert_eq!(source.ids, [2, 4, 6, 5, 4, 3]);
        let lengths = model.lengths(&["news", "york", "new"]).unwrap();
        assert_eq!(lengths, Lengths { words: vec![2, 1, 1], other: 2 });
        // I-city opens a span, B-food on the further sub-word does not count, I-food after a city opens its own.
        let output = Output { ids: vec![0, 2, 3, 2, 4, 0], ..Output::default() };
        let tags = model.tags(&source, 3, &output, Alignment::Order).unwrap();
        assert_eq!(tags.scores, None);
        assert_eq!(model.bio(&tags.written), ["B-city", "I-city", "B-food"]);
        assert!(tags.complete);
        assert_eq!(model.pad_and_end(), [0, 3]);
    }

    #[test]
    fn a_tag_is_scored_by_the_softmax_over_the_tags() {
        let scores = [1.0_f32, 3.0, 2.0].map(|logit| logit * 2.0);
        let IdScore { log_probability, margin } = score(&scores, 1, 2.0);
        let expected = 3.0_f32.exp() / [1.0_f32, 2.0, 3.0].map(f32::exp).iter().sum::<f32>();
        assert!((log_probability.exp() - expected).abs() < 1e-6 && (margin - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_first_of_equal_maxima_is_chosen() {
        assert_eq!(argmax(&[0.5, 2.0, -1.0, 2.0]), 1);
        assert_eq!(argmax(&[-3.0]), 0);
    }
}
