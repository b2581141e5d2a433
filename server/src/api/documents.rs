//! What the server tells about itself, and the playground.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::inference::json;
use crate::app::App;
use crate::metrics;
use crate::models::Model;

/// The description of all addresses.
pub const OPENAPI: &str = include_str!("../../assets/openapi.json");
const PAGE: &str = include_str!("../../assets/playground.html");
const STYLE: &str = include_str!("../../assets/playground.css");
const ICON: &str = include_str!("../../assets/favicon.svg");
const SCRIPT: &str = include_str!("../../assets/playground.js");

/// Only the page's own files are loaded, and nothing is run or styled from the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn asset(kind: &'static str, content: &'static str) -> Response {
    let mut response = content.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) async fn page() -> Response {
    asset("text/html; charset=utf-8", PAGE)
}

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(crate) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub(crate) async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

pub(crate) async fn openapi() -> Response {
    asset("application/json", OPENAPI)
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = app.metrics.encode(app.scheduler.waiting()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    response
}

pub(crate) async fn models(State(app): State<Arc<App>>) -> Response {
    let models: Vec<Value> = app.models.all().map(|model| described(&app, model)).collect();
    json(StatusCode::OK, &json!({ "models": models }))
}

/// A model for people and programs.
pub(crate) fn described(app: &App, model: &Model) -> Value {
    let loaded = model.loaded();
    let metadata = loaded.tagger.metadata();
    json!({
        "name": model.name,
        "task": metadata.task,
        "labels": metadata.labels,
        "checkpoint_sha256": metadata.checkpoint_sha256,
        "max_source_len": metadata.max_source_len,
        "backend": loaded.tagger.backend().description(),
        "scores": app.has_scores,
        "reload_error": model.reload_error(),
    })
}
