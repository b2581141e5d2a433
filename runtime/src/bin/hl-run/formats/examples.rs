//! Entries for the tests of all formats.

use hyperloader_core::format::tagger::FORMAT;
use hyperloader_core::text::words::split_whitespace;
use hyperloader_runtime::{Tagged, TaggedSpan, TaggerKind, TaggerMetadata, WordSplitting};

use super::writer::Writer;
use crate::entry::{Entry, Failure};
use crate::inputs::Place;

pub(crate) fn tagged(text: &str, tags: &[&str], spans: &[(usize, usize, &str)]) -> Tagged {
    let chars: Vec<char> = text.chars().collect();
    let span = |&(start, end, label): &(usize, usize, &str)| TaggedSpan {
        start,
        end,
        label: label.into(),
        text: chars[start..end].iter().collect(),
        score: None,
        unknown: false,
    };
    Tagged {
        text: text.into(),
        words: split_whitespace(text),
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        spans: spans.iter().map(span).collect(),
        complete: true,
        ..Tagged::default()
    }
}

pub(crate) fn entry(number: usize, result: Result<Tagged, Failure>) -> Entry {
    Entry {
        number,
        place: Place { input: 0, origin: "argument".into(), number },
        result: result.map(|tagged| vec![tagged]),
        text: None,
        has_words: false,
        words_unfit: false,
        fields: serde_json::Map::new(),
        exact: std::collections::BTreeMap::new(),
        comments: vec![],
        columns: vec![],
    }
}

pub(crate) fn alarm() -> Tagged {
    let tags = ["O", "O", "B-name", "O", "O", "B-date_time", "I-date_time"];
    tagged("set a \"caf\u{e9}\" alarm for 7 am", &tags, &[(6, 12, "name"), (23, 27, "date_time")])
}

/// A sentence, one with an emoji, a blank one, and one that could not be tagged.
pub(crate) fn entries() -> Vec<Entry> {
    let emoji = tagged("\u{1F600} a <b> & \"c\"", &["O", "O", "B-x/y", "O", "O"], &[(4, 7, "x/y")]);
    let failure = Failure { message: "the line\tis bad".into(), hint: Some("repair <it>".into()) };
    let mut entries: Vec<Entry> = (1..)
        .zip([Ok(alarm()), Ok(emoji), Ok(tagged("", &[], &[])), Err(failure)])
        .map(|(number, result)| entry(number, result))
        .collect();
    entries[3].text = Some("bad\nline".into());
    entries
}

/// The metadata of a model with this task and these labels.
pub(crate) fn model(task: &str, labels: &[&str]) -> TaggerMetadata {
    TaggerMetadata {
        format: FORMAT,
        kind: TaggerKind::default(),
        task: task.into(),
        labels: labels.iter().map(|&label| label.into()).collect(),
        words: WordSplitting::default(),
        word_fit: None,
        sentence_words: None,
        max_source_len: 9,
        max_target_len: 9,
        pad_token_id: 0,
        eos_token_id: 1,
        decoder_start_token_id: 0,
        decoder_layers: 0,
        memory: vec![],
        source_prefix: String::new(),
        method: String::new(),
        run: String::new(),
        step: 0,
        checkpoint_sha256: String::new(),
        backbone_sha256: String::new(),
        program: String::new(),
        drafter: None,
        calibration: None,
        tokenizer: String::new(),
    }
}

/// The entries that two models give, `alarms` and `places`: a sentence in which both find spans, one without a span of the second,
/// a blank one, and one that the second could not tag.
pub(crate) fn of_two_models() -> Vec<Entry> {
    let mut entries = entries();
    let second = tagged(
        "set a \"caf\u{e9}\" alarm for 7 am",
        &["O", "O", "B-place", "I-place", "O", "O", "O"],
        &[(6, 18, "place")],
    );
    let none = tagged("\u{1F600} a <b> & \"c\"", &["O"; 5], &[]);
    let others = [second, none, tagged("", &[], &[])];
    for (entry, other) in entries.iter_mut().zip(others) {
        entry.result.as_mut().unwrap().push(other);
    }
    if let Err(failure) = &mut entries[3].result {
        failure.message = format!("task `places`: {}", failure.message);
    }
    entries
}

/// The names of their tasks.
pub(crate) fn two_tasks() -> Vec<String> {
    ["alarms", "places"].map(str::to_owned).to_vec()
}

/// Text without colors.
pub(crate) fn stripped(text: &str) -> String {
    let parts = text.split("\u{1b}[").enumerate();
    parts.map(|(at, part)| if at == 0 { part } else { part.split_once('m').unwrap().1 }).collect()
}

/// All of them in one format.
pub(crate) fn written(mut writer: impl Writer, entries: &[Entry]) -> String {
    let records: String = entries.iter().map(|entry| writer.record(entry).unwrap()).collect();
    writer.begin() + &records + &writer.end()
}
