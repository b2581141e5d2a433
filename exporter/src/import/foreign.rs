//! What is imported, and what is read of it.

use std::path::PathBuf;

use hyperloader_core::method::{FullConfig, MethodConfig};
use hyperloader_core::text::words::WordSplitting;
use hyperloader_core::weights::tensors::Tensors;
use tempfile::TempDir;

/// A checkpoint of another program, and what it does not say of its task.
#[derive(Debug, Clone)]
pub struct Import {
    /// Folder of the checkpoint.
    pub folder: PathBuf,
    /// Folder of the T5 that was trained; the checkpoint's own, or the one that it names, if absent.
    pub backbone: Option<PathBuf>,
    /// Name of the task.
    pub task: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// How free text is split into words.
    pub words: WordSplitting,
    /// What each source began with in training; usually nothing.
    pub source_prefix: String,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included.
    pub max_target_len: usize,
}

/// What is read of a checkpoint.
pub(super) struct Foreign {
    /// What it is, for people.
    pub(super) origin: &'static str,
    pub(super) method: MethodConfig,
    /// Tensors of the method under our names, and those of the backbone that training changed.
    pub(super) tensors: Tensors,
    /// Folder of the backbone.
    pub(super) backbone: PathBuf,
    /// The folder that was made for the backbone, if the checkpoint has it in another form.
    pub(super) made: Option<TempDir>,
    pub(super) cross_attention_relative_bias: bool,
    /// The file with the trained tensors.
    pub(super) file: PathBuf,
}

impl Foreign {
    /// A backbone with changed tensors and without modules.
    pub(super) fn full(backbone: PathBuf, tensors: Tensors, file: PathBuf) -> Self {
        let method = FullConfig::default().into();
        let origin = "a fine-tuned T5";
        Self { origin, method, tensors, backbone, made: None, cross_attention_relative_bias: false, file }
    }
}
