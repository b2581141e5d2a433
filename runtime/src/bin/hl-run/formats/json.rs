//! JSON: one object per record, in an array or on lines of their own.

use anyhow::Context;
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_runtime::{Answer, Fault, Tagged};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::writer::Writer;
use crate::entry::Entry;

/// Writes an array, or lines.
pub(super) struct Json {
    pub(super) offsets: OffsetUnit,
    /// Tasks of the models. If there are several, results are under their names.
    pub(super) tasks: Vec<String>,
    pub(super) array: bool,
    pub(super) first: bool,
}

/// What a model found in `entry`.
fn answer<'a>(tagged: &'a Tagged, offsets: OffsetUnit, entry: &Entry) -> Answer<'a> {
    let has_tags = entry.has_words || entry.words_unfit;
    let mut answer = Answer::new(tagged, offsets);
    // Models may split a text differently.
    answer.tokens = entry.words_unfit.then(|| tagged.surfaces());
    answer.tags = has_tags.then_some(tagged.tags.as_slice());
    answer
}

/// The answers of several models by their tasks, in the order of the command line.
struct Tasks<'a>(Vec<(&'a str, Answer<'a>)>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(task, answer)| (task, answer)))
    }
}

/// A record without its own fields. It has at least a text or an error.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
    /// The words that the tags of all models belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Tasks<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    comments: &'a [String],
}

impl<'a> Line<'a> {
    /// The record, and the names of those of its own fields that it replaces.
    fn new(entry: &'a Entry, offsets: OffsetUnit, tasks: &'a [String]) -> (Self, Vec<&'static str>) {
        let mut replaced = vec!["text", "error"];
        replaced.push(if tasks.len() > 1 { "tasks" } else { "spans" });
        let comments = match entry.fields.contains_key("comments") {
            true => &[],
            false => entry.comments.as_slice(),
        };
        let mut line = Line { text: None, answer: None, tokens: None, tasks: None, error: None, comments };
        match &entry.result {
            Ok(models) => {
                line.text = models.first().map(|tagged| tagged.text.as_str());
                match &models[..] {
                    [tagged] => line.answer_of_one(tagged, entry, offsets, &mut replaced),
                    models => line.answers_of(models, tasks, entry, offsets, &mut replaced),
                }
            }
            Err(failure) => {
                line.text = entry.text.as_deref();
                let (message, hint) = (failure.message.as_str(), failure.hint.as_deref());
                line.error = Some(Fault { message, hint, place: entry.place.to_string() });
            }
        }
        (line, replaced)
    }

    fn answer_of_one(
        &mut self,
        tagged: &'a Tagged,
        entry: &Entry,
        offsets: OffsetUnit,
        replaced: &mut Vec<&'static str>,
    ) {
        let mut answer = answer(tagged, offsets, entry);
        if tagged.scores.is_some() {
            replaced.extend(Answer::SCORE_FIELDS);
        }
        if answer.tags.is_some() {
            let words = tagged.surfaces();
            replaced.push("tags");
            let is_there = has_tokens(entry, &words);
            answer.tokens = (!is_there).then_some(words);
            replaced.extend((!is_there).then_some("tokens"));
        }
        self.answer = Some(answer);
    }

    fn answers_of(
        &mut self,
        models: &'a [Tagged],
        tasks: &'a [String],
        entry: &Entry,
        offsets: OffsetUnit,
        replaced: &mut Vec<&'static str>,
    ) {
        let words = models.first().filter(|_| entry.has_words).map(Tagged::surfaces);
        if entry.words_unfit || words.as_ref().is_some_and(|words| !has_tokens(entry, words)) {
            replaced.push("tokens");
            // Annotation of other words than those that were tagged.
            replaced.extend(entry.words_unfit.then_some("tags"));
            self.tokens = words;
        }
        let answers = |(task, tagged): (&'a String, &'a Tagged)| (&**task, answer(tagged, offsets, entry));
        self.tasks = Some(Tasks(tasks.iter().zip(models).map(answers).collect()));
    }
}

/// Whether the field of the record that readers take for its tokens has the words that were tagged.
fn has_tokens(entry: &Entry, words: &[&str]) -> bool {
    let field = entry.tokens_field().and_then(|name| entry.fields.get(name));
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
fn object(entry: &Entry, offsets: OffsetUnit, tasks: &[String]) -> serde_json::Result<String> {
    let (line, replaced) = Line::new(entry, offsets, tasks);
    let mut object = serde_json::to_string(&line)?;
    object.pop();
    for field in entry.other_fields(&replaced)? {
        object.push(',');
        object.push_str(&field);
    }
    Ok(object + "}")
}

impl Writer for Json {
    fn record(&mut self, entry: &Entry) -> anyhow::Result<String> {
        let object = object(entry, self.offsets, &self.tasks).context("cannot write the result as JSON")?;
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
    use hyperloader_runtime::{SentenceScores, TagScore};
    use serde_json::json;

    use super::super::examples::{alarm, entries, entry, of_two_models, tagged, two_tasks, written};
    use super::*;

    fn lines(offsets: OffsetUnit) -> Json {
        Json { offsets, tasks: vec!["one".to_owned()], array: false, first: true }
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
        let array = || Json { array: true, ..lines(OffsetUnit::Chars) };
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

    #[test]
    fn several_models_have_their_results_under_the_names_of_their_tasks() {
        let of_two = || Json { tasks: two_tasks(), ..lines(OffsetUnit::Chars) };
        insta::assert_snapshot!(written(of_two(), &of_two_models()), @r#"
        {"text":"set a \"café\" alarm for 7 am","tasks":{"alarms":{"spans":[{"start":6,"end":12,"label":"name","text":"\"café\""},{"start":23,"end":27,"label":"date_time","text":"7 am"}]},"places":{"spans":[{"start":6,"end":18,"label":"place","text":"\"café\" alarm"}]}}}
        {"text":"😀 a <b> & \"c\"","tasks":{"alarms":{"spans":[{"start":4,"end":7,"label":"x/y","text":"<b>"}]},"places":{"spans":[]}}}
        {"text":"","tasks":{"alarms":{"spans":[]},"places":{"spans":[]}}}
        {"text":"bad\nline","error":{"message":"task `places`: the line\tis bad","hint":"repair <it>","place":"argument 4"}}
        "#);
        let mut words = of_two_models().remove(0);
        words.has_words = true;
        words.fields = fields(json!({"id": 1, "tags": ["X"], "spans": [], "tasks": 0}));
        let found: Value = serde_json::from_str(&written(of_two(), &[words.clone()])).unwrap();
        assert_eq!((found["tokens"].as_array().unwrap().len(), &found["id"]), (7, &json!(1)));
        assert_eq!(found["tasks"]["places"]["tags"][3], "I-place");
        assert!(found["tasks"]["places"].get("tokens").is_none());
        // Where each model split the text, the tokens are with the tags.
        (words.has_words, words.words_unfit) = (false, true);
        words.fields = fields(json!({"tokens": ["set"]}));
        let found: Value = serde_json::from_str(&written(of_two(), &[words])).unwrap();
        assert_eq!(found.get("tokens"), None);
        for task in two_tasks() {
            let answer = &found["tasks"][&task];
            assert_eq!(answer["tokens"].as_array().unwrap().len(), answer["tags"].as_array().unwrap().len());
        }
    }
}
