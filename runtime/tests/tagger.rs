//! The library on a small tagger whose tags are known, in every backend.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{MAX_TARGET_LEN, chain, lexicon_bytes, lexicon_tagger, many_sources, metadata, with_drafter};
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_core::text::sentt::SentT;
use hyperloader_runtime::{
    Alignment, Backend, BackendKind, BackendOptions, DraftFrom, Mode, ModelFile, OpenError, PreparedText,
    SentenceError, Split, TagError, Tagged, Tagger, TaggerMetadata, TaggerOptions, TextPart, Value, Words,
};

const BACKENDS: [BackendKind; 2] = [BackendKind::Ort, BackendKind::Tract];

fn options(kind: BackendKind) -> TaggerOptions {
    TaggerOptions { backend: BackendOptions { kind, ..Default::default() }, ..Default::default() }
}

fn open(options: &TaggerOptions) -> Tagger {
    Tagger::open(lexicon_tagger(), options).unwrap()
}

fn spans(tagged: &Tagged) -> Vec<(usize, usize, &str, &str)> {
    tagged.spans.iter().map(|span| (span.start, span.end, span.label.as_str(), span.text.as_str())).collect()
}

#[test]
fn every_backend_tags_free_text_with_character_offsets() {
    for kind in BACKENDS {
        let results =
            open(&options(kind)).tag(&["Set an alarm for 7 AM.", "call Caf\u{e9} Paris", "set"]).unwrap();
        let tagged: Vec<Tagged> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(spans(&tagged[0]), [(17, 21, "date_time", "7 AM")], "{kind}");
        assert_eq!(tagged[0].tags, ["O", "O", "O", "O", "B-date_time", "I-date_time", "O"]);
        assert_eq!(spans(&tagged[1]), [(5, 9, "place", "Caf\u{e9}"), (10, 15, "place", "Paris")]);
        assert_eq!(spans(&tagged[2]), []);
        assert!(tagged.iter().all(|tagged| tagged.complete));
    }
}

#[test]
fn a_label_that_the_file_does_not_list_is_marked() {
    let fewer = TaggerMetadata { labels: vec!["date_time".into()], ..metadata() };
    for kind in BACKENDS {
        let file = ModelFile::from_bytes(lexicon_bytes(&fewer), "a.onnx").unwrap();
        let tagger = Tagger::new(file, &options(kind)).unwrap();
        let tagged = tagger.tag(&["Set an alarm for 7 AM.", "call Paris"]).unwrap();
        let marks = |at: usize| {
            let spans = &tagged[at].as_ref().unwrap().spans;
            spans.iter().map(|span| (span.label.as_str(), span.unknown)).collect::<Vec<_>>()
        };
        assert_eq!((marks(0), marks(1)), (vec![("date_time", false)], vec![("place", true)]), "{kind}");
    }
    let all = open(&options(BackendKind::Tract)).tag(&["call Paris"]).unwrap().remove(0).unwrap();
    assert!(all.spans.iter().all(|span| !span.unknown));
}

#[test]
fn words_as_given_are_not_cut_further() {
    for kind in BACKENDS {
        let tagger = open(&TaggerOptions { words: Words::PreTokenized, ..options(kind) });
        let from_text = tagger.tag(&["set  7 paris. am"]).unwrap().remove(0).unwrap();
        assert_eq!(from_text.words.len(), 4);
        assert_eq!(from_text.text, "set  7 paris. am");
        let from_words = tagger.tag_words(&[vec!["set", "7", "paris.", "am"]]).unwrap().remove(0).unwrap();
        assert_eq!(from_words.text, "set 7 paris. am");
        assert_eq!(from_words.tags, from_text.tags);
        let bad = tagger.tag_words(&[vec!["set", "7 am"], vec![], vec!["7"]]).unwrap();
        assert!(matches!(&bad[0], Err(SentenceError::Word { index: 1, word }) if word == "7 am"));
        assert!(matches!(bad[1], Err(SentenceError::NoWord)));
        assert_eq!(spans(bad[2].as_ref().unwrap()), [(0, 1, "date_time", "7")]);
    }
}

#[test]
fn a_sentence_that_cannot_be_tagged_spoils_no_other() {
    let ten = ["set"; 10].join(" ");
    let texts = ["7", " \t", &format!("{ten} set"), &format!("{ten} set set"), &ten, "am 7"];
    for kind in BACKENDS {
        let results = open(&TaggerOptions { split: Split::Never, ..options(kind) }).tag(&texts).unwrap();
        assert!(results[0].is_ok() && results[4].is_ok() && results[5].is_ok());
        assert!(matches!(results[1], Err(SentenceError::NoWord)));
        assert!(matches!(results[2], Err(SentenceError::TooLong { tokens: 24, limit: 22 })));
        assert!(matches!(results[3], Err(SentenceError::TooManyWords { words: 12, limit: 11 })));
    }
}

#[test]
fn parts_in_batches_of_the_callers_own_give_the_results_of_tag() {
    let long = "set an alarm for 7 am . call paris . ".repeat(9);
    let texts = ["Set an alarm for 7 AM.", &long, "call Paris", "forever"];
    for kind in BACKENDS {
        let tagger = open(&TaggerOptions { workers: 2, ..options(kind) });
        let expected: Vec<Tagged> = tagger.tag(&texts).unwrap().into_iter().map(Result::unwrap).collect();
        let prepared: Vec<PreparedText> = texts.iter().map(|text| tagger.prepare(*text).unwrap()).collect();
        let parts: Vec<TextPart> = prepared.iter().flat_map(PreparedText::parts).collect();
        assert!(prepared[1].parts().len() > 2 && parts.iter().all(|part| part.tokens() > 0));
        let batches: Vec<_> = parts.chunks(3).map(|batch| tagger.run(batch).unwrap()).collect();
        assert_eq!(batches.iter().map(|batch| batch.statistics.parts).sum::<usize>(), parts.len());
        let mut outputs = batches.into_iter().flat_map(|batch| batch.outputs);
        for (text, expected) in prepared.into_iter().zip(expected) {
            let of_text = outputs.by_ref().take(text.parts().len()).collect();
            assert_eq!(tagger.finish(text, of_text).unwrap(), expected, "{kind}");
        }
        assert!(matches!(tagger.prepare(" "), Err(SentenceError::NoWord)));
        assert_eq!(tagger.statistics().sentences, 2 * texts.len());
    }
}

#[test]
fn an_iterator_goes_on_after_a_sentence_that_cannot_be_tagged() {
    let tagger = open(&TaggerOptions { batch_size: 1, ..options(BackendKind::Tract) });
    // More than two windows, so that one window has no sentence at all.
    let texts = [vec!["7 am"; 3], vec![" "; 2 * tagger.window()], vec!["paris"]].concat();
    let results: Vec<_> = tagger.tag_iter(&texts).collect();
    assert_eq!(results.len(), texts.len());
    for (text, result) in texts.iter().zip(&results) {
        match result {
            Ok(tagged) => assert_eq!(tagged.text, *text),
            Err(TagError::Sentence(SentenceError::NoWord)) => assert_eq!(*text, " "),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_missing_tag_shifts_the_others_unless_they_are_aligned_by_sentinel() {
    for kind in BACKENDS {
        let tags = |align| {
            let tagger = open(&TaggerOptions { align, ..options(kind) });
            tagger.tag(&["skip call paris"]).unwrap().remove(0).unwrap().tags
        };
        assert_eq!(tags(Alignment::Order), ["O", "B-place", "O"]);
        assert_eq!(tags(Alignment::Sentinel), ["O", "O", "B-place"]);
    }
}

#[test]
fn a_target_that_does_not_end_is_cut_and_said_to_be_incomplete() {
    for kind in BACKENDS {
        let tagger = open(&options(kind));
        let results = tagger.tag(&["paris forever", "paris"]).unwrap();
        let [endless, other] = [&results[0], &results[1]].map(|result| result.as_ref().unwrap());
        assert!(!endless.complete && other.complete);
        assert_eq!(spans(other), [(0, 5, "place", "paris")]);
        let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
        let source = codec.encode_source(&["paris", "forever"]).unwrap();
        assert_eq!(tagger.target_ids(&[source]).unwrap()[0].len(), MAX_TARGET_LEN);
    }
}

#[test]
fn target_ids_depend_neither_on_the_batch_nor_on_the_backend() {
    let sources = many_sources();
    let ids =
        |kind, batch_size| open(&TaggerOptions { batch_size, ..options(kind) }).target_ids(&sources).unwrap();
    let alone = ids(BackendKind::Ort, 1);
    assert!(alone.iter().all(|target| target.len() > 2));
    for (kind, batch_size) in
        [(BackendKind::Ort, 7), (BackendKind::Ort, 64), (BackendKind::Tract, 1), (BackendKind::Tract, 64)]
    {
        assert_eq!(ids(kind, batch_size), alone, "{kind}, batches of {batch_size}");
    }
}

/// Sentences of words that all have a tag, `I` only after a label.
fn regular_sources() -> Vec<Vec<u32>> {
    let phrases =
        [&["set"][..], &["7", "am"], &["call", "paris"], &["caf\u{e9}", "."], &["alarm", "for", "7"]];
    let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
    let sentence = |k: usize| (0..1 + k % 3).map(|at| phrases[(k * 3 + at) % 5]).collect::<Vec<_>>().concat();
    (0..40).map(|k| codec.encode_source(&sentence(k)).unwrap()).collect()
}

#[test]
fn verified_ids_are_greedy_ids_in_fewer_passes() {
    let run = |sources: &[Vec<u32>], kind, mode, draft_from, batch_size| {
        let tagger = open(&TaggerOptions { mode, draft_from, batch_size, ..options(kind) });
        (tagger.target_ids(sources).unwrap(), tagger.statistics())
    };
    let (odd, regular) = (many_sources(), regular_sources());
    for kind in BACKENDS {
        let (expected, _) = run(&odd, kind, Mode::Greedy, DraftFrom::Jacobi, 1);
        for (from, batch_size) in [(DraftFrom::Jacobi, 1), (DraftFrom::Jacobi, 16), (DraftFrom::Outside, 16)]
        {
            let (ids, statistics) = run(&odd, kind, Mode::Verified, from, batch_size);
            assert_eq!(ids, expected);
            // `forever` cannot be drafted.
            assert!(statistics.fallbacks > 0);
        }
        let (expected, steps) = run(&regular, kind, Mode::Greedy, DraftFrom::Jacobi, 16);
        assert_eq!(steps.passes, steps.ids);
        // Together, targets are verified in shorter pieces.
        let (ids, together) = run(&regular, kind, Mode::Verified, DraftFrom::Jacobi, 16);
        assert_eq!((&ids, together.ids, together.fallbacks), (&expected, steps.ids, 0));
        assert!(together.passes < steps.passes);
        let (ids, jacobi) = run(&regular, kind, Mode::Verified, DraftFrom::Jacobi, 1);
        assert_eq!((ids, jacobi.ids, jacobi.fallbacks), (expected, steps.ids, 0));
        let (_, outside) = run(&regular, kind, Mode::Verified, DraftFrom::Outside, 1);
        let passes = [jacobi, outside, steps].map(|statistics| statistics.passes);
        assert!(passes.is_sorted_by(|a, b| a < b) && 4 * passes[0] < passes[2], "{passes:?}");
    }
}

#[test]
fn a_drafter_that_knows_the_tags_needs_one_pass_and_one_that_is_wrong_changes_nothing() {
    let (odd, regular) = (many_sources(), regular_sources());
    let greedy = open(&TaggerOptions { mode: Mode::Greedy, ..options(BackendKind::Ort) });
    let [odd_ids, regular_ids] = [&odd, &regular].map(|sources| greedy.target_ids(sources).unwrap());
    for kind in BACKENDS {
        let open = |sign, mode, batch_size| {
            let file = ModelFile::from_bytes(with_drafter(sign), "drafter.onnx").unwrap();
            Tagger::new(file, &TaggerOptions { mode, batch_size, ..options(kind) }).unwrap()
        };
        let [right, wrong] = [1.0, -1.0].map(|sign| open(sign, Mode::Verified, 1));
        assert_eq!(right.target_ids(&regular).unwrap(), regular_ids);
        assert_eq!((right.statistics().passes, right.statistics().mistakes), (regular.len(), 0));
        assert_eq!(wrong.target_ids(&regular).unwrap(), regular_ids);
        assert!(wrong.statistics().passes > regular.len() && wrong.statistics().mistakes > 0);
        for tagger in [1.0, -1.0].map(|sign| open(sign, Mode::Verified, 8)) {
            assert_eq!(tagger.target_ids(&regular).unwrap(), regular_ids);
        }
        for tagger in [right, wrong] {
            assert_eq!(tagger.target_ids(&odd).unwrap(), odd_ids);
        }
        assert_eq!(open(1.0, Mode::Draft, 8).target_ids(&regular).unwrap(), regular_ids);
        assert_ne!(open(-1.0, Mode::Draft, 8).target_ids(&regular).unwrap(), regular_ids);
    }
}

#[test]
fn constrained_targets_have_a_known_tag_for_each_word() {
    let codec = SentT::from_bytes(metadata().tokenizer.as_bytes()).unwrap();
    let known = ["O", "I", "date_time", "place"];
    for kind in BACKENDS {
        let tagger = open(&TaggerOptions { mode: Mode::Constrained, batch_size: 8, ..options(kind) });
        for (source, target) in many_sources().iter().zip(tagger.target_ids(&many_sources()).unwrap()) {
            let words = source.iter().filter(|id| codec.sentinel_index(**id).is_some()).count() - 1;
            let tags = codec.decode_words(&target).unwrap();
            assert_eq!(tags.len(), words);
            assert!(tags.iter().all(|tag| known.contains(&tag.as_str())), "{tags:?}");
            assert_eq!(codec.encode_target(&tags).unwrap(), target);
        }
    }
}

#[test]
fn drafts_alone_need_a_drafter() {
    let error =
        Tagger::open(lexicon_tagger(), &TaggerOptions { mode: Mode::Draft, ..options(BackendKind::Tract) });
    let error = error.unwrap_err();
    assert!(chain(&error).ends_with("or decode in another mode"), "{}", chain(&error));
    assert!(!error.is_internal());
}

#[test]
fn workers_share_the_work_and_keep_the_order() {
    let texts: Vec<String> =
        (0..50).map(|k| ["set an alarm", "call paris", "7 am ."][k % 3].repeat(1 + k % 2)).collect();
    let tags = |workers| {
        let tagger = open(&TaggerOptions { workers, batch_size: 2, ..options(BackendKind::Tract) });
        let results = tagger.tag_iter(&texts).map(Result::unwrap);
        results.map(|tagged| (tagged.text, tagged.tags)).collect::<Vec<_>>()
    };
    let alone = tags(1);
    assert!(alone.iter().map(|(text, _)| text).eq(&texts));
    assert_eq!(tags(3), alone);
    fn shared<T: Send + Sync>() {}
    shared::<Tagger>();
}

/// Target ids by the definition of greedy decoding, from the whole graph as any runtime would run it.
fn by_definition(kind: BackendKind, source: &[u32]) -> Vec<u32> {
    let backend = Backend::load(&options(kind).backend).unwrap();
    let mut graph = backend.open_file(lexicon_tagger()).unwrap();
    let row = |ids: &[i64]| Value::from_i64s(&[1, ids.len()], ids.to_vec()).unwrap();
    let input_ids = row(&source.iter().map(|&id| i64::from(id)).collect::<Vec<_>>());
    let mask = row(&vec![1; source.len()]);
    let mut target = vec![0];
    while target.len() <= MAX_TARGET_LEN && target.last() != Some(&1) {
        let ids = row(&target);
        let outputs = graph
            .run(&[(DECODER_INPUT_IDS, &ids), (INPUT_IDS, &input_ids), (ATTENTION_MASK, &mask)])
            .unwrap();
        let vocab = outputs[0].shape()[2];
        assert_eq!(outputs[0].shape(), [1, target.len(), vocab]);
        let logits = &outputs[0].f32s().unwrap()[(target.len() - 1) * vocab..];
        let best = (0..vocab).reduce(|best, id| if logits[id] > logits[best] { id } else { best });
        target.push(best.unwrap() as i64);
    }
    target[1..].iter().map(|&id| id as u32).collect()
}

#[test]
fn the_split_graph_decodes_as_the_whole_one() {
    let sources = many_sources();
    for kind in BACKENDS {
        let targets = open(&options(kind)).target_ids(&sources).unwrap();
        for (source, target) in sources.iter().zip(&targets).step_by(5) {
            assert_eq!(*target, by_definition(kind, source), "{kind}");
        }
    }
}

#[test]
fn logits_of_the_backends_agree() {
    let sources = many_sources();
    let length = sources.iter().map(Vec::len).max().unwrap();
    let padded = |fill: &dyn Fn(&[u32], usize) -> i64| {
        let all = sources.iter().flat_map(|source| (0..length).map(|at| fill(source, at))).collect();
        Value::from_i64s(&[sources.len(), length], all).unwrap()
    };
    let input_ids = padded(&|source, at| source.get(at).map_or(0, |&id| i64::from(id)));
    let mask = padded(&|source, at| i64::from(at < source.len()));
    let logits: Vec<Vec<f32>> = Backend::available(&BackendOptions::default())
        .into_iter()
        .map(|(_, backend)| {
            let mut graph = backend.unwrap().open_file(lexicon_tagger()).unwrap();
            let inputs = [(INPUT_IDS, &input_ids), (ATTENTION_MASK, &mask), (DECODER_INPUT_IDS, &input_ids)];
            graph.run(&inputs).unwrap()[0].f32s().unwrap().to_vec()
        })
        .collect();
    assert_eq!(logits.len(), BACKENDS.len());
    let largest = logits[0].iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let difference = logits[0].iter().zip(&logits[1]).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(largest > 1.0 && difference <= 1e-4, "largest logit {largest}, difference {difference}");
}

#[test]
fn inputs_that_do_not_fit_are_errors() {
    for (kind, backend) in Backend::available(&BackendOptions::default()) {
        let mut graph = backend.unwrap().open_file(lexicon_tagger()).unwrap();
        let ids = Value::from_i64s(&[1, 2], vec![4, 1]).unwrap();
        let floats = Value::from_f32s(&[1, 2], vec![1.0, 1.0]).unwrap();
        let far = Value::from_i64s(&[1, 2], vec![4, 1_000_000]).unwrap();
        let runs: [&[(&str, &Value)]; 3] = [
            &[(INPUT_IDS, &ids), (ATTENTION_MASK, &ids)],
            &[(INPUT_IDS, &ids), (ATTENTION_MASK, &ids), (DECODER_INPUT_IDS, &floats)],
            &[(INPUT_IDS, &far), (ATTENTION_MASK, &ids), (DECODER_INPUT_IDS, &ids)],
        ];
        for inputs in runs {
            let error = graph.run(inputs).unwrap_err();
            assert_eq!(error.to_string(), format!("{kind} failed to run the graph"));
            assert!(error.is_internal() && std::error::Error::source(&error).is_some());
        }
    }
}

#[test]
fn a_file_whose_parts_disagree_is_refused() {
    let open = |change: &dyn Fn(&mut hyperloader_core::format::tagger::TaggerMetadata)| {
        let mut metadata = metadata();
        change(&mut metadata);
        let file = ModelFile::from_bytes(lexicon_bytes(&metadata), "a.onnx").unwrap();
        Tagger::new(file, &options(BackendKind::Tract)).unwrap_err()
    };
    let errors: [OpenError; 3] = [
        open(&|metadata| metadata.tokenizer = "{}".into()),
        open(&|metadata| metadata.eos_token_id = 2),
        open(&|metadata| metadata.decoder_layers = 3),
    ];
    let messages: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    cannot use the tokenizer of `a.onnx`
      caused by: cannot read tokenizer `<bytes>`
      caused by: Model missing. at line 1 column 2
    `a.onnx`: metadata `eos_token_id` is 2, the tokenizer has 1
    cannot run the graph of `a.onnx`
      caused by: the model has no typed value `cross_key.2`
    "#);
}

#[test]
fn a_graph_that_does_not_say_what_can_be_kept_is_refused() {
    let with = |change: &dyn Fn(&mut hyperloader_onnx::proto::GraphProto)| {
        let mut model =
            hyperloader_onnx::decode_model(lexicon_bytes(&metadata()).into(), "a.onnx".as_ref()).unwrap();
        change(model.graph.as_mut().unwrap());
        let file = ModelFile::from_bytes(prost::Message::encode_to_vec(&model), "a.onnx").unwrap();
        chain(&Tagger::new(file, &options(BackendKind::Tract)).unwrap_err())
    };
    let messages = [
        with(&|graph| graph.value_info.retain(|value| value.name != "self_key.0")),
        with(&|graph| graph.value_info.retain(|value| value.name != "key_positions")),
        with(&|graph| {
            let dims = ["batch", "heads", "target_len", "d_kv"].map(hyperloader_onnx::Dim::from);
            let value = graph.value_info.iter_mut().find(|value| value.name == "self_value.1").unwrap();
            *value = hyperloader_onnx::proto::ValueInfoProto::tensor(
                "self_value.1",
                hyperloader_onnx::ElementType::F32,
                &dims,
            );
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    cannot run the graph of `a.onnx`
      caused by: the model has no typed value `self_key.0`
    cannot run the graph of `a.onnx`
      caused by: the model has no typed value `key_positions`
    cannot run the graph of `a.onnx`
      caused by: `self_value.1` is not `[batch, heads, target_len, d_kv]` of fixed `heads` and `d_kv`, or nothing reads it
    ");
}
