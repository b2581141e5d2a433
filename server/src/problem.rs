//! Why a request is not answered, as JSON.

use std::time::Duration;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::scheduler::Full;
use crate::work::Failure;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The kind in metrics and in the JSON.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// The methods that are allowed, if another one was used.
    pub(crate) allow: Option<&'static str>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Described<'a>,
}

#[derive(Serialize)]
struct Described<'a> {
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// An error as the Open Inference Protocol has it.
#[derive(Serialize)]
struct InferenceBody<'a> {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    /// A message may end with a line `hint: ...`.
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let (message, hint) = match message.split_once("\nhint: ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (message, None),
        };
        Self { status, kind, message, hint, retry_after: None, allow: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_sender", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the request has no valid API key\nhint: send `Authorization: Bearer KEY` or `X-API-Key: KEY`",
        )
    }

    pub(crate) fn method(method: &axum::http::Method, allow: &'static str) -> Self {
        let message = format!("this address does not take {method}\nhint: use {allow}");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Self { allow: Some(allow), ..problem }
    }

    pub(crate) fn held(limit: usize) -> Self {
        let message = format!("the requests in memory take {limit} bytes, the most that is allowed");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "overload", message);
        Self { retry_after: Some(Duration::from_secs(1)), ..problem }
    }

    /// The tagging of a request did not end in time.
    pub(crate) fn timeout(limit: Duration, has_started: bool) -> Self {
        let seconds = limit.as_secs_f64();
        if has_started {
            let message = format!(
                "the texts were not tagged within {seconds} s\n\
                 hint: send fewer or shorter texts, or start the server with a longer `--timeout`"
            );
            return Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message);
        }
        let message = format!("no tagging thread was free within {seconds} s");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "queue_timeout", message);
        Self { retry_after: Some(Duration::from_secs(1)), ..problem }
    }

    /// The same as the Open Inference Protocol describes errors: `{"error": "..."}`.
    pub(crate) fn into_inference_response(self) -> Response {
        let hint = self.hint.as_deref();
        let error = hint.map_or(self.message.clone(), |hint| format!("{}; hint: {hint}", self.message));
        let body = serde_json::to_vec(&InferenceBody { error, hint }).unwrap_or_default();
        self.respond(body)
    }

    /// The object that ends a stream of lines.
    pub(crate) fn to_line(&self) -> String {
        let described = Described { kind: self.kind, message: &self.message, hint: self.hint.as_deref() };
        serde_json::to_string(&Body { error: described }).unwrap_or_default() + "\n"
    }

    fn respond(&self, body: Vec<u8>) -> Response {
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the log, and for addresses where errors have another form.
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_line().into_bytes();
        self.respond(body)
    }
}

impl From<Full> for Problem {
    fn from(Full { waiting, retry_after }: Full) -> Self {
        let message = format!(
            "{waiting} texts wait already\nhint: try again after {} s, or send fewer texts at once",
            retry_after.as_secs()
        );
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "overload", message);
        Self { retry_after: Some(retry_after), ..problem }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", failure.to_string()),
            Failure::Late { limit, has_started } => Self::timeout(limit, has_started),
            Failure::Backend(_) | Failure::Panicked => Self::internal(failure.to_string()),
        }
    }
}
