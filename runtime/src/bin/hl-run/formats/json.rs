//! JSON: one object per record, in an array or on lines of their own.

use std::borrow::Cow;

use anyhow::{Context, Result};
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::{SentenceScores, TagScore, Tagged, TaggedSpan};
use serde::Serialize;
use serde_json::Value;

use super::writer::Writer;
use crate::entry::{Entry, spans_in, surfaces};

/// Writes an array, or lines.
pub(super) struct Json {
    pub(super) offsets: OffsetUnit,
    pub(super) array: bool,
    pub(super) first: bool,
}

/// A tag with its score.
#[derive(Serialize)]
struct ScoredTag<'a> {
    tag: &'a str,
    #[serde(flatten)]
    score: TagScore,
}

/// What is known of a sentence besides its spans.
#[derive(Default, Serialize)]
struct Scored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_scores: Option<Vec<ScoredTag<'a>>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    abstained: bool,
}

impl<'a> Scored<'a> {
    const FIELDS: [&'static str; 3] = ["score", "tag_scores", "abstained"];

    fn new(tagged: &'a Tagged) -> Self {
        let tag = |(tag, score): (&'a String, &TagScore)| ScoredTag { tag, score: *score };
        let tags = |scores: &SentenceScores| tagged.tags.iter().zip(&scores.tags).map(tag).collect();
        Self {
            // Six decimals, as all scores.
            score: tagged.scores.as_ref().map(|scores| (scores.score * 1e6).round() / 1e6),
            tag_scores: tagged.scores.as_ref().filter(|_| !tagged.abstained).map(tags),
            abstained: tagged.abstained,
        }
    }
}

/// What a model found in a record.
#[derive(Serialize)]
struct Answer<'a> {
    spans: Cow<'a, [TaggedSpan]>,
    #[serde(flatten)]
    scored: Scored<'a>,
    /// The words that the tags belong to, if the record was given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
}

/// A record without its own fields. It has at least a text or an error.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    comments: &'a [String],
}

#[derive(Serialize)]
struct Fault<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    place: String,
}

impl<'a> Line<'a> {
    /// The record, and the names of those of its own fields that it replaces.
    fn new(entry: &'a Entry, offsets: OffsetUnit) -> (Self, Vec<&'static str>) {
        let mut replaced = vec!["text", "spans", "error"];
        let comments = match entry.fields.contains_key("comments") {
            true => &[],
            false => entry.comments.as_slice(),
        };
        let mut line = Line { text: None, answer: None, error: None, comments };
        match &entry.result {
            Ok(tagged) => {
                line.text = Some(&tagged.text);
                if tagged.scores.is_some() {
                    replaced.extend(Scored::FIELDS);
                }
                let (mut tokens, mut tags) = (None, None);
                if entry.has_words || entry.words_unfit {
                    replaced.push("tags");
                    tags = Some(tagged.tags.as_slice());
                    let words = surfaces(tagged);
                    if !has_tokens(entry, &words) {
                        replaced.push("tokens");
                        tokens = Some(words);
                    }
                }
                let (spans, scored) = (spans_in(tagged, offsets), Scored::new(tagged));
                line.answer = Some(Answer { spans, scored, tokens, tags });
            }
            Err(failure) => {
                line.text = entry.text.as_deref();
                let (message, hint) = (failure.message.as_str(), failure.hint.as_deref());
                line.error = Some(Fault { message, hint, place: entry.place.to_string() });
            }
        }
        (line, replaced)
    }
}

/// Whether the field of the record that readers take for its tokens has the words that were tagged.
fn has_tokens(entry: &Entry, words: &[&str]) -> bool {
    let field = ["tokens", "words"].iter().find_map(|name| entry.fields.get(*name));
    let is_word = |(token, word): (&Value, &&str)| match token {
        Value::String(token) => token == word,
        Value::Object(token) => token.get("text").is_none_or(|text| text.as_str() == Some(word)),
        _ => false,
    };
    match field {
        Some(Value::Array(tokens)) => tokens.len() == words.len() && tokens.iter().zip(words).all(is_word),
        Some(Value::String(cell)) => cell.split_whitespace().eq(words.iter().copied()),
        _ => false,
    }
}

/// The record as one object: what is ours, then its own fields that have other names.
fn object(entry: &Entry, offsets: OffsetUnit) -> serde_json::Result<String> {
    let (line, replaced) = Line::new(entry, offsets);
    let mut object = serde_json::to_string(&line)?;
    object.pop();
    for (name, value) in entry.fields.iter().filter(|(name, _)| !replaced.contains(&name.as_str())) {
        let exact = entry.exact.get(name).cloned();
        let value = exact.map_or_else(|| serde_json::to_string(value), Ok)?;
        object.push_str(&format!(",{}:{value}", serde_json::to_string(name)?));
    }
    Ok(object + "}")
}

impl Writer for Json {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let object = object(entry, self.offsets).context("cannot write the result as JSON")?;
        let first = std::mem::replace(&mut self.first, false);
        Ok(match (self.array, first) {
            (false, _) => object + "\n",
            (true, true) => format!("[{object}"),
            (true, false) => format!(",\n{object}"),
        })
    }

    fn end(&self) -> String {
        match (self.array, self.first) {
            (false, _) => String::new(),
            (true, true) => "[]\n".to_owned(),
            (true, false) => "]\n".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::examples::{alarm, entries, entry, tagged, written};
    use super::*;

    fn lines(offsets: OffsetUnit) -> Json {
        Json { offsets, array: false, first: true }
    }

    #[test]
    fn each_record_is_a_line_and_errors_are_objects() {
        insta::assert_snapshot!(written(lines(OffsetUnit::Chars), &entries()), @r#"
        {"text":"set a \"café\" alarm for 7 am","spans":[{"start":6,"end":12,"label":"name","text":"\"café\""},{"start":23,"end":27,"label":"date_time","text":"7 am"}]}
        {"text":"😀 a <b> & \"c\"","spans":[{"start":4,"end":7,"label":"x/y","text":"<b>"}]}
        {"text":"","spans":[]}
        {"text":"bad\nline","error":{"message":"the line\tis bad","hint":"repair <it>","place":"argument 4"}}
        "#);
        assert_eq!(written(lines(OffsetUnit::Chars), &[]), "");
    }

    #[test]
    fn scores_come_after_the_spans_and_replace_fields_of_their_names() {
        let mut scored = alarm();
        let score = TagScore { score: 0.25, margin: f64::INFINITY };
        scored.scores = Some(SentenceScores { score: 0.123_456_78, tags: vec![score; 7] });
        scored.spans.truncate(1);
        scored.spans[0].score = Some(TagScore { score: 0.5, margin: 1.5 });
        let mut entry = entry(1, Ok(scored.clone()));
        entry.fields = json!({"score": "mine"}).as_object().cloned().unwrap();
        let found: Value = serde_json::from_str(&written(lines(OffsetUnit::Chars), &[entry])).unwrap();
        assert_eq!((&found["score"], found["spans"][0]["margin"].as_f64()), (&json!(0.123_457), Some(1.5)));
        assert_eq!(found["tag_scores"][2], json!({"tag": "B-name", "score": 0.25, "margin": null}));
        let withheld = Tagged { abstained: true, spans: vec![], ..scored };
        let entry = super::super::examples::entry(1, Ok(withheld));
        let line = written(lines(OffsetUnit::Chars), &[entry]);
        assert!(line.ends_with("\"spans\":[],\"score\":0.123457,\"abstained\":true}\n"), "{line}");
    }

    #[test]
    fn an_array_is_whole_json_whatever_is_in_it() {
        let array = || Json { offsets: OffsetUnit::Chars, array: true, first: true };
        for count in 0..3 {
            let entries = &entries()[..count];
            let text = written(array(), entries);
            assert!(text.ends_with("]\n"));
            let found: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(found.len(), count);
        }
    }

    #[test]
    fn offsets_count_what_is_asked_for() {
        let tagged = || tagged("\u{1F600} caf\u{e9} x", &["O", "B-a", "O"], &[(2, 6, "a")]);
        for (unit, start, end) in
            [(OffsetUnit::Chars, 2, 6), (OffsetUnit::Bytes, 5, 10), (OffsetUnit::Utf16, 3, 7)]
        {
            let line = written(lines(unit), &[entry(1, Ok(tagged()))]);
            let found: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                found["spans"][0],
                json!({"start": start, "end": end, "label": "a", "text": "caf\u{e9}"})
            );
        }
    }

    #[test]
    fn fields_of_the_record_stay_but_for_those_that_are_ours() {
        let mut entry = entry(1, Ok(alarm()));
        entry.has_words = true;
        entry.comments = vec!["# one".into()];
        entry.fields =
            json!({"id": 7, "text": 0, "spans": 0, "error": 0, "tags": 0, "meta": {"b": 1, "a": 2}})
                .as_object()
                .cloned()
                .unwrap();
        insta::assert_snapshot!(written(lines(OffsetUnit::Chars), &[entry]), @r##"{"text":"set a \"café\" alarm for 7 am","spans":[{"start":6,"end":12,"label":"name","text":"\"café\""},{"start":23,"end":27,"label":"date_time","text":"7 am"}],"tokens":["set","a","\"café\"","alarm","for","7","am"],"tags":["O","O","B-name","O","O","B-date_time","I-date_time"],"comments":["# one"],"id":7,"meta":{"b":1,"a":2}}"##);
    }

    fn fields(fields: Value) -> serde_json::Map<String, Value> {
        fields.as_object().cloned().unwrap()
    }

    #[test]
    fn tokens_agree_with_the_tags_beside_them() {
        let written = |given: Value, has_words: bool| -> Value {
            let mut entry = entry(1, Ok(tagged("a b", &["O", "B-x"], &[(2, 3, "x")])));
            (entry.has_words, entry.words_unfit) = (has_words, !has_words);
            entry.fields = fields(given);
            serde_json::from_str(&written(lines(OffsetUnit::Chars), &[entry])).unwrap()
        };
        let (words, tags) = (json!(["a", "b"]), json!(["O", "B-x"]));
        // The text was split instead: the tokens of the record are not those of the tags.
        let found = written(json!({"tokens": ["ab"], "tags": ["B-y"], "id": 1}), false);
        assert_eq!(
            found,
            json!({"text": "a b", "spans": found["spans"], "tokens": words, "tags": tags, "id": 1})
        );
        let found = written(json!({"words": "ab", "id": 1}), false);
        assert_eq!((&found["tokens"], &found["tags"], &found["words"]), (&words, &tags, &json!("ab")));
        // Tokens of white space have no tag.
        let spaced = json!([{"text": "a", "start": 0}, {"text": " ", "start": 1}, {"text": "b", "start": 2}]);
        assert_eq!(written(json!({ "tokens": spaced }), true)["tokens"], words);
        // What agrees stays as it is.
        for same in
            [json!(["a", "b"]), json!([{"text": "a", "id": 0}, {"start": 2, "end": 3}]), json!("a  b")]
        {
            let found = written(json!({ "tokens": same }), true);
            assert_eq!((&found["tokens"], &found["tags"]), (&same, &tags));
            assert_eq!(written(json!({ "words": same }), true).get("tokens"), None);
        }
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let mut entry = entry(1, Ok(tagged("a", &["O"], &[])));
        entry.fields = fields(json!({"n": null, "\"": 1, "m": 0.5}));
        entry.exact.insert("n".to_owned(), "[1e400,12345678901234567890123]".to_owned());
        let line = written(lines(OffsetUnit::Chars), &[entry]);
        let expected = r#"{"text":"a","spans":[],"n":[1e400,12345678901234567890123],"\"":1,"m":0.5}"#;
        assert_eq!(line, format!("{expected}\n"));
    }
}
