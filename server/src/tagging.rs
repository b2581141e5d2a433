//! From the texts of a request to one JSON object for each.

use std::sync::Arc;
use std::time::Duration;

use hyperloader_core::causes::with_causes;
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::{Answer, Fault, PartOutput, PreparedText, SentenceError, Tagged, TextPart};
use serde::Serialize;

use crate::app::App;
use crate::models::Loaded;
use crate::problem::Problem;
use crate::work::{Patience, Places};

/// What the objects have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerOptions {
    pub(crate) offsets: OffsetUnit,
    pub(crate) scores: bool,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self { offsets: OffsetUnit::Chars, scores: true }
    }
}

/// The objects of a request, and the times that they took.
#[derive(Debug)]
pub(crate) struct Answers {
    /// A JSON object for each text, as `hl-run --output-format jsonl` writes it, without line feed.
    pub(crate) objects: Vec<String>,
    /// Texts that could not be tagged; their objects have `error`.
    pub(crate) failed: usize,
    pub(crate) waited: Duration,
    pub(crate) tagged: Duration,
}

/// Which texts the limit of tokens is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenLimit {
    /// All of the request: if they have more, none is tagged.
    Request,
    /// Each: one that has more is not tagged, others are.
    Text,
}

/// A text as the tagger takes it.
enum Prepared {
    Parts(PreparedText),
    NoWord(String),
    Failed { text: String, message: String },
}

/// Far more than a token has, even of long words without sub-words.
const BYTES_PER_TOKEN: usize = 16;

impl Prepared {
    fn too_long(text: String, most: usize) -> Self {
        let message = format!(
            "the text has more than {most} tokens, the most of a text\nhint: start the server with a larger `--max-tokens`"
        );
        Self::Failed { text, message }
    }

    fn parts(&self) -> Vec<TextPart> {
        match self {
            Self::Parts(text) => text.parts(),
            Self::NoWord(_) | Self::Failed { .. } => vec![],
        }
    }
}

/// Tags `texts` in `places` of the queue. `place` names a text in error objects.
///
/// # Errors
/// If the texts have too many tokens, do not complete in time, or a batch fails.
pub(crate) async fn tag(
    app: &App,
    loaded: Arc<Loaded>,
    texts: Vec<String>,
    places: Places,
    options: AnswerOptions,
    limit: TokenLimit,
    place: impl Fn(usize) -> String + Send + 'static,
) -> Result<Answers, Problem> {
    let most = app.limits.tokens;
    if limit == TokenLimit::Request {
        check_bytes(texts.iter().map(String::len).sum(), most)?;
    }
    let preparing = Arc::clone(&loaded);
    let prepared = blocking(move || prepare(&preparing, texts, most, limit)).await??;
    let parts: Vec<TextPart> = prepared.iter().flat_map(Prepared::parts).collect();
    let timeout = app.limits.timeout;
    let patience = match limit {
        TokenLimit::Request => {
            let tokens = parts.iter().map(TextPart::tokens).sum();
            Patience::Whole(timeout, app.scheduler.try_tokens(tokens, timeout)?)
        }
        TokenLimit::Text => Patience::NextPart(timeout),
    };
    let outputs = app.scheduler.submit(Arc::clone(&loaded), parts, places, patience).outputs().await?;
    let (waited, tagged) = (outputs.waited, outputs.tagged);
    let name = loaded.name.clone();
    let (objects, failed) =
        blocking(move || finish(&loaded, prepared, outputs.parts, options, place)).await?;
    app.metrics.texts(&name, objects.len() - failed, failed);
    Ok(Answers { objects, failed, waited, tagged })
}

/// Runs work that takes processor time outside of the threads that serve connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(error.to_string()))
}

/// Refuses texts that have too many tokens whatever they are, before they are split: words take far more memory than text.
fn check_bytes(bytes: usize, most: usize) -> Result<(), Problem> {
    match bytes / BYTES_PER_TOKEN > most {
        true => Err(too_many_tokens(most)),
        false => Ok(()),
    }
}

fn too_many_tokens(most: usize) -> Problem {
    Problem::unprocessable(format!(
        "the texts have more than {most} tokens, the most of a request\n\
         hint: send them in several requests, or start the server with a larger `--max-tokens`"
    ))
}

fn prepare(
    loaded: &Loaded,
    texts: Vec<String>,
    most: usize,
    limit: TokenLimit,
) -> Result<Vec<Prepared>, Problem> {
    let mut total = 0;
    let mut prepared = Vec::with_capacity(texts.len());
    for text in texts {
        if limit == TokenLimit::Text && text.len() / BYTES_PER_TOKEN > most {
            prepared.push(Prepared::too_long(text, most));
            continue;
        }
        let one = match loaded.tagger.prepare(text.as_str()) {
            Ok(parts) => Prepared::Parts(parts),
            // A text without words has no spans, which is no error.
            Err(SentenceError::NoWord) => Prepared::NoWord(text),
            Err(error) => Prepared::Failed { text, message: with_causes(&error) },
        };
        let tokens: usize = one.parts().iter().map(TextPart::tokens).sum();
        total += tokens;
        match one {
            Prepared::Parts(parts) if limit == TokenLimit::Text && tokens > most => {
                prepared.push(Prepared::too_long(parts.text().to_owned(), most));
            }
            _ if limit == TokenLimit::Request && total > most => return Err(too_many_tokens(most)),
            one => prepared.push(one),
        }
    }
    Ok(prepared)
}

/// The objects, and how many of them have an error.
fn finish(
    loaded: &Loaded,
    prepared: Vec<Prepared>,
    outputs: Vec<PartOutput>,
    options: AnswerOptions,
    place: impl Fn(usize) -> String,
) -> (Vec<String>, usize) {
    let mut outputs = outputs.into_iter();
    let mut failed = 0;
    let mut object = |(at, text): (usize, Prepared)| {
        let result = match text {
            Prepared::Parts(text) => {
                let of_text = outputs.by_ref().take(text.parts().len()).collect();
                let shown = text.text().to_owned();
                loaded.tagger.finish(text, of_text).map_err(|error| (shown, with_causes(&error)))
            }
            Prepared::NoWord(text) => Ok(Tagged::without_words(text)),
            Prepared::Failed { text, message } => Err((text, message)),
        };
        match result {
            Ok(tagged) => tagged_object(tagged, options),
            Err((text, message)) => {
                failed += 1;
                failed_object(Some(&text), &message, place(at))
            }
        }
    };
    let objects = prepared.into_iter().enumerate().map(&mut object).collect();
    (objects, failed)
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault<'a>>,
}

fn tagged_object(mut tagged: Tagged, options: AnswerOptions) -> String {
    if !options.scores {
        tagged.scores = None;
        tagged.spans.iter_mut().for_each(|span| span.score = None);
    }
    let answer = Some(Answer::new(&tagged, options.offsets));
    json(&Object { text: Some(&tagged.text), answer, warnings: warnings(&tagged), error: None })
}

/// An object for a text that is not tagged. The message may end with a line `hint: ...`.
pub(crate) fn failed_object(text: Option<&str>, message: &str, place: String) -> String {
    let (message, hint) = match message.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (message, None),
    };
    let error = Some(Fault { message, hint, place });
    json(&Object { text, answer: None, warnings: vec![], error })
}

/// What of a text may have no tags. `hl-run` prints it to stderr.
fn warnings(tagged: &Tagged) -> Vec<String> {
    let mut warnings = Vec::new();
    if !tagged.complete {
        warnings.push("the target reached its maximum length: the last words may have no tags".to_owned());
    }
    let words = tagged.unread.iter().filter_map(|at| Some((at + 1, tagged.words.get(*at)?)));
    warnings.extend(words.map(|(number, word)| {
        let start = word.text.chars().take(20).collect::<String>();
        format!(
            "word {number} (`{}...`) takes more tokens than the tagger does: it was not read and is tagged `O`",
            start.escape_debug()
        )
    }));
    warnings
}

fn json(object: &impl Serialize) -> String {
    // Strings and numbers can always be written.
    serde_json::to_string(object).unwrap_or_default()
}
