//! The cache of graphs that ONNX Runtime has optimized: fused operators, and weights laid out for its products. A session
//! maps the weights from the cache, so sessions and processes share one copy.
//!
//! An entry is a folder that is renamed into place when it is complete. Nothing writes to it afterwards; its files are
//! read-only, because cutting a mapped file short would end the process that maps it.

use std::error::Error;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hyperloader_core::files::hexadecimal;
use hyperloader_onnx::WeightFile;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::align::{self, AlignError};
use crate::backend::error::BackendError;

const GRAPH: &str = "graph.onnx";
const WEIGHTS: &str = "graph.weights";

/// Begins the names of folders that are being written or removed.
const UNFINISHED: &str = ".new-";
/// An unfinished folder of this age was left by a process that ended too early.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Settings of a session that writes its optimized graph, and its weights beside it.
pub(super) const WRITING: [(&str, &str); 3] = [
    ("session.optimized_model_external_initializers_file_name", WEIGHTS),
    ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
    ("session.save_external_prepacked_constant_initializers", "1"),
];

/// An entry cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// The folder cannot be written to: [`BackendError::Cache`].
    #[error(transparent)]
    Write(#[from] BackendError),
    /// The weights cannot be aligned.
    #[error(transparent)]
    Align(AlignError),
}

/// The cache entry of one graph, present or not.
#[derive(Debug)]
pub(super) struct Entry {
    /// `NAME.onnx.cache`: the entries of all models of this file name.
    folder: PathBuf,
    /// Hash of the model file's path; the first part of the entry's name.
    file: String,
    /// Hash of the file's version, ONNX Runtime's and the processor; the second part.
    version: String,
    /// Hash of the graph; the last part.
    graph: String,
}

impl Entry {
    /// The entry in `folder` for the encoded model `graph`, which refers to `weights`. A changed file, another ONNX Runtime
    /// and another kind of processor, which may lay weights out differently, have another entry.
    pub(super) fn new(folder: &Path, graph: &[u8], weights: &WeightFile) -> Result<Self, BackendError> {
        let mut name = weights.path().file_name().unwrap_or_default().to_owned();
        name.push(".cache");
        let folder = folder.join(name);
        let version = || {
            let mut version = format!("{} {}", ort::info(), processor());
            for path in weights.paths() {
                let file = fs::metadata(path)?;
                let modified = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                version.push_str(&format!(" {} {modified}", file.len()));
            }
            Ok((fs::canonicalize(weights.path())?, version))
        };
        let (path, version) = version().map_err(|error: io::Error| failed(&folder, error))?;
        let short = |bytes: &[u8]| hexadecimal(&Sha256::digest(bytes)[..8]);
        let file = short(path.as_os_str().as_encoded_bytes());
        Ok(Self { folder, file, version: short(version.as_bytes()), graph: short(graph) })
    }

    fn path(&self) -> PathBuf {
        let Self { folder, file, version, graph } = self;
        folder.join(format!("{file}-{version}-{graph}"))
    }

    /// The file of the graph.
    pub(super) fn graph(&self) -> PathBuf {
        self.path().join(GRAPH)
    }

    /// Checks that a session may map the entry: it is complete and its weights are aligned.
    pub(super) fn check(&self) -> Result<(), AlignError> {
        let graph = self.graph();
        // Reading a FIFO would wait for a writer.
        if !fs::symlink_metadata(&graph)?.is_file() {
            return Err(io::Error::other("the graph is not a regular file").into());
        }
        align::check(&fs::read(graph)?, &self.path().join(WEIGHTS))
    }

    /// Writes the entry: `write` writes the graph to a path and its weights beside it, which are then aligned. The entry is
    /// complete or absent. Removes entries of earlier versions of the model's file.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&Path) -> Result<(), BackendError>,
    ) -> Result<(), CacheError> {
        let io = |error: io::Error| failed(&self.folder, error);
        let new = self.new_folder().map_err(io)?;
        let graph = new.path().join(GRAPH);
        // The reason may be the disk or the graph; opening the graph without a cache tells which.
        write(&graph).map_err(|error| failed(&self.folder, error))?;
        match align::align(&graph, &new.path().join(WEIGHTS)) {
            Err(AlignError::Io(error)) => return Err(io(error).into()),
            aligned => aligned.map_err(CacheError::Align)?,
        }
        Ok(self.keep(new.path()).map_err(io)?)
    }

    fn new_folder(&self) -> io::Result<TempDir> {
        fs::create_dir_all(&self.folder)?;
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.folder)
    }

    fn keep(&self, new: &Path) -> io::Result<()> {
        set_mode(new, 0o755)?;
        for file in fs::read_dir(new)? {
            let path = file?.path();
            File::open(&path)?.sync_all()?;
            set_mode(&path, 0o444)?;
        }
        match fs::rename(new, self.path()) {
            // Another process may have been faster.
            Err(error) if self.check().is_err() => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if self.supersedes(&entry) {
                // Another process may remove it at the same time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// Whether `entry` belongs to an earlier version of the model's file, or was left by a process that ended too early.
    fn supersedes(&self, entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        match name.strip_prefix(&self.file) {
            Some(rest) => !rest.starts_with(&format!("-{}-", self.version)),
            None => name.starts_with(UNFINISHED) && age().is_some_and(|age| age > ABANDONED),
        }
    }

    /// Removes the entry, if there is one: it vanishes at once, whatever other processes do.
    pub(super) fn remove(&self) -> Result<(), BackendError> {
        let remove = || match fs::symlink_metadata(self.path()) {
            Ok(found) if found.is_dir() => fs::rename(self.path(), self.new_folder()?.path().join("removed")),
            Ok(_) => fs::remove_file(self.path()),
            Err(error) => Err(error),
        };
        match remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.folder, error)),
            _ => Ok(()),
        }
    }
}

fn failed(folder: &Path, error: impl Into<Box<dyn Error + Send + Sync>>) -> BackendError {
    BackendError::Cache { folder: folder.to_owned(), source: error.into() }
}

/// Makes temporary files, which are private by default, readable for others.
#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// The features that the layout of weights may depend on.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx512vnni"),
        is_x86_feature_detected!("avxvnni"),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [bool; 0] = [];
    format!("{} {features:?}", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use hyperloader_onnx::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
    use prost::Message;

    use super::*;

    #[test]
    fn an_entry_whose_weights_cannot_be_aligned_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let [file, version, graph] = ["f", "v", "g"].map(str::to_owned);
        let entry = Entry { folder: folder.path().join("a.onnx.cache"), file, version, graph };
        let newer = StringStringEntryProto { key: "packed".into(), value: "in a newer form".into() };
        let tensor = TensorProto { name: "w".into(), external_data: vec![newer], ..TensorProto::default() };
        let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        let written = entry.write(|path| {
            fs::write(path, model.encode_to_vec()).unwrap();
            fs::write(path.with_file_name(WEIGHTS), [0; 64]).unwrap();
            Ok(())
        });
        let Err(CacheError::Align(error)) = written else { panic!("{written:?}") };
        assert!(error.to_string().ends_with("which this version does not know"), "{error}");
        assert_eq!(fs::read_dir(&entry.folder).unwrap().count(), 0);
    }
}
