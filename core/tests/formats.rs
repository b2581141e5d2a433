//! Runs of format 1 that earlier versions wrote still open.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod common;

use common::fixtures;
use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::method::Method;
use hyperloader_core::run::{Run, Which};

#[test]
fn the_committed_run_of_format_1_opens_with_its_backbone_checkpoint_and_drafters() {
    let run = Run::open(&fixtures().join("runs/nano")).unwrap();
    assert_eq!((run.manifest.format, run.manifest.method.method()), (1, Method::HyperLoader));
    assert_eq!(run.backbone(None).unwrap().config().kind(), BackboneKind::T5);
    for task in &run.manifest.tasks {
        let tensors = run.read(run.checkpoint(Which::BestOf(&task.name)).unwrap()).unwrap();
        assert_eq!(tensors.len(), run.manifest.trainable_tensors().unwrap().len());
        let tags = run.drafter(task).unwrap().unwrap().transitions.tags();
        assert_eq!(tags, task.labels.len() + 2, "{}", task.name);
    }
}

#[test]
fn a_manifest_of_format_1_is_written_as_it_was_read() {
    let text = std::fs::read_to_string(fixtures().join("runs/nano/manifest.json")).unwrap();
    let run = Run::open(&fixtures().join("runs/nano")).unwrap();
    assert_eq!(serde_json::to_string_pretty(&run.manifest).unwrap(), text.trim_end());
}
