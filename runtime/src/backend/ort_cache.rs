//! What ONNX Runtime makes of a graph when it opens it, kept on disk: fused operators, and weights laid out for its
//! products. They are mapped from there, so that sessions and processes share one copy.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hyperloader_core::files::hexadecimal;
use hyperloader_onnx::WeightFile;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::BackendError;

const GRAPH: &str = "graph.onnx";
const WEIGHTS: &str = "graph.weights";

/// Begins the names of folders that are being written.
const UNFINISHED: &str = ".new-";
/// Nobody writes for so long.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Settings of a session that is to write its graph for later ones.
pub(super) const WRITING: [(&str, &str); 3] = [
    ("session.optimized_model_external_initializers_file_name", WEIGHTS),
    ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
    ("session.save_external_prepacked_constant_initializers", "1"),
];

/// Where a graph is, or will be, kept.
#[derive(Debug)]
pub(super) struct Entry {
    /// `NAME.onnx.cache`: entries of the parts of models of this name.
    folder: PathBuf,
    /// Begins the names of all entries of the model's file.
    file: String,
    /// Goes on in the names of those that still are of use.
    version: String,
    /// Ends the name: the part.
    graph: String,
}

impl Entry {
    /// The entry in `folder` for `graph`, encoded, which refers to `weights`. Another one if the file has changed since, and
    /// for another ONNX Runtime or processor, which may lay weights out differently.
    pub(super) fn new(folder: &Path, graph: &[u8], weights: &WeightFile) -> Result<Self, BackendError> {
        let mut name = weights.path().file_name().unwrap_or_default().to_owned();
        name.push(".cache");
        let folder = folder.join(name);
        let version = || {
            let file = fs::metadata(weights.path())?;
            let modified = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let path = fs::canonicalize(weights.path())?;
            Ok((path, format!("{} {modified} {} {}", file.len(), ort::info(), processor())))
        };
        let (path, version) = version().map_err(|error: io::Error| failed(&folder, &error))?;
        let short = |bytes: &[u8]| hexadecimal(&Sha256::digest(bytes)[..8]);
        let file = short(path.as_os_str().as_encoded_bytes());
        Ok(Self { folder, file, version: short(version.as_bytes()), graph: short(graph) })
    }

    fn path(&self) -> PathBuf {
        let Self { folder, file, version, graph } = self;
        folder.join(format!("{file}-{version}-{graph}"))
    }

    /// The graph's file.
    pub(super) fn graph(&self) -> PathBuf {
        self.path().join(GRAPH)
    }

    /// Lets `write` write the graph to a path, and files beside it; the entry is complete or absent. Removes entries of what
    /// the model's file has been before.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&Path) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let new = self.new_folder().map_err(|error| failed(&self.folder, &error))?;
        // Be it the disk or the graph: without a cache, the backend says which.
        write(&new.path().join(GRAPH)).map_err(|error| failed(&self.folder, &error))?;
        self.keep(new.path()).map_err(|error| failed(&self.folder, &error))
    }

    fn new_folder(&self) -> io::Result<TempDir> {
        fs::create_dir_all(&self.folder)?;
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.folder)
    }

    fn keep(&self, new: &Path) -> io::Result<()> {
        share(new, 0o755)?;
        for file in fs::read_dir(new)? {
            let path = file?.path();
            share(&path, 0o644)?;
            File::open(path)?.sync_all()?;
        }
        match fs::rename(new, self.path()) {
            // Another process may have been faster.
            Err(error) if !self.graph().exists() => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if self.supersedes(&entry) {
                // If another process removes it too, so be it.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// Whether `entry` is of what the model's file was before, or was left by a process that ended too early.
    fn supersedes(&self, entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let left = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        match name.strip_prefix(&self.file) {
            Some(rest) => !rest.starts_with(&format!("-{}-", self.version)),
            None => name.starts_with(UNFINISHED) && left().is_some_and(|age| age > ABANDONED),
        }
    }

    /// Removes an entry that cannot be used.
    pub(super) fn remove(&self) -> Result<(), BackendError> {
        fs::remove_dir_all(self.path()).map_err(|error| failed(&self.folder, &error))
    }
}

fn failed(folder: &Path, error: &impl ToString) -> BackendError {
    BackendError::Cache { folder: folder.to_owned(), reason: error.to_string() }
}

/// Temporary files are private by default; these are as readable as any that a program writes.
#[cfg(unix)]
fn share(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn share(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// What the layout of weights may depend on.
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
