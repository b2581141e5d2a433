//! Errors of the hub client.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;
use hyperloader_core::files::FileError;
use hyperloader_core::weights::pretrained::WeightsError;

use super::cache::CacheState;

/// A backbone cannot be found or fetched.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum HubError {
    /// The configuration names no backbone, or a folder and a model.
    #[error(
        "`[backbone]` has {found}, expected either `path`, a folder, or `id`, a model of the Hugging Face hub, with or without `revision`"
    )]
    Choice {
        /// The keys that it has.
        found: &'static str,
    },
    /// An argument is neither a folder nor a possible id.
    #[error(
        "`{0}` is neither a folder nor the id of a model\nhint: a folder holds `config.json`, `model.safetensors` and `tokenizer.json`; an id is `NAME` or `OWNER/NAME`, such as `t5-base`, and may have a revision: `t5-base@main`"
    )]
    Neither(String),
    /// There is no folder for the cache.
    #[error("cannot find the home folder, which has the cache for models\nhint: set `HF_HOME` to a folder")]
    NoHome,
    /// The model is not complete in the cache, and downloads are disabled.
    #[error(
        "revision `{revision}` of model `{id}` is not complete in the cache `{}`{state}; `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` disables downloads\nhint: run the command once without this variable, or name a local folder",
        cache.display()
    )]
    Offline {
        id: String,
        /// The branch, tag or commit.
        revision: String,
        /// The folder of the cache.
        cache: PathBuf,
        /// Name of the missing part.
        state: Box<CacheState>,
    },
    /// The hub has no such model, or hides it.
    #[error(
        "no revision `{revision}` of a model `{id}` at {endpoint} (HTTP status {status})\nhint: check the id and the revision, or the path if it is a folder; a private or gated model needs `HF_TOKEN`"
    )]
    NoModel {
        id: String,
        /// The branch, tag or commit.
        revision: String,
        /// The hub's address.
        endpoint: String,
        /// The HTTP status of its response.
        status: u16,
    },
    /// The model has no file that a backbone needs.
    #[error("model `{id}` at {endpoint} has no `{file}`{hint}")]
    Lacks {
        id: String,
        /// The hub's address.
        endpoint: String,
        file: &'static str,
        /// A `hint:` line, or empty.
        hint: String,
    },
    /// A request failed.
    #[error(
        "cannot fetch {what} of model `{id}` from {endpoint}\nhint: check the connection and `HF_ENDPOINT`, then run the same command again: it continues the download; a local folder needs no connection"
    )]
    Fetch {
        /// The file in backquotes, or `the list of files`.
        what: String,
        id: String,
        /// The hub's address.
        endpoint: String,
        /// The underlying error.
        source: RequestError,
    },
    /// The size or the hash of a file differs from what the hub announced.
    #[error(
        "`{file}` of model `{id}` from {endpoint} has {found}, expected {announced}; the file was removed"
    )]
    Corrupt {
        file: String,
        id: String,
        /// The hub's address.
        endpoint: String,
        /// Its size or hash.
        found: String,
        /// The size or hash that the hub announced.
        announced: String,
    },
    /// The index of a sharded model is unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file of the cache cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The reason of a failed request. Its message has all causes already: the client's errors repeat theirs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(Box<ApiError>);

impl RequestError {
    pub(super) fn new(error: ApiError) -> Self {
        Self(Box::new(error))
    }
}
