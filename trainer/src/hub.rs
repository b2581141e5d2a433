//! Backbones of the Hugging Face hub: fetched once into the hub's standard cache, found there ever after.
//!
//! A model is fetched at the commit that its main branch has at that time; the cache's `refs/main` is set when every
//! file is there, so that a fetch that was cut is not taken for a whole one. A model that is in the cache is used as it
//! is, without asking the hub whether there is a newer one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use hyperloader_core::backbone::{CONFIG, SENTENCEPIECE, TOKENIZER};
use hyperloader_core::files::{FileError, sha256};
use hyperloader_core::run::HubReference;
use hyperloader_core::weights::pretrained::{FOREIGN, INDEX, SINGLE, ShardIndex, WeightsError, weight_files};

use crate::config::BackboneConfig;

const ENDPOINT: &str = "https://huggingface.co";
/// Times that a file is asked for before a broken connection is reported; what was received is kept in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// A backbone cannot be found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The configuration names no backbone, or two.
    #[error(
        "`[backbone]` has {found}, expected either `path`, a folder, or `id`, a model of the Hugging Face hub"
    )]
    Choice {
        /// What it has.
        found: &'static str,
    },
    /// An argument cannot be a backbone.
    #[error(
        "`{0}` is neither a folder nor the id of a model\nhint: a folder holds `config.json`, `model.safetensors` and `tokenizer.json`; an id is `NAME` or `OWNER/NAME`, such as `t5-base`"
    )]
    Neither(String),
    /// There is nowhere to keep what is fetched.
    #[error(
        "no home folder, so no cache for models of the Hugging Face hub\nhint: set `HF_HOME` to a folder"
    )]
    NoHome,
    /// The model is not in the cache and must not be fetched.
    #[error(
        "model `{id}` is not (or not whole) in the cache `{}`, and `HF_HUB_OFFLINE` forbids fetching it\nhint: fetch it once without `HF_HUB_OFFLINE`, or give a folder",
        cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub does not know the model, or hides it.
    #[error(
        "there is no model `{id}` at {endpoint} (HTTP status {status})\nhint: check the id, or the path if it is a folder; a private or gated model needs `HF_TOKEN`"
    )]
    NoModel {
        /// The model.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// Its answer.
        status: u16,
    },
    /// The model lacks a file that a backbone needs.
    #[error("model `{id}` at {endpoint} has no `{file}`{hint}")]
    Lacks {
        /// The model.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// The file.
        file: &'static str,
        /// `hint: ...` on a line of its own, or nothing.
        hint: String,
    },
    /// A request failed.
    #[error(
        "cannot fetch {what} of model `{id}` from {endpoint}: {source}\nhint: check the connection and `HF_ENDPOINT`, then run the same command again: it goes on where this one stopped; a folder needs no connection"
    )]
    Fetch {
        /// The file, or what else was asked for.
        what: String,
        /// The model.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// The reason.
        source: Box<ApiError>,
    },
    /// A file is not what the hub announced.
    #[error(
        "`{file}` of model `{id}` from {endpoint} has {found}, the hub announced {announced}; it was removed"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// The model.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// Its size or hash.
        found: String,
        /// What it should have been.
        announced: String,
    },
    /// The index of a sharded model is unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file of the cache cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// The file that is being fetched.
    pub file: &'a str,
    /// Its bytes that are there.
    pub bytes: u64,
    /// All its bytes.
    pub size: u64,
}

/// Is told how far a fetch is, at the beginning of each file (0 bytes) and with everything that comes in.
pub type Report<'a> = &'a mut dyn FnMut(Received<'_>);

/// Where a backbone lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The folder.
    pub folder: PathBuf,
    /// What it is on the hub, if it comes from there.
    pub hub: Option<HubReference>,
}

impl BackboneConfig {
    /// Takes `typed`, a folder or else the id of a model, in place of what the configuration says.
    ///
    /// # Errors
    /// If it is neither.
    pub fn choose(&mut self, typed: &str) -> Result<(), HubError> {
        (self.path, self.id) = match typed {
            folder if Path::new(folder).is_dir() => (Some(folder.into()), None),
            id if is_id(id) => (None, Some(id.to_owned())),
            _ => return Err(HubError::Neither(typed.to_owned())),
        };
        Ok(())
    }

    /// The backbone's folder; a model of the hub is fetched, unless it is in the cache.
    ///
    /// # Errors
    /// If the configuration names no backbone, or the model cannot be fetched.
    pub fn locate(&self, report: Report<'_>) -> Result<Located, HubError> {
        match (&self.path, &self.id) {
            (Some(folder), None) => Ok(Located { folder: folder.clone(), hub: None }),
            (None, Some(id)) if is_id(id) => Hub::from_env()?.fetch(id, report),
            (None, Some(id)) => Err(HubError::Neither(id.clone())),
            (None, None) => Err(HubError::Choice { found: "neither `path` nor `id`" }),
            (Some(_), Some(_)) => Err(HubError::Choice { found: "both `path` and `id`" }),
        }
    }
}

/// Whether the hub could have a model of this id: `NAME` or `OWNER/NAME`, of letters, digits, `-`, `_` and `.`.
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
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// The cache's folder, as `huggingface_hub` for Python lays it out.
    pub cache: PathBuf,
    /// For private and gated models.
    pub token: Option<String>,
    /// Use the cache only.
    pub offline: bool,
}

impl Hub {
    /// The hub of `HF_ENDPOINT` (huggingface.co), the cache of `HF_HUB_CACHE` (`HF_HOME/hub`, and `HF_HOME` is
    /// `~/.cache/huggingface`), the token of `HF_TOKEN` (`HF_HOME/token`), offline if `HF_HUB_OFFLINE` is `1`, `on`,
    /// `yes` or `true`: the variables of `huggingface_hub`.
    ///
    /// # Errors
    /// If there is no home folder and no variable to take its place.
    pub fn from_env() -> Result<Self, HubError> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let in_home = || Some(env::home_dir()?.join(".cache/huggingface"));
        let home = set("HF_HOME").map(PathBuf::from).or_else(in_home).ok_or(HubError::NoHome)?;
        let cache = set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let stored = || fs::read_to_string(home.join("token")).ok();
        let token = text("HF_TOKEN").or_else(stored).map(|token| token.trim().to_owned());
        let offline = text("HF_HUB_OFFLINE").map(|value| value.to_ascii_lowercase());
        Ok(Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned(),
            cache: std::path::absolute(&cache).map_err(|e| FileError::new("find", &cache, e))?,
            token: token.filter(|token| !token.is_empty()),
            offline: offline.is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.as_str())),
        })
    }

    /// The folder of a model, in the cache; what is not there is fetched.
    ///
    /// # Errors
    /// If it is not whole in the cache, and the hub does not have it, is not to be asked, or breaks off. No file then
    /// looks whole that is not.
    pub fn fetch(&self, id: &str, report: Report<'_>) -> Result<Located, HubError> {
        if let Some(found) = self.cached(id) {
            return Ok(found);
        }
        if self.offline {
            return Err(HubError::Offline { id: id.to_owned(), cache: self.cache.clone() });
        }
        let failed = |source| self.failed("the list of files", id, source);
        let api = ApiBuilder::from_cache(self.files())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(failed)?;
        let Listing { commit, sharded } = self.listing(&api, id)?;
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, commit.clone());
        let fetch = Fetch { hub: self, id, api: api.repo(repo.clone()), repo };
        fetch.file(CONFIG, report)?;
        fetch.file(TOKENIZER, report)?;
        if sharded {
            let index = fetch.file(INDEX, report)?;
            for shard in ShardIndex::read(&index)?.shards() {
                fetch.file(shard, report)?;
            }
        } else {
            fetch.file(SINGLE, report)?;
        }
        let main = self.files().model(id.to_owned());
        main.create_ref(&commit).map_err(|e| FileError::new("write", &self.cache, e))?;
        let folder = main.pointer_path(&commit);
        Ok(Located { folder, hub: Some(HubReference { id: id.to_owned(), commit }) })
    }

    fn files(&self) -> Cache {
        Cache::new(self.cache.clone())
    }

    /// A model whose files are all in the cache.
    fn cached(&self, id: &str) -> Option<Located> {
        let folder = self.files().model(id.to_owned()).get(CONFIG)?.parent()?.to_owned();
        let commit = folder.file_name()?.to_str()?.to_owned();
        let weights = weight_files(&folder).ok()?;
        let whole = folder.join(TOKENIZER).is_file() && weights.iter().all(|file| file.is_file());
        whole.then(|| Located { folder, hub: Some(HubReference { id: id.to_owned(), commit }) })
    }

    fn listing(&self, api: &Api, id: &str) -> Result<Listing, HubError> {
        let info = api.model(id.to_owned()).info().map_err(|source| match status(&source) {
            // The hub does not tell strangers which models are private.
            Some(status @ (401 | 403 | 404)) => {
                HubError::NoModel { id: id.to_owned(), endpoint: self.endpoint.clone(), status }
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
        if !has(TOKENIZER) {
            let hint = format!(
                "\nhint: it has `{SENTENCEPIECE}`; T5, T5 v1.1 and FLAN-T5 have one vocabulary: put its other files and the `{TOKENIZER}` of `t5-base` into a folder, and give that"
            );
            return lacks(TOKENIZER, if has(SENTENCEPIECE) { hint } else { String::new() });
        }
        Ok(Listing { sharded: !has(SINGLE), commit: info.sha })
    }

    fn failed(&self, what: &str, id: &str, source: ApiError) -> HubError {
        let (id, endpoint) = (id.to_owned(), self.endpoint.clone());
        HubError::Fetch { what: what.to_owned(), id, endpoint, source: Box::new(source) }
    }
}

/// What there is to fetch.
struct Listing {
    commit: String,
    sharded: bool,
}

/// The fetch of one commit of a model.
struct Fetch<'a> {
    hub: &'a Hub,
    id: &'a str,
    api: ApiRepo,
    repo: Repo,
}

impl Fetch<'_> {
    /// A file's place in the cache; it is fetched if it is not there, and checked.
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

    /// Whether another attempt may succeed. A part that is already too long never does: it is removed.
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

    /// Compares a fetched file with the announced size and, where its entity tag is one, with its SHA-256.
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

/// The status of a hub's answer, if that is what was wrong.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// Passes progress on, and keeps the size that the hub announced.
struct Forward<'a> {
    report: Report<'a>,
    file: &'a str,
    size: &'a mut Option<u64>,
    bytes: u64,
}

impl Progress for Forward<'_> {
    /// Called before each connection; what an earlier one left is reported by the first update.
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
    fn ids_are_told_from_paths() {
        for id in ["t5-base", "google/t5-v1_1-base", "a/b.c_d"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["", "/", "a/", "/a", "a/b/c", "./a", "../a", "a b", "a--b", "runs/", "C:\\t5", "ü"] {
            assert!(!is_id(path), "{path}");
        }
    }

    #[test]
    fn a_backbone_is_named_once() {
        let config = |path: Option<&str>, id: Option<&str>| BackboneConfig {
            path: path.map(PathBuf::from),
            id: id.map(str::to_owned),
            cross_attention_relative_bias: false,
        };
        let message = |config: BackboneConfig| config.locate(&mut |_| ()).unwrap_err().to_string();
        assert!(message(config(None, None)).contains("neither `path` nor `id`"));
        assert!(message(config(Some("a"), Some("b"))).contains("both `path` and `id`"));
        assert!(message(config(None, Some("a/b/c"))).contains("`a/b/c` is neither"));
        assert!(config(None, None).choose("a/b/c").is_err());
        let mut config = config(Some("a"), None);
        config.choose("t5-none").unwrap();
        assert_eq!((config.path, config.id.as_deref()), (None, Some("t5-none")));
    }
}
