//! The golden cases of every method on an encoder. Trainer and exporter share this.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::method::{MethodConfig, TaskShape, TrainableTensor};
use hyperloader_core::weights::tensors::{TensorFile, Tensors};

/// The one task of a case.
pub(crate) const TASK: &str = "task";
/// Its BIO tags.
pub(crate) const TAGS: usize = 5;

/// A folder of golden vectors.
pub(crate) struct EncoderCase {
    pub(crate) name: String,
    pub(crate) method: MethodConfig,
    pub(crate) config: BertConfig,
    pub(crate) trained: Tensors,
    folder: PathBuf,
}

impl EncoderCase {
    /// One case of each method.
    pub(crate) fn all() -> Vec<Self> {
        let root = root();
        let mut found: Vec<PathBuf> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
        found.retain(|folder| folder.join("method.json").is_file());
        found.sort();
        assert_eq!(found.len(), 7, "{}", root.display());
        found.into_iter().map(Self::read).collect()
    }

    fn read(folder: PathBuf) -> Self {
        let method = std::fs::read_to_string(folder.join("method.json")).unwrap();
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            method: serde_json::from_str(&method).unwrap(),
            config: BertConfig::from_file(&root().join("config.json")).unwrap(),
            trained: TensorFile::open(&folder.join("trained.safetensors")).unwrap().read_all().unwrap(),
            folder,
        }
    }

    /// A file of the case.
    pub(crate) fn open(&self, name: &str) -> TensorFile {
        TensorFile::open(&self.folder.join(format!("{name}.safetensors"))).unwrap()
    }

    /// Ids, mask and labels.
    pub(crate) fn inputs() -> TensorFile {
        TensorFile::open(&root().join("inputs.safetensors")).unwrap()
    }

    /// The encoder as a folder in Hugging Face's layout, opened.
    pub(crate) fn backbone(folder: &Path) -> BertBackbone {
        std::fs::copy(root().join("config.json"), folder.join("config.json")).unwrap();
        std::fs::copy(root().join("base.safetensors"), folder.join("model.safetensors")).unwrap();
        BertBackbone::open(folder).unwrap()
    }

    /// Every tensor that the method trains.
    pub(crate) fn trainable(&self) -> Vec<TrainableTensor> {
        let tasks = [TaskShape { name: TASK.to_owned(), bio_tags: TAGS }];
        self.method.validate(&self.config, &tasks).unwrap();
        self.method.trainable_tensors(&self.config, &tasks)
    }
}

fn root() -> PathBuf {
    super::methods::golden("encoder")
}
