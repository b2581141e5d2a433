//! The Open Inference Protocol, version 2, over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyperloader_core::corpus::OffsetUnit;
use serde_json::{Map, Value, json};

use super::record::Work;
use super::tag::{check_count, scores};
use super::tensors::{self, INPUT, JSON_LENGTH, OUTPUT};
use crate::app::App;
use crate::body;
use crate::problem::Problem;
use crate::tagging::{self, AnswerOptions, TokenLimit};

/// The only version of a model: the file as it is now.
const VERSION: &str = "1";

pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = (status, value.to_string() + "\n").into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) async fn server() -> Response {
    json(
        StatusCode::OK,
        &json!({"name": "hl-serve", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"]}),
    )
}

pub(crate) async fn live() -> Response {
    json(StatusCode::OK, &json!({"live": true}))
}

/// A server that stops is not ready, so that no further requests are sent to it.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = !app.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &json!({"ready": ready}))
}

fn check_version(version: &str) -> Result<(), Problem> {
    match version == VERSION {
        true => Ok(()),
        false => Err(Problem::not_found(format!(
            "there is no version `{version}`\nhint: each model has version 1"
        ))),
    }
}

pub(crate) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let model = app.model(Some(&name))?;
    let tensor = |name: &str| json!([{"name": name, "datatype": "BYTES", "shape": [-1]}]);
    Ok(json(
        StatusCode::OK,
        &json!({
            "name": model.name,
            "versions": [VERSION],
            "platform": "hyperloader_onnx",
            "inputs": tensor(INPUT),
            "outputs": tensor(OUTPUT),
        }),
    ))
}

pub(crate) async fn version(
    state: State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    check_version(&version)?;
    model(state, Path(name)).await
}

pub(crate) async fn model_ready(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let model = app.model(Some(&name))?;
    let ready = !app.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &json!({"name": model.name, "ready": ready})))
}

pub(crate) async fn version_ready(
    state: State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    check_version(&version)?;
    model_ready(state, Path(name)).await
}

pub(crate) async fn infer_version(
    state: State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&version)?;
    infer(state, Path(name), headers, body).await
}

pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, held) = body::read(&app, &headers, body).await?;
    let model = Arc::clone(app.model(Some(&name))?);
    let mut inference = tensors::decode(&headers, &bytes)?;
    drop(bytes);
    let parameters = std::mem::take(&mut inference.parameters);
    let options = options(&app, &parameters)?;
    drop(parameters);
    let texts = std::mem::take(&mut inference.texts);
    check_count(&app, texts.len())?;
    let places = app.scheduler.try_places(texts.len())?;
    let place = |at| format!("{INPUT}[{at}]");
    let answers =
        tagging::tag(&app, model.loaded(), texts, places, options, TokenLimit::Request, place).await?;
    let work = Work::of(&model, &answers);
    let encoded = inference.encode(&model.name, VERSION, answers.objects);
    let mut response = body::answer(encoded.body, held);
    let headers = response.headers_mut();
    let kind = match encoded.json_length {
        None => "application/json",
        Some(length) => {
            headers.insert(JSON_LENGTH, HeaderValue::from(length));
            "application/octet-stream"
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.extensions_mut().insert(work);
    Ok(response)
}

/// The choices among a request's parameters. Other parameters are those of clients and have no effect.
fn options(app: &App, parameters: &Map<String, Value>) -> Result<AnswerOptions, Problem> {
    let wrong = |name: &str, value: &Value, expected: &str| {
        Problem::bad_request(format!("parameter `{name}` is {value}, expected {expected}"))
    };
    let offsets = parameters.get("offsets").map(|value| {
        serde_json::from_value::<OffsetUnit>(value.clone())
            .map_err(|_| wrong("offsets", value, "chars, bytes or utf16"))
    });
    let asked = parameters
        .get("scores")
        .map(|value| value.as_bool().ok_or_else(|| wrong("scores", value, "true or false")));
    Ok(AnswerOptions {
        offsets: offsets.transpose()?.unwrap_or_default(),
        scores: scores(app, asked.transpose()?)?,
    })
}
