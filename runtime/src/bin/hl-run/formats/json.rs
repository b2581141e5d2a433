//! JSON: one object per record, in an array or on lines of their own.

use std::borrow::Cow;

use anyhow::{Context, Result};
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::{SentenceScores, TagScore, Tagged, TaggedSpan};
use serde::Serialize;
use serde_json::{Map, Value};

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
    /// Number of spans that are withheld, if any are.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<usize>,
}

impl<'a> Scored<'a> {
    const FIELDS: [&'static str; 4] = ["score", "tag_scores", "abstained", "withheld"];

    fn new(tagged: &'a Tagged) -> Self {
        let tag = |(tag, score): (&'a String, &TagScore)| ScoredTag { tag, score: *score };
        let tags = |scores: &SentenceScores| tagged.tags.iter().zip(&scores.tags).map(tag).collect();
        Self {
            // Six decimals, as all scores.
            score: tagged.scores.as_ref().map(|scores| (scores.score * 1e6).round() / 1e6),
            // Scores of tags that are withheld are not those of `O`.
            tag_scores: tagged
                .scores
                .as_ref()
                .filter(|_| !tagged.abstained && tagged.withheld == 0)
                .map(tags),
            abstained: tagged.abstained,
            withheld: Some(tagged.withheld).filter(|withheld| *withheld > 0),
        }
    }
}

/// A record. Its own fields come last, without those that have the names of ours.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<Cow<'a, [TaggedSpan]>>,
    #[serde(flatten)]
    scored: Scored<'a>,
    /// Of records that were given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    comments: &'a [String],
    #[serde(flatten)]
    fields: Map<String, Value>,
}

#[derive(Serialize)]
struct Fault<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    place: String,
}

impl<'a> Line<'a> {
    fn new(entry: &'a Entry, offsets: OffsetUnit) -> Self {
        let mut fields = entry.fields.clone();
        for name in ["text", "spans", "error"] {
            fields.shift_remove(name);
        }
        let comments = match fields.contains_key("comments") {
            true => &[],
            false => entry.comments.as_slice(),
        };
        let mut line = Line {
            text: None,
            spans: None,
            scored: Scored::default(),
            tokens: None,
            tags: None,
            error: None,
            comments,
            fields,
        };
        match &entry.result {
            Ok(tagged) => {
                line.text = Some(&tagged.text);
                line.spans = Some(spans_in(tagged, offsets));
                line.scored = Scored::new(tagged);
                if tagged.scores.is_some() {
                    Scored::FIELDS.iter().for_each(|name| drop(line.fields.shift_remove(*name)));
                }
                if entry.has_words {
                    line.fields.shift_remove("tags");
                    let named = ["tokens", "words"].iter().any(|name| line.fields.contains_key(*name));
                    line.tokens = (!named).then(|| surfaces(tagged));
                    line.tags = Some(&tagged.tags);
                }
            }
            Err(failure) => {
                line.text = entry.text.as_deref();
                let (message, hint) = (failure.message.as_str(), failure.hint.as_deref());
                line.error = Some(Fault { message, hint, place: entry.place.to_string() });
            }
        }
        line
    }
}

impl Writer for Json {
    fn record(&mut self, entry: &Entry) -> Result<String> {
        let line = Line::new(entry, self.offsets);
        let object = serde_json::to_string(&line).context("cannot write the result as JSON")?;
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
        let entry = super::super::examples::entry(1, Ok(Tagged { withheld: 1, ..scored.clone() }));
        let line = written(lines(OffsetUnit::Chars), &[entry]);
        assert!(line.ends_with("\"margin\":1.5}],\"score\":0.123457,\"withheld\":1}\n"), "{line}");
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
}
