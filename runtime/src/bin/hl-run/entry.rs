//! Records on their way through the tagger: what is tagged of them, and what came of it.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt;

use hyperloader_core::causes::with_causes;
use hyperloader_core::corpus::{Fault, LineFault, Record};
use hyperloader_core::text::words::is_whitespace;
use hyperloader_runtime::{BackendError, SentenceError, Tagged, TaggedSpan, Tagger, Word};
use serde_json::{Map, Value};

use crate::inputs::{Item, Place};

/// A record that was tagged, or could not be.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its number in the output, from 1.
    pub(crate) number: usize,
    pub(crate) place: Place,
    /// What each model found, in the order of the models. The record fails if one of them fails.
    pub(crate) result: Result<Vec<Tagged>, Failure>,
    /// Its text, if it could be read and not be tagged.
    pub(crate) text: Option<String>,
    /// Whether the record has words, rather than a text.
    pub(crate) has_words: bool,
    /// Whether it has words that its text does not consist of; the text was tagged then.
    pub(crate) words_unfit: bool,
    /// Its other fields.
    pub(crate) fields: Map<String, Value>,
    /// JSON of those that have numbers which `fields` does not hold as they are written.
    pub(crate) exact: BTreeMap<String, String>,
    /// Comments before it.
    pub(crate) comments: Vec<String>,
    /// Columns of its words.
    pub(crate) columns: Vec<Vec<String>>,
}

impl Entry {
    /// The same with `?` after each label that the tagger does not list, in spans and tags; `None` if there is none.
    pub(crate) fn with_marks(&self) -> Option<Self> {
        let models = self.result.as_ref().ok()?;
        if models.iter().flat_map(|tagged| &tagged.spans).all(|span| !span.unknown) {
            return None;
        }
        Some(Self { result: Ok(models.iter().map(marked).collect()), ..self.clone() })
    }

    /// The name of the field that readers take for the tokens, if there is one.
    pub(crate) fn tokens_field(&self) -> Option<&'static str> {
        ["tokens", "words"].into_iter().find(|name| self.fields.contains_key(*name))
    }

    /// The record's own fields as `"name":value` in JSON, without those named `replaced`. Numbers are as they were written.
    ///
    /// # Errors
    /// If a value cannot be written as JSON.
    pub(crate) fn other_fields(&self, replaced: &[&str]) -> serde_json::Result<Vec<String>> {
        let others = self.fields.iter().filter(|(name, _)| !replaced.contains(&name.as_str()));
        let field = |(name, value): (&String, &Value)| {
            let exact = self.exact.get(name).cloned();
            let value = exact.map_or_else(|| serde_json::to_string(value), Ok)?;
            Ok(format!("{}:{value}", serde_json::to_string(name)?))
        };
        others.map(field).collect()
    }
}

fn marked(tagged: &Tagged) -> Tagged {
    let unknown: HashSet<&str> =
        tagged.spans.iter().filter(|span| span.unknown).map(|span| span.label.as_str()).collect();
    let mut marked = tagged.clone();
    let tags = marked.tags.iter_mut();
    tags.filter(|tag| tag.get(2..).is_some_and(|label| unknown.contains(label)))
        .for_each(|tag| tag.push('?'));
    marked.spans.iter_mut().filter(|span| span.unknown).for_each(|span| span.label.push('?'));
    marked
}

/// Why a record could not be tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    fn new(message: String) -> Self {
        match message.split_once("\nhint: ") {
            Some((text, hint)) => Self { message: text.to_owned(), hint: Some(hint.to_owned()) },
            None => Self { message, hint: None },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl Error for Failure {}

impl From<SentenceError> for Failure {
    fn from(error: SentenceError) -> Self {
        Self::new(with_causes(&error))
    }
}

impl From<LineFault> for Failure {
    /// Faults whose hints name keys of a training's configuration get those of the command line.
    fn from(LineFault { fault, .. }: LineFault) -> Self {
        match fault {
            Fault::Keys { keys } => Self {
                message: format!("a record needs `text` or `tokens`; this one has {keys}"),
                hint: Some("`--text-field NAME` and `--tokens-field NAME` name other fields".to_owned()),
            },
            Fault::Header { found } => Self {
                message: format!("the columns {found} hold neither a text nor a word per row"),
                hint: Some(
                    "`--text-field NAME` names the column of the text, `--columns` those of words".to_owned(),
                ),
            },
            Fault::Width { got, first, want } => Self {
                message: format!("{got} columns, but line {first} has {want}"),
                hint: Some("`--columns` names the columns, for instance `--columns word,*`".to_owned()),
            },
            Fault::Roles { got, columns } => {
                let columns = columns.replace(['[', ']', '"', ' '], "");
                Self { message: format!("{got} columns do not fit `--columns {columns}`"), hint: None }
            }
            // The unit of a configuration is not that of the input here.
            Fault::Hinted { fault, .. } => Self {
                message: fault.to_string(),
                hint: Some("offsets of tokens count characters (Unicode code points)".to_owned()),
            },
            fault => Self::new(fault.to_string()),
        }
    }
}

/// The failure of one of several models.
fn of_task(tagger: &Tagger, failure: Failure) -> Failure {
    Failure { message: format!("task `{}`: {}", tagger.metadata().task, failure.message), ..failure }
}

/// What is tagged of a record.
enum Request {
    Text(String),
    Words(Vec<String>, Option<Anchors>),
    /// The record failed already.
    Nothing,
}

/// The text of a record with words, and where they are in it, in characters.
struct Anchors {
    text: String,
    places: Vec<(usize, usize)>,
}

/// Tags records with each of `taggers`. `before` were tagged before them.
///
/// # Errors
/// If the backend fails.
pub(crate) fn tag(taggers: &[Tagger], items: Vec<Item>, before: usize) -> Result<Vec<Entry>, BackendError> {
    let (requests, mut entries): (Vec<Request>, Vec<Entry>) =
        (before + 1..).zip(items).map(|(number, item)| prepare(number, item)).unzip();
    for tagger in taggers {
        let answers = answers(tagger, &requests)?;
        for (entry, answer) in entries.iter_mut().zip(answers) {
            // The first model that fails is named.
            let (Some((result, text)), Ok(models)) = (answer, &mut entry.result) else { continue };
            match result {
                Ok(tagged) => models.push(tagged),
                Err(failure) if taggers.len() > 1 => entry.result = Err(of_task(tagger, failure)),
                Err(failure) => entry.result = Err(failure),
            }
            entry.text = entry.text.take().or(text);
        }
    }
    Ok(entries)
}

/// A result, and the text of a record that could not be tagged.
type Answer = (Result<Tagged, Failure>, Option<String>);

/// The answer of one tagger to each request; none to [`Request::Nothing`].
fn answers(tagger: &Tagger, requests: &[Request]) -> Result<Vec<Option<Answer>>, BackendError> {
    let texts = requests.iter().filter_map(|request| match request {
        Request::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let words = requests.iter().filter_map(|request| match request {
        Request::Words(words, _) => Some(words.iter().map(String::as_str).collect::<Vec<_>>()),
        _ => None,
    });
    let mut of_texts = tagger.tag(&texts.collect::<Vec<_>>())?.into_iter();
    let mut of_words = tagger.tag_words(&words.collect::<Vec<_>>())?.into_iter();
    let untagged = || Err(Failure::new("it was not tagged".to_owned()));
    let answer = |request: &Request| match request {
        Request::Nothing => None,
        Request::Text(text) => Some(match of_texts.next() {
            Some(result) => settle(result, text),
            None => (untagged(), Some(text.clone())),
        }),
        Request::Words(words, anchors) => Some(match of_words.next() {
            Some(result) => anchored(result, words, anchors.as_ref()),
            None => (untagged(), None),
        }),
    };
    Ok(requests.iter().map(answer).collect())
}

/// A text without words has no spans, which is no error.
fn settle(result: Result<Tagged, SentenceError>, text: &str) -> Answer {
    match result {
        Ok(tagged) => (Ok(tagged), None),
        Err(SentenceError::NoWord) => (Ok(Tagged::without_words(text)), None),
        Err(error) => (Err(error.into()), Some(text.to_owned())),
    }
}

/// The tagged words of a record as part of its own text.
fn anchored(result: Result<Tagged, SentenceError>, words: &[String], anchors: Option<&Anchors>) -> Answer {
    match anchors {
        None => settle(result, &words.join(" ")),
        Some(Anchors { text, places }) => match result {
            Ok(tagged) => (Ok(move_to(tagged, text.clone(), places)), None),
            other => settle(other, text),
        },
    }
}

fn prepare(number: usize, Item { place, record, .. }: Item) -> (Request, Entry) {
    let mut entry = Entry {
        number,
        place,
        result: Ok(Vec::new()),
        text: None,
        has_words: false,
        words_unfit: false,
        fields: Map::new(),
        exact: BTreeMap::new(),
        comments: Vec::new(),
        columns: Vec::new(),
    };
    let Record { text, words, offsets, fields, exact, comments, columns, .. } = match record {
        Ok(record) => record,
        Err(fault) => {
            entry.result = Err(fault.into());
            return (Request::Nothing, entry);
        }
    };
    (entry.fields, entry.exact, entry.comments, entry.columns) = (fields, exact, comments, columns);
    let request = match (text, words) {
        (None, None) => Request::Text(String::new()),
        (Some(text), None) => Request::Text(text),
        (None, Some(words)) => {
            entry.has_words = true;
            Request::Words(words, None)
        }
        (Some(text), Some(words)) => match places(&text, &words, offsets) {
            Ok(Some(places)) => {
                entry.has_words = true;
                Request::Words(words, Some(Anchors { text, places }))
            }
            Ok(None) => {
                entry.words_unfit = true;
                Request::Text(text)
            }
            Err(failure) => {
                (entry.text, entry.result) = (Some(text), Err(failure));
                Request::Nothing
            }
        },
    };
    (request, entry)
}

/// Where the words are: as the record says, or one after the other with nothing but white space between them.
fn places(
    text: &str,
    words: &[String],
    given: Option<Vec<(usize, usize)>>,
) -> Result<Option<Vec<(usize, usize)>>, Failure> {
    let Some(places) = given else { return Ok(find(text, words)) };
    match places.windows(2).position(|pair| pair[0].1 > pair[1].0) {
        None => Ok(Some(places)),
        Some(at) => Err(Failure::new(format!(
            "token {} begins at character {}, but the token before it ends at character {}",
            at + 2,
            places[at + 1].0,
            places[at].1
        ))),
    }
}

fn find(text: &str, words: &[String]) -> Option<Vec<(usize, usize)>> {
    let (mut rest, mut at) = (text, 0);
    let skip = |rest: &mut &str, at: &mut usize| {
        let trimmed = rest.trim_start_matches(is_whitespace);
        *at += rest[..rest.len() - trimmed.len()].chars().count();
        *rest = trimmed;
    };
    let mut places = Vec::with_capacity(words.len());
    for word in words {
        skip(&mut rest, &mut at);
        rest = rest.strip_prefix(word.as_str())?;
        let end = at + word.chars().count();
        places.push((at, end));
        at = end;
    }
    skip(&mut rest, &mut at);
    rest.is_empty().then_some(places)
}

/// A tagged sentence of words as part of `text`, which has the words at `places`.
fn move_to(tagged: Tagged, text: String, places: &[(usize, usize)]) -> Tagged {
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    let spans = tagged.spans.iter().filter_map(|span| {
        let first = tagged.words.binary_search_by_key(&span.start, |word| word.start).ok()?;
        let last = tagged.words.binary_search_by_key(&span.end, |word| word.end).ok()?;
        let (start, end) = (places.get(first)?.0, places.get(last)?.1);
        let text = text.get(*bytes.get(start)?..*bytes.get(end)?)?.to_owned();
        Some(TaggedSpan { start, end, text, ..span.clone() })
    });
    let spans = spans.collect();
    let place =
        |(word, (start, end)): (&Word, &(usize, usize))| Word { start: *start, end: *end, ..word.clone() };
    let words = tagged.words.iter().zip(places).map(place).collect();
    Tagged { text, spans, words, ..tagged }
}
