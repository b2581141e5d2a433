//! Scores, and sentences whose tags are withheld, on a small tagger in every backend.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{chain, lexicon_bytes, lexicon_tagger, many_sources, metadata};
use hyperloader_core::calibration::map::ScoreMaps;
use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::calibration::spans::SpanTable;
use hyperloader_core::calibration::{Calibration, Outcome};
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, TaggerMetadata};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans};
use hyperloader_runtime::{
    Alignment, Backend, BackendKind, BackendOptions, DraftFrom, Guarantee, Mode, ModelFile, SentenceError,
    Split, TagScore, Tagged, TaggedSpan, Tagger, TaggerOptions, Unit, Value, Words,
};

const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];
const TEXTS: [&str; 6] =
    ["set an alarm for 7 am", "paris", "call caf\u{e9} paris .", "7 am am am", "new", "call new for 7 am"];

fn options(kind: BackendKind) -> TaggerOptions {
    TaggerOptions { backend: BackendOptions { kind, ..Default::default() }, ..Default::default() }
}

fn calibrated(temperature: f64) -> TaggerMetadata {
    let calibration = Calibration { temperature, ..Calibration::default() };
    TaggerMetadata { calibration: Some(calibration), ..metadata() }
}

fn open(metadata: &TaggerMetadata, options: &TaggerOptions) -> Tagger {
    Tagger::new(ModelFile::from_bytes(lexicon_bytes(metadata), "a.onnx").unwrap(), options).unwrap()
}

fn tag(tagger: &Tagger, texts: &[&str]) -> Vec<Tagged> {
    tagger.tag(texts).unwrap().into_iter().map(Result::unwrap).collect()
}

/// Scores of the tags of a sentence whose tags have one id each, and of its target, by their definition: from the logits of
/// the whole graph, which is not split. `legal` restricts the ids to those that may stand there.
fn by_definition(kind: BackendKind, words: &[String], temperature: f32, legal: bool) -> (f32, Vec<TagScore>) {
    let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
    let source: Vec<i64> = codec.encode_source(words).unwrap().into_iter().map(i64::from).collect();
    let mut graph = Backend::load(&options(kind).backend).unwrap().open_file(lexicon_tagger()).unwrap();
    let row = |ids: &[i64]| Value::from_i64s(&[1, ids.len()], ids.to_vec()).unwrap();
    let (input_ids, mask) = (row(&source), row(&vec![1; source.len()]));
    let tag_ids: Vec<usize> =
        ["O", "I", "date_time", "place"].iter().map(|tag| codec.word(tag).unwrap()[0] as usize).collect();
    let (mut target, mut chosen) = (vec![0], Vec::new());
    while target.last() != Some(&1) {
        let ids = row(&target);
        let inputs = [(DECODER_INPUT_IDS, &ids), (INPUT_IDS, &input_ids), (ATTENTION_MASK, &mask)];
        let outputs = graph.run(&inputs).unwrap();
        let vocab = outputs[0].shape()[2];
        let logits = &outputs[0].f32s().unwrap()[(target.len() - 1) * vocab..];
        let logits: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
        let best = (0..vocab).reduce(|best, id| if logits[id] > logits[best] { id } else { best }).unwrap();
        // Targets are s0 t0 s1 t1 ... sL </s>: every other position is that of a tag, except the last.
        let is_tag = target.len() % 2 == 0 && target.len() < 2 * words.len() + 1;
        let rivals: Vec<usize> = if is_tag { tag_ids.clone() } else { vec![best] };
        let others: Vec<usize> = if legal { rivals.clone() } else { (0..vocab).collect() };
        let sum: f32 = others.iter().map(|&id| (logits[id] - logits[best]).exp()).sum();
        let margins = rivals.iter().filter(|&&id| id != best).map(|&id| logits[best] - logits[id]);
        chosen.push((-sum.ln(), margins.fold(f32::INFINITY, f32::min)));
        target.push(best as i64);
    }
    let mut tags: Vec<TagScore> = Vec::new();
    for word in 0..words.len() {
        let at = 2 * word + 1;
        let mut tag = TagScore {
            score: (chosen[at].0 + chosen[at + 1].0).exp().into(),
            margin: chosen[at].1.min(chosen[at + 1].1).into(),
        };
        // An `I` needs the words of its span before it.
        if target[at + 1] == tag_ids[1] as i64 {
            tag.score *= tags[word - 1].score;
            tag.margin = tag.margin.min(tags[word - 1].margin);
        }
        tags.push(tag);
    }
    (chosen.iter().map(|(p, _)| p).sum::<f32>().exp(), tags)
}

#[test]
fn scores_are_those_of_their_definition_in_every_mode_and_change_no_tag() {
    for (kind, temperature) in
        [(BACKENDS[0], 1.0), (BACKENDS[0], 8.0), (BACKENDS[1], 1.0), (BACKENDS[1], 8.0)]
    {
        for (mode, draft_from, batch_size) in [
            (Mode::Verified, DraftFrom::Jacobi, 1),
            (Mode::Verified, DraftFrom::Outside, 16),
            (Mode::Greedy, DraftFrom::Jacobi, 16),
            (Mode::Constrained, DraftFrom::Jacobi, 4),
        ] {
            let plain = TaggerOptions { mode, draft_from, batch_size, ..options(kind) };
            let metadata = calibrated(f64::from(temperature));
            let tagger = open(&metadata, &TaggerOptions { scores: true, ..plain.clone() });
            let without = tag(&open(&metadata, &plain), &TEXTS);
            for (tagged, without) in tag(&tagger, &TEXTS).into_iter().zip(without) {
                assert_eq!((&tagged.tags, &without.scores), (&without.tags, &None));
                let words: Vec<String> = tagged.words.iter().map(|word| word.text.clone()).collect();
                let (sentence, tags) = by_definition(kind, &words, temperature, mode == Mode::Constrained);
                let scores = tagged.scores.unwrap();
                assert!((scores.score - f64::from(sentence)).abs() < 1e-4, "{} {sentence}", scores.score);
                for (found, expected) in scores.tags.iter().zip(&tags) {
                    let near = |a: f64, b: f64| (a - b).abs() <= 1e-3;
                    let same = near(found.score, expected.score) && near(found.margin, expected.margin);
                    assert!(same, "{mode} {kind}: {found:?}, expected {expected:?}");
                }
                assert_eq!(scores.tags.len(), words.len());
            }
            let sources = many_sources();
            let ids = |tagger: &Tagger| tagger.target_ids(&sources).unwrap();
            assert_eq!(ids(&tagger), ids(&open(&metadata, &plain)), "odd targets");
        }
    }
}

#[test]
fn a_span_has_the_score_of_its_last_tag() {
    let tagger = open(&calibrated(8.0), &TaggerOptions { scores: true, ..options(BackendKind::Ort) });
    let tagged = tag(&tagger, &TEXTS[..1]).remove(0);
    let scores = tagged.scores.unwrap();
    let span = tagged.spans[0].score.unwrap();
    assert_eq!(span, scores.tags[5]);
    assert!(span.score < scores.tags[4].score && span.score < 0.999);
    // `skip` has no tag: the last word's is filled up.
    let odd = tag(&tagger, &["skip call paris"]).remove(0).scores.unwrap();
    assert_eq!(odd.tags[2], TagScore { score: 0.0, margin: 0.0 });
}

#[test]
fn scores_are_mapped_as_the_file_says_and_margins_are_not() {
    let plain = open(&calibrated(8.0), &TaggerOptions { scores: true, ..options(BackendKind::Tract) });
    let maps: ScoreMaps = serde_json::from_str(
        r#"{"tag": {"a": 1.5, "b": 0.5, "c": -0.25}, "sentence": {"a": 0.5, "b": 0, "c": 2}}"#,
    )
    .unwrap();
    let calibration = Calibration { temperature: 8.0, maps, ..Calibration::default() };
    let metadata = TaggerMetadata { calibration: Some(calibration), ..metadata() };
    let mapped = open(&metadata, &TaggerOptions { scores: true, ..options(BackendKind::Tract) });
    let texts = [&TEXTS[..], &["skip call paris"]].concat();
    for (before, after) in tag(&plain, &texts).iter().zip(tag(&mapped, &texts)) {
        let (of_before, of_after) = (before.scores.as_ref().unwrap(), after.scores.unwrap());
        assert_eq!(of_after.score, maps.of_sentence(of_before.score));
        for (before, after) in of_before.tags.iter().zip(&of_after.tags) {
            assert_eq!((after.score, after.margin), (maps.of_tag(before.score), before.margin));
        }
        for (before, after) in before.spans.iter().zip(&after.spans) {
            assert_eq!(after.score.unwrap().score, maps.of_tag(before.score.unwrap().score));
        }
    }
    // What the model did not write keeps the score 0.
    assert_eq!(tag(&mapped, &["skip call paris"])[0].scores.as_ref().unwrap().tags[2].score, 0.0);
}

#[test]
fn a_sentence_whose_logits_are_not_finite_is_an_error_and_spoils_no_other() {
    let paris = |number: f32| {
        let bytes = lexicon_bytes(&metadata());
        let mut model = hyperloader_onnx::decode_model(bytes.into(), "a.onnx".as_ref()).unwrap();
        let weights = &mut model.graph.as_mut().unwrap().initializer;
        let table = weights.iter_mut().find(|weight| weight.name == "tag_of").unwrap();
        let width = 64 * 4;
        let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
        let row = codec.word(&"paris").unwrap()[0] as usize * width;
        let mut raw = table.raw_data.to_vec();
        raw[row..row + width].copy_from_slice(&number.to_le_bytes().repeat(64));
        table.raw_data = raw.into();
        ModelFile::from_bytes(prost::Message::encode_to_vec(&model), "a.onnx").unwrap()
    };
    for kind in BACKENDS {
        for number in [f32::NAN, f32::INFINITY] {
            for (scores, mode) in [
                (false, Mode::Verified),
                (true, Mode::Verified),
                (false, Mode::Greedy),
                (false, Mode::Constrained),
            ] {
                let options = TaggerOptions { scores, mode, ..options(kind) };
                let tagger = Tagger::new(paris(number), &options).unwrap();
                let results = tagger.tag(&["7 am", "call paris", "set"]).unwrap();
                assert!(results[0].is_ok() && results[2].is_ok(), "{kind} {mode}");
                assert!(
                    matches!(results[1], Err(SentenceError::NotFinite)),
                    "{kind} {mode} {:?}",
                    results[1]
                );
            }
        }
    }
}

/// A file whose table has these sentences in both halves.
fn selecting(sentences: &[(f64, bool)]) -> TaggerMetadata {
    let outcomes: Vec<Outcome> =
        sentences.iter().map(|&(score, is_wrong)| Outcome { score, is_wrong }).collect();
    let selection = Some(SelectionTable::new(&outcomes, &outcomes));
    let calibration = Calibration { temperature: 2.0, selection, ..Calibration::default() };
    TaggerMetadata { calibration: Some(calibration), ..metadata() }
}

const GUARANTEE: Guarantee = Guarantee { of: Unit::Sentences, max_error: 0.1, confidence: 0.9 };

#[test]
fn tags_of_sentences_below_the_threshold_are_withheld() {
    let kind = BackendKind::Ort;
    let scored = open(&calibrated(2.0), &TaggerOptions { scores: true, ..options(kind) });
    let all = tag(&scored, &TEXTS);
    let scores: Vec<f64> = all.iter().map(|tagged| tagged.scores.as_ref().unwrap().score).collect();
    let mut sorted = scores.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = f64::midpoint(sorted[2], sorted[3]);
    // All sentences above are right, all below wrong.
    let sentences = [[(middle, false); 60], [(0.0, true); 60]].concat();
    let middle = (middle * 1e6).floor() / 1e6;
    let tagger = open(&selecting(&sentences), &TaggerOptions { guarantee: Some(GUARANTEE), ..options(kind) });
    let threshold = tagger.threshold().unwrap();
    assert!((threshold.score - middle).abs() < 1e-6 && threshold.share == 0.5 && threshold.bound < 0.1);
    for ((tagged, before), score) in tag(&tagger, &TEXTS).iter().zip(&all).zip(scores) {
        assert_eq!(tagged.abstained, score < middle);
        match tagged.abstained {
            true => assert!(tagged.spans.is_empty() && tagged.tags.iter().all(|tag| tag == "O")),
            false => assert_eq!((&tagged.spans, &tagged.tags), (&before.spans, &before.tags)),
        }
    }
}

const SPAN_GUARANTEE: Guarantee = Guarantee { of: Unit::Spans, ..GUARANTEE };

/// A file that gives out spans from this score, at most `most` of a sentence.
fn selecting_spans(score: f64, most: usize) -> TaggerMetadata {
    let spans = |score: f64, is_wrong| vec![vec![Outcome { score, is_wrong }; most]; 200];
    let sentences = [spans(score, false), spans(0.0, true)].concat();
    let calibration = Calibration {
        temperature: 8.0,
        selection: Some(SelectionTable::new(&[], &[])),
        spans: Some(SpanTable::new(&sentences, &sentences)),
        ..Calibration::default()
    };
    TaggerMetadata { calibration: Some(calibration), ..metadata() }
}

#[test]
fn spans_below_the_threshold_are_withheld_and_the_others_stay_as_they_were() {
    let kind = BackendKind::Ort;
    let texts = ["call paris for 7 am am", "paris 7 am am am", "call .", "new 7 am"];
    let all = tag(&open(&calibrated(8.0), &TaggerOptions { scores: true, ..options(kind) }), &texts);
    let score = |span: &TaggedSpan| span.score.unwrap().score;
    let mut scores: Vec<f64> = all.iter().flat_map(|tagged| &tagged.spans).map(score).collect();
    scores.sort_by(f64::total_cmp);
    let middle = f64::midpoint(scores[2], scores[3]);
    let asked = TaggerOptions { guarantee: Some(SPAN_GUARANTEE), ..options(kind) };
    let tagger = open(&selecting_spans(middle, 4), &asked);
    let threshold = tagger.threshold().unwrap();
    assert_eq!(threshold.of, Unit::Spans);
    assert!((threshold.score - middle).abs() < 1e-6 && threshold.bound < 0.1, "{threshold:?}");
    let mut withheld = 0;
    for (tagged, before) in tag(&tagger, &texts).iter().zip(&all) {
        let expected: Vec<_> = before.spans.iter().filter(|span| score(span) >= middle).cloned().collect();
        assert_eq!((&tagged.spans, tagged.abstained), (&expected, false));
        assert_eq!(tagged.withheld, before.spans.len() - expected.len());
        withheld += tagged.withheld;
        let of_tags = bio_to_spans(&tagged.tags, SpanMode::Default);
        assert_eq!(of_tags.len(), expected.len(), "{:?}", tagged.tags);
        for (tag, word) in tagged.tags.iter().zip(&tagged.words) {
            let is_inside = expected.iter().any(|span| span.start <= word.start && word.end <= span.end);
            assert_eq!(tag != "O", is_inside);
        }
    }
    assert_eq!(withheld, 3);
}

#[test]
fn at_most_as_many_spans_of_a_sentence_are_given_out_as_were_counted() {
    let asked = TaggerOptions { guarantee: Some(SPAN_GUARANTEE), ..options(BackendKind::Tract) };
    let tagger = open(&selecting_spans(1e-3, 1), &asked);
    let long = "call paris . ".repeat(9);
    let found = tag(&tagger, &["paris for 7 am am", "paris", &long]);
    assert_eq!((found[0].spans.len(), found[0].withheld, found[0].spans[0].label.as_str()), (1, 1, "place"));
    assert_eq!((found[1].spans.len(), found[1].withheld), (1, 0));
    // A text in parts gives out none.
    assert_eq!((found[2].spans.len(), found[2].withheld), (0, 9));
    assert!(found[2].tags.iter().all(|tag| tag == "O"));
}

#[test]
fn words_and_splitting_that_change_no_sentence_of_the_calibration_keep_the_guarantee() {
    let asked = TaggerOptions { guarantee: Some(GUARANTEE), ..options(BackendKind::Tract) };
    for options in [
        TaggerOptions { words: Words::PreTokenized, ..asked.clone() },
        TaggerOptions { split: Split::Never, ..asked.clone() },
    ] {
        assert!(open(&selecting(&[(0.9, false); 60]), &options).threshold().is_some());
    }
}

#[test]
fn a_text_that_is_tagged_in_parts_is_never_answered() {
    // Every score is answered.
    let metadata = selecting(&[(0.0, false); 60]);
    let pre_tokenized = TaggerOptions { words: Words::PreTokenized, ..options(BackendKind::Tract) };
    let asked = TaggerOptions { guarantee: Some(GUARANTEE), ..pre_tokenized.clone() };
    let tagger = open(&metadata, &asked);
    assert_eq!(tagger.threshold().unwrap().score, 0.0);
    // Each `set` with the mark of a word's beginning is one token.
    let unread = format!("paris {}", "set\u{2581}".repeat(50));
    let texts = ["call paris", &"call paris . ".repeat(9), &unread, "paris"];
    let abstained: Vec<bool> = tag(&tagger, &texts).iter().map(|tagged| tagged.abstained).collect();
    assert_eq!(abstained, [false, true, true, false]);
    // More words than a target has tags for are over the limits, too, if they are not cut.
    let short = TaggerMetadata { max_target_len: 12, ..metadata.clone() };
    let whole = open(&short, &TaggerOptions { split: Split::Never, ..asked });
    let abstained =
        tag(&whole, &["paris . . . .", "paris . . . . ."]).into_iter().map(|tagged| tagged.abstained);
    assert!(abstained.eq([false, true]));
    let without = open(&metadata, &pre_tokenized);
    assert!(tag(&without, &texts).iter().all(|tagged| !tagged.spans.is_empty()), "they have spans");
}

#[test]
fn a_guarantee_that_cannot_be_given_is_an_error_that_says_why() {
    let right = [(0.9, false); 60];
    let asked = TaggerOptions { guarantee: Some(GUARANTEE), ..options(BackendKind::Tract) };
    let error = |metadata: &TaggerMetadata, options: &TaggerOptions| {
        let file = ModelFile::from_bytes(lexicon_bytes(metadata), "a.onnx").unwrap();
        let error = Tagger::new(file, options).unwrap_err();
        assert!(!error.is_internal());
        chain(&error)
    };
    let messages = [
        error(&metadata(), &asked),
        error(&calibrated(2.0), &asked),
        error(&selecting(&right), &TaggerOptions { mode: Mode::Constrained, ..asked.clone() }),
        error(&selecting(&right), &TaggerOptions { align: Alignment::Sentinel, ..asked.clone() }),
        error(&selecting(&right), &TaggerOptions { words: Words::Unicode, ..asked.clone() }),
        error(&selecting(&right), &TaggerOptions { split: Split::Sentences, ..asked.clone() }),
        error(&selecting(&[(0.9, true); 60]), &asked),
        error(&selecting(&right), &TaggerOptions { guarantee: Some(SPAN_GUARANTEE), ..asked.clone() }),
        error(
            &selecting_spans(0.9, 2),
            &TaggerOptions {
                guarantee: Some(Guarantee { max_error: 1e-4, ..SPAN_GUARANTEE }),
                ..asked.clone()
            },
        ),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    let file = common::with_drafter(1.0);
    let draft = TaggerOptions { scores: true, mode: Mode::Draft, ..options(BackendKind::Tract) };
    let error = Tagger::new(ModelFile::from_bytes(file, "a.onnx").unwrap(), &draft).unwrap_err();
    insta::assert_snapshot!(chain(&error));
    let bad = ModelFile::from_bytes(lexicon_bytes(&calibrated(0.0)), "a.onnx").unwrap_err();
    insta::assert_snapshot!(chain(&bad));
}
