//! What all requests share.

use crate::config::Limits;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::models::{Model, Models};
use crate::problem::Problem;
use crate::scheduler::Scheduler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) models: Models,
    pub(crate) scheduler: Scheduler,
    pub(crate) limits: Limits,
    pub(crate) keys: Option<Keys>,
    pub(crate) metrics: Metrics,
    /// Whether the server completes its last requests.
    pub(crate) stopping: AtomicBool,
    /// Whether answers can have scores.
    pub(crate) has_scores: bool,
}

impl App {
    /// The model `name`, or the only one.
    ///
    /// # Errors
    /// If there is no such model, or several and no name.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<&Arc<Model>, Problem> {
        match name {
            Some(name) => self.models.get(name).ok_or_else(|| {
                let names = self.models.names();
                Problem::not_found(format!("no model is named `{name}`\nhint: the models are {names}"))
            }),
            None => self.models.only().ok_or_else(|| {
                let names = self.models.names();
                Problem::unprocessable(format!(
                    "the request names no model, and there are several\nhint: set `model` to one of {names}"
                ))
            }),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Loads models and keys again, as SIGHUP asks.
    pub(crate) fn reload_all(&self) {
        if let Some(keys) = &self.keys {
            match keys.reload() {
                Ok(()) => tracing::info!("the API keys were read again"),
                Err(error) => {
                    tracing::error!(%error, "the API keys were not read again: the earlier ones are valid")
                }
            }
        }
        self.models.reload(true);
    }
}
