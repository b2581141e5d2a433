//! Opening files: what is refused, and that nothing panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{chain, drafter_bytes, lexicon_bytes, metadata, model_bytes, with_drafter};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_onnx::{ElementType, GraphBuilder, Opset, write_model};
use hyperloader_runtime::{ModelFile, Tagger, TaggerOptions};
use proptest::prelude::*;

fn refused(bytes: impl Into<Vec<u8>>) -> String {
    chain(&ModelFile::from_bytes(bytes.into(), "a.onnx").unwrap_err())
}

#[test]
fn a_file_of_ours_says_what_it_is() {
    let file = ModelFile::from_bytes(lexicon_bytes(&metadata()), "a.onnx").unwrap();
    assert_eq!(*file.metadata(), metadata());
    assert_eq!(file.vocab_size(), 33);
}

#[test]
fn files_that_are_not_ours_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = chain(&ModelFile::open(folder.path().join("missing.onnx")).unwrap_err());
    let bytes = lexicon_bytes(&metadata());
    let newer = metadata().to_properties().map(|mut properties| {
        properties.insert("hyperloader.format".into(), "3".into());
        properties
    });
    let messages = [
        missing.replace(&folder.path().display().to_string(), "[FOLDER]"),
        refused(&bytes[..bytes.len() / 2]),
        refused(""),
        refused("a text file\n"),
        refused(model_bytes(BTreeMap::new())),
        refused(model_bytes(newer.unwrap())),
        refused(other_graph(metadata().to_properties().unwrap())),
    ];
    insta::assert_snapshot!(messages.join("\n\n"), @r#"
    cannot read model `[FOLDER]/missing.onnx`
      caused by: No such file or directory (os error 2)

    cannot open tagger `a.onnx`
    hint: `hl-export --task TASK` writes one; if it did, copy or export the file again
      caused by: `a.onnx` is not a whole ONNX model: failed to decode Protobuf message: ModelProto.graph: buffer underflow

    cannot open tagger `a.onnx`
    hint: `hl-export --task TASK` writes one; if it did, copy or export the file again
      caused by: `a.onnx` is not a whole ONNX model: it holds no graph

    cannot open tagger `a.onnx`
    hint: `hl-export --task TASK` writes one; if it did, copy or export the file again
      caused by: `a.onnx` is not a whole ONNX model: failed to decode Protobuf message: unexpected end group tag

    cannot use `a.onnx` as a tagger
      caused by: not a HyperLoader tagger: metadata `hyperloader.format` is missing
    hint: `hl-export --task TASK` writes one

    cannot use `a.onnx` as a tagger
      caused by: the tagger's format is 3, this program reads 2
    hint: export it again

    `a.onnx`: the graph's inputs are `input_ids` f32 rank 1, expected `input_ids` i64 rank 2, `attention_mask` i64 rank 2, `decoder_input_ids` i64 rank 2
    "#);
}

#[test]
fn numbers_that_cannot_be_are_refused_by_name() {
    let with = |change: &dyn Fn(&mut TaggerMetadata)| {
        let mut metadata = metadata();
        change(&mut metadata);
        refused(lexicon_bytes(&metadata))
    };
    let messages = [
        with(&|metadata| metadata.max_source_len = 0),
        with(&|metadata| metadata.max_target_len = usize::MAX),
        with(&|metadata| metadata.decoder_layers = 0),
        with(&|metadata| metadata.pad_token_id = -1),
        with(&|metadata| metadata.decoder_start_token_id = 33),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    `a.onnx`: metadata `max_source_len` is 0, expected a number from 1 to 65536
    `a.onnx`: metadata `max_target_len` is 18446744073709551615, expected a number from 1 to 65536
    `a.onnx`: metadata `decoder_layers` is 0, expected a number from 1 to 1024
    `a.onnx`: metadata `pad_token_id` is -1, expected an id of the graph's vocabulary of 33
    `a.onnx`: metadata `decoder_start_token_id` is 33, expected an id of the graph's vocabulary of 33
    "#);
}

#[test]
fn a_drafter_must_be_whole_and_of_as_many_tags_as_there_are_labels() {
    let table = |tags: usize| Some(vec![vec![0.0; tags]; tags].try_into().unwrap());
    let messages = [
        // Transitions without scores, of another number of tags, scores without transitions.
        refused(lexicon_bytes(&TaggerMetadata { drafter: table(4), ..metadata() })),
        refused(drafter_bytes(&TaggerMetadata { drafter: table(5), ..metadata() }, 1.0)),
        refused(drafter_bytes(&metadata(), 1.0)),
        refused(drafter_bytes(
            &TaggerMetadata { drafter: table(3), labels: vec!["place".into()], ..metadata() },
            1.0,
        )),
    ];
    let mut properties = TaggerMetadata { drafter: table(1), ..metadata() }.to_properties().unwrap();
    properties.insert("hyperloader.drafter".into(), "[[0.5, 1]]".into());
    let ragged = refused(model_bytes(properties));
    insta::assert_snapshot!([&messages[..], &[ragged]].concat().join("\n"));
}

/// A graph with other inputs and outputs.
fn other_graph(properties: BTreeMap<String, String>) -> Vec<u8> {
    let mut graph = GraphBuilder::new("other", Opset::default());
    let x = graph.input("input_ids", ElementType::F32, &["batch".into()]);
    let y = graph.relu(x);
    graph.output(y, "logits", ElementType::F32, &["batch".into()]);
    let built = graph.finish().unwrap().with_metadata(properties);
    let mut bytes = Vec::new();
    write_model(&mut bytes, &built, |_| -> Result<_, std::io::Error> {
        unreachable!("the graph has no weight")
    })
    .unwrap();
    bytes
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(ModelFile::from_bytes(bytes, "a.onnx").is_err());
    }

    #[test]
    fn any_truncation_is_refused(part in 0.0..1.0_f64) {
        let bytes = lexicon_bytes(&metadata());
        let length = (bytes.len() as f64 * part) as usize;
        prop_assert!(ModelFile::from_bytes(bytes[..length].to_vec(), "a.onnx").is_err());
    }
}

proptest! {
    // Each opens the backend.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_file_is_refused_or_runs(
        at in 0.0..1.0_f64, byte in any::<u8>(), length in 1usize..8, drafter in any::<bool>(),
    ) {
        let mut bytes = if drafter { with_drafter(1.0) } else { lexicon_bytes(&metadata()) };
        let at = (bytes.len() as f64 * at) as usize;
        let end = bytes.len().min(at + length);
        bytes[at..end].fill(byte);
        if let Ok(file) = ModelFile::from_bytes(bytes, "a.onnx")
            && let Ok(tagger) = Tagger::new(file, &TaggerOptions::default())
        {
            // The runtime may refuse to run it; one result a sentence else.
            prop_assert!(tagger.tag(&["set an alarm"]).map_or(1, |results| results.len()) == 1);
        }
    }
}
