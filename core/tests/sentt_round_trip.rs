//! SentT' there and back, for any words and tags.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::LazyLock;

use common::codec;
use hyperloader_core::causes::with_causes;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::target::{Alignment, TargetGrammar};
use proptest::prelude::*;

static CODEC: LazyLock<SentT> = LazyLock::new(codec);

/// sBIO tags of `words` words, read with a grammar that knows some of the labels.
fn decode(ids: &[u32], words: usize, alignment: Alignment) -> Vec<String> {
    static GRAMMAR: LazyLock<TargetGrammar> =
        LazyLock::new(|| TargetGrammar::new(&CODEC, ["city", "date", "a"]).unwrap());
    GRAMMAR.decode_sbio(&CODEC, ids, words, alignment).unwrap()
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    let tag = prop_oneof![Just("O".to_owned()), Just("I".to_owned()), "[a-zA-Z][a-zA-Z_.:-]{0,11}"];
    prop::collection::vec(tag, 0..=99)
}

/// Words without white space, and none that is or holds a special token.
fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof!["[a-z]{1,8}", "[^\\s<\\x1c-\\x1f]{1,6}"];
    prop::collection::vec(word, 0..=99)
}

proptest! {
    // A saved failure belongs into a test of its own, not into a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tags_survive_both_ways_of_decoding(tags in tags()) {
        let ids = CODEC.encode_target(&tags).unwrap();
        prop_assert_eq!(&CODEC.decode_words(&ids).unwrap(), &tags);
        prop_assert_eq!(&decode(&ids, tags.len(), Alignment::Sentinel), &tags);
    }

    #[test]
    fn alignments_agree_on_well_formed_targets_whatever_number_of_words_is_asked_for(tags in tags(), words in 0..=99usize) {
        let ids = CODEC.encode_target(&tags).unwrap();
        let [by_order, by_sentinel] =
            [Alignment::Order, Alignment::Sentinel].map(|a| decode(&ids, words, a));
        prop_assert_eq!(&by_order, &by_sentinel);
        prop_assert_eq!(by_order.len(), words);
        let kept = words.min(tags.len());
        prop_assert_eq!(&by_order[..kept], &tags[..kept]);
        prop_assert!(by_order[kept..].iter().all(|tag| tag == "O"));
    }

    #[test]
    fn alignments_give_one_tag_a_word_for_any_ids(ids in prop::collection::vec(prop_oneof![0..33_000u32, 32_000..32_100u32], 0..40), words in 0..20usize) {
        for alignment in [Alignment::Order, Alignment::Sentinel] {
            prop_assert_eq!(decode(&ids, words, alignment).len(), words);
        }
    }

    #[test]
    fn a_source_is_its_words_between_ascending_sentinels(words in words()) {
        let ids = CODEC.encode_source(&words).unwrap();
        let mut rest = ids.as_slice();
        for (k, word) in words.iter().enumerate() {
            let (sentinel, after) = rest.split_first().unwrap();
            prop_assert_eq!(CODEC.sentinel_index(*sentinel), Some(k));
            let piece = CODEC.word(word).unwrap();
            prop_assert!(after.starts_with(&piece));
            prop_assert_eq!(piece.to_vec(), CODEC.encode_text(word).unwrap());
            rest = &after[piece.len()..];
        }
        prop_assert_eq!(rest, [CODEC.sentinel(words.len()).unwrap(), CODEC.eos()]);
    }

    #[test]
    fn any_ids_decode_to_tags_without_white_space(ids in prop::collection::vec(prop_oneof![0..33_000u32, 32_000..32_100u32, any::<u32>()], 0..40), words in 0..20usize) {
        let tags = decode(&ids, words, Alignment::Sentinel);
        prop_assert_eq!(tags.len(), words);
        let by_order = CODEC.decode_words(&ids).unwrap();
        prop_assert!(tags.iter().chain(&by_order).all(|tag| !tag.is_empty() && !tag.contains(' ')));
    }
}

#[test]
fn a_missing_doubled_or_empty_gap_does_not_shift_later_tags() {
    let id = |k| CODEC.sentinel(k).unwrap();
    let tag = |text: &str| CODEC.word(&text).unwrap().to_vec();
    let ids = [
        &[id(0)][..],
        &tag("city"),
        &[id(2)],
        &tag("I"),
        &[id(2)],
        &tag("date"),
        &[id(3), id(4)],
        &tag("a b"),
        &[CODEC.eos(), id(1)],
        &tag("late"),
    ]
    .concat();
    assert_eq!(decode(&ids, 6, Alignment::Sentinel), ["city", "O", "I", "O", "a", "O"]);
}

#[test]
fn a_dropped_tag_shifts_the_rest_by_order_and_nothing_by_sentinel() {
    let mut ids = CODEC.encode_target(&["city", "O", "date"]).unwrap();
    let middle = ids.iter().position(|id| CODEC.sentinel_index(*id) == Some(1)).unwrap();
    let next = ids.iter().position(|id| CODEC.sentinel_index(*id) == Some(2)).unwrap();
    ids.drain(middle..next);
    let align = |alignment| decode(&ids, 3, alignment);
    assert_eq!(align(Alignment::Order), ["city", "date", "O"]);
    assert_eq!(align(Alignment::Sentinel), ["city", "O", "date"]);
}

#[test]
fn of_a_repeated_sentinel_the_first_tag_counts() {
    let once = CODEC.encode_target(&["city", "date"]).unwrap();
    let again = CODEC.encode_target(&["time", "place"]).unwrap();
    // Without the first closing id, both targets stand in one sequence.
    let ids = [&once[..once.len() - 1], &again].concat();
    assert_eq!(decode(&ids, 2, Alignment::Sentinel), ["city", "date"]);
    assert_eq!(decode(&ids, 3, Alignment::Order), ["city", "date", "time"]);
}

#[test]
fn cutting_keeps_the_closing_id() {
    let mut ids = vec![5, 6, 7, 1];
    CODEC.truncate(&mut ids, 4);
    assert_eq!(ids, [5, 6, 7, 1]);
    CODEC.truncate(&mut ids, 2);
    assert_eq!(ids, [5, 1]);
    CODEC.truncate(&mut ids, 0);
    assert!(ids.is_empty());
}

#[test]
fn a_hundred_words_are_refused_with_count_and_limit() {
    let error = CODEC.encode_source(&["a"; 100]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "100 words but the vocabulary's sentinels allow 99\nhint: split the sentence"
    );
    assert_eq!(CODEC.encode_source(&["a"; 99]).unwrap().last(), Some(&1));
}

#[test]
fn tokenizers_that_do_not_fit_are_refused() {
    let missing = with_causes(&SentT::from_file("nowhere.json").unwrap_err());
    assert!(missing.starts_with("cannot read tokenizer `nowhere.json`: "), "{missing}");
    let broken = with_causes(&SentT::from_bytes(b"{}").unwrap_err());
    assert!(broken.starts_with("cannot read tokenizer `<bytes>`: "), "{broken}");
    let small =
        r#"{"version":"1.0","added_tokens":[],"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}"#;
    let error = SentT::from_bytes(small.as_bytes()).unwrap_err();
    assert!(matches!(&error, SentTError::MissingToken(token) if token == "<extra_id_0>"), "{error}");
    let path = common::fixtures().join("backbones/t5-nano/tokenizer.json");
    let text = std::fs::read_to_string(path).unwrap();
    let mut flan: serde_json::Value = serde_json::from_str(&text).unwrap();
    flan["pre_tokenizer"] = serde_json::json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true});
    let error = SentT::from_bytes(flan.to_string().as_bytes()).unwrap_err();
    assert!(matches!(&error, SentTError::Unsteady { .. }), "{error}");
}
