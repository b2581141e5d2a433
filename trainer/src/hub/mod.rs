//! Backbones of the Hugging Face hub: downloaded once into the standard cache of the hub, then used from there.
//!
//! A model is downloaded at the current commit of a branch or tag (`main` by default), or at a given commit. The reference in
//! the cache (`refs/main`) is written after all files, so that an interrupted download does not look complete. A model in the cache is used without asking the hub for a newer one.
//!
//! - [`Hub`]: a hub and its cache.
//! - `environment`: the environment variables of Python's `huggingface_hub`.
//! - `cache`: models in the cache, and what is missing of them.
//! - `error`: [`HubError`] and [`RequestError`].

mod cache;
mod environment;
mod error;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use hyperloader_core::backbone::{CONFIG, SENTENCEPIECE, TOKENIZER, model_folder};
use hyperloader_core::files::{FileError, sha256};
use hyperloader_core::run::HubReference;
use hyperloader_core::text::wordpiece::{TOKENIZER_CONFIG, VOCABULARY};
use hyperloader_core::weights::pretrained::{FOREIGN, INDEX, SINGLE, ShardIndex};

pub use self::cache::CacheState;
use self::environment::Settings;
pub use self::error::{HubError, RequestError};
use crate::config::BackboneConfig;

/// The files that a tokenizer is read from: the first that a model has.
const TOKENIZERS: [&str; 3] = [TOKENIZER, SENTENCEPIECE, VOCABULARY];
/// The revision of a model if none is given.
const MAIN: &str = "main";
/// The number of attempts to download a file. Each attempt continues the one before.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Name of the file in the repository.
    pub file: &'a str,
    /// The number of bytes received so far.
    pub bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
}

/// Receives the progress of a download: at the beginning of each file (0 bytes), then after each block.
pub type Report<'a> = &'a mut dyn FnMut(Received<'_>);

/// The location of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Path of the folder.
    pub folder: PathBuf,
    /// Its id and commit on the hub, if it comes from there.
    pub hub: Option<HubReference>,
}

impl BackboneConfig {
    /// Replaces the configured backbone with `typed`, a folder or the id of a model, which may end with `@REVISION`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn choose(&mut self, typed: &str) -> Result<(), HubError> {
        (self.path, self.id) = match typed {
            folder if Path::new(folder).is_dir() => (Some(folder.into()), None),
            id if split_id(id).is_some() => (None, Some(id.to_owned())),
            _ => return Err(HubError::Neither(typed.to_owned())),
        };
        self.revision = None;
        Ok(())
    }

    /// The folder of the backbone. A model of the hub is downloaded unless it is in the cache.
    ///
    /// # Errors
    /// If the configuration names no backbone, or the model cannot be downloaded.
    pub fn locate(&self, report: Report<'_>) -> Result<Located, HubError> {
        self.locate_with(Hub::from_env, report)
    }

    /// The same without a download: a folder, or a model that is complete in the cache.
    ///
    /// # Errors
    /// If the configuration names no backbone, or the model is not complete in the cache.
    pub fn locate_offline(&self) -> Result<Located, HubError> {
        self.locate_with(|| Ok(Hub { offline: true, ..Hub::from_env()? }), &mut |_| ())
    }

    fn locate_with(
        &self,
        hub: impl FnOnce() -> Result<Hub, HubError>,
        report: Report<'_>,
    ) -> Result<Located, HubError> {
        match (&self.path, &self.id) {
            (Some(_), None) if self.revision.is_some() => {
                Err(HubError::Choice { found: "`revision` without `id`" })
            }
            (Some(folder), None) => Ok(Located { folder: model_folder(folder), hub: None }),
            (None, Some(id)) => {
                let (name, revision) = split_id(id).ok_or_else(|| HubError::Neither(id.clone()))?;
                hub()?.fetch(name, revision.or(self.revision.as_deref()), report)
            }
            (None, None) => Err(HubError::Choice { found: "neither `path` nor `id`" }),
            (Some(_), Some(_)) => Err(HubError::Choice { found: "both `path` and `id`" }),
        }
    }
}

/// The id and the revision of `ID` or `ID@REVISION`; `None` if it is neither.
fn split_id(text: &str) -> Option<(&str, Option<&str>)> {
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (text, None),
    };
    (is_id(id) && revision.is_none_or(is_revision)).then_some((id, revision))
}

/// Whether `text` can be a branch, a tag or a commit: a relative path without `.` or `..`.
fn is_revision(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    text.chars().all(plain) && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// Whether `text` is a valid id of a model: `NAME` or `OWNER/NAME` of letters, digits, `-`, `_` and `.`.
fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let part = |part: &str| {
        (1..=96).contains(&part.len())
            && part.chars().all(plain)
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    };
    text.split('/').count() <= 2 && text.split('/').all(part)
}

/// A hub and its cache.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The address of the hub, without a slash at the end.
    pub endpoint: String,
    /// The folder of the cache, in the layout of Python's `huggingface_hub`.
    pub cache: PathBuf,
    /// The token for private and gated models.
    pub token: Option<String>,
    /// Whether to use only the cache.
    pub offline: bool,
}

impl Hub {
    /// The hub and the cache that the environment variables of Python's `huggingface_hub` name: `HF_ENDPOINT`, `HF_HUB_CACHE`
    /// (or `HUGGINGFACE_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`), `HF_TOKEN` (or `HUGGING_FACE_HUB_TOKEN`, `HF_TOKEN_PATH`),
    /// and `HF_HUB_OFFLINE` (or `TRANSFORMERS_OFFLINE`).
    ///
    /// # Errors
    /// If there is no home folder and no variable names the cache.
    pub fn from_env() -> Result<Self, HubError> {
        let Settings { endpoint, cache, token, offline } = Settings::from_env()?;
        let cache = std::path::absolute(&cache).map_err(|e| FileError::new("find", &cache, e))?;
        Ok(Self { endpoint, cache, token, offline })
    }

    /// The folder of a model in the cache, at a branch, tag or commit (`main` by default). Missing files are downloaded.
    ///
    /// # Errors
    /// If the model is not complete in the cache and cannot be downloaded. Incomplete files never get their final name.
    pub fn fetch(&self, id: &str, revision: Option<&str>, report: Report<'_>) -> Result<Located, HubError> {
        let revision = revision.unwrap_or(MAIN);
        let wanted = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let located =
            |folder, commit| Located { folder, hub: Some(HubReference { id: id.to_owned(), commit }) };
        match CacheState::of(&self.cache.join(wanted.folder_name()), revision) {
            CacheState::Complete { folder, commit } => return Ok(located(folder, commit)),
            state if self.offline => {
                let (id, revision, cache) = (id.to_owned(), revision.to_owned(), self.cache.clone());
                return Err(HubError::Offline { id, revision, cache, state: Box::new(state) });
            }
            _ => {}
        }
        let failed = |source| self.failed("the list of files", id, source);
        let api = ApiBuilder::from_cache(self.files())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(failed)?;
        let Listing { commit, tokenizer_files, sharded } = self.listing(&api, &wanted, (id, revision))?;
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, commit.clone());
        let fetch = Fetch { hub: self, id, api: api.repo(repo.clone()), repo };
        fetch.file(CONFIG, report)?;
        for file in tokenizer_files {
            fetch.file(file, report)?;
        }
        if sharded {
            let index = fetch.file(INDEX, report)?;
            for shard in ShardIndex::read(&index)?.shards() {
                fetch.file(shard, report)?;
            }
        } else {
            fetch.file(SINGLE, report)?;
        }
        let reference = self.files().repo(wanted);
        // A commit needs no reference.
        if revision != commit {
            reference.create_ref(&commit).map_err(|e| FileError::new("write", &self.cache, e))?;
        }
        Ok(located(reference.pointer_path(&commit), commit))
    }

    fn files(&self) -> Cache {
        Cache::new(self.cache.clone())
    }

    fn listing(&self, api: &Api, wanted: &Repo, (id, revision): (&str, &str)) -> Result<Listing, HubError> {
        let info = api.repo(wanted.clone()).info().map_err(|source| match status(&source) {
            // The hub answers the same for missing and for private models.
            Some(status @ (401 | 403 | 404)) => {
                let (id, revision) = (id.to_owned(), revision.to_owned());
                HubError::NoModel { id, revision, endpoint: self.endpoint.clone(), status }
            }
            _ => self.failed("the list of files", id, source),
        })?;
        let has = |file: &str| info.siblings.iter().any(|sibling| sibling.rfilename == file);
        let lacks = |file, hint: String| {
            Err(HubError::Lacks { id: id.to_owned(), endpoint: self.endpoint.clone(), file, hint })
        };
        if !has(CONFIG) {
            return lacks(CONFIG, String::new());
        }
        if !has(SINGLE) && !has(INDEX) {
            let foreign = FOREIGN.into_iter().find(|file| has(file));
            let hint = foreign.map(|file| format!(
                "\nhint: it has `{file}`; convert it in Python, `T5ForConditionalGeneration.from_pretrained(\"{id}\").save_pretrained(FOLDER, safe_serialization=True)`, and give the folder"
            ));
            return lacks(SINGLE, hint.unwrap_or_default());
        }
        let Some(tokenizer) = TOKENIZERS.into_iter().find(|file| has(file)) else {
            return lacks(TOKENIZER, String::new());
        };
        let mut tokenizer_files = vec![tokenizer];
        if tokenizer == VOCABULARY && has(TOKENIZER_CONFIG) {
            tokenizer_files.push(TOKENIZER_CONFIG);
        }
        Ok(Listing { sharded: !has(SINGLE), tokenizer_files, commit: info.sha })
    }

    fn failed(&self, what: &str, id: &str, source: ApiError) -> HubError {
        let (id, endpoint) = (id.to_owned(), self.endpoint.clone());
        HubError::Fetch { what: what.to_owned(), id, endpoint, source: RequestError::new(source) }
    }
}

/// The files of a model on the hub.
struct Listing {
    commit: String,
    /// The names of the tokenizer's files.
    tokenizer_files: Vec<&'static str>,
    sharded: bool,
}

/// The download of one commit of a model.
struct Fetch<'a> {
    hub: &'a Hub,
    id: &'a str,
    api: ApiRepo,
    repo: Repo,
}

impl Fetch<'_> {
    /// The path of a file in the cache. A missing file is downloaded and checked.
    fn file(&self, file: &str, report: Report<'_>) -> Result<PathBuf, HubError> {
        if let Some(path) = self.hub.files().repo(self.repo.clone()).get(file) {
            return Ok(path);
        }
        let (mut announced, mut attempt) = (None, 0);
        loop {
            attempt += 1;
            let forward = Forward { report: &mut *report, file, size: &mut announced, bytes: 0 };
            match self.api.download_with_progress(file, forward) {
                Ok(path) => {
                    self.check(file, &path, announced)?;
                    return Ok(path);
                }
                Err(error) if attempt < ATTEMPTS && self.may_pass(&error) => {
                    std::thread::sleep(PAUSE * attempt);
                }
                Err(error) => return Err(self.hub.failed(&format!("`{file}`"), self.id, error)),
            }
        }
    }

    /// Whether another attempt may succeed. A partial download that is too long is removed first.
    fn may_pass(&self, error: &ApiError) -> bool {
        match (status(error), error) {
            (Some(416), _) | (_, ApiError::InvalidResume) => {
                let blobs = self.hub.cache.join(self.repo.folder_name()).join("blobs");
                let parts = fs::read_dir(blobs).into_iter().flatten().flatten().map(|entry| entry.path());
                let parts = parts.filter(|path| path.extension().is_some_and(|e| e == "part"));
                parts.for_each(|path| drop(fs::remove_file(path)));
                true
            }
            (Some(status), _) => status >= 500 || status == 429,
            (None, ApiError::RequestError(_) | ApiError::IoError(_)) => true,
            (None, _) => false,
        }
    }

    /// Compares a downloaded file with the announced size, and with its entity tag if that is a SHA-256.
    fn check(&self, file: &str, path: &Path, announced: Option<u64>) -> Result<(), HubError> {
        let blob = fs::canonicalize(path).map_err(|e| FileError::new("read", path, e))?;
        let size = fs::metadata(&blob).map_err(|e| FileError::new("read", &blob, e))?.len();
        let tag = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = |n: u64| format!("{n} bytes");
        let (found, announced) = match announced {
            Some(announced) if size != announced => (bytes(size), bytes(announced)),
            _ if tag.len() == 64 => (format!("SHA-256 {}", sha256(&blob)?), format!("SHA-256 {tag}")),
            _ => return Ok(()),
        };
        if found == announced {
            return Ok(());
        }
        for path in [path, &blob] {
            fs::remove_file(path).map_err(|e| FileError::new("remove", path, e))?;
        }
        let (id, endpoint) = (self.id.to_owned(), self.hub.endpoint.clone());
        Err(HubError::Corrupt { file: file.to_owned(), id, endpoint, found, announced })
    }
}

/// The HTTP status of the hub's response, if the error is one.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// Forwards the progress, and stores the size that the hub announced.
struct Forward<'a> {
    report: Report<'a>,
    file: &'a str,
    size: &'a mut Option<u64>,
    bytes: u64,
}

impl Progress for Forward<'_> {
    /// Called before each connection. The first update reports the bytes of earlier connections.
    fn init(&mut self, size: usize, _file: &str) {
        *self.size = Some(size as u64);
        self.bytes = 0;
        self.update(0);
    }

    fn update(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let size = self.size.unwrap_or(self.bytes);
        (self.report)(Received { file: self.file, bytes: self.bytes, size });
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_from_paths() {
        for id in ["t5-base", "google/t5-v1_1-base", "a/b.c_d"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["", "/", "a/", "/a", "a/b/c", "./a", "../a", "a b", "a--b", "runs/", "C:\\t5", "ü"] {
            assert!(!is_id(path), "{path}");
        }
    }

    #[test]
    fn an_id_may_end_with_a_revision() {
        assert_eq!(split_id("a/b"), Some(("a/b", None)));
        assert_eq!(split_id("a/b@refs/pr/1"), Some(("a/b", Some("refs/pr/1"))));
        for wrong in ["a/b@", "a/b@..", "a/b@../../x", "a/b@/x", "a/b@a//b", "@main", "a@b@c"] {
            assert_eq!(split_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_backbone_is_either_a_path_or_an_id() {
        let config = |path: Option<&str>, id: Option<&str>| BackboneConfig {
            path: path.map(PathBuf::from),
            id: id.map(str::to_owned),
            ..BackboneConfig::default()
        };
        let message = |config: BackboneConfig| config.locate(&mut |_| ()).unwrap_err().to_string();
        assert!(message(config(None, None)).contains("neither `path` nor `id`"));
        assert!(message(config(Some("a"), Some("b"))).contains("both `path` and `id`"));
        assert!(message(config(None, Some("a/b/c"))).contains("`a/b/c` is neither"));
        assert!(config(None, None).choose("a/b/c").is_err());
        let folder = BackboneConfig { revision: Some("v1".into()), ..config(Some("a"), None) };
        assert!(message(folder.clone()).contains("`revision` without `id`"));
        let mut config = folder;
        config.choose("t5-none").unwrap();
        assert_eq!((config.path, config.id.as_deref(), config.revision), (None, Some("t5-none"), None));
    }
}
