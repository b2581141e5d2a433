//! Every row of the SentT' golden vectors (`sentt/*.jsonl`), field by field.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{codec, golden, jsonl_files, rows};
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::spans::{bio_to_sbio, sbio_to_bio};
use hyperloader_core::text::target::{Alignment, TargetGrammar, Written};
use hyperloader_core::text::words::split_whitespace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    id: String,
    corpus: String,
    text: String,
    tokens: Vec<String>,
    bio: Vec<String>,
    sbio: Vec<String>,
    source_text: String,
    target_text: String,
    source_ids: Vec<u32>,
    target_ids: Vec<u32>,
    source_ids_128: Option<Vec<u32>>,
    target_ids_128: Option<Vec<u32>>,
    target_decoded: String,
    bio_from_target_decoded: Option<Vec<String>>,
    prefixed_source_text: Option<String>,
    prefixed_source_ids: Option<Vec<u32>>,
    fast_source_ids: Option<Vec<u32>>,
    fast_target_ids: Option<Vec<u32>>,
}

/// Ids of a sentence of any length: past the last sentinel the rendered text is encoded as it stands.
fn encode(codec: &SentT, words: &[String]) -> Vec<u32> {
    if words.len() <= codec.max_words() {
        return codec.encode_source(words).unwrap();
    }
    let error = codec.encode_source(words).unwrap_err();
    assert!(matches!(error, SentTError::TooManyWords { words: n, limit: 99 } if n == words.len()), "{error}");
    let mut ids = codec.encode_text(&codec.source_text(words)).unwrap();
    ids.push(codec.eos());
    ids
}

/// The ids cut to 128, and whether that cut anything.
fn cut(codec: &SentT, ids: &[u32]) -> (Vec<u32>, bool) {
    let mut cut = ids.to_vec();
    codec.truncate(&mut cut, 128);
    (cut, ids.len() > 128)
}

fn check(codec: &SentT, row: &Row) {
    let id = &row.id;
    let tokens: Vec<String> = split_whitespace(&row.text).into_iter().map(|word| word.text).collect();
    assert_eq!(tokens, row.tokens, "{id}");
    assert_eq!(bio_to_sbio(&row.bio), row.sbio, "{id}");
    assert_eq!(codec.source_text(&row.tokens), row.source_text, "{id}");
    assert_eq!(codec.target_text(&row.sbio), row.target_text, "{id}");

    let source = encode(codec, &row.tokens);
    assert_eq!(&source, row.fast_source_ids.as_ref().unwrap_or(&row.source_ids), "{id}");
    let target = encode(codec, &row.sbio);
    assert_eq!(&target, row.fast_target_ids.as_ref().unwrap_or(&row.target_ids), "{id}");
    let (source_cut, was_cut) = cut(codec, &source);
    assert_eq!(was_cut.then_some(source_cut), row.source_ids_128, "{id}");
    let (target_cut, was_cut) = cut(codec, &target);
    assert_eq!(was_cut.then_some(&target_cut), row.target_ids_128.as_ref(), "{id}");

    let tags = codec.decode_words(&target_cut).unwrap();
    assert_eq!(codec.decode(&target_cut).unwrap(), row.target_decoded, "{id}");
    let bio = sbio_to_bio(&tags);
    assert_eq!(&bio, row.bio_from_target_decoded.as_ref().unwrap_or(&row.bio), "{id}");
    if row.sbio.len() <= codec.max_words() {
        let labels: BTreeSet<&String> =
            row.sbio.iter().filter(|tag| !["O", "I"].contains(&tag.as_str())).collect();
        let grammar = TargetGrammar::new(codec, labels).unwrap();
        for alignment in [Alignment::Order, Alignment::Sentinel] {
            let decoded = grammar.decode(codec, &target, row.sbio.len(), alignment).unwrap();
            assert!(decoded.iter().all(|written| matches!(written, Written::Tag(_))), "{id}");
            assert!(decoded.iter().map(|written| grammar.text(written)).eq(&row.sbio), "{id}");
        }
    }

    if let Some(text) = &row.prefixed_source_text {
        assert_eq!(text, &format!("{} {}", row.corpus, codec.source_text(&row.tokens)), "{id}");
        let mut prefixed = codec.encode_text(&row.corpus).unwrap();
        prefixed.extend(&source);
        assert_eq!(Some(&prefixed), row.prefixed_source_ids.as_ref(), "{id}");
    }
}

#[test]
fn every_golden_sentence_has_the_reference_ids_and_tags() {
    let codec = codec();
    let files = jsonl_files(&golden("sentt"));
    let cases: Vec<Row> = files.iter().flat_map(|file| rows(file)).collect();
    for row in &cases {
        check(&codec, row);
    }
    println!("{} rows of {} files", cases.len(), files.len());
}
