//! What the server counts, in the text format of OpenMetrics.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyperloader_runtime::Statistics;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of latencies in seconds.
const SECONDS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0];
/// Bounds of batch sizes in parts.
const PARTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Bounds of decoder passes per part.
const PASSES: [f64; 9] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 64.0];

/// All counters; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<EndpointLabels, Histogram>,
    errors: Family<ErrorLabels, Counter>,
    texts: Family<ModelLabels, Counter>,
    untagged: Family<ModelLabels, Counter>,
    parts: Family<ModelLabels, Counter>,
    tokens: Family<ModelLabels, Counter>,
    passes: Family<ModelLabels, Counter>,
    mistakes: Family<ModelLabels, Counter>,
    batch_parts: Family<ModelLabels, Histogram>,
    batch_passes: Family<ModelLabels, Histogram>,
    batch_seconds: Family<ModelLabels, Histogram>,
    failed_batches: Family<ModelLabels, Counter>,
    busy: Family<ModelLabels, Counter<f64, AtomicU64>>,
    reloads: Family<ReloadLabels, Counter>,
    loaded_at: Family<ModelLabels, Gauge<f64, AtomicU64>>,
    waiting: Gauge,
    held: Gauge,
    connections: Gauge,
    memory: Gauge,
    descriptors: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    model: String,
    result: ReloadResult,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names of variants are the values of the label")]
pub(crate) enum ReloadResult {
    success,
    error,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("hl");
        let seconds = || Histogram::new(SECONDS);
        let metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            errors: Family::default(),
            texts: Family::default(),
            untagged: Family::default(),
            parts: Family::default(),
            tokens: Family::default(),
            passes: Family::default(),
            mistakes: Family::default(),
            batch_parts: Family::new_with_constructor(|| Histogram::new(PARTS)),
            batch_passes: Family::new_with_constructor(|| Histogram::new(PASSES)),
            batch_seconds: Family::new_with_constructor(seconds),
            failed_batches: Family::default(),
            busy: Family::default(),
            reloads: Family::default(),
            loaded_at: Family::default(),
            waiting: Gauge::default(),
            held: Gauge::default(),
            connections: Gauge::default(),
            memory: Gauge::default(),
            descriptors: Gauge::default(),
        };
        metrics.register(&mut registry);
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Answered requests", self.requests.clone());
        let of_request = self.request_seconds.clone();
        registry.register_with_unit("request", "Time to the end of the answer", Unit::Seconds, of_request);
        registry.register("errors", "Requests that failed, by kind", self.errors.clone());
        registry.register("texts", "Texts that were tagged", self.texts.clone());
        registry.register("untagged_texts", "Texts that could not be tagged", self.untagged.clone());
        registry.register("parts", "Parts of texts that were run", self.parts.clone());
        registry.register("tokens", "Source tokens that were run, without padding", self.tokens.clone());
        registry.register("decoder_passes", "Passes of the decoder, summed over parts", self.passes.clone());
        registry.register("wrong_drafts", "Passes that found a drafted token wrong", self.mistakes.clone());
        registry.register("batch_parts", "Parts of a batch", self.batch_parts.clone());
        registry.register(
            "batch_passes_per_part",
            "Mean passes of the decoder over the parts of a batch",
            self.batch_passes.clone(),
        );
        let of_batch = self.batch_seconds.clone();
        registry.register_with_unit("batch", "Time that a batch takes", Unit::Seconds, of_batch);
        registry.register("failed_batches", "Batches that failed", self.failed_batches.clone());
        registry.register_with_unit("tagging", "Time spent on batches", Unit::Seconds, self.busy.clone());
        registry.register("reloads", "Attempts to load a model file again", self.reloads.clone());
        let loaded_at = self.loaded_at.clone();
        registry.register_with_unit(
            "model_loaded_timestamp",
            "When a model was loaded",
            Unit::Seconds,
            loaded_at,
        );
        registry.register("waiting_texts", "Texts that wait for a tagging thread", self.waiting.clone());
        let held = self.held.clone();
        registry.register_with_unit("request_body", "Bodies of requests in memory", Unit::Bytes, held);
        registry.register("connections", "Open connections", self.connections.clone());
        let memory = self.memory.clone();
        registry.register_with_unit("resident_memory", "Resident memory", Unit::Bytes, memory);
        registry.register("open_descriptors", "Open file descriptors", self.descriptors.clone());
    }

    /// A request was answered.
    pub(crate) fn request(&self, endpoint: &str, status: u16, elapsed: Duration) {
        let endpoint = endpoint.to_owned();
        self.requests.get_or_create(&RequestLabels { endpoint: endpoint.clone(), status }).inc();
        self.request_seconds.get_or_create(&EndpointLabels { endpoint }).observe(elapsed.as_secs_f64());
    }

    /// A request failed.
    pub(crate) fn error(&self, kind: &'static str) {
        self.errors.get_or_create(&ErrorLabels { kind }).inc();
    }

    /// Texts were tagged, and some could not be.
    pub(crate) fn texts(&self, model: &str, tagged: usize, untagged: usize) {
        let labels = ModelLabels { model: model.to_owned() };
        self.texts.get_or_create(&labels).inc_by(tagged as u64);
        self.untagged.get_or_create(&labels).inc_by(untagged as u64);
    }

    /// A batch of `parts` parts with `tokens` tokens was run.
    pub(crate) fn batch(
        &self,
        model: &str,
        parts: usize,
        tokens: usize,
        elapsed: Duration,
        statistics: Statistics,
    ) {
        let labels = ModelLabels { model: model.to_owned() };
        self.parts.get_or_create(&labels).inc_by(parts as u64);
        self.tokens.get_or_create(&labels).inc_by(tokens as u64);
        self.passes.get_or_create(&labels).inc_by(statistics.passes as u64);
        self.mistakes.get_or_create(&labels).inc_by(statistics.mistakes as u64);
        self.batch_parts.get_or_create(&labels).observe(parts as f64);
        self.batch_passes.get_or_create(&labels).observe(statistics.passes as f64 / parts.max(1) as f64);
        self.batch_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
        self.busy.get_or_create(&labels).inc_by(elapsed.as_secs_f64());
    }

    pub(crate) fn failed_batch(&self, model: &str) {
        self.failed_batches.get_or_create(&ModelLabels { model: model.to_owned() }).inc();
    }

    /// A changed model file was loaded, or could not be.
    pub(crate) fn reload(&self, model: &str, result: ReloadResult) {
        self.reloads.get_or_create(&ReloadLabels { model: model.to_owned(), result }).inc();
    }

    /// A model was loaded now.
    pub(crate) fn loaded(&self, model: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.loaded_at.get_or_create(&ModelLabels { model: model.to_owned() }).set(now.as_secs_f64());
    }

    /// Bytes of bodies in memory.
    pub(crate) fn held(&self) -> &Gauge {
        &self.held
    }

    pub(crate) fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// All metrics as text, with `waiting` texts in the queue.
    pub(crate) fn encode(&self, waiting: usize) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if let Some(stats) = memory_stats::memory_stats() {
            self.memory.set(i64::try_from(stats.physical_mem).unwrap_or(i64::MAX));
        }
        // Only Linux has the folder; elsewhere the metric is 0.
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.descriptors.set(i64::try_from(descriptors).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
