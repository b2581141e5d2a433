//! Models in the cache of the hub, in the layout of Python's `huggingface_hub`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::backbone::CONFIG;
use hyperloader_core::weights::pretrained::{SINGLE, weight_files};

use super::TOKENIZERS;

/// How much of a revision of a model is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheState {
    /// All files are there.
    Complete {
        /// The folder of the snapshot.
        folder: PathBuf,
        /// The commit.
        commit: String,
    },
    /// Files are missing.
    Incomplete {
        /// Their names.
        missing: Vec<String>,
    },
    /// The cache has the model, but not this revision.
    OtherRevisions {
        /// The branches and tags that it has.
        known: Vec<String>,
    },
    /// The cache does not have the model.
    Absent,
}

impl CacheState {
    /// Looks up a revision (a branch, a tag or a commit) of the model in `folder`, a `models--OWNER--NAME` of the cache.
    pub(super) fn of(folder: &Path, revision: &str) -> Self {
        let snapshots = folder.join("snapshots");
        let reference = fs::read_to_string(folder.join("refs").join(revision)).ok();
        let commit = reference.map_or_else(|| revision.to_owned(), |commit| commit.trim().to_owned());
        let snapshot = snapshots.join(&commit);
        if commit.is_empty() || !snapshot.is_dir() {
            return match references(folder) {
                _ if !snapshots.is_dir() => Self::Absent,
                known if known.is_empty() => Self::Absent,
                known => Self::OtherRevisions { known },
            };
        }
        let missing = missing(&snapshot);
        match missing.is_empty() {
            true => Self::Complete { folder: snapshot, commit },
            false => Self::Incomplete { missing },
        }
    }
}

/// `: ` and the reason why a model is not complete; empty if the cache does not have it at all.
impl fmt::Display for CacheState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Incomplete { missing } => write!(f, ": {} is missing", list(missing)),
            Self::OtherRevisions { known } => write!(f, ": it has only {}", list(known)),
            Self::Complete { .. } | Self::Absent => Ok(()),
        }
    }
}

/// The files that a snapshot lacks. A link whose target does not exist counts as missing.
fn missing(snapshot: &Path) -> Vec<String> {
    let tokenizers = TOKENIZERS.map(|name| snapshot.join(name));
    let tokenizer = tokenizers.iter().find(|file| file.is_file()).unwrap_or(&tokenizers[0]);
    let mut files = vec![snapshot.join(CONFIG), tokenizer.clone()];
    files.extend(weight_files(snapshot).unwrap_or_else(|_| vec![snapshot.join(SINGLE)]));
    let name = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().filter(|file| !file.is_file()).map(name).collect()
}

/// The branches and tags of a model in the cache, sorted. Commits, which have a file there too, are left out.
fn references(folder: &Path) -> Vec<String> {
    let root = folder.join("refs");
    let mut open = vec![root.clone()];
    let mut names = Vec::new();
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => open.push(path),
                false => {
                    names.extend(path.strip_prefix(&root).map(|name| name.to_string_lossy().into_owned()))
                }
            }
        }
    }
    names.retain(|name| !(name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit())));
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use hyperloader_core::backbone::TOKENIZER;

    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    /// A model whose files are links into `blobs`, as Python's client writes it.
    fn model() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["refs", "blobs", &format!("snapshots/{COMMIT}")] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for name in [CONFIG, TOKENIZER, SINGLE] {
            fs::write(at(&format!("blobs/{name}")), name).unwrap();
            let link = at(&format!("snapshots/{COMMIT}/{name}"));
            std::os::unix::fs::symlink(format!("../../blobs/{name}"), link).unwrap();
        }
        fs::write(at("refs/main"), format!("{COMMIT}\n")).unwrap();
        folder
    }

    fn complete(folder: &Path) -> CacheState {
        CacheState::Complete { folder: folder.join("snapshots").join(COMMIT), commit: COMMIT.to_owned() }
    }

    #[test]
    fn a_revision_is_a_branch_a_tag_or_a_commit_and_a_line_feed_after_the_commit_is_ignored() {
        let model = model();
        assert_eq!(CacheState::of(model.path(), "main"), complete(model.path()));
        assert_eq!(CacheState::of(model.path(), COMMIT), complete(model.path()));
        fs::create_dir(model.path().join("refs/pr")).unwrap();
        fs::write(model.path().join("refs/pr/1"), COMMIT).unwrap();
        assert_eq!(CacheState::of(model.path(), "pr/1"), complete(model.path()));
    }

    #[test]
    fn other_revisions_are_named() {
        let model = model();
        fs::rename(model.path().join("refs/main"), model.path().join("refs/v1.0")).unwrap();
        fs::write(model.path().join("refs").join(COMMIT), COMMIT).unwrap();
        assert_eq!(CacheState::of(model.path(), "main").to_string(), ": it has only `v1.0`");
        assert_eq!(CacheState::of(&model.path().join("none"), "main"), CacheState::Absent);
    }

    #[test]
    fn a_missing_file_and_a_link_to_a_missing_file_are_named() {
        let model = model();
        fs::remove_file(model.path().join("snapshots").join(COMMIT).join(TOKENIZER)).unwrap();
        let text = CacheState::of(model.path(), "main").to_string();
        assert_eq!(text, ": `tokenizer.json` is missing");
        fs::remove_file(model.path().join("blobs").join(SINGLE)).unwrap();
        let text = CacheState::of(model.path(), "main").to_string();
        assert_eq!(text, ": `tokenizer.json`, `model.safetensors` is missing");
    }
}
