//! Files with several tasks, whose graph has an input that selects the task of each sentence: the model of one of them.

use std::collections::BTreeMap;

use hyperloader_core::format::multi::{TASK_ID, TASKS, draft_tags, split};
use hyperloader_core::format::proof::PROOF;
use hyperloader_core::format::tagger::{DRAFT_TAGS, LOGITS, MetadataError};
use hyperloader_onnx::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use hyperloader_onnx::{Bytes, ElementType};

/// Key of a task's name.
const TASK: &str = "hyperloader.task";

/// Whether the file has several tasks.
pub(crate) fn has_tasks(model: &ModelProto) -> bool {
    model.metadata().contains_key(TASKS)
}

/// The model of each task of the file. The weights share their bytes.
///
/// # Errors
/// If the list of tasks is malformed.
pub(crate) fn models(model: &ModelProto) -> Result<Vec<ModelProto>, MetadataError> {
    let properties = model.metadata().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    // The proof is that of the whole file.
    let properties: BTreeMap<String, String> = properties.filter(|(key, _)| key != PROOF).collect();
    let tasks = split(properties)?.into_iter().enumerate();
    Ok(tasks
        .map(|(index, properties)| {
            let task = properties.get(TASK).cloned().unwrap_or_default();
            let mut of_task = model.clone();
            of_task.metadata_props =
                properties.into_iter().map(|(key, value)| StringStringEntryProto { key, value }).collect();
            if let Some(graph) = &mut of_task.graph {
                select(graph, index, &task);
            }
            of_task
        })
        .collect())
}

/// Makes `graph` that of the task at `index`: its input for tasks is a constant, and it has this task's drafter alone.
fn select(graph: &mut GraphProto, index: usize, task: &str) {
    graph.input.retain(|input| input.name != TASK_ID);
    let id = Bytes::copy_from_slice(&(index as i64).to_le_bytes());
    graph.initializer.push(TensorProto::from_raw(TASK_ID, ElementType::I64, &[1], id));
    let own = draft_tags(task);
    graph.output.retain(|output| output.name == LOGITS || output.name == own);
    let nodes = format!("/drafter.{task}/");
    graph.node.retain(|node| !node.name.starts_with("/drafter.") || node.name.starts_with(&nodes));
    let renamed = graph.output.iter_mut().map(|output| &mut output.name);
    let renamed = renamed.chain(graph.node.iter_mut().flat_map(|node| &mut node.output));
    renamed.filter(|name| **name == own).for_each(|name| *name = DRAFT_TAGS.to_owned());
    let weights = format!("drafter.{task}.");
    graph
        .initializer
        .retain(|tensor| !tensor.name.starts_with("drafter.") || tensor.name.starts_with(&weights));
}
