//! Evaluation decodes in few passes over drafts; its ids are those of greedy decoding, and its loss is that of teacher forcing.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::method::{HyperConfig, Method, MethodConfig, variant};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_trainer::data::{Batch, Example};
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5, T5Tagger};
use tch::{Device, Kind, Tensor};

const LABELS: [&str; 3] = ["city", "city_name", "time"];
const MAX_LEN: usize = 24;

fn nano() -> T5Backbone {
    T5Backbone::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/backbones/t5-nano"), false)
        .unwrap()
}

fn tagger(backbone: &T5Backbone, method: Method) -> T5Tagger {
    tch::manual_seed(3);
    let method = match variant(method.name()).unwrap() {
        MethodConfig::Hyper(config) => HyperConfig { reduction_factor: 8, ..config }.into(),
        config => config,
    };
    let tagger = T5Tagger::new(backbone, &method, &["a".to_owned()], Start::Seed(1), Device::Cpu).unwrap();
    tch::no_grad(|| {
        for parameter in tagger.parameters.iter() {
            let mut tensor = parameter.tensor.shallow_clone();
            tensor += tensor.randn_like() * 0.05;
        }
    });
    tagger
}

/// Sentences of 1 to 5 words with the given targets in turn.
fn examples(codec: &SentT, targets: &[Vec<u32>]) -> Vec<Example> {
    let words = |count: usize| -> Vec<String> {
        ["fly", "to", "new", "york", "today"].iter().take(count).map(|word| (*word).to_owned()).collect()
    };
    let example = |(at, target): (usize, &Vec<u32>)| {
        let words = words(1 + at % 5);
        Example {
            source: codec.encode_source(&words).unwrap(),
            target: target.clone(),
            tags: vec!["O".to_owned(); words.len()],
            words,
            sentence: at,
            is_whole: true,
            marked: None,
        }
    };
    targets.iter().enumerate().map(example).collect()
}

/// Targets that a corpus may have for sentences of 1 to 5 words: of their length, of another, cut off, and of ids that are no
/// tags.
fn targets(codec: &SentT) -> Vec<Vec<u32>> {
    let whole = |tags: &[&str]| codec.encode_target(tags).unwrap();
    let long = whole(&["O", "city_name", "I", "O", "time"]);
    let cut = long[..long.len() - 3].to_vec();
    vec![
        whole(&["O"]),
        whole(&["city", "I"]),
        whole(&["O"]),
        cut,
        long,
        whole(&["time", "O", "city", "I", "I", "O", "O"]),
        vec![777, 5, 1],
        vec![1],
    ]
}

/// The rows of greedy decoding without padding.
fn greedy(tagger: &T5Tagger, batch: &Batch) -> Vec<Vec<u32>> {
    let rows = tagger.greedy("a", &batch.input_ids, &batch.attention_mask, MAX_LEN).unwrap();
    let eos = tagger.t5.config.eos_token_id;
    let end = |row: &Vec<u32>| row.iter().position(|id| i64::from(*id) == eos).map_or(row.len(), |at| at + 1);
    rows.iter().map(|row| row[..end(row)].to_vec()).collect()
}

fn assert_equal(what: &str, tagger: &T5Tagger, grammar: &TargetGrammar, examples: &[Example]) {
    let examples: Vec<&Example> = examples.iter().collect();
    let batch = Batch::new(&examples, tagger.t5.config.pad_token_id, Device::Cpu);
    let weights = tch::no_grad(|| tagger.task_weights("a")).unwrap();
    let (loss, ids) = tagger.t5.loss_and_ids(&weights, (&batch, &examples), grammar, 0.1, MAX_LEN);
    assert_eq!(ids, greedy(tagger, &batch), "{what}");
    let wanted = tch::no_grad(|| tagger.t5.loss(&weights, &batch, 0.1, Mode::Evaluation));
    assert_eq!((loss.sum, loss.tokens), (wanted.sum, wanted.tokens), "{what}");
}

#[test]
fn ids_and_loss_do_not_depend_on_the_targets_of_the_corpus() {
    let backbone = nano();
    let codec = SentT::from_file(backbone.tokenizer()).unwrap();
    let grammar = TargetGrammar::new(&codec, LABELS).unwrap();
    for method in [Method::HyperLoader, Method::Hyperdecoder, Method::Lora] {
        let tagger = tagger(&backbone, method);
        let drafts = examples(&codec, &targets(&codec));
        assert_equal(method.name(), &tagger, &grammar, &drafts);
        let batch = Batch::new(&drafts.iter().collect::<Vec<_>>(), 0, Device::Cpu);
        let own = examples(&codec, &greedy(&tagger, &batch));
        assert_equal(&format!("{method}: its own ids"), &tagger, &grammar, &own);
        // Right at first, wrong later.
        let mut changed = greedy(&tagger, &batch);
        for (at, row) in changed.iter_mut().enumerate() {
            let place = at % row.len();
            row[place] = if row[place] == 9 { 8 } else { 9 };
        }
        assert_equal(&format!("{method}: changed"), &tagger, &grammar, &examples(&codec, &changed));
    }
}

#[test]
fn a_bias_of_cross_attention_is_that_of_each_rows_positions() {
    let backbone = nano();
    let codec = SentT::from_file(backbone.tokenizer()).unwrap();
    let grammar = TargetGrammar::new(&codec, LABELS).unwrap();
    let mut tagger = tagger(&backbone, Method::Lora);
    let mut config = backbone.config.clone();
    config.cross_attention_relative_bias = true;
    let shapes = config.tensors();
    tagger.t5 = T5::new(&config, |name| -> Result<Tensor, std::convert::Infallible> {
        let (_, shape) = shapes.iter().find(|(known, _)| known.as_str() == name).unwrap();
        let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        Ok(Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.3)
    })
    .unwrap();
    assert_equal("random", &tagger, &grammar, &examples(&codec, &targets(&codec)));
}
