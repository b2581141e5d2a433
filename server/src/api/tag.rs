//! `POST /tag`: texts in, an object for each out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use hyperloader_core::corpus::OffsetUnit;
use serde::Deserialize;

use super::stream::{self, Source};
use crate::app::App;
use crate::body;
use crate::problem::Problem;
use crate::tagging::{self, AnswerOptions, TokenLimit};

/// The types of bodies with an object per line.
const NDJSON: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    texts: Vec<String>,
    model: Option<String>,
    offsets: Option<OffsetUnit>,
    scores: Option<bool>,
}

/// What a request chooses: in the query, or in fields of a JSON body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choices {
    model: Option<String>,
    offsets: Option<OffsetUnit>,
    scores: Option<bool>,
}

impl Choices {
    /// The choices of a query and of a body.
    ///
    /// # Errors
    /// If both make the same choice.
    fn and(self, body: Self) -> Result<Self, Problem> {
        Ok(Self {
            model: one("model", self.model, body.model)?,
            offsets: one("offsets", self.offsets, body.offsets)?,
            scores: one("scores", self.scores, body.scores)?,
        })
    }

    pub(crate) fn options(&self, app: &App) -> Result<AnswerOptions, Problem> {
        Ok(AnswerOptions { offsets: self.offsets.unwrap_or_default(), scores: scores(app, self.scores)? })
    }
}

/// A choice of the query or of the body.
fn one<T>(name: &str, query: Option<T>, body: Option<T>) -> Result<Option<T>, Problem> {
    match (query, body) {
        (Some(_), Some(_)) => Err(Problem::bad_request(format!(
            "both the query and the body have `{name}`\nhint: leave it out of one of them"
        ))),
        (query, body) => Ok(query.or(body)),
    }
}

/// Whether answers have scores.
///
/// # Errors
/// If they are asked for, and there are none.
pub(crate) fn scores(app: &App, asked: Option<bool>) -> Result<bool, Problem> {
    match asked {
        Some(true) if !app.has_scores => Err(Problem::unprocessable(
            "the server computes no scores\nhint: start it without `--no-scores`, and not in decoding mode `draft`",
        )),
        asked => Ok(asked.unwrap_or(app.has_scores)),
    }
}

/// Whether a header names NDJSON.
fn names_ndjson(headers: &HeaderMap, name: axum::http::HeaderName) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut types =
        values.flat_map(|value| value.split(',')).map(|value| value.split(';').next().unwrap_or(""));
    types.any(|found| NDJSON.iter().any(|known| found.trim().eq_ignore_ascii_case(known)))
}

pub(crate) async fn tag(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let choices = of_query(&uri)?;
    if names_ndjson(&headers, CONTENT_TYPE) {
        body::check_encoding(&headers)?;
        let model = Arc::clone(app.model(choices.model.as_deref())?);
        let options = choices.options(&app)?;
        return stream::respond(app, &model, options, Source::Lines(body));
    }
    let (bytes, held) = body::read(&app, &headers, body).await?;
    let Request { texts, model, offsets, scores } = parse(&bytes)?;
    drop(bytes);
    let choices = choices.and(Choices { model, offsets, scores })?;
    let model = Arc::clone(app.model(choices.model.as_deref())?);
    let options = choices.options(&app)?;
    check_count(&app, texts.len())?;
    if names_ndjson(&headers, ACCEPT) {
        return stream::respond(app, &model, options, Source::Texts(texts, held));
    }
    let places = app.scheduler.try_places(texts.len())?;
    let place = |at| format!("texts[{at}]");
    let answers =
        tagging::tag(&app, model.loaded(), texts, places, options, TokenLimit::Request, place).await?;
    let mut text = format!("{{\"model\":{},\"results\":[", serde_json::Value::from(model.name.as_str()));
    text.push_str(&answers.objects.join(","));
    text.push_str("]}\n");
    let mut response = body::answer(text.into_bytes(), held);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(super::record::Work::of(&model, &answers));
    Ok(response)
}

/// Checks the number of a request's texts.
///
/// # Errors
/// If there are too many.
pub(crate) fn check_count(app: &App, texts: usize) -> Result<(), Problem> {
    let most = app.limits.texts.min(app.limits.queue);
    match texts > most {
        true => Err(Problem::unprocessable(format!(
            "the request has {texts} texts, the most is {most}\n\
             hint: send several requests, or NDJSON to `/tag`, or start the server with a larger `--max-texts`"
        ))),
        false => Ok(()),
    }
}

fn parse(bytes: &[u8]) -> Result<Request, Problem> {
    // A byte order mark is no text.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not a request: {error}\nhint: send `{{\"texts\": [\"...\"]}}`, and `model`, `offsets` or `scores`"
        ))
    })
}

/// The choices of a query such as `model=mtop&offsets=bytes&scores=false`.
fn of_query(uri: &Uri) -> Result<Choices, Problem> {
    Query::try_from_uri(uri).map(|Query(choices)| choices).map_err(|error| {
        let reason = error.body_text();
        Problem::bad_request(format!(
            "the query cannot be used: {reason}\nhint: it may have `model`, `offsets` and `scores`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_gives_the_choices_of_a_body() {
        let of_query = |query: &str| of_query(&format!("/tag?{query}").parse().unwrap());
        let choices = of_query("model=a%20b+c&offsets=utf16&scores=false").unwrap();
        assert_eq!(choices.model.as_deref(), Some("a b c"));
        assert_eq!((choices.offsets, choices.scores), (Some(OffsetUnit::Utf16), Some(false)));
        assert!(of_query("").unwrap().model.is_none());
        for bad in ["modell=a", "offsets=lines", "scores=maybe", "scores"] {
            assert!(of_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_with_other_fields_is_refused() {
        assert_eq!(parse(br#"{"texts": ["a"], "model": "m", "scores": false}"#).unwrap().texts, ["a"]);
        for bad in
            [r#"{"texts": ["a"], "modle": "m"}"#, r#"{"text": "a"}"#, r#"["a"]"#, "", "{\"texts\": [1]}"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"{\"texts\": [\"\xff\"]}").is_err());
    }
}
