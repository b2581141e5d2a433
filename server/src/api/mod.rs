//! The addresses of the server.
//!
//! - [`tag`]: `POST /tag`; [`stream`]: its answers line by line
//! - [`inference`]: the Open Inference Protocol, version 2; [`tensors`]: its tensors of bytes
//! - [`documents`]: `/models`, `/metrics`, `/openapi.json` and the playground at `/`
//! - [`record`]: request ids, the log and metrics of every request

pub(crate) mod documents;
pub(crate) mod inference;
pub(crate) mod record;
pub(crate) mod stream;
pub(crate) mod tag;
pub(crate) mod tensors;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use crate::problem::Problem;

/// All addresses of the server.
pub(crate) fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route("/tag", of_post(post(tag::tag)))
        .route("/models", of_get(get(documents::models)))
        .route("/metrics", of_get(get(documents::metrics)))
        .route("/v2/models/{model}", of_get(get(inference::model)))
        .route("/v2/models/{model}/ready", of_get(get(inference::model_ready)))
        .route("/v2/models/{model}/infer", of_post(post(inference::infer)))
        .route("/v2/models/{model}/versions/{version}", of_get(get(inference::version)))
        .route("/v2/models/{model}/versions/{version}/ready", of_get(get(inference::version_ready)))
        .route("/v2/models/{model}/versions/{version}/infer", of_post(post(inference::infer_version)))
        .layer(from_fn_with_state(Arc::clone(&app), guard));
    Router::new()
        .route("/", of_get(get(documents::page)))
        .route("/playground.css", of_get(get(documents::style)))
        .route("/playground.js", of_get(get(documents::script)))
        .route("/favicon.svg", of_get(get(documents::icon)))
        .route("/openapi.json", of_get(get(documents::openapi)))
        .route("/v2", of_get(get(inference::server)))
        .route("/v2/health/live", of_get(get(inference::live)))
        .route("/v2/health/ready", of_get(get(inference::ready)))
        .merge(guarded)
        .fallback(unknown)
        .layer(from_fn(inference_errors))
        .layer(from_fn_with_state(Arc::clone(&app), record::record))
        .with_state(app)
}

fn of_get(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.fallback(|method: Method| async move { Problem::method(&method, "GET, HEAD") })
}

fn of_post(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.fallback(|method: Method| async move { Problem::method(&method, "POST") })
}

async fn unknown(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::not_found(format!(
        "there is nothing at `{path}`\nhint: `/openapi.json` describes all addresses, `/` is a page to try models"
    ))
}

/// Lets requests pass that have a key, if keys are required.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match &app.keys {
        Some(keys) if !keys.allow(request.headers()) => Problem::unauthorized().into_response(),
        _ => next.run(request).await,
    }
}

/// Errors at addresses of the Open Inference Protocol have its form.
async fn inference_errors(request: Request, next: Next) -> Response {
    let rest = request.uri().path().strip_prefix("/v2");
    let is_inference = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    // Such as a name in the address that is not UTF-8: the framework answers in plain text.
    let is_plain = problem.is_none() && response.status().is_client_error();
    let problem = problem.or_else(|| is_plain.then(|| Problem::bad_request("the address cannot be read")));
    match problem {
        Some(problem) if is_inference => problem.into_inference_response(),
        Some(problem) => problem.into_response(),
        None => response,
    }
}
