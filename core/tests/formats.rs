//! Runs of format 1 that earlier versions wrote still open.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod common;

use common::fixtures;
use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::method::Method;
use hyperloader_core::run::{Manifest, Run, Which};

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

#[test]
fn the_losses_of_a_manifest_are_read_as_they_were_written() {
    let text = std::fs::read_to_string(fixtures().join("runs/nano/manifest.json")).unwrap();
    let mut manifest: Manifest = serde_json::from_str(&text).unwrap();
    let task = manifest.tasks[0].name.clone();
    for loss in (2..2000).map(|n| f64::from(n).sqrt()).chain([3.2824579651313526]) {
        manifest.checkpoints[0].task_losses.insert(task.clone(), loss);
        let again: Manifest = serde_json::from_str(&serde_json::to_string(&manifest).unwrap()).unwrap();
        assert_eq!(again.checkpoints[0].task_losses, manifest.checkpoints[0].task_losses);
    }
}
