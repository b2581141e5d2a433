//! Taggers of the committed run with the cache of ONNX Runtime: the same tags as without, cold and warm.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use hyperloader_core::corpus::{Split, known};
use hyperloader_runtime::{BackendKind, BackendOptions, Tagged, Tagger, TaggerOptions};

const SENTENCES: usize = 20;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(path)
}

#[test]
fn every_task_in_float32_and_int8_has_the_same_tags_with_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = known::in_folder(&fixture("corpora")).unwrap().into_iter().collect();
    let tasks = tasks.iter().filter(|(task, _)| ["mtod", "mtop", "snips"].contains(&task.as_str()));
    let mut models = 0;
    for (task, corpus) in tasks {
        let test = corpus.load_split(Split::Test).unwrap();
        let sentences: Vec<Vec<String>> = test.into_iter().take(SENTENCES).map(|s| s.words).collect();
        for precision in ["f32", "int8"] {
            let model = folder.path().join(format!("{task}.{precision}.onnx"));
            let mut export = Command::new(env!("CARGO_BIN_EXE_hl-export"));
            export
                .args(["--task", task, "--precision", precision, "--no-verify", "--no-cost", "--output"])
                .arg(&model);
            export.arg("--run").arg(fixture("runs/nano")).assert().success();
            let tag = |cache: Option<&Path>| -> Vec<Tagged> {
                let cache = cache.map(Path::to_owned);
                let backend = BackendOptions { kind: BackendKind::Ort, cache, ..Default::default() };
                let options = TaggerOptions { backend, batch_size: 8, ..Default::default() };
                let tagger = Tagger::open(&model, &options).unwrap();
                assert_eq!(tagger.backend().notices(), [""; 0]);
                tagger.tag_words(&sentences).unwrap().into_iter().map(Result::unwrap).collect()
            };
            let expected = tag(None);
            assert!(expected.iter().any(|tagged| !tagged.spans.is_empty()), "{task}, {precision}");
            for start in ["cold", "warm"] {
                assert_eq!(tag(Some(folder.path())), expected, "{task}, {precision}, {start}");
            }
            models += 1;
        }
    }
    assert_eq!(models, 6);
}
