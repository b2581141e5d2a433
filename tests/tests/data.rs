//! What a training makes of sentences that are too long, of low-resource settings and of labels that it has not seen.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::corpus::{CorpusSpec, Layout};
use hyperloader_core::method::{Method, variant};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::{Bio, sbio_to_bio};
use hyperloader_tests::{Workplace, fixture, tiny_config};
use hyperloader_trainer::config::{Config, TooLong};
use hyperloader_trainer::data::{DataError, Example, TaskData, TaskSource};
use serde_json::json;

fn codec() -> SentT {
    SentT::from_file(fixture("backbones/t5-nano/tokenizer.json")).unwrap()
}

/// A sentence of `words` words under repeated `tags`, as JSON Lines have it.
fn sentence(words: usize, tags: &[&str]) -> String {
    let tokens: Vec<String> = (0..words).map(|word| format!("word{word}")).collect();
    let tags: Vec<&&str> = tags.iter().cycle().take(words).collect();
    json!({ "tokens": tokens, "tags": tags }).to_string()
}

/// Loads a task whose splits are these lines, under `change`d settings.
fn load(splits: [&[String]; 3], change: impl FnOnce(&mut Config)) -> Result<TaskData, DataError> {
    let place = Workplace::new();
    let mut config = Config::from_file(&place.write("hyperloader.toml", tiny_config())).unwrap();
    change(&mut config);
    let names = ["train", "valid", "test"];
    let [train, valid, test] =
        [0, 1, 2].map(|split| place.write(&format!("{}.jsonl", names[split]), splits[split].join("\n")));
    let spec = CorpusSpec::new(Layout::Jsonl, train, Some(valid), test);
    TaskSource { task: "task", spec: &spec, codec: &codec(), config: &config }.load_all()
}

fn limit(config: &mut Config, too_long: TooLong, tokens: usize) {
    config.training.too_long = too_long;
    (config.training.max_source_len, config.training.max_target_len) = (tokens, tokens);
}

fn words(examples: &[Example]) -> Vec<String> {
    examples.iter().flat_map(|example| example.words.clone()).collect()
}

/// Words and tags of the file, whatever the windows.
fn check_complete(examples: &[Example], length: usize, tags: &[&str]) {
    assert_eq!(words(examples), (0..length).map(|word| format!("word{word}")).collect::<Vec<_>>());
    let joined: Vec<String> = examples.iter().flat_map(|example| example.tags.clone()).collect();
    assert_eq!(joined, tags.iter().cycle().take(length).copied().collect::<Vec<_>>());
    assert!(examples.iter().all(|example| example.sentence == 0));
}

#[test]
fn training_windows_fit_the_limits_and_begin_where_no_span_goes_on() {
    let tags = ["O", "B-city_name", "I-city_name", "O", "B-day"];
    // 150 words exceed the sentinels too.
    for (length, tokens) in [(40, 24), (40, 64), (99, 30), (150, 4000)] {
        let long = [sentence(length, &tags)];
        let data = load([&long, &long, &long], |config| limit(config, TooLong::Window, tokens)).unwrap();
        check_complete(data.train.loaded(), length, &tags);
        assert!(data.train.len() > 1);
        for window in data.train.loaded() {
            assert!(window.source.len() <= tokens && window.target.len() <= tokens);
            assert!(!window.tags[0].starts_with("I-"), "{:?}", window.tags);
        }
        assert_eq!((data.counts.windowed, data.counts.skipped), (3, 0));
    }
}

#[test]
fn a_span_longer_than_a_window_is_opened_anew_in_each() {
    let mut tags = vec!["I-x"; 40];
    tags[0] = "B-x";
    let long = [sentence(40, &tags)];
    let data = load([&long, &long, &long], |config| limit(config, TooLong::Window, 24)).unwrap();
    check_complete(data.train.loaded(), 40, &tags);
    assert!(data.train.len() > 2 && data.counts.truncated == 0);
    let codec = codec();
    for window in data.train.loaded() {
        let learned = sbio_to_bio(&codec.decode_words(&window.target).unwrap());
        assert_eq!(learned.len(), window.words.len());
        assert_eq!(learned[0], "B-x");
        assert!(learned[1..].iter().all(|tag| matches!(Bio::parse(tag), Some(Bio::Inside("x")))));
    }
}

#[test]
fn evaluation_windows_do_not_depend_on_gold_tags_and_lose_no_word() {
    let windows = |tags: &[&str]| {
        let short = [sentence(3, &["B-x", "O"])];
        let long = [sentence(70, tags)];
        let data = load([&short, &short, &long], |config| limit(config, TooLong::Window, 40)).unwrap();
        check_complete(&data.test, 70, tags);
        assert_eq!(data.counts.windowed, 1);
        assert!(data.valid[0].is_whole && data.test.iter().all(|window| !window.is_whole));
        data.test.into_iter().map(|window| window.words).collect::<Vec<_>>()
    };
    let plain = windows(&["O"]);
    assert!(plain.len() > 1);
    assert_eq!(plain, windows(&["B-some_very_long_label_name", "I-some_very_long_label_name", "O"]));
}

#[test]
fn without_windows_long_sentences_are_left_out_of_training_only_or_cut_off_and_counted() {
    let (short, long) = (sentence(3, &["O"]), sentence(70, &["B-x", "O"]));
    let lines = [short, long];
    let skipped = load([&lines, &lines, &lines], |config| limit(config, TooLong::Skip, 40)).unwrap();
    assert_eq!([skipped.train.len(), skipped.valid.len(), skipped.test.len()], [1, 2, 2]);
    assert_eq!((skipped.counts.skipped, skipped.counts.truncated, skipped.counts.windowed), (1, 2, 0));
    assert!(skipped.valid.iter().map(|example| example.is_whole).eq([true, false]), "the second is cut off");
    let cut = load([&lines, &lines, &lines], |config| limit(config, TooLong::Truncate, 40)).unwrap();
    assert_eq!(
        (cut.train.len(), cut.counts.skipped, cut.counts.truncated, cut.counts.windowed),
        (2, 0, 3, 0)
    );
    assert_eq!((cut.train.loaded()[1].source.len(), cut.train.loaded()[1].tags.len()), (40, 70));
    assert_eq!(cut.train.loaded()[1].source.last(), Some(&1));
}

#[test]
fn a_fraction_takes_a_nested_part_of_train_and_valid_and_all_of_test() {
    let lines: Vec<String> = (1..=45).map(|words| sentence(words, &["B-x", "O"])).collect();
    let part = |fraction, seed| {
        load([&lines, &lines, &lines], |config| {
            config.training.fraction = fraction;
            config.training.too_long = TooLong::Truncate;
            config.seed = seed;
        })
        .unwrap()
    };
    let lengths = |data: &TaskData| data.train.loaded().iter().map(|e| e.words.len()).collect::<Vec<_>>();
    let (tenth, fifth) = (part(0.1, 1), part(0.2, 1));
    assert_eq!([tenth.train.len(), tenth.valid.len(), tenth.test.len()], [4, 4, 45]);
    assert_eq!(fifth.train.len(), 9);
    assert!(lengths(&tenth).iter().all(|length| lengths(&fifth).contains(length)));
    assert_ne!(lengths(&tenth), lengths(&part(0.1, 2)));
    assert_eq!(part(1.0, 1).train.len(), 45);
}

#[test]
fn a_fraction_that_leaves_nothing_is_named() {
    let lines = [sentence(3, &["O"])];
    let error = load([&lines, &lines, &lines], |config| config.training.fraction = 0.5).unwrap_err();
    insta::assert_snapshot!(error, @"task `task` has no usable training sentence: `training.fraction` = 0.5 leaves none of 1");
}

#[test]
fn a_corpus_of_long_sentences_alone_is_refused_with_what_to_do() {
    let [long, short] = [sentence(150, &["O"]), sentence(3, &["O"])];
    let error =
        load([&[long][..], std::slice::from_ref(&short), std::slice::from_ref(&short)], |_| {}).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    task `task` has no usable training sentence: 1 are longer than `training.max_source_len` or `max_target_len`
    hint: `too_long = "window"` in `[training]` cuts them into parts
    "#);
}

#[test]
fn labels_of_the_test_split_that_training_lacks_are_listed() {
    let line = |label: &str| sentence(2, &[&format!("B-{label}"), "O"]);
    let data = load([&[line("a")], &[line("b")], &[line("z"), line("b"), line("a")]], |_| ()).unwrap();
    assert_eq!(data.labels.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(data.unseen_labels, ["b", "z"]);
}

#[test]
fn windowed_sentences_are_scored_as_whole_ones() {
    let place = Workplace::new();
    let config = tiny_config()
        .replace("_len = 64", "_len = 12")
        .replace("[task.atis]", "too_long = \"window\"\n\n[task.atis]");
    assert!(config.contains("max_target_len = 12\ntoo_long") || config.contains("\ntoo_long"));
    place.write("hyperloader.toml", config);
    let mut train = place.program("hl-train");
    train.args(["--steps", "1", "--threads", "1", "--tasks", "atis", "--output-format", "json"]);
    let output = train.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("task `atis`: 10 train, 4 valid, 6 test sentences"), "{log}");
    assert!(log.contains("sentences are too long and cut into windows"), "{log}");
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["test"]["atis"]["sentences"], 6);
    assert_eq!(outcome["validation"]["atis"]["sentences"], 4);
}

#[test]
fn a_method_whose_weights_tell_no_tasks_apart_reads_the_tasks_name_in_front_of_each_source() {
    let lines = [sentence(3, &["O", "B-x", "O"])];
    let sources = |method: &str| {
        let splits = [&lines[..], &lines, &lines];
        let data = load(splits, |config| config.method = variant(method).unwrap()).unwrap();
        [data.train.loaded(), &data.valid, &data.test].map(|split| split[0].source.clone())
    };
    let name = codec().encode_text("task").unwrap();
    let on_t5 = Method::ALL.into_iter().filter(|method| method.runs_on(BackboneKind::T5));
    for method in on_t5.map(Method::name) {
        let prefix = if ["full", "hyperdecoder"].contains(&method) { &name[..] } else { &[] };
        let plain = sources("hyperloader");
        assert_eq!(sources(method), plain.map(|source| [prefix, &source].concat()), "{method}");
    }
    // It counts against the limits.
    let long = [sentence(40, &["B-x", "O"])];
    let windows = |method: &str| {
        let change = |config: &mut Config| {
            limit(config, TooLong::Window, 24);
            config.method = variant(method).unwrap();
        };
        load([&long, &long, &long], change).unwrap().train
    };
    let (plain, prefixed) = (windows("hyperloader"), windows("full"));
    assert!(
        prefixed.len() >= plain.len() && prefixed.loaded().iter().all(|window| window.source.len() <= 24)
    );
    check_complete(prefixed.loaded(), 40, &["B-x", "O"]);
}
