//! Long texts: a tagger whose tags depend on the word alone must tag them as if it had no limit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::OnceLock;

use common::lexicon_tagger;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_runtime::{
    BackendKind, BackendOptions, SentenceError, Split, Statistics, Tagged, Tagger, TaggerOptions, Words,
};
use proptest::prelude::*;

/// Words of the lexicon with their tags. The tagger takes at most 11 words and 22 tokens; each word is one token.
const WORDS: [(&str, &str); 9] = [
    ("set", "O"),
    ("7", "date_time"),
    ("am", "I"),
    ("am", "I"),
    ("caf\u{e9}", "place"),
    ("paris", "place"),
    ("call", "O"),
    (".", "O"),
    ("alarm", "O"),
];

fn open(kind: BackendKind, options: TaggerOptions) -> Tagger {
    let backend = BackendOptions { kind, ..BackendOptions::default() };
    Tagger::open(lexicon_tagger(), &TaggerOptions { backend, ..options }).unwrap()
}

fn tagger() -> &'static Tagger {
    static TAGGER: OnceLock<Tagger> = OnceLock::new();
    TAGGER.get_or_init(|| open(BackendKind::Tract, TaggerOptions::default()))
}

fn tag(tagger: &Tagger, text: &str) -> Tagged {
    tagger.tag(&[text]).unwrap().remove(0).unwrap()
}

/// The tags of words that are tagged by the lexicon, without limits.
fn oracle(words: &[usize]) -> Vec<String> {
    sbio_to_bio(&words.iter().map(|word| WORDS[*word].1).collect::<Vec<_>>())
}

fn joined(words: &[usize], separator: &str) -> String {
    words.iter().map(|word| WORDS[*word].0).collect::<Vec<_>>().join(separator)
}

fn words() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..WORDS.len(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tags_of_parts_are_merged_to_those_of_the_whole_text(paragraphs in prop::collection::vec(words(), 1..4)) {
        let text = paragraphs.iter().map(|words| joined(words, "  ")).collect::<Vec<_>>().join("\n\n");
        let tagged = tag(tagger(), &text);
        // A text within the limits is one sentence; no span goes on after a paragraph of a longer one.
        let all = paragraphs.concat();
        let expected = match all.len() <= 10 {
            true => oracle(&all),
            false => paragraphs.iter().flat_map(|words| oracle(words)).collect(),
        };
        prop_assert_eq!(&tagged.tags, &expected);
        prop_assert!(tagged.complete && tagged.unread.is_empty() && tagged.text == text);
        let chars: Vec<char> = text.chars().collect();
        for word in &tagged.words {
            prop_assert_eq!(&word.text, &chars[word.start..word.end].iter().collect::<String>());
        }
        for span in &tagged.spans {
            prop_assert_eq!(&span.text, &chars[span.start..span.end].iter().collect::<String>());
        }
        let begun = expected.iter().filter(|tag| tag.starts_with("B-")).count();
        prop_assert_eq!(tagged.spans.len(), begun);
    }

    #[test]
    fn lists_of_words_are_split_too(words in words()) {
        let list: Vec<&str> = words.iter().map(|word| WORDS[*word].0).collect();
        let tagged = tagger().tag_words(&[list]).unwrap().remove(0).unwrap();
        prop_assert_eq!(tagged.tags, oracle(&words));
        prop_assert_eq!(tagged.text, joined(&words, " "));
    }
}

#[test]
fn a_span_is_whole_wherever_the_windows_end() {
    for kind in [BackendKind::Ort, BackendKind::Tract] {
        let tagger = open(kind, TaggerOptions::default());
        for before in 0..30 {
            let words = [vec![0; before], vec![1, 2, 3], vec![6; 30]].concat();
            let tagged = tag(&tagger, &joined(&words, " "));
            assert_eq!(tagged.tags, oracle(&words), "{before}");
            let spans: Vec<_> = tagged.spans.iter().map(|span| (span.start, span.text.as_str())).collect();
            assert_eq!(spans, [(4 * before, "7 am am")]);
        }
        // Longer than any window.
        let words = [vec![1], vec![2; 50]].concat();
        assert_eq!(tag(&tagger, &joined(&words, " ")).spans.len(), 1);
    }
}

#[test]
fn texts_within_the_limits_are_one_part_and_parts_are_counted() {
    let tagger = open(BackendKind::Tract, TaggerOptions::default());
    let short = "Set alarm. Call paris!\n\nAlarm 7.";
    let long = ["Set 7 am."; 9].join(" ");
    let results = tagger.tag(&[short, &long, " ", short]).unwrap();
    assert_eq!(results[1].as_ref().unwrap().spans.len(), 9);
    assert!(matches!(results[2], Err(SentenceError::NoWord)));
    let Statistics { sentences, parts, .. } = tagger.statistics();
    assert_eq!((sentences, parts), (3, 11));
    let tagger =
        open(BackendKind::Tract, TaggerOptions { split: Split::Sentences, ..TaggerOptions::default() });
    let tagged = tag(&tagger, short);
    assert_eq!((tagger.statistics().parts, tagged.spans.len(), tagged.spans[1].start), (3, 2, 30));
}

#[test]
fn long_texts_are_errors_if_they_are_not_to_be_split() {
    let tagger = open(BackendKind::Tract, TaggerOptions { split: Split::Never, ..TaggerOptions::default() });
    let texts = [["set"; 12].join(" "), ["set"; 11].join(" "), "paris".to_owned()];
    let results = tagger.tag(&texts).unwrap();
    assert!(matches!(results[0], Err(SentenceError::TooManyWords { words: 12, limit: 11 })));
    assert!(matches!(results[1], Err(SentenceError::TooLong { tokens: 24, limit: 22 })));
    assert!(results[2].is_ok());
    assert_eq!(tagger.statistics().sentences, 1);
}

#[test]
fn a_word_over_the_limit_is_left_out_and_reported() {
    // Each `set` with the mark of a word's beginning is one token.
    let blob = "set\u{2581}".repeat(20_000);
    let tagger =
        open(BackendKind::Tract, TaggerOptions { words: Words::PreTokenized, ..TaggerOptions::default() });
    let tagged = tag(&tagger, &format!("call paris {blob} 7 am"));
    assert_eq!(tagged.tags, ["O", "B-place", "O", "B-date_time", "I-date_time"]);
    assert_eq!((tagged.unread, tagged.words[2].text.len()), (vec![2], blob.len()));
    let alone = tag(&tagger, &blob);
    assert_eq!((alone.tags, alone.unread, alone.complete), (vec!["O".to_owned()], vec![0], true));
    let Statistics { sentences, parts, .. } = tagger.statistics();
    assert_eq!((sentences, parts), (2, 2));
}

#[test]
fn a_document_of_thousands_of_words_keeps_its_order_in_a_batch_with_others() {
    let document: Vec<usize> = (0..5000).map(|k| (k * k + k / 7) % WORDS.len()).collect();
    let texts = ["call paris".to_owned(), joined(&document, " "), "7 am".to_owned()];
    let results: Vec<Tagged> = tagger().tag(&texts).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(results[0].tags, ["O", "B-place"]);
    assert_eq!(results[1].tags, oracle(&document));
    assert_eq!(results[2].tags, ["B-date_time", "I-date_time"]);
}
